//! Writing and reading messages in a packet.

use serde::{Deserialize, Serialize};

use super::Message;

/// Writes messages one after the other into a buffer; what does not fit leaves it unchanged.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// An empty writer over `buf`.
    pub fn new(buf: &'b mut [u8]) -> Self {
        Writer { buf, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Appends one message, `length ‖ body` (PROTOCOL §2.5); false when it does not fit.
    pub fn message(&mut self, message: &Message<'_>) -> bool {
        let Some((length, body)) = self.buf.get_mut(self.len..).and_then(|rest| rest.split_at_mut_checked(2)) else {
            return false;
        };
        let Ok(body) = postcard::to_slice(message, body) else {
            return false;
        };
        let n = body.len();
        if n >= 1 << 14 {
            return false;
        }
        // A varint that always takes two bytes, so that the body can be written first.
        length.copy_from_slice(&[n as u8 | 0x80, (n >> 7) as u8]);
        self.len += 2 + n;
        true
    }

    /// Appends a value in postcard; false when it does not fit.
    pub fn value(&mut self, value: &impl Serialize) -> bool {
        match self.buf.get_mut(self.len..).map(|rest| postcard::to_slice(value, rest)) {
            Some(Ok(written)) => {
                self.len += written.len();
                true
            }
            _ => false,
        }
    }

    /// Appends bytes as they are; false when they do not fit.
    pub fn bytes(&mut self, bytes: &[u8]) -> bool {
        match self.buf.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                true
            }
            None => false,
        }
    }

    /// Appends zeros up to a length of `len`, or as far as there is room.
    pub fn pad(&mut self, len: usize) {
        let end = len.min(self.buf.len());
        if let Some(room) = self.buf.get_mut(self.len..end) {
            room.fill(0);
            self.len = end;
        }
    }
}

/// Reads messages one after the other.
#[derive(Debug)]
pub struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// A reader over the opened part of a session packet.
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next message: `Some(Err(()))` for one that is malformed or of an unknown kind, which is skipped
    /// by its length; `None` at the end, or where a length leads past it.
    #[allow(clippy::should_implement_trait)] // An Iterator could not say "skipped" and go on borrowing.
    pub fn next(&mut self) -> Option<Result<Message<'b>, ()>> {
        let (length, rest) = varint(self.rest)?;
        let (body, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        if body.is_empty() {
            return None; // Zeros are padding.
        }
        Some(value(body).ok_or(()))
    }
}

/// Decodes one postcard value from all of `bytes`; `None` when malformed. Bytes left over are ignored: a
/// later version may have appended fields.
pub fn value<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [low, rest @ ..] if low & 0x80 == 0 => Some((usize::from(*low), rest)),
        [low, high, rest @ ..] if high & 0x80 == 0 => Some((usize::from(low & 0x7f) | usize::from(*high) << 7, rest)),
        _ => None,
    }
}

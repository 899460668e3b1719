//! Storage that is done at once.

use core::task::{Context, Poll};

use butter_core::storage::{StoreDone, StoreError, StoreOp, StoreTicket};
use butter_core::wire::BLOCK;

use crate::Disk;

/// Makes a [`Disk`] of a function that does an operation at once.
///
/// The function gets the operation and the buffer. For a put the bytes are at the buffer's start; for a get it writes
/// them there and returns how many; otherwise it returns 0. RAM: one block.
pub struct Immediate<F> {
    apply: F,
    buffer: [u8; BLOCK],
    done: Option<(StoreTicket, Result<usize, StoreError>)>,
}

impl<F: FnMut(&StoreOp, &mut [u8]) -> Result<usize, StoreError>> Immediate<F> {
    /// A disk that does everything by `apply`.
    pub const fn new(apply: F) -> Self {
        Immediate { apply, buffer: [0; BLOCK], done: None }
    }
}

impl<F: FnMut(&StoreOp, &mut [u8]) -> Result<usize, StoreError>> Disk for Immediate<F> {
    fn buffer(&mut self) -> Option<&mut [u8]> {
        if self.done.is_some() { None } else { Some(&mut self.buffer) }
    }

    fn start(&mut self, op: StoreOp) {
        self.done = Some((op.ticket(), (self.apply)(&op, &mut self.buffer)));
    }

    fn poll_done(&mut self, _: &mut Context<'_>) -> Poll<StoreDone<'_>> {
        let Some((ticket, result)) = self.done.take() else { return Poll::Pending };
        let bytes = |len: usize| self.buffer.get(..len).ok_or(StoreError::Io);
        Poll::Ready(StoreDone { ticket, result: result.and_then(bytes) })
    }
}

impl<F> core::fmt::Debug for Immediate<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Immediate({:?})", self.done)
    }
}

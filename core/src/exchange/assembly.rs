//! Bodies in fragments.

use crate::node::{BufferId, Buffers};
use crate::wire::PAYLOAD;

/// Bytes of every fragment but the last.
///
/// What surrounds a fragment in the largest message, a Request: length (2), kind (1), call (5), route (5), deadline (5),
/// total (3), offset (3), length of the data (2) — varints at their longest for a total of at most 65,536.
pub const FRAGMENT: usize = PAYLOAD - FRAMING;

const FRAMING: usize = 2 + 1 + 5 + 5 + 5 + 3 + 3 + 2;

const _: () = assert!(FRAGMENT * 64 >= 65_536, "a bit of a u64 for every fragment of the longest body");

/// A fragment as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub total: u32,
    pub offset: u32,
    pub data: &'a [u8],
}

impl Part<'_> {
    /// Which fragment this is; `None` when it lies anywhere else than one does, or the body is longer than `longest`.
    pub fn number(&self, longest: usize) -> Option<u32> {
        let (total, offset) = (self.total as usize, self.offset as usize);
        if total > longest || total > FRAGMENT * 64 || !offset.is_multiple_of(FRAGMENT) {
            return None;
        }
        let rest = total.checked_sub(offset)?;
        let whole = rest > 0 || total == 0;
        (whole && self.data.len() == rest.min(FRAGMENT)).then_some((offset / FRAGMENT) as u32)
    }
}

/// The bits of all fragments of a body of `total` bytes.
pub(super) fn all(total: usize) -> u64 {
    let count = total.div_ceil(FRAGMENT).clamp(1, 64) as u32;
    u64::MAX >> (64 - count)
}

/// The bytes of fragment `number` of a body, and where it begins.
pub(super) fn fragment(body: &[u8], number: u32) -> (u32, &[u8]) {
    let offset = (number as usize * FRAGMENT).min(body.len());
    let end = (offset + FRAGMENT).min(body.len());
    (offset as u32, body.get(offset..end).unwrap_or_default())
}

/// A body of which fragments are missing. The buffer is its owner's to free.
#[derive(Debug)]
pub(super) struct Assembly {
    pub buffer: BufferId,
    pub missing: u64,
}

impl Assembly {
    /// Begins one in a buffer as long as the body.
    pub fn new(buffer: BufferId, total: usize) -> Self {
        Assembly { buffer, missing: all(total) }
    }

    /// Takes fragment `number`, checked by [`Part::number`]; false when the body is another one, or it is here already.
    pub fn take(&mut self, buffers: &mut Buffers<'_>, number: u32, part: Part<'_>) -> bool {
        let bit = 1u64 << (number & 63);
        let bytes = buffers.bytes_mut(&self.buffer);
        if bytes.len() != part.total as usize || self.missing & bit == 0 {
            return false;
        }
        let start = part.offset as usize;
        let Some(place) = bytes.get_mut(start..start + part.data.len()) else { return false };
        place.copy_from_slice(part.data);
        self.missing &= !bit;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RouteId;
    use crate::wire::{Message, Writer};

    const DATA: [u8; FRAGMENT + 1] = [7; FRAGMENT + 1];

    fn number(total: u32, offset: u32, len: usize) -> Option<u32> {
        Part { total, offset, data: &DATA[..len] }.number(65_536)
    }

    #[test]
    fn a_whole_fragment_of_the_longest_body_fits_any_packet() {
        let (call, route) = (u32::MAX, RouteId(u32::MAX));
        let data = &DATA[..FRAGMENT];
        let message = Message::Request { call, route, deadline_ms: u32::MAX, total: 65_536, offset: 65_535, data };
        let mut buf = [0; PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        assert!(writer.message(&message));
        assert_eq!(writer.room(), 0);
    }

    #[test]
    fn fragments_lie_only_where_they_should() {
        let f = FRAGMENT as u32;
        assert_eq!(number(0, 0, 0), Some(0));
        assert_eq!(number(5, 0, 5), Some(0));
        assert_eq!(number(f + 1, f, 1), Some(1));
        assert_eq!(number(65_536, 57 * f, 65_536 - 57 * FRAGMENT), Some(57));
        for (total, offset, len) in [
            (5, 0, 4),
            (5, 1, 4),
            (5, 5, 0),
            (f, f, 0),
            (f + 1, f, 2),
            (f + 1, 0, FRAGMENT + 1),
            (f * 2, f - 1, FRAGMENT),
            (0, f, 0),
            (65_537, 0, FRAGMENT),
            (u32::MAX, 0, FRAGMENT),
            (5, u32::MAX / f * f, 5),
        ] {
            assert_eq!(number(total, offset, len), None, "{total} {offset} {len}");
        }
    }

    #[test]
    fn all_bits_are_all_fragments() {
        assert_eq!((all(0), all(1), all(FRAGMENT), all(FRAGMENT + 1)), (1, 1, 1, 3));
        assert_eq!(all(65_536).count_ones() as usize, 65_536usize.div_ceil(FRAGMENT));
        assert_eq!(all(FRAGMENT * 64), u64::MAX);
    }
}

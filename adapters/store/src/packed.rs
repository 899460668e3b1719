//! Blocks packed into one piece of memory.

use butter_core::id::Key;
use butter_core::storage::{BlockRef, StoreError, StoreOp};
use butter_core::wire::BLOCK;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: BlockRef,
    len: u16,
}

/// Keeps up to `BLOCKS` blocks in `BYTES` bytes without a heap, one after the other: short ones take no more than they are long.
/// RAM: `BYTES` + `BLOCKS` · 36. Every operation looks at all blocks; forgetting one moves those behind it.
pub struct Packed<const BLOCKS: usize, const BYTES: usize> {
    bytes: [u8; BYTES],
    /// The first `len` are kept, in the order of their bytes.
    entries: [Entry; BLOCKS],
    len: usize,
}

impl<const BLOCKS: usize, const BYTES: usize> Packed<BLOCKS, BYTES> {
    /// Nothing kept: all zeros, which cost no flash as a `static`.
    pub const fn new() -> Self {
        let free = Entry { at: BlockRef { key: Key([0; 32]), index: 0 }, len: 0 };
        Packed { bytes: [0; BYTES], entries: [free; BLOCKS], len: 0 }
    }

    fn kept(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().take(self.len)
    }

    /// Blocks kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken.
    pub fn used(&self) -> usize {
        self.kept().map(|entry| usize::from(entry.len)).sum()
    }

    /// Where a block is among the entries and in memory.
    fn find(&self, wanted: impl Fn(&BlockRef) -> bool) -> Option<(usize, usize, Entry)> {
        let mut begin = 0;
        for (place, entry) in self.kept().enumerate() {
            if wanted(&entry.at) {
                return Some((place, begin, *entry));
            }
            begin += usize::from(entry.len);
        }
        None
    }

    fn forget(&mut self, wanted: impl Fn(&BlockRef) -> bool) -> bool {
        let used = self.used();
        let Some((place, begin, entry)) = self.find(wanted) else { return false };
        self.bytes.copy_within(begin + usize::from(entry.len)..used, begin);
        if let Some(rest) = self.entries.get_mut(place..) {
            rest.rotate_left(1);
        }
        self.len -= 1;
        true
    }

    /// Does an operation on `buf`: the bytes to put are at its start; the bytes got are written there, and their number
    /// returned.
    ///
    /// # Errors
    /// `Full`: no room for the block, and what was kept there stays; `Missing`: not kept here; `Io`: the buffer is shorter
    /// than the block.
    pub fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        match *op {
            StoreOp::Put { at, len, .. } => {
                let from = buf.get(..len).filter(|from| from.len() <= BLOCK).ok_or(StoreError::Io)?;
                let old = self.find(|kept| *kept == at).map(|(_, _, entry)| usize::from(entry.len));
                let fits = self.used() - old.unwrap_or(0) + len <= BYTES;
                if !fits || old.is_none() && self.len == BLOCKS {
                    return Err(StoreError::Full);
                }
                self.forget(|kept| *kept == at);
                let begin = self.used();
                self.bytes.get_mut(begin..begin + len).ok_or(StoreError::Full)?.copy_from_slice(from);
                *self.entries.get_mut(self.len).ok_or(StoreError::Full)? = Entry { at, len: len as u16 };
                self.len += 1;
                Ok(0)
            }
            StoreOp::Get { at, .. } => {
                let (_, begin, entry) = self.find(|kept| *kept == at).ok_or(StoreError::Missing)?;
                let len = usize::from(entry.len);
                let bytes = self.bytes.get(begin..begin + len).ok_or(StoreError::Io)?;
                buf.get_mut(..len).ok_or(StoreError::Io)?.copy_from_slice(bytes);
                Ok(len)
            }
            // Forgotten at the end like everything else.
            StoreOp::Seat { .. } => Ok(0),
            StoreOp::Delete { key, .. } => {
                while self.forget(|kept| kept.key == key) {}
                Ok(0)
            }
        }
    }
}

impl<const BLOCKS: usize, const BYTES: usize> Default for Packed<BLOCKS, BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BLOCKS: usize, const BYTES: usize> core::fmt::Debug for Packed<BLOCKS, BYTES> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Packed({} of {BLOCKS} blocks, {} of {BYTES} bytes)", self.len(), self.used())
    }
}

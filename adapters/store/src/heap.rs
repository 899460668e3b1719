//! Blocks on the heap.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use butter_core::id::Key;
use butter_core::storage::{BlockRef, StoreError, StoreOp};

/// Keeps blocks on the heap. Cost of every operation: a walk down a B-tree.
pub struct Heap {
    blocks: BTreeMap<BlockRef, Box<[u8]>>,
    bytes: u64,
    limit: u64,
}

impl Heap {
    /// Bytes that a block takes besides its own: its place in the map and on the heap.
    pub const OVERHEAD: u64 = 96;

    /// A store for at most `limit` bytes, bookkeeping of [`Heap::OVERHEAD`] per block included.
    pub const fn new(limit: u64) -> Self {
        Heap { blocks: BTreeMap::new(), bytes: 0, limit }
    }

    /// Bytes taken, bookkeeping included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Blocks kept.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn forget(&mut self, at: &BlockRef) {
        if let Some(old) = self.blocks.remove(at) {
            self.bytes -= old.len() as u64 + Self::OVERHEAD;
        }
    }

    fn forget_all(&mut self, key: Key) {
        let (first, last) = (BlockRef { key, index: 0 }, BlockRef { key, index: u8::MAX });
        while let Some((at, _)) = self.blocks.range(first..=last).next() {
            let at = *at;
            self.forget(&at);
        }
    }

    /// Does an operation on `buf`: the bytes to put are at its start; the bytes got are written there, and their number
    /// returned.
    ///
    /// # Errors
    /// `Full`: the limit would be passed; `Missing`: not kept here; `Io`: the buffer is shorter than the block. What
    /// was kept stays as it was.
    pub fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        match *op {
            StoreOp::Put { at, len, .. } => {
                let bytes = buf.get(..len).ok_or(StoreError::Io)?;
                let old = self.blocks.get(&at).map_or(0, |old| old.len() as u64 + Self::OVERHEAD);
                let sum = self.bytes - old + len as u64 + Self::OVERHEAD;
                if sum > self.limit {
                    return Err(StoreError::Full);
                }
                self.blocks.insert(at, bytes.into());
                self.bytes = sum;
                Ok(0)
            }
            StoreOp::Get { at, .. } => {
                let bytes = self.blocks.get(&at).ok_or(StoreError::Missing)?;
                buf.get_mut(..bytes.len()).ok_or(StoreError::Io)?.copy_from_slice(bytes);
                Ok(bytes.len())
            }
            // Forgotten at the end like everything else.
            StoreOp::Seat { .. } => Ok(0),
            StoreOp::Delete { key, .. } => {
                self.forget_all(key);
                Ok(0)
            }
        }
    }
}

impl core::fmt::Debug for Heap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Heap({} blocks, {} of {} bytes)", self.blocks.len(), self.bytes, self.limit)
    }
}

//! Blocks in a fixed array.

use butter_core::storage::{BlockRef, StoreError, StoreOp};
use butter_core::wire::BLOCK;

/// Keeps `N` blocks without a heap. RAM: `N` · (4,096 + about 40) bytes; every operation looks at all places.
pub struct Array<const N: usize> {
    places: [Place; N],
}

struct Place {
    at: Option<BlockRef>,
    len: usize,
    bytes: [u8; BLOCK],
}

impl<const N: usize> Array<N> {
    /// Nothing kept.
    pub const NEW: Self = Array { places: [const { Place { at: None, len: 0, bytes: [0; BLOCK] } }; N] };

    /// Blocks kept.
    pub fn len(&self) -> usize {
        self.places.iter().filter(|place| place.at.is_some()).count()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does an operation on `buf`: the bytes to put are at its start; the bytes got are written there, and their number
    /// returned.
    ///
    /// # Errors
    /// `Full`: all places are taken; `Missing`: not kept here; `Io`: the buffer is shorter than the block. What was
    /// kept stays as it was.
    pub fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        match *op {
            StoreOp::Put { at, len, .. } => {
                let bytes = buf.get(..len).filter(|bytes| bytes.len() <= BLOCK).ok_or(StoreError::Io)?;
                let same = self.places.iter().position(|place| place.at == Some(at));
                let free = || self.places.iter().position(|place| place.at.is_none());
                let place = same.or_else(free).and_then(|i| self.places.get_mut(i)).ok_or(StoreError::Full)?;
                place.at = Some(at);
                place.len = len;
                place.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                Ok(0)
            }
            StoreOp::Get { at, .. } => {
                let place = self.places.iter().find(|place| place.at == Some(at)).ok_or(StoreError::Missing)?;
                let bytes = place.bytes.get(..place.len).ok_or(StoreError::Io)?;
                buf.get_mut(..place.len).ok_or(StoreError::Io)?.copy_from_slice(bytes);
                Ok(place.len)
            }
            // Forgotten at the end like everything else.
            StoreOp::Seat { .. } => Ok(0),
            StoreOp::Delete { key, .. } => {
                for place in &mut self.places {
                    if place.at.is_some_and(|at| at.key == key) {
                        place.at = None;
                    }
                }
                Ok(0)
            }
        }
    }
}

impl<const N: usize> Default for Array<N> {
    fn default() -> Self {
        Self::NEW
    }
}

impl<const N: usize> core::fmt::Debug for Array<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Array({} of {N} blocks)", self.len())
    }
}

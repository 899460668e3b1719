//! Blocks in RAM: for boards without flash to spare, and emulated ones.

use core::task::{Context, Poll};

use butter_core::storage::{StoreDone, StoreError, StoreOp, StoreTicket};
use butter_core::wire::BLOCK;
use butter_driver::Disk;
use butter_store::Packed;
use static_cell::ConstStaticCell;

use crate::{LIMITS, STORE_BYTES};

struct Inner {
    store: Packed<{ 2 * LIMITS.items }, STORE_BYTES>,
    buffer: [u8; BLOCK],
}

/// A disk that forgets everything when the board stops: others keep copies. RAM: 42 KB.
pub struct Ram {
    inner: &'static mut Inner,
    done: Option<(StoreTicket, Result<usize, StoreError>)>,
}

impl Ram {
    /// The one that there is.
    ///
    /// # Panics
    /// When called twice.
    pub fn take() -> Ram {
        // A constant of zeros: costs no flash, and does not pass over the stack.
        static INNER: ConstStaticCell<Inner> = ConstStaticCell::new(Inner { store: Packed::new(), buffer: [0; BLOCK] });
        Ram { inner: INNER.take(), done: None }
    }
}

impl Disk for Ram {
    fn buffer(&mut self) -> Option<&mut [u8]> {
        if self.done.is_some() { None } else { Some(&mut self.inner.buffer) }
    }

    fn start(&mut self, op: StoreOp) {
        self.done = Some((op.ticket(), self.inner.store.apply(&op, &mut self.inner.buffer)));
    }

    fn poll_done(&mut self, _: &mut Context<'_>) -> Poll<StoreDone<'_>> {
        let Some((ticket, result)) = self.done.take() else { return Poll::Pending };
        let bytes = |len: usize| self.inner.buffer.get(..len).ok_or(StoreError::Io);
        Poll::Ready(StoreDone { ticket, result: result.and_then(bytes) })
    }
}

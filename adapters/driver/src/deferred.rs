//! Storage that takes its time.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use butter_core::storage::{StoreDone, StoreError, StoreOp, StoreTicket};
use butter_core::wire::BLOCK;

use crate::Disk;

type Buffer<'b> = &'b mut [u8; BLOCK];

enum State<'b> {
    /// Nothing is under way, or the worker is at it.
    Empty,
    Asked(StoreOp, Buffer<'b>),
    Done(StoreTicket, Buffer<'b>, Result<usize, StoreError>),
}

/// Joins a loop and the task that does its storage, one operation at a time: an erase of a flash page then stops neither
/// beats nor answers. Both live on one executor. RAM: about 100 bytes, and the buffer lent to [`Deferred::disk`].
pub struct Deferred<'b> {
    state: Cell<State<'b>>,
    worker: Cell<Option<Waker>>,
    waiting: Cell<Option<Waker>>,
}

impl<'b> Deferred<'b> {
    /// Nothing is under way.
    pub const fn new() -> Self {
        Deferred { state: Cell::new(State::Empty), worker: Cell::new(None), waiting: Cell::new(None) }
    }

    /// The loop's end: to be asked for once.
    pub fn disk<'a>(&'a self, buffer: Buffer<'b>) -> DeferredDisk<'a, 'b> {
        DeferredDisk { deferred: self, buffer: Some(buffer) }
    }

    /// The other end, for a task of its own: does each operation by `apply`, for ever. For a put the bytes are at the
    /// buffer's start; for a get it writes them there and returns how many; otherwise it returns 0. The future is not to be
    /// dropped while an operation is under way: it would never end.
    pub async fn work(&self, mut apply: impl AsyncFnMut(&StoreOp, &mut [u8]) -> Result<usize, StoreError>) -> ! {
        loop {
            let (op, buffer) = poll_fn(|cx| match self.state.replace(State::Empty) {
                State::Asked(op, buffer) => Poll::Ready((op, buffer)),
                other => {
                    self.state.set(other);
                    self.worker.set(Some(cx.waker().clone()));
                    Poll::Pending
                }
            })
            .await;
            let result = apply(&op, buffer).await;
            self.state.set(State::Done(op.ticket(), buffer, result));
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
    }
}

impl Default for Deferred<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Deferred<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Deferred")
    }
}

/// The [`Disk`] of a [`Deferred`].
pub struct DeferredDisk<'a, 'b> {
    deferred: &'a Deferred<'b>,
    /// Lent to the worker while an operation is under way.
    buffer: Option<Buffer<'b>>,
}

impl core::fmt::Debug for DeferredDisk<'_, '_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DeferredDisk(busy: {})", self.buffer.is_none())
    }
}

impl Disk for DeferredDisk<'_, '_> {
    fn buffer(&mut self) -> Option<&mut [u8]> {
        self.buffer.as_mut().map(|buffer| buffer.as_mut_slice())
    }

    fn start(&mut self, op: StoreOp) {
        if let Some(buffer) = self.buffer.take() {
            self.deferred.state.set(State::Asked(op, buffer));
            if let Some(waker) = self.deferred.worker.take() {
                waker.wake();
            }
        }
    }

    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<StoreDone<'_>> {
        match self.deferred.state.replace(State::Empty) {
            State::Done(ticket, buffer, result) => {
                let buffer = self.buffer.insert(buffer);
                let result = result.and_then(|len| buffer.get(..len).ok_or(StoreError::Io));
                Poll::Ready(StoreDone { ticket, result })
            }
            other => {
                self.deferred.state.set(other);
                self.deferred.waiting.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

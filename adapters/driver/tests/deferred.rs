//! Storage that takes its time does not stop the loop.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use butter_core::id::Key;
use butter_core::storage::{BlockRef, StoreError, StoreOp, StoreTicket};
use butter_driver::{Deferred, Disk};

#[test]
fn an_operation_is_done_by_the_other_task_and_the_buffer_comes_back() {
    let mut buffer = [0; 4096];
    let (deferred, erasing) = (Deferred::new(), Cell::new(true));
    let mut disk = deferred.disk(&mut buffer);
    let mut work = pin!(deferred.work(async |op, buf| {
        // A page is being erased.
        poll_fn(|_| if erasing.get() { Poll::Pending } else { Poll::Ready(()) }).await;
        match op {
            StoreOp::Get { .. } => {
                buf[..3].copy_from_slice(b"abc");
                Ok(3)
            }
            _ => Err(StoreError::Full),
        }
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let key = Key([1; 32]);
    for (op, wanted) in [
        (StoreOp::Get { ticket: StoreTicket::NONE, at: BlockRef { key, index: 0 } }, Ok(b"abc".as_slice())),
        (StoreOp::Delete { ticket: StoreTicket::NONE, key }, Err(StoreError::Full)),
    ] {
        erasing.set(true);
        assert!(disk.poll_done(&mut cx).is_pending(), "nothing is under way");
        assert!(disk.buffer().is_some());
        disk.start(op);
        assert!(work.as_mut().poll(&mut cx).is_pending());
        assert!(disk.buffer().is_none() && disk.poll_done(&mut cx).is_pending(), "it is under way");
        erasing.set(false);
        assert!(work.as_mut().poll(&mut cx).is_pending());
        let Poll::Ready(done) = disk.poll_done(&mut cx) else { panic!("it is done") };
        assert_eq!(done.result, wanted);
    }
}

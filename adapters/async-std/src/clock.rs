//! The system's monotonic clock.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Timer;
use butter_core::time::Instant;
use butter_driver::Clock;
use futures_lite::Stream;

/// Counts from the moment it was made.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: std::time::Instant,
    timer: Timer,
    /// What the timer is set to, so that an unchanged deadline costs no trip to the reactor.
    set: Option<Instant>,
}

impl SystemClock {
    pub fn new() -> Self {
        SystemClock { start: std::time::Instant::now(), timer: Timer::never(), set: None }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.set != Some(at) {
            // A moment too far for the system's clock is never.
            match self.start.checked_add(std::time::Duration::from_micros(at.as_micros())) {
                Some(at) => self.timer.set_at(at),
                None => self.timer.clear(),
            }
            self.set = Some(at);
        }
        // As a stream, so that a timer that has fired may be polled again.
        let poll = Pin::new(&mut self.timer).poll_next(cx);
        if poll.is_ready() {
            self.set = None;
        }
        poll.map(|_| ())
    }
}

//! Time, as embassy-time tells it.

use core::future::Future as _;
use core::pin::pin;
use core::task::{Context, Poll};

use butter_core::time::Instant;
use butter_driver::Clock;
use embassy_time::{Instant as Moment, Timer};

/// Now, as the node wants it: since boot.
pub fn now() -> Instant {
    Instant::from_micros(Moment::now().as_micros())
}

/// embassy-time as the driver wants it. It keeps nothing: the time driver remembers whom to wake.
#[derive(Debug)]
pub(crate) struct BootClock;

impl Clock for BootClock {
    fn now(&mut self) -> Instant {
        now()
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if at <= now() {
            return Poll::Ready(());
        }
        // A moment that the ticks cannot count is never. One tick more, so that the wake is not a moment too early.
        let Some(at) = Moment::try_from_micros(at.as_micros()) else { return Poll::Pending };
        let at = at.saturating_add(embassy_time::Duration::from_ticks(1));
        pin!(Timer::at(at)).poll(cx)
    }
}

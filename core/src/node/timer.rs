//! Which timers a node has: one for each thing that can wait.

use crate::memory::Limits;
use crate::table::{Store, TimerCell, TimerId, Timers};
use crate::time::Instant;

/// What a deadline is for. The number is the slot of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Timer {
    /// Discovery's next ping.
    Discover,
    /// The next exchange with a known host.
    Exchange,
    /// The next look at known hosts.
    Refresh,
    /// The next cookie secret.
    Cookies,
    /// The next beats.
    Beat,
    /// The next look at leases, hints and seats.
    Upkeep,
    /// The next step in telling pointers.
    Point,
    /// A peer's handshake, path or idle time.
    Peer(u16),
    /// A call's retry or deadline.
    Call(u16),
    /// The end of a kept answer.
    Serve(u16),
    /// A seat's next step.
    Seat(u16),
    /// A put's or get's next step.
    Op(u16),
}

const SINGLES: u16 = 7;

/// Timers needed for a node with these limits.
pub const fn timers_needed(limits: &Limits) -> usize {
    SINGLES as usize + limits.peers + limits.calls + limits.serves + limits.seats + limits.operations
}

/// The node's timers.
#[derive(Debug)]
pub(crate) struct TimerSet<'m> {
    timers: Timers<'m>,
    peers: u16,
    calls: u16,
    serves: u16,
    seats: u16,
}

impl<'m> TimerSet<'m> {
    pub fn new(cells: Store<'m, TimerCell>, limits: &Limits) -> Self {
        TimerSet {
            timers: Timers::new(cells),
            peers: limits.peers as u16,
            calls: limits.calls as u16,
            serves: limits.serves as u16,
            seats: limits.seats as u16,
        }
    }

    fn id(&self, timer: Timer) -> TimerId {
        let peers = SINGLES;
        let calls = peers + self.peers;
        let serves = calls + self.calls;
        let seats = serves + self.serves;
        TimerId(match timer {
            Timer::Discover => 0,
            Timer::Exchange => 1,
            Timer::Refresh => 2,
            Timer::Cookies => 3,
            Timer::Beat => 4,
            Timer::Upkeep => 5,
            Timer::Point => 6,
            Timer::Peer(i) => peers + i,
            Timer::Call(i) => calls + i,
            Timer::Serve(i) => serves + i,
            Timer::Seat(i) => seats + i,
            Timer::Op(i) => seats + self.seats + i,
        })
    }

    fn timer(&self, id: TimerId) -> Timer {
        let Some(i) = id.0.checked_sub(SINGLES) else {
            return match id.0 {
                0 => Timer::Discover,
                1 => Timer::Exchange,
                2 => Timer::Refresh,
                3 => Timer::Cookies,
                4 => Timer::Beat,
                5 => Timer::Upkeep,
                _ => Timer::Point,
            };
        };
        let Some(c) = i.checked_sub(self.peers) else { return Timer::Peer(i) };
        let Some(s) = c.checked_sub(self.calls) else { return Timer::Call(c) };
        let Some(g) = s.checked_sub(self.serves) else { return Timer::Serve(s) };
        let Some(o) = g.checked_sub(self.seats) else { return Timer::Seat(g) };
        Timer::Op(o)
    }

    #[inline(never)]
    pub fn set(&mut self, timer: Timer, at: Instant) {
        let id = self.id(timer);
        self.timers.set(id, at);
    }

    #[inline(never)]
    pub fn set_earlier(&mut self, timer: Timer, at: Instant) {
        let id = self.id(timer);
        self.timers.set_earlier(id, at);
    }

    #[inline(never)]
    pub fn clear(&mut self, timer: Timer) {
        let id = self.id(timer);
        self.timers.clear(id);
    }

    #[inline(never)]
    pub fn get(&self, timer: Timer) -> Option<Instant> {
        self.timers.get(self.id(timer))
    }

    pub fn first(&self) -> Option<(Instant, Timer)> {
        self.timers.first().map(|(at, id)| (at, self.timer(id)))
    }

    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        self.timers.pop_due(now).map(|id| self.timer(id))
    }
}

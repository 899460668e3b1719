//! embassy's time on the board's two timers: one runs free and never loses a tick, one wakes.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use super::{Irq, Register, enable};

/// Both count down, 25 times in a tick of a microsecond.
const PER_TICK: u64 = 25;
/// The most that the alarm is set to; then it is set again.
const FURTHEST: u64 = u32::MAX as u64 / PER_TICK;

const CONTROL: usize = 0;
const VALUE: usize = 4;
const RELOAD: usize = 8;
const INTERRUPT: usize = 12;
/// Counts, and interrupts at zero.
const RUN: u32 = 1 << 3 | 1;

const fn clock(register: usize) -> Register {
    Register(0x4000_0000 + register)
}

const fn alarm(register: usize) -> Register {
    Register(0x4000_1000 + register)
}

struct Time {
    /// How often the clock has wrapped: every 172 seconds.
    wraps: Mutex<Cell<u32>>,
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static TIME: Time = Time {
    wraps: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

/// Starts the clock.
pub fn start() {
    clock(RELOAD).write(u32::MAX);
    clock(VALUE).write(u32::MAX);
    clock(CONTROL).write(RUN);
    enable(Irq::Clock);
    enable(Irq::Alarm);
}

impl Time {
    fn count(&self, cs: CriticalSection<'_>) -> u64 {
        let mut wraps = self.wraps.borrow(cs).get();
        let mut value = clock(VALUE).read();
        if clock(INTERRUPT).read() & 1 != 0 {
            // It has wrapped, and nobody has counted that yet; the value may be from before.
            wraps = wraps.wrapping_add(1);
            value = clock(VALUE).read();
        }
        u64::from(wraps) << 32 | u64::from(u32::MAX - value)
    }

    /// Sets the alarm to the first moment that somebody waits for.
    fn set(&self, cs: CriticalSection<'_>, queue: &mut Queue) {
        loop {
            let now = self.count(cs) / PER_TICK;
            let next = queue.next_expiration(now);
            alarm(CONTROL).write(0);
            alarm(INTERRUPT).write(1);
            if next == u64::MAX {
                return;
            }
            if next > now {
                alarm(VALUE).write(((next - now).min(FURTHEST) * PER_TICK) as u32);
                alarm(CONTROL).write(RUN);
                return;
            }
        }
    }
}

impl Driver for Time {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.count(cs)) / PER_TICK
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut queue = self.queue.borrow_ref_mut(cs);
            if queue.schedule_wake(at, waker) {
                self.set(cs, &mut queue);
            }
        });
    }
}

pub fn on_wrap() {
    critical_section::with(|cs| {
        let wraps = TIME.wraps.borrow(cs);
        wraps.set(wraps.get().wrapping_add(1));
        clock(INTERRUPT).write(1);
    });
}

pub fn on_alarm() {
    critical_section::with(|cs| {
        let mut queue = TIME.queue.borrow_ref_mut(cs);
        TIME.set(cs, &mut queue);
    });
}

//! A node's clock: it starts at zero with the node, and may run fast or slow, and jump.

use butter_core::time::Instant;

const BILLION: u128 = 1_000_000_000;

/// What a node takes for the time, as a function of the world's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// A moment of the world's time, and what the clock showed then.
    world: Instant,
    shown: Instant,
    /// By how many billionths it runs too fast; a quartz crystal is within 100,000.
    drift_ppb: i32,
}

impl Clock {
    /// A clock that shows zero at `now`.
    pub fn new(now: Instant, drift_ppb: i32) -> Clock {
        Clock { world: now, shown: Instant::ZERO, drift_ppb }
    }

    /// What it shows at `now`.
    pub fn read(&self, now: Instant) -> Instant {
        let passed = now.since(self.world);
        if self.drift_ppb == 0 {
            return self.shown.plus_us(passed);
        }
        self.shown.plus_us((u128::from(passed) * self.rate() / BILLION) as u64)
    }

    /// The first moment of the world's time at which it shows `shown` or later.
    pub fn when(&self, shown: Instant) -> Instant {
        let left = shown.since(self.shown);
        if self.drift_ppb == 0 {
            return self.world.plus_us(left);
        }
        let passed = (u128::from(left) * BILLION).div_ceil(self.rate());
        self.world.plus_us(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// What it counts in a billion microseconds: at least one, so that time goes on.
    fn rate(&self) -> u128 {
        (1_000_000_000 + i64::from(self.drift_ppb)).max(1) as u128
    }

    /// Runs too fast by `drift_ppb` billionths from `now` on.
    pub fn drift(&mut self, now: Instant, drift_ppb: i32) {
        *self = Clock { world: now, shown: self.read(now), drift_ppb };
    }

    /// Shows `us` microseconds more, or less, from `now` on; never less than zero.
    pub fn jump(&mut self, now: Instant, us: i64) {
        let shown = self.read(now).as_micros().saturating_add_signed(us);
        *self = Clock { world: now, shown: Instant::from_micros(shown), drift_ppb: self.drift_ppb };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_gains_and_its_deadlines_come_early() {
        let second = 1_000_000;
        let mut clock = Clock::new(Instant::from_micros(5 * second), 0);
        assert_eq!(clock.read(Instant::from_micros(7 * second)).as_micros(), 2 * second);
        clock.drift(Instant::from_micros(7 * second), 100_000);
        let later = Instant::from_micros(10_007 * second);
        assert_eq!(clock.read(later).as_micros(), 10_002 * second + second, "100 ppm of 10,000 s");
        for drift_ppb in [-100_000, -7, 3, 100_000, 999_999_999, -999_999_999] {
            clock.drift(later, drift_ppb);
            for us in [1, 999, 12_345_678] {
                let shown = clock.read(later).plus_us(us);
                let at = clock.when(shown);
                assert!(clock.read(at) >= shown, "{drift_ppb} {us}");
                assert!(clock.read(Instant::from_micros(at.as_micros() - 1)) < shown, "{drift_ppb} {us}");
            }
        }
    }

    #[test]
    fn a_clock_jumps_both_ways_and_not_below_zero() {
        let now = Instant::from_millis(10_000);
        let mut clock = Clock::new(Instant::ZERO, 0);
        clock.jump(now, -4_000_000);
        assert_eq!(clock.read(now), Instant::from_millis(6_000));
        assert_eq!(clock.when(Instant::from_millis(7_000)), Instant::from_millis(11_000));
        clock.jump(now, 100_000_000);
        assert_eq!(clock.read(now), Instant::from_millis(106_000));
        clock.jump(now, i64::MIN);
        assert_eq!(clock.read(now), Instant::ZERO);
    }
}

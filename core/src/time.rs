//! Time as the core sees it: microseconds since some moment that the caller chose.

use core::fmt;

/// A moment: microseconds since boot, or since any other fixed moment. 584,000 years fit.
///
/// ```
/// use butter_core::time::Instant;
/// let start = Instant::from_millis(5);
/// assert_eq!(start.plus_ms(2).since(start), 2_000);
/// assert_eq!(start.since(start.plus_ms(2)), 0, "never negative");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The first moment there is.
    pub const ZERO: Instant = Instant(0);
    /// Later than any deadline.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// A moment from microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Instant(us)
    }

    /// A moment from milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Instant(ms.saturating_mul(1000))
    }

    /// Microseconds since [`Instant::ZERO`].
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since [`Instant::ZERO`].
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// This moment and `ms` milliseconds.
    #[inline(never)]
    pub const fn plus_ms(self, ms: u32) -> Self {
        Instant(self.0.saturating_add(ms as u64 * 1000))
    }

    /// This moment and `us` microseconds.
    pub const fn plus_us(self, us: u64) -> Self {
        Instant(self.0.saturating_add(us))
    }

    /// Microseconds from `earlier` to this moment; 0 when `earlier` is later.
    #[inline(never)]
    pub const fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `earlier` to this moment, at most `u32::MAX` (49 days).
    #[inline(never)]
    pub const fn ms_since(self, earlier: Instant) -> u32 {
        let ms = self.since(earlier) / 1000;
        if ms > u32::MAX as u64 { u32::MAX } else { ms as u32 }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

//! The replay window of one direction of a session.

/// Counters that may arrive out of order.
pub const WINDOW: u64 = 128;

/// Remembers which of the last [`WINDOW`] counters were seen, in the manner of RFC 6479. 24 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// The counter after the largest one seen.
    next: u64,
    /// Bit i of the two words together: counter `next - 1 - i` was seen.
    seen: [u64; 2],
}

impl Window {
    /// Whether a counter is neither seen nor too old to tell.
    pub fn fresh(&self, counter: u64) -> bool {
        let Some(age) = (self.next).checked_sub(counter.saturating_add(1)) else { return counter < u64::MAX };
        age < WINDOW && self.seen[(age / 64) as usize] >> (age % 64) & 1 == 0
    }

    /// Marks a counter, whose packet proved genuine, as seen.
    pub fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            let shift = counter - self.next + 1;
            let [low, high] = self.seen;
            self.seen = match shift {
                0..64 => [low << shift, high << shift | low.checked_shr(64 - shift as u32).unwrap_or(0)],
                64..WINDOW => [0, low << (shift - 64)],
                _ => [0, 0],
            };
            self.next = counter + 1;
        }
        let age = self.next - 1 - counter;
        if age < WINDOW {
            self.seen[(age / 64) as usize] |= 1 << (age % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn s2_each_counter_passes_once_and_old_ones_never() {
        let mut window = Window::default();
        let mut seen = [false; 4096];
        let mut largest = 0u64;
        let mut rng = Rng::new([5; 16]);
        for step in 0..20_000u64 {
            let counter = (step / 5 + u64::from(rng.below(200))).saturating_sub(u64::from(rng.below(300))).min(4095);
            let expected = !seen[counter as usize] && (counter + WINDOW > largest || largest == 0);
            assert_eq!(window.fresh(counter), expected, "counter {counter}, largest {largest}");
            if expected {
                window.mark(counter);
                seen[counter as usize] = true;
                largest = largest.max(counter);
            }
        }
        assert!(!window.fresh(u64::MAX), "the last counter would overflow");
    }
}

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

    /// Marks a counter, whose packet proved genuine, as seen. Returns how many counters it skips: packets that are late or
    /// lost; `None` for one that comes late itself.
    pub fn mark(&mut self, counter: u64) -> Option<u64> {
        let skipped = counter.checked_sub(self.next);
        if let Some(skipped) = skipped {
            let shift = skipped + 1;
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
        skipped
    }
}

/// How many of a peer's packets are lost, from the counters that are skipped. Two means, because each fails alone: what
/// begins now shows in the short one; and where one packet in 50 is lost, the short one often knows of none. 6 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    /// Lost shares in 1/65536, over about the last [`LOSS_PACKETS`]; over all of them while they are fewer.
    shares: [u16; 2],
    /// Packets counted, up to the longest mean.
    packets: u16,
}

/// Packets that the short and the long mean are over.
const LOSS_PACKETS: [u16; 2] = [32, 256];
/// Packets taken to have come before the first one: one that is lost at the beginning says little.
const LOSS_BEFORE: u16 = 4;
/// Of packets lost in a row, at most so many count: who is silent for long was away.
const LOSS_ROW: u64 = 8;

impl Loss {
    /// Takes in what [`Window::mark`] says of a packet.
    pub fn heard(&mut self, skipped: Option<u64>) {
        let Some(skipped) = skipped else {
            // It was counted as lost.
            for (share, over) in self.shares.iter_mut().zip(LOSS_PACKETS) {
                *share = share.saturating_sub(u16::MAX / over.min(self.packets + LOSS_BEFORE));
            }
            return;
        };
        (0..skipped.min(LOSS_ROW)).for_each(|_| self.count(true));
        self.count(false);
    }

    fn count(&mut self, lost: bool) {
        self.packets = (self.packets + 1).min(LOSS_PACKETS[1]);
        for (share, over) in self.shares.iter_mut().zip(LOSS_PACKETS) {
            let over = over.min(self.packets + LOSS_BEFORE);
            // Rounded up, so that it ends at 0.
            *share = if lost { *share + (u16::MAX - *share) / over } else { *share - share.div_ceil(over) };
        }
    }

    /// Lost packets of 1000: the larger of the two means.
    pub fn permille(&self) -> u16 {
        let [short, long] = self.shares;
        ((u32::from(short.max(long)) * 1000) >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn s5_7_loss_is_measured_by_the_counters_that_are_skipped() {
        let mut rng = Rng::new([6; 16]);
        for permille in [0u32, 10, 50, 200, 400] {
            let (mut window, mut loss, mut sum) = (Window::default(), Loss::default(), 0);
            for counter in 0..20_000u64 {
                if !rng.chance(permille, 1000) {
                    loss.heard(window.mark(counter));
                }
                sum += u32::from(loss.permille());
            }
            let mean = sum / 20_000;
            assert!(permille <= mean && mean <= permille * 5 / 4 + 8, "{mean} of {permille}: the larger of two means");
        }
        // What only comes in another order is not lost, and what was lost is forgotten.
        let (mut window, mut loss) = (Window::default(), Loss::default());
        (0..1_000u64).for_each(|i| loss.heard(window.mark(i ^ 1)));
        assert!(loss.permille() < 40, "{loss:?}");
        (1_010..5_000u64).for_each(|i| loss.heard(window.mark(i)));
        assert_eq!(loss.permille(), 0, "{loss:?}");
    }

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

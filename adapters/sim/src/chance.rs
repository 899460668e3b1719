//! What is drawn: streams split off one seed, and the distributions used, in integers only, so that every machine
//! draws the same.

use butter_core::rng::Rng;
use twox_hash::XxHash3_128;

/// A stream of random numbers for one purpose. Streams of different purposes or numbers are independent of each other,
/// so that drawing more in one place changes nothing elsewhere.
pub fn stream(seed: u64, purpose: &str, number: u64) -> Rng {
    let first = XxHash3_128::oneshot_with_seed(seed, purpose.as_bytes()) as u64;
    Rng::new(XxHash3_128::oneshot_with_seed(first, &number.to_le_bytes()).to_le_bytes())
}

/// True in `permille` of 1000 cases; draws nothing when the answer is known.
pub fn permille(rng: &mut Rng, permille: u16) -> bool {
    permille > 0 && rng.chance(permille.into(), 1000)
}

/// A number from 0 to `most`, uniformly; draws nothing when `most` is 0.
pub fn up_to(rng: &mut Rng, most: u32) -> u32 {
    if most == 0 { 0 } else { rng.below(most.saturating_add(1)) }
}

/// An exponentially distributed time with this mean, by von Neumann's method: only comparisons of uniform numbers, so
/// no logarithm, whose last bit differs between machines.
pub fn exponential_us(rng: &mut Rng, mean_us: u64) -> u64 {
    // Runs of falling numbers: a run of even length (counted from its first number) is thrown away and one whole mean is
    // added; the first number of a run of odd length is the fraction.
    for whole in 0u64.. {
        let first = rng.next_u32();
        let mut last = first;
        let mut odd = true;
        loop {
            let next = rng.next_u32();
            if next >= last {
                break;
            }
            last = next;
            odd = !odd;
        }
        if odd {
            let fraction = (u128::from(first) * u128::from(mean_us)) >> 32;
            return whole.saturating_mul(mean_us).saturating_add(fraction as u64);
        }
    }
    unreachable!("each run ends the draw with probability 1 - 1/e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_times_have_their_distribution() {
        let mut rng = stream(1, "test", 0);
        let n = 100_000u64;
        let draws: Vec<u64> = (0..n).map(|_| exponential_us(&mut rng, 1_000_000)).collect();
        let mean = draws.iter().sum::<u64>() / n;
        assert!((990_000..1_010_000).contains(&mean), "mean {mean}");
        // Half are below ln 2, and one in e³ above 3.
        let below = draws.iter().filter(|us| **us < 693_147).count() as u64;
        assert!((49_400..50_600).contains(&below), "median {below}");
        let above = draws.iter().filter(|us| **us > 3_000_000).count() as u64;
        assert!((4_700..5_260).contains(&above), "tail {above}");
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_number() {
        let mut all: Vec<u64> = [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1)]
            .map(|(seed, purpose, number)| stream(seed, purpose, number).next_u64())
            .into();
        all.dedup();
        assert_eq!(all.len(), 4);
        assert_eq!(stream(1, "a", 0).next_u64(), all[0]);
    }
}

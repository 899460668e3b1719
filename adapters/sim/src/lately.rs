//! What was used lately: a map of bounded memory.

use rustc_hash::FxHashMap;

/// A map from hashes to numbers. It holds what was set last, at least half of `limit` entries and at most `limit`; what was
/// not set for longer is forgotten. 18 to 36 bytes per entry.
pub struct Lately {
    young: FxHashMap<u64, u64>,
    old: FxHashMap<u64, u64>,
    limit: usize,
}

impl Lately {
    /// An empty map for at most `limit` entries.
    pub fn new(limit: usize) -> Lately {
        Lately { young: FxHashMap::default(), old: FxHashMap::default(), limit }
    }

    /// Sets the number of a hash. Returns the one before, unless it was forgotten.
    pub fn set(&mut self, hash: u64, number: u64) -> Option<u64> {
        let before = self.young.insert(hash, number);
        // Only what is not young can be old.
        let before = before.or_else(|| self.old.remove(&hash));
        if self.young.len() >= self.limit / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_last_is_there_and_the_rest_is_forgotten() {
        let mut lately = Lately::new(100);
        for number in 0..1000 {
            assert_eq!(lately.set(7, number), number.checked_sub(1), "it is set again all the time");
            assert_eq!(lately.set(100 + number, 1), None);
            assert_eq!(lately.set(100 + number.saturating_sub(20), 1), Some(1));
            assert!(lately.young.len() + lately.old.len() <= 100);
        }
        assert_eq!(lately.set(100, 2), None);
    }
}

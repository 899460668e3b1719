//! Finds a slot by its key's hash.

use super::Store;

/// An open-addressing hash index with linear probing and backward-shift deletion (Knuth, TAOCP 3, §6.4, algorithm R).
///
/// It holds slot numbers, below 2^24 - 1, and 8 bits of each hash, so that an entry that is not meant is seldom looked at:
/// keys stay in the entries, and each look at one costs a cache miss where there are many. Hashes must be hard to choose for
/// a stranger: mix in a secret ([`Index::mix`]). Lent memory should hold at least 1.5 times the slots.
#[derive(Debug)]
pub struct Index<'m> {
    /// Slot number + 1, and above it the lowest 8 bits of the hash; 0 is empty. Never quite full, so that every probe ends.
    cells: Store<'m, u32>,
    len: usize,
}

/// Slots that an index can number.
pub(crate) const SLOTS_MAX: usize = (1 << 24) - 1;

/// What stands in a cell for a slot with this hash. The place in the table comes from the highest bits of the hash.
fn cell_of(hash: u32, slot: u32) -> u32 {
    hash << 24 | (slot + 1)
}

/// The slot in a cell that is not empty.
fn slot_in(cell: u32) -> u32 {
    (cell & 0xff_ffff).wrapping_sub(1)
}

impl<'m> Index<'m> {
    /// An empty index.
    pub fn new(cells: Store<'m, u32>) -> Self {
        Index { cells, len: 0 }
    }

    /// A hash of a key's bytes with a secret: FNV-1a over 8-byte words, finished by a multiply-xorshift.
    #[inline(never)]
    pub fn mix(secret: u64, key: &[u8]) -> u32 {
        let mut hash = secret ^ 0xcbf2_9ce4_8422_2325;
        for chunk in key.chunks(8) {
            hash = (hash ^ word(chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        (hash.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
    }

    /// The slot for which `is` holds among those with this hash.
    pub fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.probe(hash, &mut is)
    }

    // The probes are not generic: every table has its own closures, and one copy of the code is enough.
    #[inline(never)]
    fn probe(&self, hash: u32, is: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        let cells = self.cells.items();
        let mut at = home(hash, cells.len());
        for _ in 0..cells.len() {
            match *cells.get(at)? {
                0 => return None,
                cell if cell >> 24 == hash & 0xff && is(slot_in(cell)) => return Some(slot_in(cell)),
                _ => at = after(at, cells.len()),
            }
        }
        None
    }

    /// Adds a slot that is not in yet. `hash_of` tells the hash of every slot already in. False when there is no room.
    pub fn insert(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) -> bool {
        if self.len * 3 >= self.cells.items().len() * 2 {
            self.regrow(&hash_of);
        }
        self.add(hash, slot)
    }

    #[inline(never)]
    fn add(&mut self, hash: u32, slot: u32) -> bool {
        if self.len + 1 >= self.cells.items().len() || slot as usize >= SLOTS_MAX {
            return false;
        }
        Self::place(self.cells.items_mut(), hash, slot);
        self.len += 1;
        true
    }

    fn place(cells: &mut [u32], hash: u32, slot: u32) {
        let n = cells.len();
        let mut at = home(hash, n);
        while let Some(cell) = cells.get_mut(at) {
            if *cell == 0 {
                *cell = cell_of(hash, slot);
                return;
            }
            at = after(at, n);
        }
    }

    fn regrow(&mut self, hash_of: &dyn Fn(u32) -> u32) {
        #[cfg(feature = "alloc")]
        if let Store::Owned { items, limit } = &mut self.cells {
            let size = (items.len() * 2).clamp(8, (*limit).max(8));
            if size > items.len() {
                let mut cells = alloc::vec![0; size];
                for slot in items.iter().filter(|cell| **cell != 0).map(|cell| slot_in(*cell)) {
                    Self::place(&mut cells, hash_of(slot), slot);
                }
                *items = cells;
            }
        }
        let _ = hash_of;
    }

    /// Takes a slot out. `hash_of` tells the hash of every slot that is in, this one included.
    pub fn remove(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        if self.take(hash, slot, &hash_of).is_some() {
            self.len -= 1;
        }
    }

    #[inline(never)]
    fn take(&mut self, hash: u32, slot: u32, hash_of: &dyn Fn(u32) -> u32) -> Option<()> {
        let cells = self.cells.items_mut();
        let n = cells.len();
        let mut hole = home(hash, n);
        for _ in 0..n {
            match *cells.get(hole)? {
                0 => return None,
                here if here == cell_of(hash, slot) => break,
                _ => hole = after(hole, n),
            }
        }
        if *cells.get(hole)? != cell_of(hash, slot) {
            return None;
        }
        let mut at = hole;
        loop {
            at = after(at, n);
            let here = *cells.get(at)?;
            if here == 0 {
                break;
            }
            // An entry may fill the hole unless its home lies cyclically in (hole, at].
            let home = home(hash_of(slot_in(here)), n);
            if distance(home, at, n) >= distance(hole, at, n) {
                *cells.get_mut(hole)? = here;
                hole = at;
            }
        }
        *cells.get_mut(hole)? = 0;
        Some(())
    }
}

/// Up to 8 bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The first place to look for a hash among `n` places: no division, which small processors lack.
fn home(hash: u32, n: usize) -> usize {
    ((u64::from(hash) * n as u64) >> 32) as usize
}

/// The place after `at`, cyclically.
fn after(at: usize, n: usize) -> usize {
    if at + 1 < n { at + 1 } else { 0 }
}

/// Steps from one place forward to another, cyclically.
fn distance(from: usize, to: usize, n: usize) -> usize {
    if to >= from { to - from } else { to + n - from }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn behaves_as_a_set() {
        let mut memory = [0; 64];
        let mut index = Index::new(Store::Lent(&mut memory));
        let hash_of = |slot: u32| (slot / 3) << 26; // many collisions
        let mut model = [false; 40];
        let mut rng = Rng::new([3; 16]);
        for _ in 0..20_000 {
            let slot = rng.below(40);
            if model[slot as usize] {
                index.remove(hash_of(slot), slot, hash_of);
            } else {
                assert!(index.insert(hash_of(slot), slot, hash_of));
            }
            model[slot as usize] ^= true;
            let probe = rng.below(40);
            let found = index.find(hash_of(probe), |s| s == probe);
            assert_eq!(found.is_some(), model[probe as usize]);
        }
    }

    #[test]
    fn a_full_index_refuses_and_ends() {
        let mut memory = [0; 4];
        let mut index = Index::new(Store::Lent(&mut memory));
        assert!((0..3).all(|slot| index.insert(0, slot, |_| 0)));
        assert!(!index.insert(0, 3, |_| 0));
        assert_eq!(index.find(0, |_| false), None);
    }
}

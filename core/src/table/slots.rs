//! Slots with generations: a handle to what is gone finds nothing, even after the slot is used again.

use core::fmt;

use super::Store;

/// Names an entry of one [`Slots`]. 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Handle {
    /// Which slot.
    pub index: u16,
    /// Which use of the slot.
    pub generation: u16,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// One place of a [`Slots`].
#[derive(Debug)]
pub struct Slot<T> {
    generation: u16,
    /// Of a free slot: the next free one + 1, or 0.
    next_free: u32,
    value: Option<T>,
}

impl<T> Slot<T> {
    /// A slot never used.
    pub const EMPTY: Self = Slot { generation: 0, next_free: 0, value: None };
}

/// A table of at most 65,536 entries with O(1) insert, look-up and removal.
/// When it is full, [`Slots::insert`] gives the value back: the owner decides what to do.
#[derive(Debug)]
pub struct Slots<'m, T> {
    store: Store<'m, Slot<T>>,
    /// Slots below this index have been used.
    used: u32,
    /// The first free slot below `used`, + 1; 0 for none.
    free: u32,
    len: u32,
}

impl<'m, T> Slots<'m, T> {
    /// An empty table over `store`.
    pub fn new(store: Store<'m, Slot<T>>) -> Self {
        Slots { store, used: 0, free: 0, len: 0 }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most entries it can hold.
    pub fn limit(&self) -> usize {
        self.store.limit().min(1 << 16)
    }

    /// Whether an insert would be refused.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    /// Adds an entry, or gives it back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<Handle, T> {
        let index = if self.free != 0 {
            let index = self.free - 1;
            if let Some(slot) = self.store.items().get(index as usize) {
                self.free = slot.next_free;
            }
            index
        } else if self.used as usize >= self.limit() {
            return Err(value);
        } else {
            if self.used as usize >= self.store.items().len() {
                self.store.grow(|| Slot::EMPTY);
            }
            self.used += 1;
            self.used - 1
        };
        let Some(slot) = self.store.items_mut().get_mut(index as usize) else {
            return Err(value);
        };
        slot.value = Some(value);
        self.len += 1;
        Ok(Handle { index: index as u16, generation: slot.generation })
    }

    /// Removes and returns an entry.
    #[inline(never)]
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let slot = self.store.items_mut().get_mut(handle.index as usize)?;
        if slot.generation != handle.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        self.free = u32::from(handle.index) + 1;
        self.len -= 1;
        Some(value)
    }

    // Looked up from everywhere: a call is a third of the code that the look-up is.
    /// Reads an entry.
    #[inline(never)]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.store.items().get(handle.index as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == handle.generation)
    }

    /// Changes an entry.
    #[inline(never)]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.store.items_mut().get_mut(handle.index as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == handle.generation)
    }

    /// The handle of the entry in slot `index`, if one is there.
    #[inline(never)]
    pub fn handle_at(&self, index: u16) -> Option<Handle> {
        let slot = self.store.items().get(index as usize)?;
        slot.value.as_ref().map(|_| Handle { index, generation: slot.generation })
    }

    /// Reads the entry in slot `index`.
    #[inline(never)]
    pub fn at(&self, index: u16) -> Option<&T> {
        self.store.items().get(index as usize)?.value.as_ref()
    }

    /// Changes the entry in slot `index`.
    #[inline(never)]
    pub fn at_mut(&mut self, index: u16) -> Option<&mut T> {
        self.store.items_mut().get_mut(index as usize)?.value.as_mut()
    }

    /// Slots that were ever used: the bound of a scan by index.
    pub fn used(&self) -> u16 {
        self.used.min(u32::from(u16::MAX)) as u16
    }

    /// All entries in the order of their slots. Cost: the most entries ever held.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.store.items().iter().take(self.used as usize).enumerate().filter_map(|(i, slot)| {
            let handle = Handle { index: i as u16, generation: slot.generation };
            slot.value.as_ref().map(|value| (handle, value))
        })
    }

    /// All entries in the order of their slots, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut T)> {
        let used = self.used as usize;
        self.store.items_mut().iter_mut().take(used).enumerate().filter_map(|(i, slot)| {
            let handle = Handle { index: i as u16, generation: slot.generation };
            slot.value.as_mut().map(|value| (handle, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_handles_find_nothing() {
        let mut memory = [const { Slot::EMPTY }; 2];
        let mut slots = Slots::new(Store::Lent(&mut memory));
        let a = slots.insert('a').unwrap();
        let b = slots.insert('b').unwrap();
        assert_eq!(slots.insert('c'), Err('c'));
        assert_eq!(slots.remove(a), Some('a'));
        let c = slots.insert('c').unwrap();
        assert_eq!(c.index, a.index);
        assert_eq!(slots.get(a), None);
        assert_eq!(slots.remove(a), None);
        assert_eq!((slots.get(b), slots.get(c)), (Some(&'b'), Some(&'c')));
        assert_eq!(slots.iter().count(), 2);
    }
}

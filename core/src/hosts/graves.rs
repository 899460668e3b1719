//! Who was found dead when, so that old news revives nobody.

use crate::table::Store;

/// That a host was found dead. 8 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Grave {
    /// Secret hash of its id.
    hash: u32,
    /// When it was found dead; 0 is an empty place.
    died_s: u32,
}

impl Grave {
    /// A place not used yet.
    pub const EMPTY: Self = Grave { hash: 0, died_s: 0 };
}

/// A cache by hash. On the heap, it takes its memory when the first host is found dead. Policy when a place is taken: the later
/// death stays.
#[derive(Debug)]
pub(super) struct Graves<'m> {
    graves: Store<'m, Grave>,
}

impl<'m> Graves<'m> {
    pub fn new(graves: Store<'m, Grave>) -> Self {
        Graves { graves }
    }

    fn place(&mut self, hash: u32) -> Option<&mut Grave> {
        let places = self.graves.items_mut();
        let at = (hash as usize).checked_rem(places.len())?;
        places.get_mut(at)
    }

    pub fn bury(&mut self, hash: u32, died_s: u32) {
        // All at once: where a place is must not depend on how far a store on the heap has grown, or the same inputs would
        // be answered otherwise than with lent memory.
        while self.graves.grow(|| Grave::EMPTY) {}
        if let Some(grave) = self.place(hash) {
            *grave = Grave { hash, died_s };
        }
    }

    /// When the host with this hash was last found dead, as far as we remember.
    pub fn died_s(&self, hash: u32) -> Option<u32> {
        let places = self.graves.items();
        let grave = places.get((hash as usize).checked_rem(places.len())?)?;
        (grave.hash == hash && grave.died_s != 0).then_some(grave.died_s)
    }
}

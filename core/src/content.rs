//! The index of what is held here: which items, in which seats, which of their blocks (PROTOCOL §6.1).

use crate::id::Key;
use crate::node::Env;
use crate::storage::BlockRef;
use crate::table::{Handle, Index, Store};

/// What an item is. The number is hashed before its bytes to make its key, and is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Up to 4,096 bytes of an object.
    Block,
    /// A list of the hashes of up to 127 blocks, and the blocks themselves.
    Extent,
    /// A list of the keys of up to 127 extents or trees.
    Tree,
}

/// What everybody needs to know of an item to hold it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ItemInfo {
    /// Its key.
    pub key: Key,
    /// What it is.
    pub kind: Kind,
    /// How many blocks it has, its own bytes included: 1 to 128.
    pub blocks: u8,
    /// Bytes of all its blocks together.
    pub bytes: u32,
    /// Seconds until it expires.
    pub lease_s: u32,
}

impl ItemInfo {
    /// Whether the numbers can be true of any item.
    pub fn plausible(&self) -> bool {
        let most = u32::from(self.blocks) * crate::wire::BLOCK as u32;
        (1..=128).contains(&self.blocks)
            && (self.kind == Kind::Extent || self.blocks == 1)
            && self.bytes <= most
            && self.lease_s > 0
    }
}

/// Items that a block of a seat is made for.
pub(crate) const ITEMS_PER_BLOCK: u32 = 3;

/// Bytes of a seat that an item takes: at least a third of a block, so that no member's index is full before its seat, and
/// all members of a group can hold the same items (§5.1).
pub(crate) fn room_of(bytes: u32) -> u64 {
    bytes.max(crate::wire::BLOCK as u32 / ITEMS_PER_BLOCK).into()
}

/// Seconds without a block after which an item that is not all there is forgotten.
const ABANDONED_S: u16 = 120;

/// Better-ranked groups that can be told of one item.
pub(crate) const TOLD: usize = 5;

/// One item held. 80 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Bit i: block i is stored.
    have: u128,
    /// Its key.
    key: Key,
    /// The seat it is in.
    pub(crate) seat: Handle,
    /// Bytes of all its blocks together.
    pub(crate) bytes: u32,
    /// When it expires, in seconds since the node's start.
    expires_s: u32,
    /// The next item of the seat, or the next free place, + 1; 0 is none.
    next: u32,
    /// The item before it in the seat, + 1; 0 is none.
    prev: u32,
    /// Which better-ranked groups were told of it, in 16 bits each; 0 is none. While blocks are missing nobody is told, and
    /// the first is the second, modulo 2^16, in which a block came last.
    pub(crate) told: [u16; TOLD],
    /// What it is.
    pub(crate) kind: Kind,
    /// How many blocks it has, its own bytes included; 0 is a free place.
    pub(crate) blocks: u8,
}

/// Whether a new item was all there already; then all may be told of it.
fn place_is_whole(items: &mut [Item], at: u32) -> bool {
    let whole = items.get_mut(at as usize).filter(|item| item.complete());
    whole.map(|item| item.told = [0; TOLD]).is_some()
}

impl Item {
    /// Whether it is not all there, and nobody has brought a block for long: the put that began it was given up, or went
    /// elsewhere. It must not take a seat's room for ever.
    fn abandoned(&self, now_s: u32) -> bool {
        !self.complete() && (now_s as u16).wrapping_sub(self.told[0]) >= ABANDONED_S
    }

    /// A free place.
    pub const EMPTY: Self = Item {
        have: 0,
        key: Key([0; 32]),
        seat: Handle { index: 0, generation: 0 },
        bytes: 0,
        expires_s: 0,
        next: 0,
        prev: 0,
        told: [0; TOLD],
        kind: Kind::Block,
        blocks: 0,
    };

    /// Its key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether all its blocks are stored.
    #[inline(never)]
    pub fn complete(&self) -> bool {
        self.blocks > 0 && self.have.count_ones() == u32::from(self.blocks)
    }

    /// Whether block `index` is stored.
    #[inline(never)]
    pub fn has(&self, index: u8) -> bool {
        index < self.blocks && self.have & 1 << index != 0
    }

    /// The first block that is not stored.
    #[inline(never)]
    pub fn first_missing(&self) -> Option<u8> {
        let first = self.have.trailing_ones() as u8;
        (first < self.blocks).then_some(first)
    }

    /// The item as it is told to others.
    pub(crate) fn info(&self, now_s: u32) -> ItemInfo {
        let lease_s = self.expires_s.saturating_sub(now_s);
        ItemInfo { key: self.key, kind: self.kind, blocks: self.blocks, bytes: self.bytes, lease_s }
    }
}

/// The items of one seat, and their sum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ItemSet {
    /// The first item + 1; 0 is none.
    first: u32,
    /// Items, incomplete ones included.
    pub items: u32,
    /// Bytes promised to them.
    pub bytes: u64,
    /// Complete items.
    pub complete: u32,
    /// XOR of the first 8 bytes of the keys of complete items.
    pub fingerprint: [u8; 8],
}

impl ItemSet {
    fn toggle(&mut self, key: &Key) {
        for (sum, byte) in self.fingerprint.iter_mut().zip(key.0) {
            *sum ^= byte;
        }
    }
}

const _: () = assert!(size_of::<Item>() <= 80);

/// All items held here. Policy when full: refuse.
#[derive(Debug)]
pub(crate) struct Content<'m> {
    items: Store<'m, Item>,
    index: Index<'m>,
    /// Places below this one have been used.
    used: u32,
    /// The first free place below `used`, + 1; 0 is none.
    free: u32,
    len: u32,
}

impl<'m> Content<'m> {
    pub fn new(items: Store<'m, Item>, index: Store<'m, u32>) -> Self {
        Content { items, index: Index::new(index), used: 0, free: 0, len: 0 }
    }

    /// The first place of this key for which `is` holds. A key may be in several seats, once in each.
    fn find(&self, env: &Env<'_>, key: &Key, is: impl Fn(&Item) -> bool) -> Option<u32> {
        let wanted = |at: u32| self.at(at).is_some_and(|item| item.key == *key && is(item));
        self.index.find(Index::mix(env.index_secret, &key.0), wanted)
    }

    /// The item at a place, or a free place; `None` behind the last one used.
    pub fn at(&self, at: u32) -> Option<&Item> {
        self.items.items().get(at as usize).filter(|_| at < self.used)
    }

    /// Remembers who was told of the item at a place.
    pub fn set_told(&mut self, at: u32, told: [u16; TOLD]) {
        if let Some(item) = self.items.items_mut().get_mut(at as usize) {
            item.told = told;
        }
    }

    /// Items held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The item with this key, complete if any seat has it complete.
    pub fn get(&self, env: &Env<'_>, key: &Key) -> Option<&Item> {
        self.at(self.find(env, key, Item::complete).or_else(|| self.find(env, key, |_| true))?)
    }

    /// The item for which a block is being stored: one that lacks it, else any with this key.
    pub fn awaiting(&self, env: &Env<'_>, block: &BlockRef) -> Option<&Item> {
        let lacks = self.find(env, &block.key, |item| !item.has(block.index));
        self.at(lacks.or_else(|| self.find(env, &block.key, |_| true))?)
    }

    /// The item with this key in one seat, complete or not.
    pub fn get_in(&self, env: &Env<'_>, key: &Key, seat: Handle) -> Option<&Item> {
        self.at(self.find(env, key, |item| item.seat == seat)?)
    }

    /// Whether this block is stored here.
    pub fn has(&self, env: &Env<'_>, at: BlockRef) -> bool {
        self.get(env, &at.key).is_some_and(|item| item.has(at.index))
    }

    /// Takes an item into a seat's set, without any of its blocks yet, unless another seat has some of them. False when the
    /// table is full. The key must not be held in this seat yet.
    pub fn insert(&mut self, env: &Env<'_>, set: &mut ItemSet, seat: Handle, info: &ItemInfo) -> bool {
        let at = if self.free != 0 {
            self.free - 1
        } else {
            if self.used as usize >= self.items.items().len() {
                self.items.grow(|| Item::EMPTY);
            }
            if self.used as usize >= self.items.items().len() {
                return false;
            }
            self.used
        };
        let elsewhere = self.get(env, &info.key).map_or(0, |item| item.have);
        let items = self.items.items();
        let hash_of = |at: u32| items.get(at as usize).map_or(0, |item| Index::mix(env.index_secret, &item.key.0));
        if !self.index.insert(Index::mix(env.index_secret, &info.key.0), at, hash_of) {
            return false;
        }
        if at == self.used {
            self.used += 1;
        } else {
            self.free = items.get(at as usize).map_or(0, |item| item.next);
        }
        let items = self.items.items_mut();
        let Some(place) = items.get_mut(at as usize) else { return false };
        *place = Item {
            have: elsewhere,
            key: info.key,
            seat,
            bytes: info.bytes,
            expires_s: env.seconds().saturating_add(info.lease_s),
            next: set.first,
            prev: 0,
            told: [env.seconds() as u16, 0, 0, 0, 0],
            kind: info.kind,
            blocks: info.blocks,
        };
        if let Some(next) = set.first.checked_sub(1).and_then(|next| items.get_mut(next as usize)) {
            next.prev = at + 1;
        }
        set.first = at + 1;
        set.items += 1;
        set.bytes += room_of(info.bytes);
        self.len += 1;
        if place_is_whole(items, at) {
            Self::count(set, &info.key);
        }
        true
    }

    /// A block of an item is stored, whichever seats it is in: returns one seat in which that made it complete, so that the caller
    /// counts it with [`Content::count`] and asks again.
    pub fn stored(&mut self, env: &Env<'_>, key: &Key, index: u8) -> Option<Handle> {
        while let Some(at) = self.find(env, key, |item| index < item.blocks && !item.has(index)) {
            let item = self.items.items_mut().get_mut(at as usize)?;
            item.have |= 1 << index;
            item.told[0] = env.seconds() as u16;
            if item.complete() {
                item.told = [0; TOLD];
                return Some(item.seat);
            }
        }
        None
    }

    /// Counts a completed item in its seat's set.
    pub fn count(set: &mut ItemSet, key: &Key) {
        set.complete += 1;
        set.toggle(key);
    }

    /// Takes an item out of a seat's set. Its bytes may still be needed: see [`Content::get`].
    pub fn remove(&mut self, env: &Env<'_>, set: &mut ItemSet, key: &Key, seat: Handle) -> bool {
        let Some(at) = self.find(env, key, |item| item.seat == seat) else { return false };
        let items = self.items.items();
        let Some(item) = items.get(at as usize).copied() else { return false };
        let hash_of = |at: u32| items.get(at as usize).map_or(0, |item| Index::mix(env.index_secret, &item.key.0));
        self.index.remove(hash_of(at), at, hash_of);
        let items = self.items.items_mut();
        match item.prev.checked_sub(1) {
            Some(prev) => {
                if let Some(prev) = items.get_mut(prev as usize) {
                    prev.next = item.next;
                }
            }
            None => set.first = item.next,
        }
        if let Some(next) = item.next.checked_sub(1).and_then(|next| items.get_mut(next as usize)) {
            next.prev = item.prev;
        }
        if let Some(place) = items.get_mut(at as usize) {
            *place = Item { next: self.free, ..Item::EMPTY };
        }
        self.free = at + 1;
        self.len -= 1;
        set.items -= 1;
        set.bytes -= room_of(item.bytes);
        if item.complete() {
            set.complete -= 1;
            set.toggle(key);
        }
        true
    }

    /// The items of a set, newest first.
    pub fn iter(&self, set: &ItemSet) -> impl Iterator<Item = (&Key, &Item)> {
        let mut next = set.first;
        core::iter::from_fn(move || {
            let item = self.at(next.checked_sub(1)?)?;
            next = item.next;
            Some((&item.key, item))
        })
    }

    /// An item of the set.
    pub fn first(&self, set: &ItemSet) -> Option<Key> {
        self.iter(set).next().map(|(key, _)| *key)
    }

    /// An item that has expired, among `n` places from `from` on; and where to go on.
    pub fn expired(&self, now_s: u32, from: u32, n: u32) -> (Option<(Key, Handle)>, u32) {
        let from = if from >= self.used { 0 } else { from };
        let to = (from + n).min(self.used);
        for at in from..to {
            let over = |item: &&Item| item.expires_s <= now_s || item.abandoned(now_s);
            if let Some(item) = self.at(at).filter(|item| item.blocks > 0).filter(over) {
                return (Some((item.key, item.seat)), at + 1);
            }
        }
        (None, to)
    }
}

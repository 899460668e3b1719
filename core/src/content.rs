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

/// One item held. 80 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Its key; all zeros is a free place.
    pub key: Key,
    /// Bit i: block i is stored.
    pub have: u128,
    /// The seat it is in.
    pub seat: Handle,
    /// Bytes of all its blocks together.
    pub bytes: u32,
    /// When it expires, in seconds of the node's clock.
    pub expires_s: u32,
    /// What it is.
    pub kind: Kind,
    /// How many blocks it has, its own bytes included: 1 to 128.
    pub blocks: u8,
}

impl Item {
    /// A free place.
    pub const EMPTY: Self = Item {
        key: Key([0; 32]),
        have: 0,
        seat: Handle { index: 0, generation: 0 },
        bytes: 0,
        expires_s: 0,
        kind: Kind::Block,
        blocks: 0,
    };

    /// Whether all its blocks are stored.
    pub fn complete(&self) -> bool {
        self.have.count_ones() == u32::from(self.blocks)
    }
}

/// All items held here.
#[derive(Debug)]
pub(crate) struct Content<'m> {
    _items: Store<'m, Item>,
    _index: Index<'m>,
}

impl<'m> Content<'m> {
    pub fn new(items: Store<'m, Item>, index: Store<'m, u32>) -> Self {
        Content { _items: items, _index: Index::new(index) }
    }

    /// The item with this key, complete or not.
    pub fn get(&self, _env: &Env<'_>, _key: &Key) -> Option<&Item> {
        None
    }

    /// Whether this block is stored here.
    pub fn has(&self, env: &Env<'_>, at: BlockRef) -> bool {
        self.get(env, &at.key).is_some_and(|item| item.have & 1 << (at.index & 127) != 0)
    }
}

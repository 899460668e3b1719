//! What an object is made of (PROTOCOL §6.1): blocks, extents and trees, and how their bytes are checked.
//!
//! | kind | number | own bytes |
//! |---|---|---|
//! | block | 0 | 0 to 4,096 bytes of the object |
//! | extent | 1 | bytes of data (u32 LE), four zero bytes, then the key of each of its 1 to 127 data blocks (32 each) |
//! | tree | 2 | bytes of data (u64 LE, its top byte being the level, 1 to 4), then the key of each of its 1 to 127 children (32 each) |
//!
//! A key is hash(number ‖ own bytes) with the first bit set for an extent and clear for others, so that no kind can be taken for another. An object of up to 4,096 bytes is one block;
//! up to 520,192 bytes one extent; above that a tree of the least level that holds it. All children of a level-1 tree are
//! extents, those of a level-n tree are trees of level n − 1; all but the last are full. The object's id is its root's key.

use crate::content::Kind;
use crate::crypto::Crypto;
use crate::id::Key;
use crate::wire::BLOCK;

/// Children of a tree, and data blocks of an extent, at most.
pub(crate) const FANOUT: usize = 127;
/// Bytes before the keys of an extent's or tree's own bytes.
pub(crate) const HEADER: usize = 8;
/// Bytes of data in a full extent.
pub(crate) const EXTENT_BYTES: u64 = (FANOUT * BLOCK) as u64;
/// The highest level of a tree.
pub(crate) const LEVEL_MAX: u8 = 4;
/// The longest object, in bytes.
pub const LENGTH_MAX: u64 = 1 << 40;

/// Own bytes of an extent or tree with `n` entries.
pub(crate) const fn list_bytes(n: usize) -> usize {
    HEADER + 32 * n
}

/// Bytes of the object under one child of a tree of this level.
pub(crate) const fn child_bytes(level: u8) -> u64 {
    let mut bytes = EXTENT_BYTES;
    let mut at = 1;
    while at < level {
        bytes *= FANOUT as u64;
        at += 1;
    }
    bytes
}

const _: () = assert!(child_bytes(LEVEL_MAX) * FANOUT as u64 >= LENGTH_MAX && list_bytes(FANOUT) <= BLOCK);

/// The key of an item. Its first bit tells an extent, so that who looks for an item knows which groups rank best for it.
pub(crate) fn key_of(crypto: &dyn Crypto, kind: Kind, own: &[u8]) -> Key {
    let mut hash = crypto.hash(&[&[kind as u8], own]);
    hash[0] = hash[0] & 0x7f | u8::from(kind == Kind::Extent) << 7;
    Key(hash)
}

/// Whether these are the own bytes of the item with this key, and are well-formed for its kind.
pub(crate) fn verify(crypto: &dyn Crypto, kind: Kind, key: &Key, own: &[u8]) -> bool {
    let formed = match kind {
        Kind::Block => own.len() <= BLOCK,
        Kind::Extent | Kind::Tree => List::read(kind, own).is_some(),
    };
    formed && key_of(crypto, kind, own) == *key
}

/// A kind from its number.
pub(crate) fn kind_of(number: u8) -> Option<Kind> {
    [Kind::Block, Kind::Extent, Kind::Tree].into_iter().find(|kind| *kind as u8 == number)
}

/// How an object of some length is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub length: u64,
    /// Blocks of data; one even of an empty object.
    pub blocks: u32,
    /// Extents; none when the object is one block.
    pub extents: u32,
    /// Levels of trees above the extents.
    pub levels: u8,
}

impl Layout {
    /// `None`: longer than an object can be.
    pub fn of(length: u64) -> Option<Layout> {
        if length > LENGTH_MAX {
            return None;
        }
        let blocks = length.div_ceil(BLOCK as u64).max(1) as u32;
        let extents = if length <= BLOCK as u64 { 0 } else { length.div_ceil(EXTENT_BYTES) as u32 };
        let mut levels = 0;
        while length > BLOCK as u64 && child_bytes(levels + 1) < length {
            levels += 1;
        }
        Some(Layout { length, blocks, extents, levels })
    }

    /// Data blocks of an extent.
    pub fn extent_blocks(&self, extent: u32) -> u8 {
        let before = extent.saturating_mul(FANOUT as u32);
        self.blocks.saturating_sub(before).min(FANOUT as u32) as u8
    }

    /// Bytes of a data block.
    pub fn block_bytes(&self, block: u32) -> usize {
        self.length.saturating_sub(u64::from(block) * BLOCK as u64).min(BLOCK as u64) as usize
    }

    /// Whether the tree of this level above `extent` is complete once that extent is.
    pub fn closes(&self, level: u8, extent: u32) -> bool {
        let next = u64::from(extent) + 1;
        next >= u64::from(self.extents) || (next * EXTENT_BYTES).is_multiple_of(child_bytes(level + 1))
    }

    /// Bytes under the tree of this level that `extent` is in, up to and with that extent. Level 0: the extent itself.
    pub fn span(&self, level: u8, extent: u32) -> u64 {
        let whole = child_bytes(level + 1);
        let at = u64::from(extent) * EXTENT_BYTES;
        (at + EXTENT_BYTES).min(self.length).saturating_sub(at - at % whole.max(1))
    }

    /// Entries of the fullest tree of this level.
    pub fn entries(&self, level: u8) -> usize {
        self.length.div_ceil(child_bytes(level)).clamp(1, FANOUT as u64) as usize
    }
}

/// Writes the header of an extent's (level 0) or tree's own bytes.
pub(crate) fn write_header(own: &mut [u8], level: u8, length: u64) {
    let header = length | u64::from(level) << 56;
    if let Some(place) = own.get_mut(..HEADER) {
        place.copy_from_slice(&header.to_le_bytes());
    }
}

/// Writes one key into an extent's or tree's own bytes.
pub(crate) fn write_entry(own: &mut [u8], at: usize, key: &Key) {
    if let Some(place) = own.get_mut(list_bytes(at)..list_bytes(at + 1)) {
        place.copy_from_slice(&key.0);
    }
}

/// The own bytes of an extent or tree, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct List<'a> {
    /// 0: an extent.
    pub level: u8,
    /// Bytes of the object under it.
    pub length: u64,
    entries: &'a [u8],
}

impl<'a> List<'a> {
    /// `None`: malformed.
    pub fn read(kind: Kind, own: &'a [u8]) -> Option<List<'a>> {
        let (header, entries) = own.split_first_chunk::<HEADER>()?;
        let header = u64::from_le_bytes(*header);
        let (level, length) = ((header >> 56) as u8, header & ((1 << 56) - 1));
        let child = match (kind, level) {
            (Kind::Extent, 0) => BLOCK as u64,
            (Kind::Tree, 1..=LEVEL_MAX) => child_bytes(level),
            _ => return None,
        };
        let formed = entries.len() % 32 == 0
            && (1..=FANOUT).contains(&(entries.len() / 32))
            && length.div_ceil(child) == (entries.len() / 32) as u64
            && length <= LENGTH_MAX;
        formed.then_some(List { level, length, entries })
    }

    /// Entries: 1 to 127.
    pub fn len(&self) -> usize {
        self.entries.len() / 32
    }

    /// The key of a data block or child.
    pub fn get(&self, at: usize) -> Option<Key> {
        let bytes = self.entries.get(32 * at..32 * (at + 1))?;
        Some(Key(bytes.try_into().ok()?))
    }
}

/// Blocks and bytes of the item with these own bytes: what an index entry says of it.
pub(crate) fn item_size(kind: Kind, own: &[u8]) -> Option<(u8, u32)> {
    match kind {
        Kind::Block | Kind::Tree => Some((1, own.len() as u32)),
        Kind::Extent => {
            let list = List::read(kind, own)?;
            Some((1 + list.len() as u8, own.len() as u32 + list.length as u32))
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec;

    fn layout(length: u64) -> (u32, u32, u8) {
        let layout = Layout::of(length).unwrap();
        (layout.blocks, layout.extents, layout.levels)
    }

    #[test]
    fn s6_1_lengths_have_one_layout() {
        assert_eq!(layout(0), (1, 0, 0));
        assert_eq!(layout(1), (1, 0, 0));
        assert_eq!(layout(4096), (1, 0, 0));
        assert_eq!(layout(4097), (2, 1, 0));
        assert_eq!(layout(520_192), (127, 1, 0));
        assert_eq!(layout(520_193), (128, 2, 1));
        assert_eq!(layout(1 << 30), (1 << 18, 2065, 2));
        assert_eq!(layout(LENGTH_MAX), (1 << 28, 2_113_666, 4));
        assert_eq!(Layout::of(LENGTH_MAX + 1), None);
    }

    #[test]
    fn s6_1_a_gibibyte_is_17_trees_and_a_root() {
        let layout = Layout::of(1 << 30).unwrap();
        let (mut trees, mut roots, mut bytes) = (0, 0, 0);
        for extent in 0..layout.extents {
            bytes += layout.span(0, extent);
            trees += u32::from(layout.closes(1, extent));
            roots += u32::from(layout.closes(2, extent));
        }
        assert_eq!((trees, roots, bytes), (17, 1, 1 << 30));
        assert_eq!(layout.span(1, 126), 127 * EXTENT_BYTES);
        assert_eq!(layout.span(1, 127), EXTENT_BYTES);
        assert_eq!(layout.span(2, 2064), 1 << 30);
        assert_eq!((layout.entries(1), layout.entries(2)), (127, 17));
        assert_eq!(layout.extent_blocks(0), 127);
        assert_eq!((0..layout.extents).map(|e| u32::from(layout.extent_blocks(e))).sum::<u32>(), layout.blocks);
    }

    #[test]
    fn s6_1_lists_are_read_as_written() {
        for (kind, level, length, n) in [
            (Kind::Extent, 0, 4097u64, 2usize),
            (Kind::Extent, 0, EXTENT_BYTES, 127),
            (Kind::Tree, 1, EXTENT_BYTES + 1, 2),
            (Kind::Tree, 2, 1 << 30, 17),
        ] {
            let mut own = vec![0; list_bytes(n)];
            write_header(&mut own, level, length);
            for at in 0..n {
                write_entry(&mut own, at, &Key([at as u8; 32]));
            }
            let list = List::read(kind, &own).unwrap();
            assert_eq!((list.level, list.length, list.len()), (level, length, n));
            assert_eq!(list.get(n - 1), Some(Key([n as u8 - 1; 32])));
            assert_eq!(list.get(n), None);
            let other = if kind == Kind::Tree { Kind::Extent } else { Kind::Tree };
            assert_eq!(List::read(other, &own), None, "no kind is taken for another");
            assert_eq!(List::read(kind, &own[..own.len() - 1]), None);
            assert_eq!(List::read(kind, &own[..own.len() - 32]), None);
        }
        assert_eq!(List::read(Kind::Extent, &[0; HEADER]), None);
        assert_eq!(List::read(Kind::Tree, &[]), None);
    }
}

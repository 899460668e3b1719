//! The bodies of LOCATE, STORE and FETCH (PROTOCOL §6.2 to §6.4).
//!
//! LOCATE's are postcard values. STORE's request and FETCH's answer are the block's bytes *followed* by a fixed trailer, so that
//! what is read from storage is sent from where it was read, and what is received is stored from where it was received.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::object::kind_of;
use crate::addr::Addr;
use crate::content::Kind;
use crate::id::{GroupId, Key, NodeId};
use crate::wire::GroupHint;

/// Members told in one answer to LOCATE.
pub(crate) const MEMBERS_TOLD: usize = 8;
/// Better-ranked groups told in one answer to LOCATE.
pub(crate) const HINTS_TOLD: usize = 3;

/// LOCATE's request: who has this item, or should?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Locate {
    pub key: Key,
    /// Bytes of all its blocks, to tell groups with room; 0 when not known.
    pub bytes: u32,
    /// Whether it is to be put there.
    pub put: bool,
    /// The group that the receiver is asked as a member of, if any.
    pub group: Option<GroupId>,
}

/// A group that the answerer of LOCATE is a member of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Here {
    pub group: GroupId,
    /// Seat size: 8 · 8^seat blocks.
    pub seat: u8,
    /// Members wanted.
    pub wanted: u8,
    /// Whether the item fits.
    pub room: bool,
    /// Whether the answerer holds the whole item.
    pub holds: bool,
    /// Whether a recruit may still come.
    pub recruiting: bool,
}

/// LOCATE's answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Located {
    /// Where the answerer holds the item; else, for a put, the best-ranked group of the answerer's that has room.
    pub here: Option<Here>,
    /// The other live members of that group.
    pub members: Vec<(NodeId, Option<Addr>), MEMBERS_TOLD>,
    /// Whether the answerer is not in the group that it was asked as a member of.
    pub stranger: bool,
    /// Whether the first of `hints` is a group that is said to hold the item, whatever its rank (§6.5).
    pub pointed: bool,
    /// Groups known to the answerer that rank best for the key.
    pub hints: Vec<GroupHint, HINTS_TOLD>,
}

/// What travels behind a block in a STORE request. 59 bytes: key (32), group (16), kind (1), blocks (1), index (1), bytes
/// (u32 LE), lease in seconds (u32 LE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoreTrailer {
    pub key: Key,
    /// To which of the receiver's groups the item goes.
    pub group: GroupId,
    pub kind: Kind,
    /// Blocks of the item, its own bytes included.
    pub blocks: u8,
    /// Which of them this is.
    pub index: u8,
    /// Bytes of all its blocks.
    pub bytes: u32,
    /// Seconds from now for which it is to be kept.
    pub lease_s: u32,
}

/// Bytes of a [`StoreTrailer`].
pub(crate) const STORE_TRAILER: usize = 59;

impl StoreTrailer {
    pub fn write(&self) -> [u8; STORE_TRAILER] {
        let mut out = [0; STORE_TRAILER];
        out[..32].copy_from_slice(&self.key.0);
        out[32..48].copy_from_slice(&self.group.0);
        out[48] = self.kind as u8;
        out[49] = self.blocks;
        out[50] = self.index;
        out[51..55].copy_from_slice(&self.bytes.to_le_bytes());
        out[55..].copy_from_slice(&self.lease_s.to_le_bytes());
        out
    }

    /// Splits a body into the block's bytes and the trailer; `None`: malformed.
    pub fn read(body: &[u8]) -> Option<(&[u8], Self)> {
        let (data, t) = body.split_last_chunk::<STORE_TRAILER>()?;
        let trailer = StoreTrailer {
            key: Key(t[..32].try_into().ok()?),
            group: GroupId(t[32..48].try_into().ok()?),
            kind: kind_of(t[48])?,
            blocks: t[49],
            index: t[50],
            bytes: u32::from_le_bytes(t[51..55].try_into().ok()?),
            lease_s: u32::from_le_bytes(t[55..].try_into().ok()?),
        };
        let formed = trailer.index < trailer.blocks
            && trailer.blocks <= 128
            && (trailer.kind == Kind::Extent || trailer.blocks == 1)
            && data.len() <= crate::wire::BLOCK;
        formed.then_some((data, trailer))
    }
}

/// FETCH's request: key (32), index (1).
pub(crate) const FETCH_REQUEST: usize = 33;

/// Writes a FETCH request.
pub(crate) fn write_fetch(key: &Key, index: u8) -> [u8; FETCH_REQUEST] {
    let mut out = [index; FETCH_REQUEST];
    out[..32].copy_from_slice(&key.0);
    out
}

/// Reads a FETCH request.
pub(crate) fn read_fetch(body: &[u8]) -> Option<(Key, u8)> {
    let (key, rest) = body.split_first_chunk::<32>()?;
    let index = *rest.first()?;
    (index < 128).then_some((Key(*key), index))
}

/// What travels behind a block in a FETCH answer. 10 bytes: kind (1), blocks (1), bytes (u32 LE), lease left in seconds (u32 LE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FetchTrailer {
    pub kind: Kind,
    pub blocks: u8,
    pub bytes: u32,
    pub lease_s: u32,
}

/// Bytes of a [`FetchTrailer`].
pub(crate) const FETCH_TRAILER: usize = 10;

impl FetchTrailer {
    pub fn write(&self) -> [u8; FETCH_TRAILER] {
        let mut out = [0; FETCH_TRAILER];
        out[0] = self.kind as u8;
        out[1] = self.blocks;
        out[2..6].copy_from_slice(&self.bytes.to_le_bytes());
        out[6..].copy_from_slice(&self.lease_s.to_le_bytes());
        out
    }

    /// Splits a body into the block's bytes and the trailer; `None`: malformed.
    pub fn read(body: &[u8]) -> Option<(&[u8], Self)> {
        let (data, t) = body.split_last_chunk::<FETCH_TRAILER>()?;
        let trailer = FetchTrailer {
            kind: kind_of(t[0])?,
            blocks: t[1],
            bytes: u32::from_le_bytes(t[2..6].try_into().ok()?),
            lease_s: u32::from_le_bytes(t[6..].try_into().ok()?),
        };
        (data.len() <= crate::wire::BLOCK).then_some((data, trailer))
    }
}

const _: () = assert!(crate::wire::BLOCK + STORE_TRAILER <= crate::node::LARGE_MIN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{PAYLOAD, Writer, value};

    #[test]
    fn s6_2_the_largest_answer_fits_a_packet() {
        let addr = Addr { ip: [0x2a; 16], port: u16::MAX, slot: u16::MAX };
        let contacts = core::iter::repeat_n((NodeId([7; 32]), addr), 2).collect();
        let hint = GroupHint { id: GroupId([1; 16]), seat: 9, wanted: 8, live: 8, free: 99, age_s: u16::MAX, contacts };
        let here = Here { group: GroupId([1; 16]), seat: 9, wanted: 8, room: true, holds: true, recruiting: true };
        let located = Located {
            here: Some(here),
            members: core::iter::repeat_n((NodeId([7; 32]), Some(addr)), MEMBERS_TOLD).collect(),
            stranger: true,
            pointed: true,
            hints: core::iter::repeat_n(hint, HINTS_TOLD).collect(),
        };
        let mut buf = [0; PAYLOAD - 32];
        let mut writer = Writer::new(&mut buf);
        assert!(writer.value(&located));
        assert_eq!(value(writer.written()), Some(located));
    }

    #[test]
    fn s6_3_trailers_are_read_as_written() {
        let trailer = StoreTrailer {
            key: Key([1; 32]),
            group: GroupId([2; 16]),
            kind: Kind::Extent,
            blocks: 128,
            index: 127,
            bytes: 3,
            lease_s: 4,
        };
        let mut body = [9; 5 + STORE_TRAILER];
        body[5..].copy_from_slice(&trailer.write());
        assert_eq!(StoreTrailer::read(&body), Some((&[9; 5][..], trailer)));
        assert_eq!(StoreTrailer::read(&body[6..]), None);
        for bad in [
            StoreTrailer { index: 128, ..trailer },
            StoreTrailer { blocks: 129, ..trailer },
            StoreTrailer { kind: Kind::Tree, ..trailer },
        ] {
            assert_eq!(StoreTrailer::read(&bad.write()), None);
        }
        let trailer = FetchTrailer { kind: Kind::Tree, blocks: 1, bytes: 5, lease_s: 6 };
        assert_eq!(FetchTrailer::read(&trailer.write()), Some((&[][..], trailer)));
        assert_eq!(read_fetch(&write_fetch(&Key([3; 32]), 9)), Some((Key([3; 32]), 9)));
        assert_eq!(read_fetch(&write_fetch(&Key([3; 32]), 128)), None);
    }
}

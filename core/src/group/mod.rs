//! Peer Content Groups: standing sets of nodes that keep content alive (PROTOCOL §5).

use heapless::Vec;

use crate::addr::Addr;
use crate::content::Kind;
use crate::exchange::{Body, Failure, Served, Status};
use crate::id::{GroupId, Key, NodeId};
use crate::node::{Node, PeerId, Refused, Wrote};
use crate::retrieve::OpOwner;
use crate::rng::Rng;
use crate::storage::Stored;
use crate::table::{Handle, Index, Slot, Slots, Store};
use crate::wire::{GroupHint, Message, Writer};

/// Our membership in one group.
#[derive(Debug)]
pub struct Seat {}

/// A group that we know of but are not in.
#[derive(Debug)]
pub struct Known {}

/// A message of groups that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Notice {}

/// Our seats and the groups we know.
#[derive(Debug)]
pub(crate) struct Groups<'m> {
    _seats: Slots<'m, Seat>,
    _known: Slots<'m, Known>,
    _index: Index<'m>,
}

/// Which seats an item goes to first (PROTOCOL §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Class {
    /// Items of at most one block: seats of at most 64 blocks, unweighted.
    Small,
    /// Extents: seats of at least 512 blocks, weighted by size.
    Large,
}

/// A group that may hold, or take, an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub group: GroupId,
    /// Rendezvous score for the key asked: the larger comes first.
    pub score: u64,
    /// Our seat in it, if we are a member.
    pub seat: Option<Handle>,
    /// Whether it is said to have room for the item.
    pub room: bool,
}

impl<'m> Groups<'m> {
    pub fn new(seats: Store<'m, Slot<Seat>>, known: Store<'m, Slot<Known>>, index: Store<'m, u32>) -> Self {
        Groups { _seats: Slots::new(seats), _known: Slots::new(known), _index: Index::new(index) }
    }

    /// The best groups for a key, ours and known ones, best first. Cost: one mix of 64 bits per known group.
    pub fn candidates(&self, _key: &Key, _class: Class, _bytes: u32) -> Vec<Candidate, 8> {
        Vec::new()
    }

    /// The score by which groups are ranked for a key: larger is better.
    pub fn score(_key: &Key, _class: Class, _group: &GroupId, _seat: u8) -> u64 {
        0
    }

    /// Groups known, ours included.
    pub fn len(&self) -> usize {
        0
    }

    /// Up to `n` (at most 3) random groups, ours or known ones, for an exchange.
    pub fn hints_to_tell(&self, _rng: &mut Rng, _n: usize) -> Vec<GroupHint, 3> {
        Vec::new()
    }

    /// A group as told to others: ours or a known one.
    pub fn hint(&self, _group: &GroupId) -> Option<GroupHint> {
        None
    }
}

impl Node<'_> {
    /// Blocks that groups could still take of the storage given to the network.
    pub(crate) fn free_blocks(&self) -> u32 {
        self.env.config.storage_blocks
    }

    /// Takes what somebody told of a group.
    pub(crate) fn learn_hint(&mut self, _hint: &GroupHint) {}

    /// Live members of a group other than us, and where they are: all of ours, the contacts of a known one.
    pub(crate) fn group_contacts(&self, _group: &GroupId) -> Vec<(NodeId, Option<Addr>), 12> {
        Vec::new()
    }

    /// Founds a group with seats of size `seat` (8 · 8^seat blocks), by ourselves or, if we have no such seat free, by a
    /// capable host. Several puts may wait for the same founding. Ends in `op_founded`.
    pub(crate) fn found(&mut self, _seat: u8, _op: OpOwner) {}

    /// Whether a recruit may still come for a group of ours that is cold: false once none accepted for `recruit_wait_ms`.
    pub(crate) fn recruiting(&self, _group: &GroupId) -> bool {
        false
    }

    /// Makes an index entry in one of our seats for an item, which is then filled block by block with `item_stored`.
    /// An item already held is kept as it is. `Full`: the seat has no room for `bytes`.
    pub(crate) fn item_begin(
        &mut self,
        _seat: Handle,
        _key: &Key,
        _kind: Kind,
        _blocks: u8,
        _bytes: u32,
        _lease_s: u32,
    ) -> Result<(), Refused> {
        Err(Refused::Unknown)
    }

    /// A block of an item is stored now. Complete items count in the seat's fingerprint.
    pub(crate) fn item_stored(&mut self, _key: &Key, _index: u8) {}

    pub(crate) fn groups_begin(&mut self) {}

    pub(crate) fn beat_timeout(&mut self) {}

    pub(crate) fn upkeep_timeout(&mut self) {}

    pub(crate) fn seat_timeout(&mut self, _index: u16) {}

    pub(crate) fn write_group(&mut self, _peer: PeerId, notice: Notice, _writer: &mut Writer<'_>) -> Wrote {
        match notice {}
    }

    pub(crate) fn group_message(&mut self, _peer: PeerId, _message: Message<'_>) {}

    pub(crate) fn groups_peer_up(&mut self, _peer: PeerId) {}

    pub(crate) fn groups_peer_down(&mut self, _peer: PeerId, _id: &NodeId) {}

    pub(crate) fn groups_answered(
        &mut self,
        _seat: Handle,
        _what: u8,
        _from: NodeId,
        result: Result<Body<'_>, Failure>,
    ) {
        self.free_body(result);
    }

    pub(crate) fn seat_stored(&mut self, _seat: Handle, stored: Stored) {
        if let Stored::Got(buffer) = stored {
            self.env.buffers.free(buffer);
        }
    }

    pub(crate) fn serve_offer(&mut self, _peer: PeerId, body: Body<'_>, _reply: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }

    pub(crate) fn serve_admit(&mut self, _peer: PeerId, body: Body<'_>, _reply: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }

    pub(crate) fn serve_list(&mut self, _peer: PeerId, body: Body<'_>, _reply: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }

    pub(crate) fn serve_found(&mut self, _peer: PeerId, body: Body<'_>, _reply: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }
}

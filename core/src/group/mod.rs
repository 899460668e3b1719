//! Peer Content Groups: standing sets of nodes that keep content alive (PROTOCOL §5).
//!
//! | file | what it does |
//! |---|---|
//! | `adapt` | how many members a group wants |
//! | `descriptor` | who is in a group; merging what members tell |
//! | `founding` | beginning groups |
//! | `seats` | our seats, membership changes |
//! | `restore` | seats and blocks that outlive a restart |
//! | `partners` | beats, doubt, probes, verdicts |
//! | `recruit` | repairing cold groups |
//! | `merge` | two cold groups become one; a split group finds together |
//! | `trim` | leaving hot groups, and leaving gracefully |
//! | `sync` | making the members' item sets equal |
//! | `known` | groups we are not in; ranking all for a key |
//! | `spread` | how groups come to be known |

mod adapt;
mod descriptor;
mod founding;
mod known;
mod merge;
mod partners;
mod recruit;
mod restore;
mod seats;
mod spread;
mod sync;
mod trim;
#[cfg(test)]
mod vectors;

use heapless::Vec;

use crate::addr::Addr;
use crate::content::ItemSet;
use crate::exchange::{Body, Failure};
use crate::id::{GroupId, NodeId};
use crate::node::{Node, Out, PeerId, Wrote};
use crate::table::{Handle, Index, Slot, Slots, Store};
use crate::time::Instant;
use crate::wire::{Descriptor, MemberState, Message, Writer};

#[cfg(feature = "inspect")]
pub(crate) use descriptor::{Members, merge_entry};
pub use known::{Class, Known};
pub use partners::Partner;
pub use seats::{GroupInfo, GroupState};

/// Seat sizes there are: 8 · 8^0 to 8 · 8^5 blocks (32 KiB to 1 GiB).
pub const SIZES: usize = 6;

/// Blocks of a seat of size `seat`.
pub const fn seat_blocks(seat: u8) -> u32 {
    8 << (3 * seat as u32)
}

/// The parts that calls of a seat belong to, in [`crate::exchange::Owner::Seat`].
mod part {
    pub const OFFER: u8 = 0;
    pub const ADMIT: u8 = 1;
    pub const LIST: u8 = 2;
    pub const MERGE: u8 = 3;
    /// The first of the pulls.
    pub const PULL: u8 = 4;
}

/// What a seat is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// A member.
    Member,
    /// Not a member any more: its items are being forgotten.
    Emptying,
}

/// What a member last told of its item set.
#[derive(Clone, Copy, Debug)]
struct Digest {
    id: NodeId,
    epoch: [u8; 4],
    count: u32,
    fingerprint: [u8; 8],
    /// Whether it differed from ours at that beat.
    differs: bool,
}

/// Our membership in one group.
#[derive(Debug)]
pub struct Seat {
    id: GroupId,
    size: u8,
    wanted: u8,
    version: u32,
    writer: u32,
    phase: Phase,
    members: descriptor::Members,
    epoch: [u8; 4],
    digests: Vec<Digest, 8>,
    set: ItemSet,
    /// What beats last told of the group, mixed to a word, and when that was news.
    told: u32,
    news: Instant,
    /// Since when the group has fewer live members than wanted.
    cold_since: Option<Instant>,
    /// Since when it has more.
    hot_since: Option<Instant>,
    saved: restore::Saved,
    recruit: recruit::Recruit,
    sync: sync::Sync,
}

/// A message of groups that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    /// A beat to a partner.
    Beat,
    /// Are you alive?
    Probe(u32),
    /// Yes.
    ProbeAck(u32),
    /// Is that one alive?
    ProbeFor(NodeId),
    /// That one is alive.
    Alive(NodeId),
    /// The membership of the group in this seat.
    Group(Handle),
    /// We are not in that group.
    NotMember([u8; 4]),
    /// We look for recruits for that group.
    Acting([u8; 4]),
    /// A group as told to those who are not in it.
    Hint(GroupId),
}

/// Our seats, our partners, and the groups we know.
#[derive(Debug)]
pub(crate) struct Groups<'m> {
    seats: Slots<'m, Seat>,
    partners: Slots<'m, Partner>,
    known: Slots<'m, Known>,
    index: Index<'m>,
    /// Seats of each size that our storage is split into.
    plan: [u8; SIZES],
    /// Seats promised to groups that have not admitted us yet.
    promises: Vec<seats::Promise, 4>,
    /// The founding of a group of each size that puts wait for, and which puts.
    founding: [Option<founding::Founding>; SIZES],
    founders: Vec<founding::Founder, 24>,
    /// Whom others asked us to probe: the asker, and who is probed.
    asked: Vec<(PeerId, NodeId, Instant), 4>,
    /// When the beat timer was to fire: tells how late we are ourselves.
    beat_at: Instant,
    /// Where the search for expired items goes on.
    expiry_at: u32,
    /// A host is asked for groups that we do not know.
    pull: Option<spread::Pull>,
    /// When we leave gracefully: until when.
    leaving: Option<Instant>,
}

/// The first 8 bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let n = bytes.len().min(8);
    word[..n].copy_from_slice(&bytes[..n]);
    u64::from_le_bytes(word)
}

/// A fast mix of two words (the finaliser of splitmix64, Steele, Lea, Flood 2014).
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// log2 of a number of blocks, rounded down; 0 for none or one.
fn log2(blocks: u64) -> u8 {
    blocks.checked_ilog2().unwrap_or(0) as u8
}

impl<'m> Groups<'m> {
    pub fn new(
        seats: Store<'m, Slot<Seat>>,
        partners: Store<'m, Slot<Partner>>,
        known: Store<'m, Slot<Known>>,
        index: Store<'m, u32>,
    ) -> Self {
        Groups {
            seats: Slots::new(seats),
            partners: Slots::new(partners),
            known: Slots::new(known),
            index: Index::new(index),
            plan: [0; SIZES],
            promises: Vec::new(),
            founding: [None; SIZES],
            founders: Vec::new(),
            asked: Vec::new(),
            beat_at: Instant::NEVER,
            expiry_at: 0,
            pull: None,
            leaving: None,
        }
    }

    /// The seat in a group of which we are a member.
    pub fn seat_of(&self, group: &GroupId) -> Option<Handle> {
        self.seats.iter().find(|(_, seat)| seat.id == *group && seat.phase == Phase::Member).map(|(handle, _)| handle)
    }

    /// The group of a seat of which we are a member.
    pub fn group_in(&self, seat: Handle) -> Option<GroupId> {
        self.seats.get(seat).filter(|seat| seat.phase == Phase::Member).map(|seat| seat.id)
    }

    /// The group in a seat and all entries of its members.
    #[cfg(feature = "inspect")]
    pub fn members_in(&self, seat: Handle) -> Option<(GroupId, &[crate::wire::MemberEntry])> {
        let seat = self.seats.get(seat).filter(|seat| seat.phase == Phase::Member)?;
        Some((seat.id, &seat.members))
    }

    /// Seats of a size that are free.
    #[cfg(feature = "inspect")]
    pub fn free_seats(&self, size: u8, now: Instant) -> usize {
        self.seats_free(size, now)
    }

    /// The items in a seat in which we are a member.
    #[cfg(feature = "inspect")]
    pub fn set_of(&self, seat: Handle) -> Option<&ItemSet> {
        self.seats.get(seat).filter(|seat| seat.phase == Phase::Member).map(|seat| &seat.set)
    }

    /// Whether we leave gracefully.
    #[cfg(feature = "inspect")]
    pub fn leaving(&self) -> bool {
        self.leaving.is_some()
    }

    fn seat_by_prefix(&self, prefix: [u8; 4]) -> Option<Handle> {
        let is = |seat: &Seat| seat.id.0[..4] == prefix && seat.phase == Phase::Member;
        self.seats.iter().find(|(_, seat)| is(seat)).map(|(handle, _)| handle)
    }
}

impl Seat {
    fn live(&self) -> usize {
        descriptor::live(&self.members).count()
    }

    /// Bytes that items may still take.
    fn free_bytes(&self) -> u64 {
        (u64::from(seat_blocks(self.size)) * crate::wire::BLOCK as u64).saturating_sub(self.set.bytes)
    }

    /// Bytes that puts may still take. A part of every seat is kept for synchronisation: members that were put to at the same
    /// time, or by nodes that know different leaders, may have taken different items, and must be able to hold them all.
    fn put_bytes(&self) -> u64 {
        let blocks = seat_blocks(self.size);
        let kept = (blocks / 8).max(if blocks >= 512 { 128 } else { 0 });
        self.free_bytes().saturating_sub(u64::from(kept) * crate::wire::BLOCK as u64)
    }

    fn free_log2(&self) -> u8 {
        log2(self.put_bytes() / crate::wire::BLOCK as u64)
    }

    /// What a beat tells of the group, mixed to a word.
    fn digest_word(&self) -> u32 {
        let epoch = u64::from(u32::from_le_bytes(self.epoch));
        mix(word(&self.set.fingerprint), epoch << 32 | u64::from(self.set.complete)) as u32
    }

    fn prefix(&self) -> [u8; 4] {
        [self.id.0[0], self.id.0[1], self.id.0[2], self.id.0[3]]
    }
}

impl Node<'_> {
    /// The descriptor of the group in a seat, with addresses as we know them.
    fn describe(&self, seat: Handle) -> Option<Descriptor> {
        let seat = self.groups.seats.get(seat)?;
        let mut members = seat.members.clone();
        for member in members.iter_mut().filter(|m| m.state == MemberState::Live) {
            member.addr =
                if member.id == self.env.me { Addr::default() } else { self.address_of(&member.id, member.addr) };
        }
        Some(Descriptor {
            id: seat.id,
            seat: seat.size,
            wanted: seat.wanted,
            free: seat.free_log2(),
            version: seat.version,
            writer: seat.writer,
            members,
        })
    }

    /// Where a node is reached, as far as we know; else what was told.
    pub(crate) fn address_of(&self, id: &NodeId, told: Addr) -> Addr {
        let peer = self.peer_of(id).and_then(|peer| self.peers.get(peer)).and_then(|peer| peer.addr);
        peer.or_else(|| self.hosts.get(&self.env, id).map(|host| host.addr)).unwrap_or(told)
    }

    fn tell(&mut self, peer: PeerId, notice: Notice) -> bool {
        self.send(peer, Out::Group(notice))
    }

    /// Tells all live members of a group but us, as far as there is a session.
    fn tell_members(&mut self, seat: Handle, notice: Notice) {
        let Some(members) = self.groups.seats.get(seat).map(|seat| seat.members.clone()) else { return };
        let me = self.env.me;
        for member in descriptor::live(&members).filter(|m| m.id != me) {
            if let Some(peer) = self.peer_of(&member.id) {
                self.tell(peer, notice);
            }
        }
    }

    pub(crate) fn write_group(&mut self, peer: PeerId, notice: Notice, writer: &mut Writer<'_>) -> Wrote {
        let message = match notice {
            Notice::Beat => return self.write_beat(peer, writer),
            Notice::Probe(token) => Message::Probe { token },
            Notice::ProbeAck(token) => Message::ProbeAck { token },
            Notice::ProbeFor(id) => Message::ProbeFor { id },
            Notice::Alive(id) => Message::Alive { id },
            Notice::Group(seat) => match self.describe(seat) {
                Some(descriptor) => Message::Group { descriptor },
                None => return Wrote::Done,
            },
            Notice::NotMember(group) => Message::NotMember { group },
            Notice::Acting(group) => Message::Acting { group },
            Notice::Hint(group) => match self.hint(&group) {
                Some(hint) => Message::Hint { hint },
                None => return Wrote::Done,
            },
        };
        if writer.message(&message) { Wrote::Done } else { Wrote::NoRoom }
    }

    pub(crate) fn group_message(&mut self, peer: PeerId, message: Message<'_>) {
        let Some((id, addr)) = self.peers.get(peer).map(|p| (p.id, p.addr)) else { return };
        match message {
            Message::Beat { interval_ms, groups } => self.beat(peer, id, interval_ms, &groups),
            Message::Probe { token } => {
                self.tell(peer, Notice::ProbeAck(token));
            }
            Message::ProbeAck { .. } => self.probe_acked(peer, id),
            Message::ProbeFor { id: whom } => self.probe_for(peer, whom),
            Message::Alive { id: whom } => self.alive(id, whom),
            Message::Group { descriptor } => self.descriptor(peer, id, addr, descriptor),
            Message::NotMember { group } => self.not_member(id, group),
            Message::Acting { group } => self.acting(id, group),
            Message::Hint { hint } => self.hinted(peer, &hint),
            _ => self.env.counters.messages_unexpected += 1,
        }
    }

    pub(crate) fn groups_answered(&mut self, seat: Handle, what: u8, from: NodeId, result: Result<Body<'_>, Failure>) {
        match what {
            part::OFFER => self.offer_answered(seat, from, result),
            part::ADMIT => self.admit_answered(seat, from, result),
            part::LIST => self.list_answered(seat, from, result),
            part::MERGE => self.merge_answered(seat, from, result),
            pull => self.pull_answered(seat, pull - part::PULL, from, result),
        }
    }

    /// Decodes a small body; frees its buffer if it came in one.
    pub(crate) fn decode<T: serde::de::DeserializeOwned>(&mut self, body: Body<'_>) -> Option<T> {
        match body {
            Body::Packet(bytes) => crate::wire::value(bytes),
            Body::Buffer(buffer) => {
                let value = crate::wire::value(self.env.buffers.bytes(&buffer));
                self.env.buffers.free(buffer);
                value
            }
        }
    }
}

//! Seats and blocks that outlive a restart (PROTOCOL §5.13).

use serde::{Deserialize, Serialize};

use super::{Phase, descriptor};
use crate::addr::Addr;
use crate::group::descriptor::merge_entry;
use crate::id::GroupId;
use crate::node::{Node, Refused};
use crate::storage::{BlockNote, BlockRef, SEAT_BYTES};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::{Descriptor, MEMBERS_MAX, MemberEntry, MemberState, Writer};

/// Milliseconds between two times that a seat is stored. Flash wears out.
const SAVE_MS: u32 = 60_000;

/// The bytes of a stored seat: the group, and the group that it was before the last merge, in which blocks may be noted.
#[derive(Serialize, Deserialize)]
struct Kept {
    formerly: GroupId,
    descriptor: Descriptor,
}

// An id of 32 bytes, an incarnation of 5, a state of 1, an address of 20; the rest of a descriptor.
const _: () = assert!(MEMBERS_MAX * (32 + 5 + 1 + 20) + 64 <= SEAT_BYTES);

/// What is stored of a seat.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saved {
    formerly: GroupId,
    /// When it was stored last.
    at: Option<Instant>,
    /// Whether there is news since.
    news: bool,
}

impl Saved {
    /// The seat is in another group now, and its blocks are noted in the former one.
    pub fn merged(&mut self, formerly: GroupId) {
        *self = Saved { formerly, at: None, news: true };
    }
}

impl Node<'_> {
    /// The members of a seat's group have changed.
    pub(super) fn seat_news(&mut self, handle: Handle) {
        if let Some(seat) = self.groups.seats.get_mut(handle) {
            seat.saved.news = true;
        }
        self.seat_save(handle);
    }

    /// Stores a seat, if there is news and it is not too soon.
    pub(super) fn seat_save(&mut self, handle: Handle) {
        let now = self.env.now;
        if !self.env.config.durable {
            return;
        }
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        let soon = seat.saved.at.is_some_and(|at| now.ms_since(at) < SAVE_MS);
        if seat.saved.news && !soon && self.storage.room() > 0 && self.storage.seat(&mut self.env, seat.id) {
            seat.saved.news = false;
            seat.saved.at = Some(now);
        }
    }

    /// Forgets what is stored of a seat. False when the storage cannot take the order now.
    pub(super) fn seat_forget(&mut self, group: GroupId) -> bool {
        !self.env.config.durable || self.storage.room() > 0 && self.storage.seat(&mut self.env, group)
    }

    /// A seat could not be stored: it is tried again.
    pub(crate) fn seat_unsaved(&mut self, group: &GroupId) {
        if let Some(seat) = self.groups.seat_of(group).and_then(|handle| self.groups.seats.get_mut(handle)) {
            seat.saved.news = true;
        }
    }

    /// The bytes to store of the seat in a group: none if there is no such seat any more. `None`: the buffer is too short.
    pub(crate) fn write_seat(&self, group: &GroupId, buf: &mut [u8]) -> Option<usize> {
        let Some(handle) = self.groups.seat_of(group) else { return Some(0) };
        let formerly = self.groups.seats.get(handle)?.saved.formerly;
        let kept = Kept { formerly, descriptor: self.describe(handle)? };
        let mut writer = Writer::new(buf);
        writer.value(&kept).then(|| writer.len())
    }

    /// After a restart: takes a seat again, from the bytes of a [`crate::storage::StoreOp::Seat`]. All seats come before
    /// the blocks, and both best before anything else.
    ///
    /// # Errors
    /// What is refused should be forgotten. `Invalid`: no such seat was ever stored. `Full`: the storage given
    /// to the network now has no seat of that size; its blocks will be refused, too.
    pub fn restore_seat(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Refused> {
        self.env.advance(now);
        let kept: Option<Kept> = crate::wire::value(bytes);
        let Some(Kept { formerly, mut descriptor }) = kept.filter(|kept| descriptor::plausible(&kept.descriptor))
        else {
            return Err(Refused::Invalid);
        };
        if self.groups.seat_of(&descriptor.id).is_some() {
            return Ok(());
        }
        if self.groups.seats_free(descriptor.seat, self.env.now) == 0 {
            return Err(Refused::Full);
        }
        let me = self.env.me;
        let before = descriptor.members.iter().find(|m| m.id == me).map_or(0, |m| m.incarnation);
        let own = MemberEntry { id: me, incarnation: before + 1, state: MemberState::Live, addr: Addr::default() };
        if !merge_entry(&mut descriptor.members, &own) {
            return Err(Refused::Invalid);
        }
        let handle = self.sit(descriptor).ok_or(Refused::Full)?;
        if let Some(seat) = self.groups.seats.get_mut(handle) {
            seat.saved.formerly = formerly;
            // It knows what it holds; what it lacks the beats of the others tell.
            seat.sync.nothing_to_learn();
        }
        Ok(())
    }

    /// After a restart: takes a stored block of a seat into the index. Cost: one look at the index.
    ///
    /// # Errors
    /// What is refused should be forgotten. `Unknown`: there is no seat for it any more. `Full`: the seat or
    /// the index has no room for it. `Invalid`: no item can be like that, or its lease is over.
    pub fn restore_block(&mut self, now: Instant, at: BlockRef, note: &BlockNote) -> Result<(), Refused> {
        self.env.advance(now);
        if at.key != note.item.key || at.index >= note.item.blocks {
            return Err(Refused::Invalid);
        }
        let formerly = |seat: &super::Seat| seat.saved.formerly == note.group && note.group != GroupId::default();
        let is = |seat: &super::Seat| seat.phase == Phase::Member && (seat.id == note.group || formerly(seat));
        let seat = self.groups.seats.iter().find(|(_, seat)| is(seat)).map(|(handle, _)| handle);
        let seat = seat.ok_or(Refused::Unknown)?;
        self.item_begin_synced(seat, &note.item)?;
        self.item_stored(&at.key, at.index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{ItemInfo, Kind};
    use crate::id::Key;
    use crate::storage::{StoreDone, StoreOp};

    const INFO: ItemInfo = ItemInfo { key: Key([1; 32]), kind: Kind::Block, blocks: 1, bytes: 100, lease_s: 60 };

    /// A node like this one before its restart.
    fn durable() -> Node<'static> {
        let mut node = crate::vectors::node(1);
        node.env.config.durable = true;
        node
    }

    /// What a node asks its storage to keep of seats, done at once.
    fn seats(node: &mut Node<'_>) -> std::vec::Vec<(GroupId, std::vec::Vec<u8>)> {
        let mut buf = [0; crate::wire::BLOCK];
        let mut seats = std::vec::Vec::new();
        while let Some(op) = node.poll_store(&mut buf) {
            if let StoreOp::Seat { group, len, .. } = op {
                seats.push((group, buf[..len].to_vec()));
            }
            node.handle_store(node.env.now, StoreDone { ticket: op.ticket(), result: Ok(&[]) });
        }
        seats
    }

    #[test]
    fn s5_13_a_member_returns_with_its_seat_and_its_blocks() {
        let mut node = durable();
        let group = node.found_now(0).expect("a seat is free");
        let seat = node.groups.seat_of(&group).expect("it is ours");
        node.item_begin(seat, &INFO).expect("there is room");
        let at = BlockRef { key: INFO.key, index: 0 };
        let buffer = node.env.buffers.alloc_from(&[7; 100]).expect("a buffer is free");
        assert!(node.storage.put(&mut node.env, at, buffer, crate::storage::StoreOwner::None));
        let mut buf = [0; crate::wire::BLOCK];
        let mut ops = std::vec::Vec::new();
        while let Some(op) = node.poll_store(&mut buf) {
            ops.push((op, buf));
        }
        let (mut back, now) = (durable(), Instant::from_micros(5));
        for (op, buf) in &ops {
            match *op {
                StoreOp::Seat { len, group: of, .. } => {
                    assert_eq!(of, group);
                    back.restore_seat(now, &buf[..len]).expect("it is as before");
                    back.restore_seat(now, &buf[..len]).expect("twice is once");
                }
                StoreOp::Put { at, note, .. } => {
                    assert_eq!(note, BlockNote { group, item: INFO });
                    back.restore_block(now, at, &note).expect("its seat is there");
                }
                _ => panic!("{op:?}"),
            }
        }
        assert_eq!(ops.len(), 2);
        let seat = back.groups.seat_of(&group).expect("it is back");
        assert_eq!(back.groups().next().map(|group| (group.items, group.bytes)), Some((1, 1365)));
        let me = back.env.me;
        let own = back.groups.seats.get(seat).and_then(|seat| descriptor::live_entry(&seat.members, &me).copied());
        assert_eq!(own.map(|own| own.incarnation), Some(2), "a verdict of its death is reversed");
        assert!(!back.leads_blindly(seat), "it knows what it holds");
    }

    #[test]
    fn s5_13_what_has_no_place_is_refused() {
        let (mut node, now) = (durable(), Instant::from_micros(5));
        let at = BlockRef { key: INFO.key, index: 0 };
        let note = BlockNote { group: GroupId([9; 16]), item: INFO };
        assert_eq!(node.restore_block(now, at, &note), Err(Refused::Unknown));
        assert_eq!(node.restore_block(now, BlockRef { index: 1, ..at }, &note), Err(Refused::Invalid));
        assert_eq!(node.restore_block(now, at, &BlockNote::none(at.key)), Err(Refused::Unknown));
        assert_eq!(node.restore_seat(now, &[]), Err(Refused::Invalid));
        assert_eq!(node.restore_seat(now, &[255; SEAT_BYTES]), Err(Refused::Invalid));
        assert_eq!(node.items_held(), 0);
    }

    #[test]
    fn s5_13_a_seat_is_stored_once_a_minute_and_forgotten_when_it_is_left() {
        let mut node = durable();
        let group = node.found_now(0).expect("a seat is free");
        assert_eq!(seats(&mut node).len(), 1);
        let seat = node.groups.seat_of(&group).expect("it is ours");
        for _ in 0..10 {
            node.seat_changed(seat, false);
        }
        assert_eq!(seats(&mut node), []);
        node.env.advance(Instant::from_micros(u64::from(SAVE_MS) * 1000 + 1));
        node.upkeep_timeout();
        assert_eq!(seats(&mut node).len(), 1);
        node.leave(node.env.now, 0);
        node.seat_timeout(seat.index);
        node.seat_timeout(seat.index);
        assert_eq!(seats(&mut node), [(group, std::vec::Vec::new())]);
    }
}

//! What checkers outside of nodes read: a simulator that knows everything compares it with what should be.

use crate::content::room_of;
use crate::group::Members;
use crate::id::{GroupId, Key};
use crate::node::{Node, SeatId};
use crate::wire::{MEMBERS_MAX, MemberEntry};

/// Reading that no application needs. Built with the feature `inspect` only, so that small machines do not pay for it.
pub trait Inspect {
    /// The group in a seat and its members with their incarnations, gone ones included, in the order of their ids.
    /// `None` when we are not a member (any more).
    fn members(&self, seat: SeatId) -> Option<(GroupId, &[MemberEntry])>;

    /// Whether [`Node::leave`] was asked for.
    fn leaving(&self) -> bool;

    /// Seats of a size (0 to 5) that no group has and none is promised.
    fn seats_free(&self, size: u8) -> usize;

    /// The size of a seat, 0 to 5; `None` when we are not a member (any more).
    fn seat_size(&self, seat: SeatId) -> Option<u8>;

    /// Tells of each item in a seat: its key, the bytes of the seat that it takes, and whether all of it is there.
    fn items_in(&self, seat: SeatId, tell: &mut dyn FnMut(Key, u64, bool));
}

impl Inspect for Node<'_> {
    fn members(&self, seat: SeatId) -> Option<(GroupId, &[MemberEntry])> {
        self.groups.members_in(seat.0)
    }

    fn leaving(&self) -> bool {
        self.groups.leaving()
    }

    fn seats_free(&self, size: u8) -> usize {
        self.groups.free_seats(size, self.env.now)
    }

    fn seat_size(&self, seat: SeatId) -> Option<u8> {
        self.groups.size_of(seat.0)
    }

    fn items_in(&self, seat: SeatId, tell: &mut dyn FnMut(Key, u64, bool)) {
        let Some(set) = self.groups.set_of(seat.0) else { return };
        self.content.iter(set).for_each(|(key, item)| tell(*key, room_of(item.bytes), item.complete()));
    }
}

/// Merges the entries of several lists, in the order given, as a member does that hears of them (§5.3), and gives the
/// incarnations and states that come out. Lists of more than 12 ids lose gone ones, and then the order counts.
pub fn merged<'a>(entries: impl IntoIterator<Item = &'a MemberEntry>) -> heapless::Vec<MemberEntry, MEMBERS_MAX> {
    let mut members = Members::new();
    for entry in entries {
        crate::group::merge_entry(&mut members, entry);
    }
    members
}

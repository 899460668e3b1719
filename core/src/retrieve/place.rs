//! Finding, or founding, the group of an item that is put, and keeping up with its members (PROTOCOL §6.2).

use heapless::Vec;

use super::message::{Here, Locate, Located};
use super::put::{Phase, Put};
use super::walk::Found;
use super::{OpOwner, PART_FOUND, Progress, Reason};
use crate::group::Class;
use crate::id::{GroupId, NodeId};
use crate::node::{Node, Timer};
use crate::table::Handle;
use crate::wire::Facts;

/// Groups tried for one item before the put fails.
const TRIES_MAX: u8 = 16;
/// Seat sizes tried when a group is to be founded.
const FOUND_MAX: u8 = 4;
/// Hosts that may decline to found a group for one item before it is said that there is no room.
const DECLINED_MAX: u8 = 16;
/// Milliseconds until a put whose founding could not wait with the others looks again.
const FOUND_AGAIN_MS: u32 = 200;
/// The largest seat that is founded: 8 · 8^5 blocks, 1 GiB.
const SEAT_MAX: u8 = 5;
/// Milliseconds between two questions for the members of a group that is not ours.
const REFRESH_MS: u32 = 400;
/// Hosts known below which nobody can tell yet whether there will be nodes with nothing but the smallest seats.
const FEW_HOSTS: usize = 8;
/// Groups over which a large object is spread, about.
const SPREAD: u64 = 16;

impl Put {
    /// The seat size to found with at the `n`th try: the one that suits best first, then its neighbours.
    fn seat_size(&self, n: u8, groups: usize, smallest: bool) -> Option<u8> {
        let (best, least) = match self.class() {
            // The more groups there are, the larger the next.
            Class::Small => (
                if smallest {
                    0
                } else if groups < 8 {
                    1
                } else if groups < 32 {
                    2
                } else {
                    3
                },
                0,
            ),
            Class::Large => {
                let share = u64::from(self.layout.blocks) / SPREAD;
                ((2..SEAT_MAX).find(|seat| 8u64 << (3 * seat) >= share).unwrap_or(SEAT_MAX), 2)
            }
        };
        let smaller = (least..best).rev();
        let larger = best + 1..=SEAT_MAX;
        let order: Vec<u8, 8> = match self.class() {
            Class::Small => core::iter::once(best).chain(larger).chain(smaller).collect(),
            Class::Large => core::iter::once(best).chain(smaller).chain(larger).collect(),
        };
        order.get(usize::from(n)).copied().filter(|_| n < FOUND_MAX)
    }
}

impl Node<'_> {
    /// Looks for a group for the item that is ready now.
    pub(super) fn put_new_item(&mut self, op: Handle) {
        let Some(put) = self.retrieve.put(op) else { return };
        put.tries = 0;
        put.foundings = 0;
        put.declined = 0;
        put.refused = None;
        self.put_place_begin(op, None);
    }

    fn put_place_begin(&mut self, op: Handle, refused: Option<GroupId>) {
        self.transfers_clear(op);
        self.contacts_clear(op);
        let Some(put) = self.retrieve.put(op) else { return };
        put.phase = Phase::Place;
        put.asked = 0;
        put.refused = refused;
        let (key, bytes) = (put.item.key, put.item.bytes);
        self.walk_begin(op, key, bytes, refused);
    }

    pub(super) fn put_place(&mut self, op: Handle) -> bool {
        let Some(found) = self.walk_step(op) else { return false };
        match found {
            Found::Group(group) => self.put_placed(op, group),
            Found::Nothing => {
                self.put_found(op);
                return false;
            }
        }
        true
    }

    /// What the best group so far says of itself.
    pub(super) fn put_told(&mut self, op: Handle, here: Here) {
        if let Some(put) = self.retrieve.put(op) {
            put.recruiting = here.recruiting;
            put.group_wanted = here.wanted;
        }
    }

    fn put_placed(&mut self, op: Handle, group: GroupId) {
        let seat = self.seat_in(&group);
        let wanted = self.hint(&group).map(|hint| hint.wanted);
        let now = self.env.now;
        if seat.is_some() {
            self.own_contacts(op, &group);
        }
        self.board_clear(op);
        let Some(put) = self.retrieve.put(op) else { return };
        put.phase = Phase::Store;
        put.group = group;
        put.seat = seat;
        put.refresh_at = now.plus_ms(REFRESH_MS);
        if let Some(wanted) = wanted.filter(|_| seat.is_some()) {
            put.group_wanted = wanted;
        }
    }

    /// Asks for a group to be founded, of the next seat size to try.
    fn put_found(&mut self, op: Handle) {
        let groups = self.groups.len();
        // As long as there are nodes with nothing but the smallest seats, small items go where those can keep them.
        let tiny = self.hosts.facts_heard().filter(|facts| facts.flags & Facts::TINY != 0).count();
        // So does the first group of a network that is small yet: every node has the smallest seats.
        let smallest = self.groups.count(0) < tiny || groups == 0 && self.hosts.len() < FEW_HOSTS;
        let Some(put) = self.retrieve.put(op) else { return };
        let Some(seat) = put.seat_size(put.foundings, groups, smallest) else {
            self.op_end(op, Progress::Failed(Reason::Full));
            return;
        };
        put.phase = Phase::Found;
        if self.found(seat, OpOwner { op, part: PART_FOUND }) {
            if let Some(put) = self.retrieve.put(op) {
                put.foundings += 1;
            }
        } else {
            self.put_place_begin(op, None);
            self.env.timers.set(Timer::Op(op.index), self.env.now.plus_ms(FOUND_AGAIN_MS));
        }
    }

    /// Founding, asked for with `found`, has ended.
    /// `asked`: a host that seemed to have a seat for it was asked.
    pub(crate) fn op_founded(&mut self, owner: OpOwner, group: Option<GroupId>, asked: bool) {
        let op = owner.op;
        if !self.retrieve.working(op) || self.retrieve.put(op).is_none_or(|put| put.phase != Phase::Found) {
            return;
        }
        match group {
            // The walk ends at the new group, or at a better one that has come to be known meanwhile.
            Some(_) => {
                self.op_moved(op);
                // When the new group is full before this put's turn comes, another one of that size is founded.
                if let Some(put) = self.retrieve.put(op) {
                    put.foundings = put.foundings.saturating_sub(1);
                }
                self.put_place_begin(op, None);
                // Not gone on from here: `found` may call this before it returns.
                self.env.timers.set(Timer::Op(op.index), self.env.now);
            }
            None => {
                // What is heard of hosts' room is old: another one may have it.
                if let Some(put) = self.retrieve.put(op).filter(|put| asked && put.declined < DECLINED_MAX) {
                    put.declined += 1;
                    put.foundings = put.foundings.saturating_sub(1);
                }
                self.put_found(op)
            }
        }
    }

    /// The group is no use for this item: another is looked for.
    pub(super) fn put_elsewhere(&mut self, op: Handle) {
        let Some(put) = self.retrieve.put(op) else { return };
        let group = put.group;
        put.tries += 1;
        let tries = put.tries;
        self.groups.is_full(&self.env, &group);
        if tries >= TRIES_MAX {
            self.op_end(op, Progress::Failed(Reason::Full));
        } else {
            self.put_place_begin(op, Some(group));
        }
    }

    /// Whether recruits are still to be waited for; looks for new members from time to time.
    pub(super) fn put_recruiting(&mut self, op: Handle) -> bool {
        let now = self.env.now;
        let Some(put) = self.retrieve.put(op) else { return false };
        let (group, due) = (put.group, now >= put.refresh_at);
        if due {
            put.refresh_at = now.plus_ms(REFRESH_MS);
        }
        if put.seat.is_some() {
            // Recruits may have come since the last look, and the group be complete by them.
            let contacts = |node: &Self| node.retrieve.ops.get(op).map_or(0, |op| op.contacts.len());
            let before = contacts(self);
            self.own_contacts(op, &group);
            return contacts(self) > before || self.recruiting(&group);
        }
        let question = Locate { key: put.item.key, bytes: put.item.bytes, put: true, group: None };
        let recruiting = put.recruiting;
        if due && recruiting && !self.contact_alive(op).is_some_and(|contact| self.refresh(op, question, contact)) {
            return false;
        }
        recruiting
    }

    fn contact_alive(&self, op: Handle) -> Option<u8> {
        self.retrieve.ops.get(op)?.contacts.iter().position(|contact| !contact.dead).map(|at| at as u8)
    }

    /// The members of the group, told again.
    pub(super) fn put_refreshed(&mut self, op: Handle, from: NodeId, located: Option<Located>) {
        let Some(put) = self.retrieve.put(op) else { return };
        if put.phase != Phase::Store {
            return;
        }
        match located.as_ref().and_then(|located| located.here).filter(|here| here.group == put.group) {
            Some(here) => {
                put.recruiting = here.recruiting;
                put.group_wanted = here.wanted;
                if let Some(located) = &located {
                    self.told_contacts(op, &from, located);
                }
            }
            // It does not know, or speaks of another group: what it said before is not to be relied upon.
            None => put.recruiting = false,
        }
    }

    /// Members wanted in the group at work.
    pub(super) fn put_wanted(&mut self, op: Handle) -> u8 {
        let replicas = self.env.config.replicas;
        self.retrieve.put(op).map_or(replicas, |put| if put.group_wanted == 0 { replicas } else { put.group_wanted })
    }
}

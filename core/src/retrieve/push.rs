//! Sending the blocks of an item to every member of its group (PROTOCOL §6.3).
//!
//! Which contact has which block, and to which one it was sent, is two bits per block and contact, kept in the op's scratch buffer.

use super::message::{STORE_TRAILER, StoreTrailer};
use super::put::{Item, Put};
use super::{CONTACTS, Moving, Op, OpOwner, Pace, Progress, Reason, Transfer};
use crate::content::{ItemInfo, Kind};
use crate::exchange::{Body, Failure, Owner};
use crate::node::{Node, Refused};
use crate::route::internal;
use crate::storage::{BlockRef, StoreOwner};
use crate::table::Handle;
use crate::wire::BLOCK;

/// Bytes of one contact's bits: those it has, those sent to it.
const ROW: usize = 32;

const _: () = assert!(CONTACTS * ROW <= super::SCRATCH);

/// Whether members other than the leader may be sent an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    /// They may.
    Open,
    /// The leader is to take it first.
    Shut,
    /// It does not fit: the item goes elsewhere.
    Full,
}

/// One contact's blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Row {
    has: u128,
    sent: u128,
}

impl Row {
    /// What may be sent next: the item's own bytes first, since the rest is checked against them.
    fn lacks(&self, all: u128) -> u128 {
        let lacks = all & !(self.has | self.sent);
        if self.has & 1 == 0 { lacks & 1 } else { lacks }
    }
}

fn row(scratch: &[u8], contact: u8) -> Row {
    let at = usize::from(contact) * ROW;
    let word = |at: usize| {
        let bytes = scratch.get(at..at + 16).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u128::from_le_bytes)
    };
    Row { has: word(at), sent: word(at + 16) }
}

fn set_row(scratch: &mut [u8], contact: u8, row: Row) {
    let at = usize::from(contact) * ROW;
    if let Some((has, sent)) = scratch.get_mut(at..at + ROW).and_then(|row| row.split_at_mut_checked(16)) {
        has.copy_from_slice(&row.has.to_le_bytes());
        sent.copy_from_slice(&row.sent.to_le_bytes());
    }
}

/// The place of a contact is another's now.
pub(super) fn clear_row(scratch: &mut [u8], contact: u8) {
    set_row(scratch, contact, Row::default());
}

fn all_blocks(blocks: u8) -> u128 {
    if blocks >= 128 { u128::MAX } else { (1 << blocks) - 1 }
}

impl Node<'_> {
    /// Nobody has anything yet.
    pub(super) fn board_clear(&mut self, op: Handle) {
        if let Some(op) = self.retrieve.ops.get(op) {
            self.env.buffers.bytes_mut(&op.scratch).fill(0);
        }
    }

    fn row(&self, op: Handle, contact: u8) -> Row {
        self.retrieve.ops.get(op).map_or(Row::default(), |op| row(self.env.buffers.bytes(&op.scratch), contact))
    }

    fn set_row(&mut self, op: Handle, contact: u8, row: Row) {
        if let Some(op) = self.retrieve.ops.get(op) {
            set_row(self.env.buffers.bytes_mut(&op.scratch), contact, row);
        }
    }

    /// Bytes of the extent at work that every contact has.
    pub(super) fn pushed_bytes(&self, op: &Op, put: &Put) -> u64 {
        let scratch = self.env.buffers.bytes(&op.scratch);
        let alive = op.contacts.iter().enumerate().filter(|(_, contact)| !contact.dead);
        let has = alive.fold(u128::MAX, |has, (at, _)| has & row(scratch, at as u8).has);
        match put.item.kind {
            Kind::Extent if !op.contacts.is_empty() => {
                let blocks = (has & all_blocks(put.item.blocks) & !1).count_ones();
                u64::from(blocks) * BLOCK as u64
            }
            _ => 0,
        }
    }

    /// Sends what can be sent, asks the application for what is lacking, and sees whether the item is stored. True: the put goes on at once.
    pub(super) fn put_store(&mut self, op: Handle) -> bool {
        let Some(put) = self.retrieve.put(op) else { return false };
        let item = put.item;
        let all = all_blocks(item.blocks);
        let now_ms = self.now_ms();
        let window = self.put_window(op);
        let (mut full, mut alive, mut wanted) = (0, 0, 0u128);
        // The leader of the group has the say whether an item fits: what it takes fits all, since nobody holds more than it
        // does. Were all asked at once, members of a nearly full group would take different items, and never be equal again.
        let gate = self.put_gate(op);
        if gate == Gate::Full {
            self.put_elsewhere(op);
            return true;
        }
        let leader = self.retrieve.put(op).and_then(|put| put.leader);
        let leads = |contact: u8| leader.is_some_and(|(at, _)| at == contact);
        for contact in 0..CONTACTS as u8 {
            let Some(state) = self.retrieve.contact_mut(op, contact).copied() else { break };
            if state.dead {
                continue;
            }
            alive += 1;
            let row = self.row(op, contact);
            if row.has == all {
                full += 1;
                continue;
            }
            let lacks = row.lacks(all);
            if lacks == 0 || !state.may_move(now_ms) || !self.retrieve.may_move(op, window) {
                continue;
            }
            if lacks & 1 != 0 {
                if gate == Gate::Open || leads(contact) {
                    self.push_own(op, contact);
                }
            } else {
                // As many as the contact's window has room for.
                let mut room = state.window - state.flying;
                let mut left = lacks;
                while left != 0 && room > 0 {
                    wanted |= left & left.wrapping_neg();
                    left &= left - 1;
                    room -= 1;
                }
            }
        }
        if alive == 0 {
            self.put_elsewhere(op);
            return true;
        }
        // Recruits beyond the copies that we want ourselves are not waited for.
        let enough = full >= self.env.config.replicas;
        if full >= self.put_wanted(op) || (full == alive && full > 0 && (enough || !self.put_recruiting(op))) {
            self.put_stored(op, full);
            return true;
        }
        // Nothing is asked of the application that could not be sent now.
        if wanted != 0 && self.spare_buffer(BLOCK + STORE_TRAILER) {
            self.put_ask(op, wanted >> 1);
        }
        false
    }

    /// Says which contact of a put leads its group, if one does: it has the say whether an item fits, and gets it first.
    pub(super) fn put_leader(&mut self, op: Handle, leader: Option<u8>) {
        if let Some(put) = self.retrieve.put(op)
            && put.leader.map(|(at, _)| at) != leader
        {
            put.leader = leader.map(|at| (at, false));
        }
    }

    /// Whether the leader of the group has taken the item. Without a leader everybody decides alone.
    fn put_gate(&mut self, op: Handle) -> Gate {
        let Some((at, full)) = self.retrieve.put(op).and_then(|put| put.leader) else { return Gate::Open };
        let taken = self.row(op, at).has & 1 != 0;
        match self.retrieve.contact_mut(op, at) {
            Some(_) if full && !taken => Gate::Full,
            Some(leader) if !leader.dead && !taken => Gate::Shut,
            _ => Gate::Open,
        }
    }

    /// Transfers of a put under way at most: the window counts blocks, and each goes to every member.
    fn put_window(&self, op: Handle) -> u8 {
        let alive = self.retrieve.ops.get(op).map_or(0, |op| op.contacts.iter().filter(|c| !c.dead).count());
        self.env.config.transfer_window.saturating_mul(alive.max(1) as u8)
    }

    /// Sends the item's own bytes to a contact.
    fn push_own(&mut self, op: Handle, contact: u8) {
        let mut own = [0; BLOCK];
        let bytes = self.own_bytes(op);
        let n = bytes.len();
        let Some(copy) = own.get_mut(..n) else { return };
        copy.copy_from_slice(bytes);
        self.push(op, contact, 0, copy);
    }

    /// Sends a block that the application gave to every contact that lacks it and has room.
    pub(super) fn push_block(&mut self, op: Handle, index: u8, data: &[u8]) -> Result<(), Refused> {
        if !self.put_unchanged(op, index - 1, data) {
            self.op_end(op, Progress::Failed(Reason::Changed));
            return Ok(());
        }
        let now_ms = self.now_ms();
        let window = self.put_window(op);
        let (mut pushed, mut lacking) = (false, false);
        for contact in 0..CONTACTS as u8 {
            let Some(state) = self.retrieve.contact_mut(op, contact).copied() else { break };
            let lacks = !state.dead && self.row(op, contact).lacks(u128::MAX) & 1 << index != 0;
            lacking |= lacks;
            if lacks && state.may_move(now_ms) && self.retrieve.may_move(op, window) {
                pushed |= self.push(op, contact, index, data);
            }
        }
        if let Some(put) = self.retrieve.put(op) {
            put.asked &= !(1 << (index - 1));
        }
        if lacking && !pushed { Err(Refused::NoBuffer) } else { Ok(()) }
    }

    /// Sends one block to one contact; false when there is no room for that now.
    fn push(&mut self, op: Handle, contact: u8, index: u8, data: &[u8]) -> bool {
        let Some(state) = self.retrieve.contact_mut(op, contact).copied() else { return false };
        let lease_s = self.env.config.lease_s;
        let Some(put) = self.retrieve.put(op) else { return false };
        let (item, group, seat) = (put.item, put.group, put.seat);
        let transfer = Transfer { op, contact, item: 0, index, block: 0, state: Moving::Storage };
        let begun = match state.peer {
            Some(peer) => {
                if !self.spare_buffer(data.len() + STORE_TRAILER) {
                    return false;
                }
                let Some(buffer) = self.env.buffers.alloc(data.len() + STORE_TRAILER) else { return false };
                let trailer = StoreTrailer {
                    key: item.key,
                    group,
                    kind: item.kind,
                    blocks: item.blocks,
                    index,
                    bytes: item.bytes,
                    lease_s,
                };
                if let Some((body, end)) = self.env.buffers.bytes_mut(&buffer).split_at_mut_checked(data.len()) {
                    body.copy_from_slice(data);
                    end.copy_from_slice(&trailer.write());
                }
                let Some(handle) = self.retrieve.transfer_begin(transfer) else {
                    self.env.buffers.free(buffer);
                    return false;
                };
                let owner = Owner::Op(OpOwner { op, part: handle.index });
                match self.ask_buffer(peer, internal::STORE, owner, state.deadline_ms(), buffer) {
                    Some(call) => {
                        if let Some(transfer) = self.retrieve.transfers.get_mut(handle) {
                            transfer.state = Moving::Call(call);
                        }
                        true
                    }
                    None => {
                        self.retrieve.transfer_end(handle);
                        false
                    }
                }
            }
            None => {
                let Item { key, kind, blocks, bytes } = item;
                let info = ItemInfo { key, kind, blocks, bytes, lease_s };
                if seat.is_some_and(|seat| self.leads_blindly(seat)) {
                    self.contact_pace(op, contact, Pace::Busy);
                    return false;
                }
                let begun = match seat {
                    Some(seat) => self.item_begin(seat, &info).is_ok(),
                    None => false,
                };
                if !begun {
                    self.contact_pace(op, contact, Pace::Full);
                    return false;
                }
                if self.content.has(&self.env, BlockRef { key: item.key, index }) {
                    let mut row = self.row(op, contact);
                    row.has |= 1 << index;
                    self.set_row(op, contact, row);
                    return true;
                }
                if self.storage.room() == 0 || !self.spare_buffer(data.len()) {
                    return false;
                }
                let Some(buffer) = self.env.buffers.alloc_from(data) else { return false };
                let Some(handle) = self.retrieve.transfer_begin(transfer) else {
                    self.env.buffers.free(buffer);
                    return false;
                };
                let owner = StoreOwner::Op(OpOwner { op, part: handle.index });
                let taken = self.storage.put(&mut self.env, BlockRef { key: item.key, index }, buffer, owner);
                if !taken {
                    self.retrieve.transfer_end(handle);
                }
                taken
            }
        };
        if begun {
            let mut row = self.row(op, contact);
            row.sent |= 1 << index;
            self.set_row(op, contact, row);
        }
        begun
    }

    pub(super) fn contact_pace(&mut self, op: Handle, contact: u8, pace: Pace) {
        let (now_ms, window) = (self.now_ms(), self.env.config.transfer_window);
        if pace == Pace::Full
            && let Some(put) = self.retrieve.put(op)
            && let Some((leader, full)) = &mut put.leader
        {
            *full |= *leader == contact;
        }
        if let Some(contact) = self.retrieve.contact_mut(op, contact) {
            contact.pace(pace, now_ms, window);
        }
    }

    /// A member has answered STORE.
    pub(super) fn pushed(&mut self, owner: OpOwner, result: Result<Body<'_>, Failure>) {
        let pace = match &result {
            Ok(_) => Pace::Good,
            Err(failure) => Pace::of(*failure),
        };
        self.free_body(result);
        self.push_ended(owner, pace);
    }

    /// Our own storage has kept a block, or not.
    pub(super) fn kept_here(&mut self, owner: OpOwner, at: BlockRef, kept: bool) {
        // A block of an earlier item may be kept late: the put has gone on, and its place may be another's.
        let present = self.retrieve.transfer_of(owner).and_then(|handle| self.retrieve.transfers.get(handle));
        let index = present.filter(|transfer| matches!(transfer.state, Moving::Storage)).map(|transfer| transfer.index);
        if index != Some(at.index) || self.retrieve.put(owner.op).is_none_or(|put| put.item.key != at.key) {
            return;
        }
        self.push_ended(owner, if kept { Pace::Good } else { Pace::Useless });
    }

    fn push_ended(&mut self, owner: OpOwner, pace: Pace) {
        let op = owner.op;
        let Some(handle) = self.retrieve.transfer_of(owner) else { return };
        let Some(transfer) = self.retrieve.transfer_end(handle) else { return };
        self.contact_pace(op, transfer.contact, pace);
        let mut row = self.row(op, transfer.contact);
        row.sent &= !(1 << transfer.index);
        if pace == Pace::Good {
            row.has |= 1 << transfer.index;
            self.op_moved(op);
        }
        self.set_row(op, transfer.contact, row);
        self.op_step(op);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_3_the_list_goes_first() {
        let mut scratch = [0; super::super::SCRATCH];
        assert_eq!(row(&scratch, 7), Row::default());
        let all = all_blocks(5);
        assert_eq!(all, 0b11111);
        assert_eq!(all_blocks(128), u128::MAX);
        assert_eq!(Row::default().lacks(all), 1);
        assert_eq!(Row { has: 0, sent: 1 }.lacks(all), 0, "the rest waits until the list is there");
        let some = Row { has: 1, sent: 0b100 };
        assert_eq!(some.lacks(all), 0b11010);
        set_row(&mut scratch, 3, some);
        assert_eq!((row(&scratch, 3), row(&scratch, 2), row(&scratch, 4)), (some, Row::default(), Row::default()));
    }
}

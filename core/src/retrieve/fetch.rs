//! Fetching the blocks of the items in work from their holders, several at once, each verified (PROTOCOL §6.4).

use super::get::{Branch, RETRY_MS, TRIES_MAX, child_blocks};
use super::message::{FetchTrailer, write_fetch};
use super::object::{FANOUT, LENGTH_MAX, List, child_bytes, key_of, verify};
use super::{Moving, OpOwner, Pace, Progress, Reason, Transfer, Work};
use crate::content::Kind;
use crate::exchange::{Body, Failure, Owner};
use crate::id::Key;
use crate::node::{BufferId, Event, GetId, Node};
use crate::route::internal;
use crate::storage::{BlockRef, StoreOwner};
use crate::table::Handle;
use crate::wire::BLOCK;

impl Node<'_> {
    /// Asks holders for blocks of one item in work, as many as the windows allow.
    pub(super) fn get_fetch(&mut self, op: Handle, at: u8) {
        let (now, now_ms) = (self.env.now, self.now_ms());
        let window = self.env.config.transfer_window;
        while self.retrieve.may_move(op, window) {
            let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
            let contacts = &entry.contacts;
            let Work::Get(get) = &mut entry.work else { return };
            let Some(active) = get.active_mut(at).filter(|active| active.located) else { return };
            let alive = |at: &usize| contacts.get(*at).is_some_and(|contact| !contact.dead);
            let holders = (0..contacts.len()).filter(|at| active.holders & 1 << at != 0);
            if !holders.clone().any(|at| alive(&at)) {
                // All have failed. They are asked again: one may have been slow only, and the group may have others now.
                active.holders = 0;
                active.located = false;
                active.locate_at = now.plus_ms(if active.tries > 1 { RETRY_MS } else { 0 });
                if active.tries >= TRIES_MAX {
                    self.op_end(op, Progress::Failed(Reason::Lost));
                }
                return;
            }
            let index = active.lacks().trailing_zeros() as u8;
            if index >= 128 {
                return;
            }
            let free = holders.filter(|at| contacts.get(*at).is_some_and(|contact| contact.may_move(now_ms)));
            let Some(contact) = free.min_by_key(|at| contacts.get(*at).map(|contact| contact.flying)) else { return };
            let key = active.key;
            if !self.fetch(op, contact as u8, at, key, index) {
                return;
            }
        }
    }

    /// Asks one contact for one block; false when there is no room for that now.
    fn fetch(&mut self, op: Handle, contact: u8, item: u8, key: Key, index: u8) -> bool {
        let Some(state) = self.retrieve.contact_mut(op, contact).copied() else { return false };
        let transfer = Transfer { op, contact, item, index, block: 0, state: Moving::Storage };
        let begun = match state.peer {
            Some(peer) => {
                // A buffer must be there for every answer on its way.
                if !self.spare_buffer(BLOCK) {
                    return false;
                }
                let Some(handle) = self.retrieve.transfer_begin(transfer) else { return false };
                let owner = Owner::Op(OpOwner { op, part: handle.index });
                let request = write_fetch(&key, index);
                match self.ask(peer, internal::FETCH, owner, state.deadline_ms(), |writer| writer.bytes(&request)) {
                    Some(call) => {
                        self.retrieve.fetching += 1;
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
                if !self.spare_buffer(BLOCK) {
                    return false;
                }
                let Some(handle) = self.retrieve.transfer_begin(transfer) else { return false };
                let owner = StoreOwner::Op(OpOwner { op, part: handle.index });
                let taken = self.storage.get(&mut self.env, BlockRef { key, index }, owner);
                if !taken {
                    self.retrieve.transfer_end(handle);
                }
                taken
            }
        };
        if begun && let Some(get) = self.retrieve.get(op) {
            get.asked += 1;
            if let Some(active) = get.active_mut(item) {
                active.flying |= 1 << index;
            }
        }
        begun
    }

    /// A holder has answered FETCH.
    pub(super) fn fetched(&mut self, owner: OpOwner, result: Result<Body<'_>, Failure>) {
        let Some(handle) = self.retrieve.transfer_of(owner) else {
            self.free_body(result);
            return;
        };
        self.retrieve.fetching = self.retrieve.fetching.saturating_sub(1);
        let got = match result {
            Err(failure) => Err(Pace::of(failure)),
            Ok(body) => match FetchTrailer::read(self.body_bytes(&body)).map(|(data, trailer)| (data.len(), trailer)) {
                None => {
                    self.free_body(Ok(body));
                    Err(Pace::Useless)
                }
                Some((n, trailer)) => {
                    let buffer = match body {
                        Body::Packet(bytes) if self.buffer_room(n, 0) => {
                            self.env.buffers.alloc_from(bytes.get(..n).unwrap_or_default())
                        }
                        Body::Packet(_) => None,
                        Body::Buffer(buffer) => {
                            self.env.buffers.truncate(&buffer, n);
                            Some(buffer)
                        }
                    };
                    // Without a buffer it is asked for again.
                    buffer.map(|buffer| (buffer, Some(trailer.kind))).ok_or(Pace::Busy)
                }
            },
        };
        self.get_block(owner.op, handle, got);
    }

    /// Our own storage has read a block, or not.
    pub(super) fn read_here(&mut self, owner: OpOwner, at: BlockRef, read: Result<BufferId, ()>) {
        let op = owner.op;
        let present = self.retrieve.transfer_of(owner).filter(|handle| {
            self.retrieve.transfers.get(*handle).is_some_and(|transfer| {
                let item = transfer.item;
                matches!(transfer.state, Moving::Storage) && transfer.index == at.index && {
                    let active = self.retrieve.ops.get(op).and_then(|op| match &op.work {
                        Work::Get(get) => get.active.get(usize::from(item))?.as_ref(),
                        Work::Put(_) => None,
                    });
                    active.is_some_and(|active| active.key == at.key)
                }
            })
        });
        let Some(handle) = present else {
            if let Ok(buffer) = read {
                self.env.buffers.free(buffer);
            }
            return;
        };
        let kind = self.content.get(&self.env, &at.key).map(|item| item.kind);
        self.get_block(op, handle, read.map(|buffer| (buffer, kind)).map_err(|()| Pace::Useless));
    }

    /// A block has come, or has not.
    fn get_block(&mut self, op: Handle, handle: Handle, got: Result<(BufferId, Option<Kind>), Pace>) {
        let Some(transfer) = self.retrieve.transfer_end(handle) else {
            if let Ok((buffer, _)) = got {
                self.env.buffers.free(buffer);
            }
            return;
        };
        let Transfer { contact, item, index, .. } = transfer;
        if let Some(active) = self.retrieve.get(op).and_then(|get| get.active_mut(item)) {
            active.flying &= !(1 << index);
        }
        match got {
            Err(pace) => {
                self.contact_pace(op, contact, pace);
                self.get_useless(op, contact, item, pace);
            }
            Ok((buffer, kind)) => {
                if self.get_verified(op, item, index, kind, &buffer) {
                    self.contact_pace(op, contact, Pace::Good);
                    self.op_moved(op);
                    self.get_take(op, item, index, kind, buffer);
                } else {
                    self.env.counters.blocks_corrupt += 1;
                    self.env.buffers.free(buffer);
                    if let Some(contact) = self.retrieve.contact_mut(op, contact) {
                        contact.dead = true;
                        contact.banned = true;
                    }
                }
            }
        }
        self.op_step(op);
    }

    /// A contact that does not hold one item may well hold others: it is given up for this one only.
    fn get_useless(&mut self, op: Handle, contact: u8, item: u8, pace: Pace) {
        if pace != Pace::Useless {
            return;
        }
        if let Some(state) = self.retrieve.contact_mut(op, contact)
            && state.peer.is_some()
        {
            state.dead = false;
        }
        if let Some(active) = self.retrieve.get(op).and_then(|get| get.active_mut(item)) {
            active.holders &= !(1 << contact);
        }
    }

    /// Whether these are the bytes of this block.
    fn get_verified(&self, op: Handle, item: u8, index: u8, kind: Option<Kind>, buffer: &BufferId) -> bool {
        let Some(Work::Get(get)) = self.retrieve.ops.get(op).map(|op| &op.work) else { return false };
        let Some(Some(active)) = get.active.get(usize::from(item)) else { return false };
        let bytes = self.env.buffers.bytes(buffer);
        match (&active.list, index) {
            (_, 0) => {
                let kind = match active.level {
                    None => kind,
                    Some(0) => Some(Kind::Extent),
                    Some(_) => Some(Kind::Tree),
                };
                kind.is_some_and(|kind| verify(self.env.crypto, kind, &active.key, bytes))
            }
            (Some(list), index) => {
                let list = List::read(Kind::Extent, self.env.buffers.bytes(list));
                let key = list.and_then(|list| list.get(usize::from(index) - 1));
                key == Some(key_of(self.env.crypto, Kind::Block, bytes))
            }
            (None, _) => false,
        }
    }

    /// Takes a verified block.
    fn get_take(&mut self, op: Handle, item: u8, index: u8, kind: Option<Kind>, buffer: BufferId) {
        let Some(get) = self.retrieve.get(op) else { return self.env.buffers.free(buffer) };
        let Some(active) = get.active_mut(item) else { return self.env.buffers.free(buffer) };
        let (base, level) = (active.base, active.level);
        active.got |= 1 << index;
        if index > 0 {
            let block = base + u32::from(index) - 1;
            self.get_ready(op, block, buffer);
            self.get_finish(op, item);
            return;
        }
        let kind = match level {
            None => kind.unwrap_or(Kind::Block),
            Some(0) => Kind::Extent,
            Some(_) => Kind::Tree,
        };
        let well = match kind {
            Kind::Block => self.get_root(op, self.env.buffers.bytes(&buffer).len() as u64),
            Kind::Extent | Kind::Tree => self.get_list(op, item, kind, &buffer),
        };
        if !well {
            self.env.buffers.free(buffer);
            self.op_end(op, Progress::Failed(Reason::Malformed));
            return;
        }
        match kind {
            Kind::Block => self.get_ready(op, 0, buffer),
            Kind::Extent => {
                if let Some(active) = self.retrieve.get(op).and_then(|get| get.active_mut(item)) {
                    active.list = Some(buffer);
                }
            }
            Kind::Tree => self.get_branch(op, item, buffer),
        }
        self.get_finish(op, item);
    }

    /// The root tells how long the object is.
    fn get_root(&mut self, op: Handle, length: u64) -> bool {
        let Some(get) = self.retrieve.get(op) else { return false };
        get.length = Some(length);
        get.done = (u64::from(get.from_block) * BLOCK as u64).min(length);
        length <= LENGTH_MAX
    }

    /// Checks that a list is what its place in the object demands, and takes its numbers over.
    fn get_list(&mut self, op: Handle, item: u8, kind: Kind, buffer: &BufferId) -> bool {
        let Some(list) = List::read(kind, self.env.buffers.bytes(buffer)) else { return false };
        let (level, length, n) = (list.level, list.length, list.len());
        let Some(get) = self.retrieve.get(op) else { return false };
        let from = get.from_block;
        let Some(active) = get.active_mut(item) else { return false };
        let (base, root) = (active.base, active.level.is_none());
        if active.level.is_some_and(|wanted| wanted != level) {
            return false;
        }
        if kind == Kind::Extent {
            active.blocks = n as u8 + 1;
            // What the application has already is not fetched.
            let skip = from.saturating_sub(base).min(n as u32);
            active.got |= ((1u128 << skip) - 1) << 1;
        }
        active.level = Some(level);
        if root {
            return self.get_root(op, length);
        }
        let left = get.length.unwrap_or(0).saturating_sub(u64::from(base) * BLOCK as u64);
        length == left.min(child_bytes(level + 1))
    }

    /// A tree has come: its children are next.
    fn get_branch(&mut self, op: Handle, item: u8, list: BufferId) {
        let Some(get) = self.retrieve.get(op) else { return self.env.buffers.free(list) };
        let from = get.from_block;
        let Some(active) = get.active_mut(item) else { return self.env.buffers.free(list) };
        let (level, base) = (active.level.unwrap_or(1), active.base);
        let next = (from.saturating_sub(base) / child_blocks(level)).min(FANOUT as u32) as u8;
        if let Err(branch) = get.branches.push(Branch { list, next, level, base }) {
            self.env.buffers.free(branch.list);
        }
    }

    /// Lets an item go that is complete.
    fn get_finish(&mut self, op: Handle, item: u8) {
        let Some(get) = self.retrieve.get(op) else { return };
        let Some(place) = get.active.get_mut(usize::from(item)) else { return };
        if let Some(active) = place.take_if(|active| active.complete())
            && let Some(list) = active.list
        {
            self.env.buffers.free(list);
        }
    }

    /// Offers a block to the application.
    fn get_ready(&mut self, op: Handle, block: u32, buffer: BufferId) {
        let now = self.env.now;
        let Some(get) = self.retrieve.get(op) else { return self.env.buffers.free(buffer) };
        if block < get.from_block {
            return self.env.buffers.free(buffer);
        }
        if self.env.buffers.bytes(&buffer).len() != get.block_bytes(block) {
            self.env.buffers.free(buffer);
            self.op_end(op, Progress::Failed(Reason::Malformed));
            return;
        }
        let state = Moving::Ready(buffer, now);
        // The place of the transfer that has just ended is free.
        match self.retrieve.transfers.insert(Transfer { op, contact: u8::MAX, item: 0, index: 0, block, state }) {
            Ok(_) => {
                if let Some(op) = self.retrieve.ops.get_mut(op) {
                    op.transfers += 1;
                }
                self.env.event(Event::GetHas { get: GetId(op), block });
            }
            Err(transfer) => {
                if let Moving::Ready(buffer, _) = transfer.state {
                    self.env.buffers.free(buffer);
                }
            }
        }
    }
}

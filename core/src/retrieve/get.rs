//! Getting an object: its tree is walked from the root, and its blocks are fetched from several holders at once (PROTOCOL §6.4).

use heapless::Vec;

use super::message::{FetchTrailer, Located, write_fetch};
use super::object::{FANOUT, LENGTH_MAX, LEVEL_MAX, List, child_bytes, key_of, verify};
use super::walk::Found;
use super::{Moving, OpOwner, Pace, Progress, Reason, Transfer, Work};
use crate::content::Kind;
use crate::exchange::{Body, Failure, Owner};
use crate::group::Class;
use crate::id::{Key, NodeId};
use crate::node::{BufferId, Buffers, Event, GetId, Node, Refused};
use crate::route::internal;
use crate::storage::{BlockRef, StoreOwner};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::BLOCK;

/// Items fetched at a time: the second is looked up and begun while the first is finished, so that transfers do not stall between.
const ACTIVE: usize = 2;
/// Times that one item is looked up again when its holders have failed.
const TRIES_MAX: u8 = 4;
/// Milliseconds between two of those.
const RETRY_MS: u32 = 1_000;
/// Milliseconds after which the application is told again of a block that it has not taken.
const TELL_AGAIN_MS: u32 = 1_000;

/// A tree on the way down, of which children are left.
#[derive(Debug)]
struct Branch {
    list: BufferId,
    /// The next child.
    next: u8,
    level: u8,
    /// The object's block at which its first child begins.
    base: u32,
}

/// An item being fetched.
#[derive(Debug)]
struct Active {
    key: Key,
    /// Bit i: block i has been fetched.
    got: u128,
    /// Bit i: block i is on its way.
    flying: u128,
    /// The object's block at which it begins.
    base: u32,
    /// Its own bytes, if it is an extent, once they are here.
    list: Option<BufferId>,
    /// Its blocks, once known.
    blocks: u8,
    /// Trees above the extents at this place: 0 is an extent. `None`: the root, of which nothing is known yet.
    level: Option<u8>,
    /// Bit i: contact i is said to hold it.
    holders: u8,
    /// Times it was looked up.
    tries: u8,
    /// Whether its holders were looked up, and not all of them have failed since.
    located: bool,
    /// When it may be looked up (again).
    locate_at: Instant,
}

/// A get under way.
#[derive(Debug)]
pub(super) struct Get {
    from_block: u32,
    /// Bytes of the object, once known.
    length: Option<u64>,
    done: u64,
    branches: Vec<Branch, { LEVEL_MAX as usize }>,
    active: [Option<Active>; ACTIVE],
    /// Which active item the walk is for.
    walking: u8,
    /// Contacts asked by walks, and blocks asked for.
    pub(super) asked: u32,
}

/// How far a get is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetStatus {
    /// Under way, done, not found or failed.
    pub progress: Progress,
    /// Bytes of the object given to the application, and those before the block it began at.
    pub bytes_done: u64,
    /// Bytes of the object, once known.
    pub bytes_total: Option<u64>,
    /// Calls made: contacts asked where it is, and blocks asked for.
    pub asked: u32,
}

impl Get {
    pub(super) fn free(&mut self, buffers: &mut Buffers<'_>) {
        while let Some(branch) = self.branches.pop() {
            buffers.free(branch.list);
        }
        for active in &mut self.active {
            if let Some(list) = active.take().and_then(|active| active.list) {
                buffers.free(list);
            }
        }
    }

    /// Whether a contact is said to hold an item in work.
    pub(super) fn needs(&self, contact: usize) -> bool {
        self.active.iter().flatten().any(|active| active.holders & 1 << contact != 0)
    }

    fn active_mut(&mut self, at: u8) -> Option<&mut Active> {
        self.active.get_mut(usize::from(at))?.as_mut()
    }

    fn block_bytes(&self, block: u32) -> usize {
        let left = self.length.unwrap_or(0).saturating_sub(u64::from(block) * BLOCK as u64);
        left.min(BLOCK as u64) as usize
    }
}

impl Active {
    fn new(key: Key, base: u32, level: Option<u8>, now: Instant) -> Self {
        Active {
            key,
            got: 0,
            flying: 0,
            base,
            list: None,
            blocks: 1,
            level,
            holders: 0,
            tries: 0,
            located: false,
            locate_at: now,
        }
    }

    /// Blocks that may be asked for now: the own bytes first.
    fn lacks(&self) -> u128 {
        let all = if self.blocks >= 128 { u128::MAX } else { (1 << self.blocks) - 1 };
        let lacks = all & !(self.got | self.flying);
        if self.got & 1 == 0 { lacks & 1 } else { lacks }
    }

    fn complete(&self) -> bool {
        self.got.count_ones() == u32::from(self.blocks)
    }

    fn class(&self) -> Class {
        if self.level == Some(0) { Class::Large } else { Class::Small }
    }
}

/// Data blocks of the object under one child of a tree of this level.
fn child_blocks(level: u8) -> u32 {
    (child_bytes(level) / BLOCK as u64) as u32
}

impl Node<'_> {
    /// Gets an object, from block `from_block` on: [`Event::GetHas`] tells of each block, in any order within a window,
    /// [`Node::got_block`] gives it, and [`Event::GetDone`] tells the end. An interrupted get is resumed by a new one that begins at the
    /// first block that is missing. Buffers: 512 bytes, one per tree level and active extent, one per block on its way or not taken.
    ///
    /// # Errors
    /// Nothing was changed: [`Refused::Full`] or [`Refused::NoBuffer`] while others are under way.
    pub fn get(&mut self, now: Instant, key: Key, from_block: u32) -> Result<GetId, Refused> {
        self.env.advance(now);
        let full = self.retrieve.ops.is_full();
        let root = Active::new(key, 0, None, now);
        let get = Get {
            from_block,
            length: None,
            done: 0,
            branches: Vec::new(),
            active: [Some(root), None],
            walking: 0,
            asked: 0,
        };
        match self.op_begin(Work::Get(get)) {
            Ok(op) => {
                self.op_step(op);
                Ok(GetId(op))
            }
            Err(_) => Err(if full { Refused::Full } else { Refused::NoBuffer }),
        }
    }

    /// Copies a block that [`Event::GetHas`] told of into `buf` and frees its place; its length in bytes. `None`: it is not here (any
    /// more), or `buf` is too short.
    pub fn got_block(&mut self, now: Instant, get: GetId, block: u32, buf: &mut [u8]) -> Option<usize> {
        self.env.advance(now);
        let op = get.0;
        let ready = |transfer: &Transfer| {
            transfer.op == op && transfer.block == block && matches!(transfer.state, Moving::Ready(..))
        };
        let handle = self.retrieve.transfers.iter().find(|(_, transfer)| ready(transfer)).map(|(handle, _)| handle)?;
        let Moving::Ready(buffer, _) = &self.retrieve.transfers.get(handle)?.state else { return None };
        let bytes = self.env.buffers.bytes(buffer);
        let n = bytes.len();
        buf.get_mut(..n)?.copy_from_slice(bytes);
        self.transfer_drop(handle);
        if let Some(get) = self.retrieve.get(op) {
            get.done += n as u64;
        }
        self.op_moved(op);
        self.op_step(op);
        Some(n)
    }

    /// How far a get is. `None`: there is no such get.
    pub fn get_status(&self, get: GetId) -> Option<GetStatus> {
        let op = self.retrieve.ops.get(get.0)?;
        let Work::Get(get) = &op.work else { return None };
        Some(GetStatus { progress: op.progress, bytes_done: get.done, bytes_total: get.length, asked: get.asked })
    }

    /// Frees a get. One under way is cancelled.
    pub fn get_free(&mut self, now: Instant, get: GetId) {
        self.env.advance(now);
        if self.retrieve.get(get.0).is_some() {
            self.op_free(get.0);
        }
    }

    /// Goes on with a get.
    pub(super) fn get_step(&mut self, op: Handle) {
        self.get_descend(op);
        if !self.retrieve.working(op) {
            return;
        }
        self.get_locate(op);
        if !self.retrieve.working(op) {
            return;
        }
        for at in 0..ACTIVE as u8 {
            self.get_fetch(op, at);
        }
        self.get_remind(op);
    }

    /// Takes the next children into work; ends the get when nothing is left.
    fn get_descend(&mut self, op: Handle) {
        let now = self.env.now;
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        let Work::Get(get) = &mut entry.work else { return };
        for at in 0..ACTIVE {
            if get.active[at].is_some() {
                continue;
            }
            // What a tree holds comes before its next sibling, so nothing is begun while one is on its way.
            if get.active.iter().flatten().any(|active| active.level != Some(0)) {
                break;
            }
            let Some(branch) = get.branches.last_mut() else { break };
            let list = List::read(Kind::Tree, self.env.buffers.bytes(&branch.list));
            let child = list.and_then(|list| list.get(usize::from(branch.next)));
            let base = branch.base.saturating_add(u32::from(branch.next) * child_blocks(branch.level));
            let level = branch.level - 1;
            match child {
                Some(key) => {
                    branch.next += 1;
                    get.active[at] = Some(Active::new(key, base, Some(level), now));
                }
                None => {
                    if let Some(branch) = get.branches.pop() {
                        self.env.buffers.free(branch.list);
                    }
                    // Its parent's next child is taken at the next step, which follows at once.
                    return self.get_descend(op);
                }
            }
        }
        if get.branches.is_empty() && get.active.iter().all(Option::is_none) && entry.transfers == 0 {
            self.op_end(op, Progress::Done);
        }
    }

    /// Looks up who holds the items in work, one after the other.
    fn get_locate(&mut self, op: Handle) {
        for _ in 0..=ACTIVE {
            let Some(entry) = self.retrieve.ops.get(op) else { return };
            let Work::Get(get) = &entry.work else { return };
            let at = get.walking;
            if entry.walk.is_none() {
                let due = |active: &Active| !active.located && active.locate_at <= self.env.now;
                let next = get.active.iter().position(|active| active.as_ref().is_some_and(due));
                let Some(next) = next else { return };
                self.get_locate_begin(op, next as u8);
                continue;
            }
            let Some(found) = self.walk_step(op) else { return };
            if found == Found::Nothing {
                self.get_not_located(op, at);
                if !self.retrieve.working(op) {
                    return;
                }
            }
        }
    }

    fn get_locate_begin(&mut self, op: Handle, at: u8) {
        let Some(get) = self.retrieve.get(op) else { return };
        get.walking = at;
        let Some(active) = get.active_mut(at) else { return };
        active.tries += 1;
        let (key, class) = (active.key, active.class());
        // What is here needs no walk.
        let here = self.content.get(&self.env, &key).is_some_and(|item| item.complete());
        let tried = self.retrieve.ops.get(op).is_some_and(|op| op.contacts.iter().any(|c| c.peer.is_none() && c.dead));
        if here
            && !tried
            && let Some(contact) = self.contact(op, None)
            && let Some(active) = self.retrieve.get(op).and_then(|get| get.active_mut(at))
        {
            active.holders |= 1 << contact;
            active.located = true;
            return;
        }
        self.walk_begin(op, key, class, 0, None);
    }

    /// A holder has answered.
    pub(super) fn get_located(&mut self, op: Handle, key: &Key, from: &NodeId, located: &Located) {
        let told = self.told_contacts(op, from, located);
        let Some(get) = self.retrieve.get(op) else { return };
        let walking = get.walking;
        let Some(active) = get.active_mut(walking).filter(|active| active.key == *key) else { return };
        for (at, told) in told.into_iter().enumerate() {
            active.holders |= u8::from(told) << at;
        }
        active.located = true;
        // Who was only slow is tried again, who sent something wrong is not.
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        let mut useful = false;
        for (contact, _) in entry.contacts.iter_mut().zip(told).filter(|(contact, told)| *told && !contact.banned) {
            contact.dead = false;
            contact.fails = 0;
            useful = true;
        }
        if useful {
            entry.walk = None;
        } else if let Some(active) = self.retrieve.get(op).and_then(|get| get.active_mut(walking)) {
            active.holders = 0;
            active.located = false;
        }
    }

    fn get_not_located(&mut self, op: Handle, at: u8) {
        let now = self.env.now;
        let Some(get) = self.retrieve.get(op) else { return };
        let Some(active) = get.active_mut(at) else { return };
        if active.tries >= TRIES_MAX || (active.level.is_none() && active.tries == 1) {
            let progress = if active.level.is_none() { Progress::NotFound } else { Progress::Failed(Reason::Lost) };
            if progress == Progress::NotFound {
                self.env.counters.not_found += 1;
            }
            self.op_end(op, progress);
            return;
        }
        // Its group may be repairing it, or news of a group may be on its way.
        active.locate_at = now.plus_ms(RETRY_MS);
    }

    /// Asks holders for blocks of one item in work, as many as the windows allow.
    fn get_fetch(&mut self, op: Handle, at: u8) {
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
        // A buffer must be there for every answer on its way.
        let promised = usize::from(self.retrieve.fetching);
        let Some(state) = self.retrieve.contact_mut(op, contact).copied() else { return false };
        let transfer = Transfer { op, contact, item, index, block: 0, state: Moving::Storage };
        let begun = match state.peer {
            Some(peer) => {
                if self.env.buffers.large_free() <= promised {
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
                        Body::Packet(bytes) => self.env.buffers.alloc_from(bytes.get(..n).unwrap_or_default()),
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

    /// Tells the application again of what it has not taken: its events may have been lost.
    fn get_remind(&mut self, op: Handle) {
        let now = self.env.now;
        let Node { retrieve, env, .. } = self;
        for (_, transfer) in retrieve.transfers.iter_mut().filter(|(_, transfer)| transfer.op == op) {
            if let Moving::Ready(_, since) = &mut transfer.state
                && now.ms_since(*since) >= TELL_AGAIN_MS
            {
                *since = now;
                env.event(Event::GetHas { get: GetId(op), block: transfer.block });
            }
        }
    }
}

//! Getting an object: its tree is walked from the root, and its blocks are fetched from several holders at once (PROTOCOL §6.4).

use heapless::Vec;

use super::message::Located;
use super::object::{LEVEL_MAX, List, child_bytes};
use super::walk::Found;
use super::{Moving, Progress, Reason, Transfer, Work};
use crate::content::Kind;
use crate::id::{Key, NodeId};
use crate::node::{BufferId, Buffers, Event, GetId, Node, Refused};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::BLOCK;

/// Items fetched at a time: the second is looked up and begun while the first is finished, so that transfers do not stall between.
const ACTIVE: usize = 2;
/// Times that one item is looked up again when its holders have failed.
pub(super) const TRIES_MAX: u8 = 4;
/// Milliseconds between two of those.
pub(super) const RETRY_MS: u32 = 1_000;
/// Milliseconds after which the application is told again of a block that it has not taken.
const TELL_AGAIN_MS: u32 = 1_000;

/// A tree on the way down, of which children are left.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) list: BufferId,
    /// The next child.
    pub(super) next: u8,
    pub(super) level: u8,
    /// The object's block at which its first child begins.
    pub(super) base: u32,
}

/// An item being fetched.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) key: Key,
    /// Bit i: block i has been fetched.
    pub(super) got: u128,
    /// Bit i: block i is on its way.
    pub(super) flying: u128,
    /// The object's block at which it begins.
    pub(super) base: u32,
    /// Its own bytes, if it is an extent, once they are here.
    pub(super) list: Option<BufferId>,
    /// Its blocks, once known.
    pub(super) blocks: u8,
    /// Trees above the extents at this place: 0 is an extent. `None`: the root, of which nothing is known yet.
    pub(super) level: Option<u8>,
    /// Bit i: contact i is said to hold it.
    pub(super) holders: u8,
    /// Times it was looked up.
    pub(super) tries: u8,
    /// Whether its holders were looked up, and not all of them have failed since.
    pub(super) located: bool,
    /// When it may be looked up (again).
    pub(super) locate_at: Instant,
}

/// A get under way.
#[derive(Debug)]
pub(super) struct Get {
    pub(super) from_block: u32,
    /// Bytes of the object, once known.
    pub(super) length: Option<u64>,
    pub(super) done: u64,
    pub(super) branches: Vec<Branch, { LEVEL_MAX as usize }>,
    pub(super) active: [Option<Active>; ACTIVE],
    /// Which active item the walk is for.
    pub(super) walking: u8,
    /// Contacts asked by walks, and blocks asked for.
    pub(super) asked: u32,
    /// Contacts asked by walks.
    pub(super) contacts: u32,
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
    /// Contacts asked where it is, for all items of the object together.
    pub contacts: u32,
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

    pub(super) fn active_mut(&mut self, at: u8) -> Option<&mut Active> {
        self.active.get_mut(usize::from(at))?.as_mut()
    }

    pub(super) fn block_bytes(&self, block: u32) -> usize {
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
    pub(super) fn lacks(&self) -> u128 {
        let all = if self.blocks >= 128 { u128::MAX } else { (1 << self.blocks) - 1 };
        let lacks = all & !(self.got | self.flying);
        if self.got & 1 == 0 { lacks & 1 } else { lacks }
    }

    pub(super) fn complete(&self) -> bool {
        self.got.count_ones() == u32::from(self.blocks)
    }
}

/// Data blocks of the object under one child of a tree of this level.
pub(super) fn child_blocks(level: u8) -> u32 {
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
            contacts: 0,
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
        Some(GetStatus {
            progress: op.progress,
            bytes_done: get.done,
            bytes_total: get.length,
            asked: get.asked,
            contacts: get.contacts,
        })
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
        let key = active.key;
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
        self.walk_begin(op, key, 0, None);
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

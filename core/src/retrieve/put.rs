//! Putting an object: its items one after the other, children before parents (PROTOCOL §6.3).
//!
//! A put pulls: it asks the application for blocks, each at least twice when the object is more than one block: once to hash it, and
//! again for every time it must be sent. So no data is kept but what is on its way.

use heapless::Vec;

use super::object::{FANOUT, HEADER, Layout, key_of, list_bytes, write_entry, write_header};
use super::{Progress, Reason, Work};
use crate::content::Kind;
use crate::group::Class;
use crate::id::{GroupId, Key};
use crate::node::{BufferId, Buffers, Event, Node, PutId, Refused};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::BLOCK;

/// Milliseconds after which a block that the application was asked for, and has not given, is asked for again.
const ASK_AGAIN_MS: u32 = 1_000;

/// What a put is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Hashing the blocks of the next item.
    Gather,
    /// Looking for the item's group.
    Place,
    /// Waiting for a group to be founded.
    Found,
    /// Storing the item's blocks, and waiting for recruits.
    Store,
}

/// A put under way.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) layout: Layout,
    pub(super) min_replicas: u8,
    pub(super) phase: Phase,
    /// The fewest members that hold an item stored so far, and how many were wanted.
    pub(super) replicas: u8,
    pub(super) wanted: u8,
    /// Which extent of the object is at work.
    pub(super) extent: u32,
    /// Which item is at work: 0 the block or extent, n the tree of level n.
    pub(super) level: u8,
    /// Own bytes of the block or extent at work.
    pub(super) list: Option<BufferId>,
    /// Own bytes of the trees above it, and how many entries they have so far; level 1 first.
    pub(super) trees: Vec<(BufferId, u8), { super::object::LEVEL_MAX as usize }>,
    /// Bit i: block i of the extent is hashed.
    pub(super) hashed: u128,
    /// Bit i: the application was asked for data block i of the extent, since `asked_at`.
    pub(super) asked: u128,
    pub(super) asked_at: Instant,
    pub(super) item: Item,
    pub(super) group: GroupId,
    /// A group that has failed for this item.
    pub(super) refused: Option<GroupId>,
    pub(super) seat: Option<Handle>,
    /// What was last told of the group, when it is not ours.
    pub(super) recruiting: bool,
    /// Which contact leads the group, if one does, and whether it said that the item does not fit.
    pub(super) leader: Option<(u8, bool)>,
    pub(super) group_wanted: u8,
    /// Groups tried for this item.
    pub(super) tries: u8,
    /// Seat sizes tried.
    pub(super) foundings: u8,
    /// Hosts that were asked to found one and declined.
    pub(super) declined: u8,
    /// When the members are next asked for.
    pub(super) refresh_at: Instant,
    /// Bytes of the object in items that are stored.
    pub(super) done: u64,
}

/// The item being stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub key: Key,
    pub kind: Kind,
    pub blocks: u8,
    pub bytes: u32,
}

/// How far a put is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutStatus {
    /// Under way, done or failed.
    pub progress: Progress,
    /// The object's id, once all of it is stored.
    pub key: Option<Key>,
    /// Bytes of the object stored so far.
    pub bytes_done: u64,
    /// Bytes of the object.
    pub bytes_total: u64,
    /// Blocks of data in the object.
    pub blocks: u32,
    /// Nodes that hold it: the fewest over its items. Of an item not stored yet nothing is said.
    pub replicas: u8,
    /// Nodes that should.
    pub wanted: u8,
}

impl Put {
    pub(super) fn free(&mut self, buffers: &mut Buffers<'_>) {
        if let Some(list) = self.list.take() {
            buffers.free(list);
        }
        while let Some((tree, _)) = self.trees.pop() {
            buffers.free(tree);
        }
    }

    /// Whether the application owes blocks.
    pub(super) fn asking(&self) -> bool {
        self.asked != 0
    }

    /// The buffer of the own bytes of the item at work.
    pub(super) fn own(&self) -> Option<&BufferId> {
        match self.level {
            0 => self.list.as_ref(),
            level => self.trees.get(usize::from(level) - 1).map(|(tree, _)| tree),
        }
    }

    pub(super) fn class(&self) -> Class {
        match self.item.kind {
            Kind::Extent => Class::Large,
            Kind::Block | Kind::Tree => Class::Small,
        }
    }
}

impl Node<'_> {
    /// Puts an object of `length` bytes (at most 2^40) that the application gives block by block: [`Event::PutWants`] asks,
    /// [`Node::put_block`] gives, and [`Event::PutDone`] tells the end. The put fails when fewer than `min_replicas` nodes hold
    /// it then. It holds a buffer of 512 bytes, and one of up to 4,072 per level of the object's tree, 1 to 5.
    ///
    /// # Errors
    /// Nothing was changed: [`Refused::TooLong`]; [`Refused::Full`] or [`Refused::NoBuffer`] while others are under way.
    pub fn put(&mut self, now: Instant, length: u64, min_replicas: u8) -> Result<PutId, Refused> {
        self.env.advance(now);
        let layout = Layout::of(length).ok_or(Refused::TooLong)?;
        let mut put = Put {
            layout,
            min_replicas,
            phase: Phase::Gather,
            replicas: u8::MAX,
            wanted: 0,
            extent: 0,
            level: 0,
            list: None,
            trees: Vec::new(),
            hashed: 0,
            asked: 0,
            asked_at: now,
            item: Item { key: Key::default(), kind: Kind::Block, blocks: 1, bytes: 0 },
            group: GroupId::default(),
            refused: None,
            seat: None,
            recruiting: false,
            leader: None,
            group_wanted: 0,
            tries: 0,
            foundings: 0,
            declined: 0,
            refresh_at: now,
            done: 0,
        };
        // All that it needs to go on is reserved now (N5): a block or list, and the trees. One more buffer at a time is for copies.
        let list = match layout.extents {
            0 => length as usize,
            _ => list_bytes(usize::from(layout.extent_blocks(0))),
        };
        put.list = self.buffer_room(list, 0).then(|| self.env.buffers.alloc(list)).flatten();
        let mut reserved = put.list.is_some();
        for level in 1..=layout.levels {
            let tree = list_bytes(layout.entries(level));
            reserved = reserved && self.buffer_room(tree, 0);
            if let Some(tree) = reserved.then(|| self.env.buffers.alloc(tree)).flatten() {
                // There is a place for every level.
                let _ = put.trees.push((tree, 0));
            }
        }
        if !reserved || put.trees.len() != usize::from(layout.levels) {
            put.free(&mut self.env.buffers);
            self.env.counters.buffers_refused += 1;
            return Err(Refused::NoBuffer);
        }
        let full = self.retrieve.ops.is_full();
        match self.op_begin(Work::Put(put)) {
            Ok(op) => {
                self.op_step(op);
                Ok(PutId(op))
            }
            Err(work) => {
                if let Work::Put(mut put) = work {
                    put.free(&mut self.env.buffers);
                }
                Err(if full { Refused::Full } else { Refused::NoBuffer })
            }
        }
    }

    /// Gives a put the block it asked for: 4,096 bytes, or what is left at the end of the object. A block given twice is ignored.
    ///
    /// # Errors
    /// Nothing was changed: [`Refused::Unknown`], the put is not under way; [`Refused::Invalid`], the length is not that of the block;
    /// [`Refused::NoBuffer`], it cannot be sent now and will be asked for again.
    pub fn put_block(&mut self, now: Instant, put: PutId, block: u32, data: &[u8]) -> Result<(), Refused> {
        self.env.advance(now);
        let op = put.0;
        if !self.retrieve.working(op) {
            return Err(Refused::Unknown);
        }
        let put = self.retrieve.put(op).ok_or(Refused::Unknown)?;
        if block >= put.layout.blocks || data.len() != put.layout.block_bytes(block) {
            return Err(Refused::Invalid);
        }
        let Some(at) = block.checked_sub(put.extent * FANOUT as u32).filter(|at| *at < FANOUT as u32) else {
            return Ok(());
        };
        if put.asked & 1 << at == 0 {
            return Ok(());
        }
        match put.phase {
            Phase::Gather => self.put_hash(op, at as u8, data),
            Phase::Store => self.push_block(op, at as u8 + 1, data)?,
            Phase::Place | Phase::Found => {}
        }
        self.op_moved(op);
        self.op_step(op);
        Ok(())
    }

    /// How far a put is. `None`: there is no such put.
    pub fn put_status(&self, put: PutId) -> Option<PutStatus> {
        let op = self.retrieve.ops.get(put.0)?;
        let Work::Put(put) = &op.work else { return None };
        let partly = match put.phase {
            Phase::Store if put.level == 0 && op.progress == Progress::Working => self.pushed_bytes(op, put),
            _ => 0,
        };
        Some(PutStatus {
            progress: op.progress,
            key: (op.progress == Progress::Done).then_some(put.item.key),
            bytes_done: (put.done + partly).min(put.layout.length),
            bytes_total: put.layout.length,
            blocks: put.layout.blocks,
            replicas: if put.replicas == u8::MAX { 0 } else { put.replicas },
            wanted: put.wanted.max(self.env.config.replicas),
        })
    }

    /// Frees a put. One under way is cancelled: what it has stored stays until its lease ends.
    pub fn put_free(&mut self, now: Instant, put: PutId) {
        self.env.advance(now);
        if self.retrieve.put(put.0).is_some() {
            self.op_free(put.0);
        }
    }

    /// Hashes block `at` of the block or extent at work.
    fn put_hash(&mut self, op: Handle, at: u8, data: &[u8]) {
        let crypto = self.env.crypto;
        let Some(put) = self.retrieve.put(op) else { return };
        put.asked &= !(1 << at);
        let Some(list) = &put.list else { return };
        let own = self.env.buffers.bytes_mut(list);
        if put.layout.extents == 0 {
            if let Some(own) = own.get_mut(..data.len()) {
                own.copy_from_slice(data);
            }
        } else {
            write_entry(own, usize::from(at), &key_of(crypto, Kind::Block, data));
        }
        put.hashed |= 1 << at;
    }

    /// Blocks asked of the application at a time.
    fn ask_ahead(&self) -> u32 {
        let events = (self.env.limits.events / 2).max(1);
        u32::from(self.env.config.transfer_window).min(events as u32)
    }

    /// Asks the application for data blocks of the extent at work, those in `wanted`; again for what is owed too long.
    pub(super) fn put_ask(&mut self, op: Handle, wanted: u128) {
        let (now, ahead) = (self.env.now, self.ask_ahead());
        let Some(put) = self.retrieve.put(op) else { return };
        let base = put.extent * FANOUT as u32;
        let mut ask = 0u128;
        if put.asked != 0 && now.ms_since(put.asked_at) >= ASK_AGAIN_MS {
            put.asked &= wanted;
            ask = put.asked;
        }
        let mut more = wanted & !put.asked;
        while more != 0 && put.asked.count_ones() < ahead {
            let bit = more & more.wrapping_neg();
            put.asked |= bit;
            ask |= bit;
            more &= !bit;
        }
        if ask != 0 {
            put.asked_at = now;
        }
        while ask != 0 {
            let block = base + ask.trailing_zeros();
            ask &= ask - 1;
            self.env.event(Event::PutWants { put: PutId(op), block });
        }
    }

    /// Goes on with a put.
    pub(super) fn put_step(&mut self, op: Handle) {
        // Phases follow each other without a wait; at most once round for each item.
        for _ in 0..8 {
            let Some(phase) = self.retrieve.put(op).map(|put| put.phase) else { return };
            let go_on = match phase {
                Phase::Gather => self.put_gather(op),
                Phase::Place => self.put_place(op),
                Phase::Found => false,
                Phase::Store => self.put_store(op),
            };
            if !go_on || !self.retrieve.working(op) {
                return;
            }
        }
    }

    fn put_gather(&mut self, op: Handle) -> bool {
        let crypto = self.env.crypto;
        let Some(put) = self.retrieve.put(op) else { return false };
        let n = match put.layout.extents {
            0 => 1,
            _ => put.layout.extent_blocks(put.extent),
        };
        let all = (1u128 << n) - 1;
        let missing = all & !put.hashed;
        if missing != 0 {
            self.put_ask(op, missing);
            return false;
        }
        let Some(list) = &put.list else { return false };
        if put.layout.extents > 0 {
            let length = put.layout.span(0, put.extent);
            // The last extent is shorter: what is left of the list is not its own bytes.
            self.env.buffers.truncate(list, list_bytes(usize::from(n)));
            write_header(self.env.buffers.bytes_mut(list), 0, length);
            let own = self.env.buffers.bytes(list);
            let bytes = own.len() as u32 + length as u32;
            put.item = Item { key: key_of(crypto, Kind::Extent, own), kind: Kind::Extent, blocks: n + 1, bytes };
        } else {
            let own = self.env.buffers.bytes(list);
            put.item =
                Item { key: key_of(crypto, Kind::Block, own), kind: Kind::Block, blocks: 1, bytes: own.len() as u32 };
        }
        put.asked = 0;
        self.put_new_item(op);
        true
    }

    /// The item is held by `k` members: goes on with its parent, or with the next extent.
    pub(super) fn put_stored(&mut self, op: Handle, k: u8) {
        self.transfers_clear(op);
        self.contacts_clear(op);
        let crypto = self.env.crypto;
        let wanted = self.put_wanted(op);
        let Some(put) = self.retrieve.put(op) else { return };
        put.replicas = put.replicas.min(k);
        put.wanted = put.wanted.max(wanted);
        if put.replicas < put.min_replicas {
            self.op_end(op, Progress::Failed(Reason::TooFew));
            return;
        }
        let (layout, extent, child) = (put.layout, put.extent, put.item.key);
        if put.level == 0 {
            put.done += if layout.extents == 0 { layout.length } else { layout.span(0, extent) };
        }
        if put.level == layout.levels && extent + 1 >= layout.extents {
            self.op_end(op, Progress::Done);
            return;
        }
        // The key goes into the tree above; if that is complete now, it is the next item.
        let level = put.level + 1;
        let Some((tree, entries)) = put.trees.get_mut(usize::from(level) - 1) else { return };
        let n = usize::from(*entries) + 1;
        let own = self.env.buffers.bytes_mut(tree);
        write_entry(own, n - 1, &child);
        if !layout.closes(level, extent) {
            *entries = n as u8;
            put.level = 0;
            put.extent += 1;
            put.hashed = 0;
            put.asked = 0;
            put.phase = Phase::Gather;
            return;
        }
        *entries = 0;
        write_header(own, level, layout.span(level, extent));
        let own = own.get(..list_bytes(n)).unwrap_or_default();
        let (key, bytes) = (key_of(crypto, Kind::Tree, own), own.len() as u32);
        put.item = Item { key, kind: Kind::Tree, blocks: 1, bytes };
        put.level = level;
        self.put_new_item(op);
    }

    /// The own bytes of the item at work.
    pub(super) fn own_bytes(&self, op: Handle) -> &[u8] {
        let Some(Work::Put(put)) = self.retrieve.ops.get(op).map(|op| &op.work) else { return &[] };
        let own = put.own().map_or(&[][..], |own| self.env.buffers.bytes(own));
        let n = match put.item.kind {
            Kind::Block | Kind::Tree => put.item.bytes as usize,
            Kind::Extent => HEADER + 32 * usize::from(put.item.blocks - 1),
        };
        own.get(..n).unwrap_or_default()
    }

    /// Whether these are the bytes that were hashed as data block `at` of the extent at work.
    pub(super) fn put_unchanged(&self, op: Handle, at: u8, data: &[u8]) -> bool {
        let key = key_of(self.env.crypto, Kind::Block, data);
        let own = self.own_bytes(op);
        let place = list_bytes(usize::from(at));
        own.get(place..place + 32).is_some_and(|bytes| *bytes == key.0) && data.len() <= BLOCK
    }
}

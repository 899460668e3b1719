//! Storage as output and input: what is to be stored goes out by [`Node::poll_store`], what was done comes in by
//! [`Node::handle_store`]. The index of what is stored stays in the core; only bytes are asynchronous.

use crate::content::{ItemInfo, Kind};
use crate::id::{GroupId, Key};
use crate::node::{BufferId, Env, Node};
use crate::retrieve::OpOwner;
use crate::table::{Handle, Slot, Slots, Store};
use crate::time::Instant;

/// Where bytes are stored: block `index` of an item; 0 is the item's own bytes (a block, a list), 1 and on are an
/// extent's data blocks. 33 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockRef {
    /// The item.
    pub key: Key,
    /// Which of its blocks.
    pub index: u8,
}

/// The most bytes of a [`StoreOp::Seat`].
pub const SEAT_BYTES: usize = 1024;

/// What is kept beside a block, so that it finds its place again after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockNote {
    /// The group in whose seat the item is.
    pub group: GroupId,
    /// The item, as it was when the block was stored.
    pub item: ItemInfo,
}

impl BlockNote {
    /// Of an item that is in no group: not taken after a restart. Also for trying a store without a node.
    pub const fn none(key: Key) -> Self {
        let item = ItemInfo { key, kind: Kind::Block, blocks: 1, bytes: 0, lease_s: 0 };
        BlockNote { group: GroupId([0; 16]), item }
    }
}

/// Names one storage operation. A late or repeated completion of another is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreTicket(Handle);

impl StoreTicket {
    /// Names no operation: ignored when given back. For trying a store without a node.
    pub const NONE: StoreTicket = StoreTicket(Handle { index: u16::MAX, generation: 0 });
}

/// What the storage is to do. Several may be under way; each is to be completed once, in any order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreOp {
    /// Keep the first `len` bytes of the buffer given to [`Node::poll_store`], replacing what was there.
    Put {
        /// To be given back.
        ticket: StoreTicket,
        /// Where.
        at: BlockRef,
        /// How many bytes.
        len: usize,
        /// What [`Node::restore_block`] has to be told of it after a restart; a store that forgets then needs it not.
        note: BlockNote,
    },
    /// Keep the first `len` bytes of the buffer, at most [`SEAT_BYTES`], as the seat in a group, replacing what was there: they
    /// are what [`Node::restore_seat`] takes after a restart. 0 bytes: forget it. Only if
    /// [`crate::config::Config::durable`].
    Seat {
        /// To be given back.
        ticket: StoreTicket,
        /// Which group.
        group: GroupId,
        /// How many bytes.
        len: usize,
    },
    /// Read a block of at most 4,096 bytes.
    Get {
        /// To be given back.
        ticket: StoreTicket,
        /// Which.
        at: BlockRef,
    },
    /// Forget all blocks of an item.
    Delete {
        /// To be given back.
        ticket: StoreTicket,
        /// Which item.
        key: Key,
    },
}

impl StoreOp {
    /// What is to be given back when it is done.
    pub fn ticket(&self) -> StoreTicket {
        match self {
            StoreOp::Put { ticket, .. }
            | StoreOp::Get { ticket, .. }
            | StoreOp::Delete { ticket, .. }
            | StoreOp::Seat { ticket, .. } => *ticket,
        }
    }
}

/// Storage failed. The core treats the item as not held and tells those who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StoreError {
    /// Nothing is stored there.
    Missing,
    /// No space is left.
    Full,
    /// The medium failed, or what was read is damaged.
    Io,
}

/// What the storage has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreDone<'a> {
    /// Of the [`StoreOp`].
    pub ticket: StoreTicket,
    /// For a Get the bytes, else an empty slice; or why not.
    pub result: Result<&'a [u8], StoreError>,
}

/// Who waits for a storage operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreOwner {
    /// Nobody: a deletion, or bytes whose loss is found by synchronisation.
    None,
    /// A request whose answer is the block.
    Serve(Handle),
    /// A block of a put or get.
    Op(OpOwner),
    /// A cached list of an extent, and its place.
    List(u16),
    /// A seat that pulls an item, and which of its pulls.
    Seat(Handle, u8),
}

#[derive(Debug)]
enum Work {
    Put(BlockRef, BufferId),
    Get(BlockRef, BufferId),
    Delete(Key),
    Seat(GroupId),
}

/// One storage operation that waits or is under way.
#[derive(Debug)]
pub struct StoreJob {
    work: Work,
    owner: StoreOwner,
    polled: bool,
}

/// Storage operations that wait or are under way. Policy when full: refuse.
#[derive(Debug)]
pub(crate) struct Storage<'m> {
    jobs: Slots<'m, StoreJob>,
    /// Jobs not polled yet, so that an idle poll is one comparison.
    waiting: u16,
    /// Where the next poll looks first: jobs are polled in turn.
    next: u16,
}

/// How an operation ended, for its owner.
pub(crate) enum Stored {
    /// Put or deleted.
    Done,
    /// Read: the buffer is the owner's now.
    Got(BufferId),
    /// Failed. The buffer, if there was one, is free again.
    Failed(StoreError),
}

impl<'m> Storage<'m> {
    pub fn new(jobs: Store<'m, Slot<StoreJob>>) -> Self {
        Storage { jobs: Slots::new(jobs), waiting: 0, next: 0 }
    }

    /// Operations that can still be taken.
    pub fn room(&self) -> usize {
        self.jobs.limit() - self.jobs.len()
    }

    fn add(&mut self, env: &mut Env<'_>, work: Work, owner: StoreOwner) -> bool {
        match self.jobs.insert(StoreJob { work, owner, polled: false }) {
            Ok(_) => {
                self.waiting += 1;
                true
            }
            Err(job) => {
                if let Work::Put(_, buffer) | Work::Get(_, buffer) = job.work {
                    env.buffers.free(buffer);
                }
                env.counters.store_refused += 1;
                false
            }
        }
    }

    /// Stores the buffer's bytes; takes the buffer, also when refused.
    pub fn put(&mut self, env: &mut Env<'_>, at: BlockRef, buffer: BufferId, owner: StoreOwner) -> bool {
        self.add(env, Work::Put(at, buffer), owner)
    }

    /// Reads a block into a buffer, reserved now.
    pub fn get(&mut self, env: &mut Env<'_>, at: BlockRef, owner: StoreOwner) -> bool {
        if self.room() == 0 {
            env.counters.store_refused += 1;
            return false;
        }
        match env.buffers.alloc(crate::wire::BLOCK) {
            Some(buffer) => self.add(env, Work::Get(at, buffer), owner),
            None => {
                env.counters.buffers_refused += 1;
                false
            }
        }
    }

    /// Forgets an item's bytes.
    pub fn delete(&mut self, env: &mut Env<'_>, key: Key) -> bool {
        self.add(env, Work::Delete(key), StoreOwner::None)
    }

    /// Keeps what is known of the seat in a group when this is polled; forgets it if there is none.
    pub fn seat(&mut self, env: &mut Env<'_>, group: GroupId) -> bool {
        self.add(env, Work::Seat(group), StoreOwner::None)
    }
}

impl Node<'_> {
    /// What is to be kept beside a block. An item that was removed meanwhile belongs to no group: its deletion follows.
    fn note(&self, at: &BlockRef) -> BlockNote {
        let item = self.content.awaiting(&self.env, at);
        let note = item.and_then(|item| {
            let group = self.groups.group_in(item.seat)?;
            Some(BlockNote { group, item: item.info(self.env.seconds()) })
        });
        note.unwrap_or(BlockNote::none(at.key))
    }

    /// What the storage is to do next. For a [`StoreOp::Put`] the bytes are in `buf`, which must hold 4,096.
    /// Cost when nothing waits: one comparison.
    pub fn poll_store(&mut self, buf: &mut [u8]) -> Option<StoreOp> {
        if self.storage.waiting == 0 {
            return None;
        }
        let used = self.storage.jobs.used();
        let mut at = self.storage.next;
        let handle = (0..used).find_map(|_| {
            at = if at >= used { 0 } else { at };
            let handle = self.storage.jobs.handle_at(at);
            at += 1;
            handle.filter(|handle| self.storage.jobs.get(*handle).is_some_and(|job| !job.polled))
        })?;
        let job = self.storage.jobs.get(handle)?;
        let ticket = StoreTicket(handle);
        let op = match &job.work {
            Work::Put(place, buffer) => {
                let bytes = self.env.buffers.bytes(buffer);
                buf.get_mut(..bytes.len())?.copy_from_slice(bytes);
                let (at, len) = (*place, bytes.len());
                StoreOp::Put { ticket, at, len, note: self.note(&at) }
            }
            Work::Get(place, _) => StoreOp::Get { ticket, at: *place },
            Work::Delete(key) => StoreOp::Delete { ticket, key: *key },
            Work::Seat(group) => StoreOp::Seat { ticket, group: *group, len: self.write_seat(group, buf)? },
        };
        let job = self.storage.jobs.get_mut(handle)?;
        job.polled = true;
        self.storage.waiting -= 1;
        self.storage.next = at;
        Some(op)
    }

    /// Takes the outcome of a storage operation. Unknown tickets are ignored.
    pub fn handle_store(&mut self, now: Instant, done: StoreDone<'_>) {
        self.env.advance(now);
        let handle = done.ticket.0;
        if self.storage.jobs.get(handle).is_none_or(|job| !job.polled) {
            return;
        }
        let Some(job) = self.storage.jobs.remove(handle) else { return };
        if done.result.is_err() {
            self.env.counters.store_failed += 1;
        }
        let at = match &job.work {
            Work::Put(at, _) | Work::Get(at, _) => *at,
            Work::Delete(key) => BlockRef { key: *key, index: 0 },
            Work::Seat(group) => {
                let group = *group;
                if done.result.is_err() {
                    self.seat_unsaved(&group);
                }
                return;
            }
        };
        let stored = match (job.work, done.result) {
            (Work::Get(_, buffer), Ok(bytes)) if bytes.len() <= crate::wire::BLOCK => {
                self.env.buffers.truncate(&buffer, bytes.len());
                self.env.buffers.bytes_mut(&buffer).copy_from_slice(bytes);
                Stored::Got(buffer)
            }
            (Work::Get(_, buffer), result) => {
                self.env.buffers.free(buffer);
                Stored::Failed(result.err().unwrap_or(StoreError::Io))
            }
            (Work::Put(_, buffer), result) => {
                self.env.buffers.free(buffer);
                result.map_or_else(Stored::Failed, |_| Stored::Done)
            }
            (Work::Delete(_) | Work::Seat(_), result) => result.map_or_else(Stored::Failed, |_| Stored::Done),
        };
        self.stored(job.owner, at, stored);
    }
}

//! Putting and getting objects (PROTOCOL §6).
//!
//! A put or get is an [`Op`]: a small state machine that looks an item's group up (`walk`, `place`), moves its blocks (`push`,
//! `fetch`), and goes on to the next item of the object (`put`, `get`, `object`). It keeps what is large in buffers, and every call or storage operation it
//! waits for is one entry of the table of transfers. Nothing waits without a timer: an op in which nothing moves for
//! `STALL_MS` fails.

mod fetch;
mod get;
pub(crate) mod message;
pub(crate) mod object;
mod place;
mod pointers;
mod push;
mod put;
mod serve;
#[cfg(test)]
mod vectors;
mod walk;

use heapless::Vec;

pub use get::GetStatus;
pub use object::LENGTH_MAX;
pub use pointers::Pointer;
pub(crate) use pointers::Pointers;
pub use put::PutStatus;
pub use serve::CachedList;

use crate::exchange::{Body, Failure};
use crate::id::NodeId;
use crate::node::{BufferId, Node, PeerId, Timer};
use crate::storage::{BlockRef, Stored};
use crate::table::{Handle, Slot, Slots, Store};
use crate::time::Instant;
use get::Get;
use put::Put;
use walk::Walk;

/// Milliseconds without any progress after which an op fails.
const STALL_MS: u32 = 30_000;
/// Milliseconds between two looks at an op that waits.
const TICK_MS: u32 = 100;
/// Milliseconds for which a block's transfer is waited for at first; doubles with every time-out of a contact.
const BLOCK_MS: u32 = 1_500;
/// Time-outs of a contact in a row after which it is given up.
const FAILS_MAX: u8 = 3;
/// Blocks under way to or from a new contact.
const WINDOW_START: u8 = 4;
/// Contacts of one op.
const CONTACTS: usize = 8;
/// Bytes of an op's scratch buffer: the contacts asked by a walk, or which contact has which block.
const SCRATCH: usize = crate::node::SMALL;

/// Which part of which put or get waits for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpOwner {
    pub op: Handle,
    /// A place in the table of transfers, or one of the numbers from [`PART_WALK`] on.
    pub part: u16,
}

/// LOCATE of a walk: its serial number in bits 7 to 14, the place in its list of contacts asked in bits 0 to 6.
const PART_WALK: u16 = 0x8000;
/// LOCATE that reads the members of a group again.
const PART_REFRESH: u16 = 0xffff;
/// The founding of a group.
const PART_FOUND: u16 = 0xfffe;

/// Why a put or get failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// No group with room was found, and none could be founded.
    Full,
    /// Nothing moved for 30 seconds.
    Stalled,
    /// Fewer nodes hold it than the caller demanded.
    TooFew,
    /// The application gave other bytes the second time.
    Changed,
    /// The object is there but makes no sense: its publisher was faulty.
    Malformed,
    /// A part of the object is not found any more.
    Lost,
}

/// How far a put or get is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Progress {
    /// Under way.
    Working,
    /// Ended with success.
    Done,
    /// A get: no node asked knows of the object.
    NotFound,
    /// Ended without success.
    Failed(Reason),
}

/// A node that an op exchanges blocks with. 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Contact {
    /// `None`: this node itself.
    peer: Option<PeerId>,
    /// Transfers under way.
    flying: u8,
    /// Transfers that may be under way: grows by one per window of successes, halves at a time-out.
    window: u8,
    /// Successes since the window last grew.
    credit: u8,
    /// Time-outs in a row.
    fails: u8,
    /// Given up.
    dead: bool,
    /// Sent what was not what it should be: not asked again by this op.
    banned: bool,
    /// Milliseconds since the node's start until which it is left alone.
    rest: u32,
}

/// One block on its way.
#[derive(Debug)]
pub struct Transfer {
    op: Handle,
    contact: u8,
    /// Which active item of a get.
    item: u8,
    index: u8,
    /// Of a get: which block of the object.
    block: u32,
    state: Moving,
}

#[derive(Debug)]
enum Moving {
    /// A call waits for its answer.
    Call(Handle),
    /// The storage works on it.
    Storage,
    /// Verified, and waits for the application since then.
    Ready(BufferId, Instant),
}

#[derive(Debug)]
enum Work {
    Put(Put),
    Get(Get),
}

/// A put or get under way, or ended and not freed yet.
#[derive(Debug)]
pub struct Op {
    /// [`SCRATCH`] bytes.
    scratch: BufferId,
    contacts: Vec<Contact, CONTACTS>,
    walk: Option<Walk>,
    /// Counts walks, so that late answers are told from those to the present one.
    serial: u8,
    /// When something last moved.
    moved: Instant,
    /// Places in the table of transfers.
    transfers: u8,
    progress: Progress,
    work: Work,
}

const _: () = assert!(size_of::<Op>() <= 560, "ops are few, and what is large is in buffers");

/// All puts and gets.
#[derive(Debug)]
pub(crate) struct Retrieve<'m> {
    ops: Slots<'m, Op>,
    transfers: Slots<'m, Transfer>,
    lists: Store<'m, Option<CachedList>>,
    /// Where the next list is cached.
    next_list: u16,
    /// FETCH calls under way: each may need a buffer for its answer.
    fetching: u16,
}

impl<'m> Retrieve<'m> {
    pub fn new(
        ops: Store<'m, Slot<Op>>,
        transfers: Store<'m, Slot<Transfer>>,
        lists: Store<'m, Option<CachedList>>,
    ) -> Self {
        Retrieve { ops: Slots::new(ops), transfers: Slots::new(transfers), lists, next_list: 0, fetching: 0 }
    }

    fn put(&mut self, op: Handle) -> Option<&mut Put> {
        match &mut self.ops.get_mut(op)?.work {
            Work::Put(put) => Some(put),
            Work::Get(_) => None,
        }
    }

    fn get(&mut self, op: Handle) -> Option<&mut Get> {
        match &mut self.ops.get_mut(op)?.work {
            Work::Get(get) => Some(get),
            Work::Put(_) => None,
        }
    }

    /// Whether the op is there and under way.
    fn working(&self, op: Handle) -> bool {
        self.ops.get(op).is_some_and(|op| op.progress == Progress::Working)
    }

    fn contact_mut(&mut self, op: Handle, contact: u8) -> Option<&mut Contact> {
        self.ops.get_mut(op)?.contacts.get_mut(contact as usize)
    }

    /// The place in the table of transfers that a part names, if it is that op's.
    fn transfer_of(&self, owner: OpOwner) -> Option<Handle> {
        let handle = self.transfers.handle_at(owner.part)?;
        self.transfers.get(handle).filter(|transfer| transfer.op == owner.op)?;
        Some(handle)
    }

    /// Whether the op may move one more block to or from any contact.
    fn may_move(&self, op: Handle, window: u8) -> bool {
        !self.transfers.is_full() && self.ops.get(op).is_some_and(|op| op.transfers < window)
    }

    /// Enters a transfer whose state is set afterwards; the caller has asked [`Retrieve::may_move`].
    fn transfer_begin(&mut self, transfer: Transfer) -> Option<Handle> {
        let (op, contact) = (transfer.op, transfer.contact);
        let handle = self.transfers.insert(transfer).ok()?;
        if let Some(op) = self.ops.get_mut(op) {
            op.transfers += 1;
            if let Some(contact) = op.contacts.get_mut(contact as usize) {
                contact.flying += 1;
            }
        }
        Some(handle)
    }

    /// Takes a transfer out, its contact's share with it unless it was only waiting for the application.
    fn transfer_end(&mut self, handle: Handle) -> Option<Transfer> {
        let transfer = self.transfers.remove(handle)?;
        if let Some(op) = self.ops.get_mut(transfer.op) {
            op.transfers = op.transfers.saturating_sub(1);
            if !matches!(transfer.state, Moving::Ready(..))
                && let Some(contact) = op.contacts.get_mut(transfer.contact as usize)
            {
                contact.flying = contact.flying.saturating_sub(1);
            }
        }
        Some(transfer)
    }
}

/// What a contact's answer says about how much to give it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It kept up.
    Good,
    /// It has no room now.
    Busy,
    /// It did not answer in time.
    Late,
    /// The item does not fit.
    Full,
    /// It is of no use for this.
    Useless,
}

impl Pace {
    fn of(failure: Failure) -> Pace {
        use crate::exchange::Status;
        match failure {
            Failure::Deadline | Failure::Silent => Pace::Late,
            Failure::Refused(Status::Busy) => Pace::Busy,
            Failure::Refused(Status::Failed) => Pace::Full,
            Failure::PeerGone | Failure::Refused(_) => Pace::Useless,
        }
    }
}

impl Contact {
    fn new(peer: Option<PeerId>) -> Self {
        Contact { peer, flying: 0, window: WINDOW_START, credit: 0, fails: 0, dead: false, banned: false, rest: 0 }
    }

    fn may_move(&self, now_ms: u32) -> bool {
        !self.dead && self.flying < self.window && self.rest <= now_ms
    }

    fn deadline_ms(&self) -> u32 {
        BLOCK_MS << self.fails.min(FAILS_MAX)
    }

    fn pace(&mut self, pace: Pace, now_ms: u32, window_max: u8) {
        match pace {
            Pace::Good => {
                self.fails = 0;
                self.credit += 1;
                if self.credit >= self.window {
                    self.credit = 0;
                    self.window = self.window.saturating_add(1).min(window_max);
                }
            }
            Pace::Busy => {
                self.window = (self.window / 2).max(1);
                self.credit = 0;
                self.rest = now_ms + 50;
            }
            Pace::Late => {
                self.window = (self.window / 2).max(1);
                self.credit = 0;
                self.fails += 1;
                self.dead |= self.fails >= FAILS_MAX;
            }
            Pace::Full | Pace::Useless => self.dead = true,
        }
    }
}

impl Node<'_> {
    /// Whether there is a buffer to spare for one more transfer: a quarter of the large ones is left to everybody else.
    fn spare_buffer(&mut self, len: usize) -> bool {
        let kept = self.env.limits.large_buffers / 4 + usize::from(self.retrieve.fetching);
        self.buffer_room(len, kept)
    }

    /// Milliseconds since the node's start.
    fn now_ms(&self) -> u32 {
        self.env.now.ms_since(self.env.start)
    }

    /// A contact of an op, made if need be. When there are too many, one that is of no use any more makes room; else `None`.
    fn contact(&mut self, op: Handle, peer: Option<PeerId>) -> Option<u8> {
        let Op { contacts, work, scratch, .. } = self.retrieve.ops.get_mut(op)?;
        if let Some(at) = contacts.iter().position(|contact| contact.peer == peer) {
            return Some(at as u8);
        }
        let mut gone = None;
        let at = match contacts.push(Contact::new(peer)) {
            Ok(()) => contacts.len() - 1,
            Err(new) => {
                let idle = |at: &usize| contacts.get(*at).is_some_and(|contact| contact.flying == 0);
                let at = (0..contacts.len()).filter(idle).find(|at| match work {
                    Work::Put(_) => contacts.get(*at).is_some_and(|contact| contact.dead),
                    Work::Get(get) => !get.needs(*at),
                })?;
                if let Work::Put(_) = work {
                    push::clear_row(self.env.buffers.bytes_mut(scratch), at as u8);
                }
                let old = contacts.get_mut(at)?;
                gone = old.peer;
                *old = new;
                at
            }
        };
        if let Some(peer) = peer {
            self.hold(peer);
        }
        if let Some(gone) = gone {
            self.release(gone);
        }
        Some(at as u8)
    }

    /// Gives up the contacts of an op whose sessions are gone.
    fn contacts_check(&mut self, op: Handle) {
        let Node { retrieve, peers, .. } = self;
        let Some(op) = retrieve.ops.get_mut(op) else { return };
        for contact in &mut op.contacts {
            contact.dead |= contact.peer.is_some_and(|peer| peers.get(peer).is_none());
        }
    }

    /// A contact by name: dialled if there is no session yet.
    fn contact_by_id(&mut self, op: Handle, id: &NodeId, hint: Option<crate::addr::Addr>) -> Option<u8> {
        if *id == self.env.me {
            return None;
        }
        let peer = self.dial(id, hint)?;
        self.contact(op, Some(peer))
    }

    /// Lets all contacts of an op go. Its calls must have ended or been forgotten.
    fn contacts_clear(&mut self, op: Handle) {
        if let Some(put) = self.retrieve.put(op) {
            put.leader = None;
        }
        while let Some(contact) = self.retrieve.ops.get_mut(op).and_then(|op| op.contacts.pop()) {
            if let Some(peer) = contact.peer {
                self.release(peer);
            }
        }
    }

    /// Gives up all transfers of an op. What the storage works on ends by itself.
    fn transfers_clear(&mut self, op: Handle) {
        for at in 0..self.retrieve.transfers.used() {
            let Some(handle) = self.retrieve.transfers.handle_at(at) else { continue };
            if self.retrieve.transfers.get(handle).is_some_and(|transfer| transfer.op == op) {
                self.transfer_drop(handle);
            }
        }
    }

    fn transfer_drop(&mut self, handle: Handle) {
        let Some(transfer) = self.retrieve.transfer_end(handle) else { return };
        match transfer.state {
            Moving::Call(call) => {
                if matches!(self.retrieve.ops.get(transfer.op).map(|op| &op.work), Some(Work::Get(_))) {
                    self.retrieve.fetching = self.retrieve.fetching.saturating_sub(1);
                }
                self.forget_call(call);
            }
            Moving::Ready(buffer, _) => self.env.buffers.free(buffer),
            Moving::Storage => {}
        }
    }

    /// Enters an op with its scratch buffer, or gives its work back when there is no room.
    #[allow(clippy::result_large_err)] // There is no heap to put it on, and the caller owns buffers by it.
    fn op_begin(&mut self, work: Work) -> Result<Handle, Work> {
        if self.retrieve.ops.is_full() {
            self.env.counters.operations_refused += 1;
            return Err(work);
        }
        let room = self.buffer_room(SCRATCH, 0);
        let Some(scratch) = self.env.buffers.alloc(SCRATCH).filter(|_| room) else {
            self.env.counters.buffers_refused += 1;
            return Err(work);
        };
        let op = Op {
            scratch,
            contacts: Vec::new(),
            walk: None,
            serial: 0,
            moved: self.env.now,
            transfers: 0,
            progress: Progress::Working,
            work,
        };
        self.retrieve.ops.insert(op).map_err(|op| {
            self.env.buffers.free(op.scratch);
            op.work
        })
    }

    /// Ends an op: it keeps only its status, until the application frees it.
    fn op_end(&mut self, op: Handle, progress: Progress) {
        self.transfers_clear(op);
        self.contacts_clear(op);
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        if entry.progress != Progress::Working {
            return;
        }
        entry.progress = progress;
        entry.walk = None;
        self.forget_calls_of(op);
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        let event = match &mut entry.work {
            Work::Put(put) => {
                put.free(&mut self.env.buffers);
                crate::Event::PutDone(crate::node::PutId(op))
            }
            Work::Get(get) => {
                get.free(&mut self.env.buffers);
                crate::Event::GetDone(crate::node::GetId(op))
            }
        };
        self.env.timers.clear(Timer::Op(op.index));
        self.env.event(event);
    }

    /// Frees an op, ended or not.
    fn op_free(&mut self, op: Handle) {
        self.transfers_clear(op);
        self.forget_calls_of(op);
        self.contacts_clear(op);
        let Some(entry) = self.retrieve.ops.remove(op) else { return };
        match entry.work {
            Work::Put(mut put) => put.free(&mut self.env.buffers),
            Work::Get(mut get) => get.free(&mut self.env.buffers),
        }
        self.env.buffers.free(entry.scratch);
        self.env.timers.clear(Timer::Op(op.index));
    }

    /// Something moved.
    fn op_moved(&mut self, op: Handle) {
        let now = self.env.now;
        if let Some(op) = self.retrieve.ops.get_mut(op) {
            op.moved = now;
        }
    }

    /// Does what can be done now, and sets the timer for the rest.
    fn op_step(&mut self, op: Handle) {
        self.contacts_check(op);
        match self.retrieve.ops.get(op) {
            Some(entry) if entry.progress == Progress::Working => match entry.work {
                Work::Put(_) => self.put_step(op),
                Work::Get(_) => self.get_step(op),
            },
            _ => return,
        }
        if self.retrieve.working(op) {
            self.env.timers.set(Timer::Op(op.index), self.env.now.plus_ms(TICK_MS));
        }
    }

    pub(crate) fn op_timeout(&mut self, index: u16) {
        let Some(op) = self.retrieve.ops.handle_at(index) else { return };
        let Some(entry) = self.retrieve.ops.get(op) else { return };
        if self.env.now.ms_since(entry.moved) >= STALL_MS && !self.awaits_application(op) {
            self.op_end(op, Progress::Failed(Reason::Stalled));
            return;
        }
        self.op_step(op);
    }

    /// Whether it is the application that does not give or take blocks: that is not a stall.
    fn awaits_application(&self, op: Handle) -> bool {
        match self.retrieve.ops.get(op).map(|op| &op.work) {
            Some(Work::Put(put)) => put.asking(),
            Some(Work::Get(_)) => self
                .retrieve
                .transfers
                .iter()
                .any(|(_, transfer)| transfer.op == op && matches!(transfer.state, Moving::Ready(..))),
            None => false,
        }
    }

    pub(crate) fn op_answered(&mut self, owner: OpOwner, from: NodeId, result: Result<Body<'_>, Failure>) {
        if owner.part == PART_FOUND {
            let hint = result.ok().and_then(|body| {
                let hint = crate::wire::value(self.body_bytes(&body));
                self.free_body(Ok(body));
                hint
            });
            if hint.is_none() {
                self.hosts.has_no_room(&from);
            }
            self.founded_elsewhere(owner, hint);
        } else if owner.part >= PART_WALK {
            self.located(owner, from, result);
        } else if matches!(self.retrieve.ops.get(owner.op).map(|op| &op.work), Some(Work::Get(_))) {
            self.fetched(owner, result);
        } else {
            self.pushed(owner, result);
        }
    }

    pub(crate) fn op_stored(&mut self, owner: OpOwner, at: BlockRef, stored: Stored) {
        match stored {
            Stored::Got(buffer) => self.read_here(owner, at, Ok(buffer)),
            Stored::Done => {
                self.item_stored(&at.key, at.index);
                self.kept_here(owner, at, true);
            }
            Stored::Failed(_) => {
                if matches!(self.retrieve.ops.get(owner.op).map(|op| &op.work), Some(Work::Get(_))) {
                    self.read_here(owner, at, Err(()));
                } else {
                    self.kept_here(owner, at, false);
                }
            }
        }
    }
}

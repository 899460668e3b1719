//! Making the members' item sets equal (PROTOCOL §5.8).
//!
//! Beats carry count and fingerprint of the set. Whoever sees a difference, or is new, walks the other's sorted list of
//! items in pages and pulls what it lacks, block by block, verified.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::descriptor::live;
use super::{Notice, Phase, part};
use crate::content::{ItemInfo, Kind};
use crate::exchange::{Body, Failure, Owner, Served, Status};
use crate::id::{GroupId, Key, NodeId};
use crate::node::{BufferId, Node, PeerId, Timer};
use crate::retrieve::message::{FetchTrailer, write_fetch};
use crate::retrieve::object::{List, key_of, verify};
use crate::route::internal;
use crate::storage::{BlockRef, StoreOwner, Stored};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::Writer;

/// Items in one page of a list.
const PAGE: usize = 24;
/// Items pulled at the same time by one seat.
const PULLS: usize = 4;
/// Milliseconds for a page or a block to come.
const ANSWER_MS: u32 = 4_000;
/// Milliseconds until a walk that failed is tried with another member.
const RETRY_MS: u32 = 200;
/// Milliseconds until a walk that brought nothing is repeated with the same member.
const REPEAT_MS: u32 = 5_000;
/// Milliseconds after a walk that brought nothing in which no other one begins.
const PAUSE_MS: u32 = 1_000;
/// Items about to expire are not worth moving: seconds.
const LEASE_MIN_S: u32 = 10;

/// A request for a page: items of a group with keys after this one.
#[derive(Serialize, Deserialize)]
pub(super) struct ListRequest {
    pub group: GroupId,
    pub after: Key,
}

/// A page: complete items in the order of their keys, and whether there are more.
#[derive(Serialize, Deserialize)]
pub(super) struct ListPage {
    pub items: Vec<ItemInfo, PAGE>,
    pub more: bool,
}

/// What a pull waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// Nothing: the next step was not possible for lack of room.
    Room,
    /// A block from the other member.
    Block(u8),
    /// The extent's list from our storage.
    List,
    /// Our storage, to have kept a block.
    Kept(u8),
}

/// One item being fetched.
#[derive(Debug)]
struct Pull {
    info: ItemInfo,
    wait: Wait,
    /// The extent's own bytes, to check its blocks with.
    list: Option<BufferId>,
}

/// Where a seat's walk through another member's items stands.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    from: Option<NodeId>,
    after: Key,
    asking: bool,
    more: bool,
    pulls: [Option<Pull>; PULLS],
    /// Whether a walk was ever finished: a new member is not done before.
    done_once: bool,
    /// Whether this walk has brought an item.
    gained: bool,
    /// When another walk may begin.
    again: Instant,
    /// The last member walked through and when.
    last: Option<(NodeId, Instant)>,
}

impl Sync {
    /// We founded the group: there is nobody to walk through first.
    pub fn nothing_to_learn(&mut self) {
        self.done_once = true;
    }

    /// Whether we are new, and not through with anybody yet.
    pub fn learning(&self) -> bool {
        !self.done_once
    }

    /// Whether a walk is under way.
    pub fn busy(&self) -> bool {
        self.from.is_some()
    }
}

impl Node<'_> {
    /// Begins a walk through a member's items, unless one is under way.
    pub(super) fn sync_from(&mut self, handle: Handle, id: NodeId) {
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| !seat.sync.busy()) else { return };
        let sync = &mut seat.sync;
        sync.from = Some(id);
        sync.after = Key::default();
        sync.gained = false;
        sync.more = true;
        self.sync_go_on(handle);
    }

    /// A beat told of a member's item set: if it differs from ours twice in a row, walk through it.
    pub(super) fn sync_consider(&mut self, handle: Handle, id: NodeId) {
        let now = self.env.now;
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| !seat.sync.busy()) else { return };
        let recent = seat.sync.last.is_some_and(|(last, at)| last == id && now.ms_since(at) < REPEAT_MS);
        let Some(digest) = seat.digests.iter_mut().find(|d| d.id == id) else { return };
        let same = (digest.count, digest.fingerprint) == (seat.set.complete, seat.set.fingerprint);
        // A put under way differs for a moment: what counts is to differ twice in a row.
        let again = core::mem::replace(&mut digest.differs, !same);
        if !same && again && digest.count > 0 && !recent && now >= seat.sync.again {
            self.sync_from(handle, id);
        }
    }

    /// Goes on with what waited: for room, or for another member after a failure.
    pub(super) fn sync_step(&mut self, handle: Handle) {
        let now = self.env.now;
        let me = self.env.me;
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        if seat.sync.busy() {
            return self.sync_go_on(handle);
        }
        if seat.sync.done_once || seat.live() < 2 {
            return;
        }
        if now < seat.sync.again {
            let again = seat.sync.again;
            self.env.timers.set_earlier(Timer::Seat(handle.index), again);
            return;
        }
        // New here, and not through with anybody yet: take the next member after the one that failed.
        let last = seat.sync.last.map(|(id, _)| id).unwrap_or_default();
        let others = || live(&seat.members).filter(|m| m.id != me);
        let next = others().find(|m| m.id > last).or_else(|| others().next()).map(|m| m.id);
        if let Some(id) = next {
            self.sync_from(handle, id);
        }
    }

    fn sync_go_on(&mut self, handle: Handle) {
        for i in 0..PULLS {
            let waits = self.pull(handle, i).is_some_and(|pull| pull.wait == Wait::Room);
            if waits {
                self.pull_step(handle, i);
            }
        }
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        let sync = &mut seat.sync;
        let Some(from) = sync.from else { return };
        let under_way = sync.pulls.iter().flatten().count();
        if sync.more && !sync.asking && under_way < PULLS {
            let request = ListRequest { group: seat.id, after: sync.after };
            let owner = Owner::Seat(handle, part::LIST);
            let asked = self
                .dial(&from, None)
                .and_then(|peer| self.ask(peer, internal::LIST, owner, ANSWER_MS, |w| w.value(&request)));
            if let Some(seat) = self.groups.seats.get_mut(handle) {
                seat.sync.asking = asked.is_some();
            }
            if asked.is_none() {
                self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now.plus_ms(RETRY_MS / 4));
            }
        } else if !sync.more && !sync.asking && under_way == 0 {
            sync.last = Some((from, self.env.now));
            sync.from = None;
            let news = sync.gained || !sync.done_once;
            sync.done_once = true;
            if news {
                // The others learn at once that one more holds everything.
                self.tell_members(handle, Notice::Beat);
            } else {
                // Who differs and gives nothing has what we cannot take, or lacks what we have: soon would be no better.
                sync.again = self.env.now.plus_ms(PAUSE_MS);
            }
            self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now);
        }
    }

    /// The walk has failed: what is under way is given up, what is stored stays.
    fn sync_fail(&mut self, handle: Handle) {
        self.sync_stop(handle);
        let again = self.env.now.plus_ms(RETRY_MS);
        if let Some(seat) = self.groups.seats.get_mut(handle) {
            seat.sync.again = again;
            self.env.timers.set_earlier(Timer::Seat(handle.index), again);
        }
    }

    /// Ends a walk and frees what it holds.
    pub(super) fn sync_stop(&mut self, handle: Handle) {
        let now = self.env.now;
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        if let Some(from) = seat.sync.from.take() {
            seat.sync.last = Some((from, now));
        }
        seat.sync.asking = false;
        for pull in seat.sync.pulls.iter_mut().filter_map(Option::take) {
            if let Some(list) = pull.list {
                self.env.buffers.free(list);
            }
        }
    }

    /// A request for a page of the items of a group.
    pub(crate) fn serve_list(&mut self, _peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let Some(request) = self.decode::<ListRequest>(body) else { return Served::Refuse(Status::Bad) };
        let seat = self.groups.seat_of(&request.group).and_then(|handle| self.groups.seats.get(handle));
        let Some(seat) = seat else { return Served::Refuse(Status::NotFound) };
        let now_s = self.env.seconds();
        let mut page = ListPage { items: Vec::new(), more: false };
        for (key, item) in self.content.iter(&seat.set).filter(|(key, item)| **key > request.after && item.complete()) {
            let info = item.info(now_s);
            if info.lease_s < LEASE_MIN_S {
                continue;
            }
            let at = page.items.partition_point(|other| other.key < *key);
            if page.items.is_full() {
                page.more = true;
                if at == PAGE {
                    continue;
                }
                page.items.pop();
            }
            let _ = page.items.insert(at, info);
        }
        if cfg!(feature = "mutant-sync-gap") && request.after != Key::default() {
            page.items.pop();
        }
        if reply.value(&page) { Served::Reply } else { Served::Refuse(Status::Failed) }
    }

    pub(super) fn list_answered(&mut self, handle: Handle, from: NodeId, result: Result<Body<'_>, Failure>) {
        let page = result.ok().and_then(|body| self.decode::<ListPage>(body));
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.sync.from == Some(from)) else { return };
        seat.sync.asking = false;
        let Some(page) = page else { return self.sync_fail(handle) };
        seat.sync.more = page.more;
        for info in page.items {
            let Some(seat) = self.groups.seats.get(handle) else { return };
            if info.key <= seat.sync.after {
                // Not in order: what cannot advance must end.
                return self.sync_fail(handle);
            }
            let held = self.content.get_in(&self.env, &info.key, handle);
            let wanted = info.lease_s >= LEASE_MIN_S && held.is_none_or(|item| !item.complete());
            let pulled = |pull: &Pull| pull.info.key == info.key;
            let free = seat.sync.pulls.iter().position(Option::is_none);
            if wanted && !seat.sync.pulls.iter().flatten().any(pulled) {
                let Some(i) = free else {
                    // No hand is free for this one: it is asked for again.
                    if let Some(seat) = self.groups.seats.get_mut(handle) {
                        seat.sync.more = true;
                    }
                    break;
                };
                if self.item_begin_synced(handle, &info).is_ok()
                    && let Some(seat) = self.groups.seats.get_mut(handle)
                    && let Some(place) = seat.sync.pulls.get_mut(i)
                {
                    *place = Some(Pull { info, wait: Wait::Room, list: None });
                }
            }
            if let Some(seat) = self.groups.seats.get_mut(handle) {
                seat.sync.after = info.key;
            }
        }
        self.sync_go_on(handle);
    }

    fn pull(&self, handle: Handle, i: usize) -> Option<&Pull> {
        self.groups.seats.get(handle)?.sync.pulls.get(i)?.as_ref()
    }

    fn pull_mut(&mut self, handle: Handle, i: usize) -> Option<&mut Pull> {
        self.groups.seats.get_mut(handle)?.sync.pulls.get_mut(i)?.as_mut()
    }

    /// Takes the next step of a pull, or leaves it waiting for room.
    fn pull_step(&mut self, handle: Handle, i: usize) {
        let Some(from) = self.groups.seats.get(handle).and_then(|seat| seat.sync.from) else { return };
        let Some(pull) = self.pull(handle, i) else { return };
        let (info, has_list) = (pull.info, pull.list.is_some());
        let missing = self.content.get_in(&self.env, &info.key, handle).and_then(|item| item.first_missing());
        let Some(index) = missing else {
            if let Some(seat) = self.groups.seats.get_mut(handle) {
                seat.sync.gained = true;
            }
            return self.pull_end(handle, i);
        };
        let wait = if info.kind == Kind::Extent && index > 0 && !has_list {
            let at = BlockRef { key: info.key, index: 0 };
            let owner = StoreOwner::Seat(handle, i as u8);
            self.storage.get(&mut self.env, at, owner).then_some(Wait::List)
        } else {
            let owner = Owner::Seat(handle, part::PULL + i as u8);
            let asked = self.dial(&from, None).and_then(|peer| {
                self.ask(peer, internal::FETCH, owner, ANSWER_MS, |w| w.bytes(&write_fetch(&info.key, index)))
            });
            asked.map(|_| Wait::Block(index))
        };
        if wait.is_none() {
            self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now.plus_ms(RETRY_MS / 4));
        }
        if let Some(pull) = self.pull_mut(handle, i) {
            pull.wait = wait.unwrap_or(Wait::Room);
        }
    }

    /// A pull is through, or cannot go on.
    fn pull_end(&mut self, handle: Handle, i: usize) {
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        if let Some(list) = seat.sync.pulls.get_mut(i).and_then(|pull| pull.take()?.list) {
            self.env.buffers.free(list);
        }
        self.sync_go_on(handle);
    }

    pub(super) fn pull_answered(&mut self, handle: Handle, pull: u8, from: NodeId, result: Result<Body<'_>, Failure>) {
        let i = usize::from(pull);
        let current = self.groups.seats.get(handle).is_some_and(|seat| seat.sync.from == Some(from));
        let expected = self.pull(handle, i).filter(|_| current).and_then(|pull| match pull.wait {
            Wait::Block(index) => Some((pull.info, index)),
            _ => None,
        });
        let Some((info, index)) = expected else { return self.free_body(result) };
        let body = match result {
            Ok(body) => body,
            // The other has lost it, or has no room to send it now: go on with the rest.
            Err(Failure::Refused(Status::NotFound)) => return self.pull_end(handle, i),
            Err(Failure::Refused(_)) => {
                if let Some(pull) = self.pull_mut(handle, i) {
                    pull.wait = Wait::Room;
                }
                self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now.plus_ms(RETRY_MS / 4));
                return;
            }
            Err(_) => return self.sync_fail(handle),
        };
        let Some(buffer) = self.block_of(body) else { return self.pull_end(handle, i) };
        let bytes = self.env.buffers.bytes(&buffer);
        let good = if index == 0 {
            verify(self.env.crypto, info.kind, &info.key, bytes)
        } else {
            let list =
                self.pull(handle, i).and_then(|pull| pull.list.as_ref()).map(|list| self.env.buffers.bytes(list));
            let key = list.and_then(|list| List::read(Kind::Extent, list)?.get(usize::from(index) - 1));
            key.is_some_and(|key| key_of(self.env.crypto, Kind::Block, bytes) == key)
        };
        if !good {
            self.env.counters.blocks_corrupt += 1;
            self.env.buffers.free(buffer);
            return self.sync_fail(handle);
        }
        if index == 0 && info.kind == Kind::Extent {
            let copy = copy_of(&mut self.env.buffers, &buffer);
            if let Some(pull) = self.pull_mut(handle, i) {
                pull.list = copy;
            }
        }
        let owner = StoreOwner::Seat(handle, pull);
        let stored = self.storage.put(&mut self.env, BlockRef { key: info.key, index }, buffer, owner);
        if let Some(pull) = self.pull_mut(handle, i) {
            pull.wait = if stored { Wait::Kept(index) } else { Wait::Room };
        }
        if !stored {
            self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now.plus_ms(RETRY_MS / 4));
        }
    }

    /// The block in an answer to FETCH, in a buffer of its own; `None` when malformed or no buffer is free.
    fn block_of(&mut self, body: Body<'_>) -> Option<BufferId> {
        match body {
            Body::Packet(bytes) => {
                let (data, _) = FetchTrailer::read(bytes)?;
                self.env.buffers.alloc_from(data)
            }
            Body::Buffer(buffer) => {
                match FetchTrailer::read(self.env.buffers.bytes(&buffer)).map(|(data, _)| data.len()) {
                    Some(len) => {
                        self.env.buffers.truncate(&buffer, len);
                        Some(buffer)
                    }
                    None => {
                        self.env.buffers.free(buffer);
                        None
                    }
                }
            }
        }
    }

    pub(crate) fn seat_stored(&mut self, handle: Handle, pull: u8, stored: Stored) {
        let i = usize::from(pull);
        let Some((key, wait)) = self.pull(handle, i).map(|pull| (pull.info.key, pull.wait)) else {
            if let Stored::Got(buffer) = stored {
                self.env.buffers.free(buffer);
            }
            return;
        };
        match (wait, stored) {
            (Wait::Kept(_), Stored::Done) => self.pull_step(handle, i),
            (Wait::List, Stored::Got(buffer)) => {
                if let Some(pull) = self.pull_mut(handle, i) {
                    pull.list = Some(buffer);
                }
                self.pull_step(handle, i);
            }
            (_, Stored::Got(buffer)) => self.env.buffers.free(buffer),
            // Our storage has failed: without it this item cannot be had.
            (_, Stored::Failed(_)) => {
                self.item_remove(handle, &key);
                self.pull_end(handle, i);
            }
            (_, Stored::Done) => {}
        }
    }
}

fn copy_of(buffers: &mut crate::node::Buffers<'_>, of: &BufferId) -> Option<BufferId> {
    let copy = buffers.alloc(buffers.bytes(of).len())?;
    buffers.copy(of, &copy);
    Some(copy)
}

//! The other side: telling where items are, keeping blocks, giving blocks (PROTOCOL §6.2 to §6.4).

use heapless::Vec;

use super::message::{FetchTrailer, HINTS_TOLD, Here, Locate, Located, MEMBERS_TOLD, StoreTrailer, read_fetch};
use super::object::{List, item_size, key_of, verify};
use crate::content::{Item, ItemInfo, Kind};
use crate::exchange::{Body, Served, Status};
use crate::id::{GroupId, Key};
use crate::node::{BufferId, Node, PeerId, ServeId};
use crate::storage::{BlockRef, StoreError, StoreOwner, Stored};
use crate::table::Handle;
use crate::wire::{BLOCK, Writer, value};

/// An extent's own bytes, kept while its blocks arrive, which are checked against them.
#[derive(Debug)]
pub struct CachedList {
    key: Key,
    /// `None` while it is being read from storage.
    buffer: Option<BufferId>,
}

/// Whether a block is what its item demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is.
    Good,
    /// It is not.
    Bad,
    /// The list that it is to be checked against is being read, or there is no room for that: try again soon.
    Wait,
    /// The item's own bytes are not here: they come first.
    NoList,
}

impl Node<'_> {
    /// Our seat in a group.
    pub(super) fn seat_in(&self, group: &GroupId) -> Option<Handle> {
        self.groups.seat_of(group)
    }

    pub(crate) fn serve_locate(&mut self, _peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let question = value::<Locate>(self.body_bytes(&body));
        self.free_body(Ok(body));
        let Some(Locate { key, bytes, put, group }) = question else { return Served::Refuse(Status::Bad) };
        let mut told = Located::default();
        let held = self.content.get(&self.env, &key).filter(|item| item.complete()).map(|item| item.seat);
        if let Some(seat) = held {
            let group = self.groups.group_in(seat);
            told.here = group.and_then(|group| self.here(&group, true, true));
        }
        let pointed = if held.is_none() { self.pointer_to(&key) } else { None };
        if let Some(hint) = pointed {
            self.env.counters.pointers_used += 1;
            told.pointed = told.hints.push(hint).is_ok();
        }
        if let Some(group) = group.filter(|group| self.seat_in(group).is_none()) {
            told.stranger = true;
            // Whoever took us for a member needs to hear of real ones.
            let hint =
                self.hint(&group).filter(|hint| held.is_none() && told.hints.iter().all(|told| told.id != hint.id));
            told.hints.extend(hint);
        }
        let already: Vec<GroupId, HINTS_TOLD> = told.hints.iter().map(|hint| hint.id).collect();
        let candidates = self.groups.candidates(&key, bytes, put, &mut |group| already.contains(group));
        for candidate in &candidates {
            if put && told.here.is_none() && candidate.seat.is_some() && candidate.room {
                told.here = self.here(&candidate.group, true, false);
            } else if candidate.seat.is_none() && (candidate.room || !put) && told.hints.len() < HINTS_TOLD {
                // The hints are those that rank best; a holder need not tell any.
                let hint = self.hint(&candidate.group).filter(|_| held.is_none());
                told.hints.extend(hint);
            }
        }
        if let Some(here) = told.here {
            if self.leads(&here.group) {
                let _ = told.members.push((self.env.me, None));
            }
            for member in self.group_contacts(&here.group).into_iter().take(MEMBERS_TOLD) {
                // More members than can be told are not needed by anybody.
                let _ = told.members.push((member.0, Some(member.1)));
            }
        }
        while !reply.value(&told) {
            if told.hints.pop().is_none() && told.members.pop().is_none() {
                return Served::Refuse(Status::Failed);
            }
        }
        Served::Reply
    }

    fn here(&self, group: &GroupId, room: bool, holds: bool) -> Option<Here> {
        let hint = self.hint(group)?;
        let recruiting = self.recruiting(group);
        Some(Here { group: *group, seat: hint.seat, wanted: hint.wanted, room, holds, recruiting })
    }

    pub(crate) fn serve_store(&mut self, _: PeerId, serve: ServeId, body: Body<'_>, _: &mut Writer<'_>) -> Served {
        let refusal = match self.store_checked(&body) {
            Ok((trailer, n)) => {
                self.buffer_room(n, 0);
                let buffer = match body {
                    Body::Packet(bytes) => self.env.buffers.alloc_from(bytes.get(..n).unwrap_or_default()),
                    Body::Buffer(buffer) => {
                        self.env.buffers.truncate(&buffer, n);
                        Some(buffer)
                    }
                };
                let Some(buffer) = buffer else {
                    self.env.counters.buffers_refused += 1;
                    return Served::Refuse(Status::Busy);
                };
                let at = BlockRef { key: trailer.key, index: trailer.index };
                if trailer.kind == Kind::Extent && trailer.index == 0 {
                    self.list_keep(&trailer.key, &buffer);
                }
                return match self.storage.put(&mut self.env, at, buffer, StoreOwner::Serve(serve.0)) {
                    true => Served::Later,
                    false => Served::Refuse(Status::Busy),
                };
            }
            Err(refusal) => refusal,
        };
        self.free_body(Ok(body));
        refusal
    }

    /// Checks a block that is to be kept, and makes its item's index entry. `Err`: what to answer at once.
    fn store_checked(&mut self, body: &Body<'_>) -> Result<(StoreTrailer, usize), Served> {
        let Some((data, trailer)) = StoreTrailer::read(self.body_bytes(body)) else {
            return Err(Served::Refuse(Status::Bad));
        };
        let n = data.len();
        let Some(seat) = self.seat_in(&trailer.group) else { return Err(Served::Refuse(Status::NotFound)) };
        let kept = |node: &Self| node.content.get_in(&node.env, &trailer.key, seat).map(|item| item.has(trailer.index));
        match kept(self) {
            Some(true) => return Err(Served::Reply),
            // The item's own bytes come first.
            None if trailer.index > 0 => return Err(Served::Refuse(Status::NotFound)),
            None if self.leads_blindly(seat) => return Err(Served::Refuse(Status::Busy)),
            Some(false) | None => {}
        }
        let verdict = match body {
            Body::Packet(bytes) => {
                self.judge(&trailer.key, trailer.kind, trailer.index, bytes.get(..n).unwrap_or_default())
            }
            Body::Buffer(buffer) => self.judge_buffer(&trailer.key, trailer.kind, trailer.index, buffer, n),
        };
        match verdict {
            Verdict::Good => {}
            Verdict::Bad => {
                self.env.counters.blocks_corrupt += 1;
                return Err(Served::Refuse(Status::Bad));
            }
            Verdict::Wait => return Err(Served::Refuse(Status::Busy)),
            Verdict::NoList => return Err(Served::Refuse(Status::NotFound)),
        }
        if trailer.index == 0 {
            let size = StoreTrailer::read(self.body_bytes(body)).and_then(|(data, _)| item_size(trailer.kind, data));
            if size != Some((trailer.blocks, trailer.bytes)) {
                return Err(Served::Refuse(Status::Bad));
            }
            let StoreTrailer { key, kind, blocks, bytes, lease_s, .. } = trailer;
            if self.item_begin(seat, &ItemInfo { key, kind, blocks, bytes, lease_s }).is_err() {
                return Err(Served::Refuse(Status::Failed));
            }
            // Another seat of ours may hold it already.
            if kept(self) == Some(true) {
                return Err(Served::Reply);
            }
        }
        if self.storage.room() == 0 {
            return Err(Served::Refuse(Status::Busy));
        }
        Ok((trailer, n))
    }

    /// Whether these are the bytes of block `index` of an item. For an extent's data its list must be here (§6.1).
    pub(crate) fn judge(&mut self, key: &Key, kind: Kind, index: u8, bytes: &[u8]) -> Verdict {
        let own = match index {
            0 => Key::default(),
            _ => key_of(self.env.crypto, Kind::Block, bytes),
        };
        let good = index == 0 && verify(self.env.crypto, kind, key, bytes);
        self.judged(key, kind, index, own, good)
    }

    /// The same for the first `n` bytes of a buffer.
    pub(crate) fn judge_buffer(&mut self, key: &Key, kind: Kind, index: u8, buffer: &BufferId, n: usize) -> Verdict {
        let bytes = self.env.buffers.bytes(buffer).get(..n).unwrap_or_default();
        let own = match index {
            0 => Key::default(),
            _ => key_of(self.env.crypto, Kind::Block, bytes),
        };
        let good = index == 0 && verify(self.env.crypto, kind, key, bytes);
        self.judged(key, kind, index, own, good)
    }

    fn judged(&mut self, key: &Key, kind: Kind, index: u8, own: Key, good: bool) -> Verdict {
        let Some(at) = usize::from(index).checked_sub(1) else {
            return if good { Verdict::Good } else { Verdict::Bad };
        };
        if kind != Kind::Extent {
            return Verdict::Bad;
        }
        let cached = self.retrieve.lists.items().iter().flatten().find(|cached| cached.key == *key);
        match cached.map(|cached| &cached.buffer) {
            Some(Some(buffer)) => {
                let list = List::read(Kind::Extent, self.env.buffers.bytes(buffer));
                match list.and_then(|list| list.get(at)) {
                    Some(key) if key == own => Verdict::Good,
                    _ => Verdict::Bad,
                }
            }
            Some(None) => Verdict::Wait,
            None => self.list_load(key),
        }
    }

    /// A place for one more list: the oldest goes, unless it is being read.
    fn list_place(&mut self, key: &Key) -> Option<u16> {
        let lists = &mut self.retrieve.lists;
        if let Some(at) = lists.items().iter().position(|list| list.as_ref().is_some_and(|list| list.key == *key)) {
            return Some(at as u16);
        }
        let at = usize::from(self.retrieve.next_list) % lists.limit().max(1);
        if at >= lists.items().len() {
            lists.grow(|| None);
        }
        let place = lists.items_mut().get_mut(at)?;
        match place {
            Some(CachedList { buffer: None, .. }) => return None,
            Some(CachedList { buffer, .. }) => {
                if let Some(buffer) = buffer.take() {
                    self.env.buffers.free(buffer);
                }
                *place = None;
            }
            None => {}
        }
        self.retrieve.next_list = (at + 1) as u16;
        Some(at as u16)
    }

    /// Keeps a copy of an extent's list, if there is memory to spare.
    fn list_keep(&mut self, key: &Key, list: &BufferId) {
        let Some(at) = self.list_place(key) else { return };
        let len = self.env.buffers.bytes(list).len();
        // One buffer must be left for the blocks that come.
        let spare = len <= crate::node::SMALL || self.env.buffers.large_free() > 1;
        let Some(copy) = spare.then(|| self.env.buffers.alloc(len)).flatten() else { return };
        self.env.buffers.copy(list, &copy);
        self.list_set(at, key, Some(copy));
    }

    fn list_set(&mut self, at: u16, key: &Key, buffer: Option<BufferId>) {
        let Some(place) = self.retrieve.lists.items_mut().get_mut(usize::from(at)) else {
            if let Some(buffer) = buffer {
                self.env.buffers.free(buffer);
            }
            return;
        };
        let old = place.replace(CachedList { key: *key, buffer });
        if let Some(buffer) = old.and_then(|old| old.buffer) {
            self.env.buffers.free(buffer);
        }
    }

    /// Begins to read an extent's list from storage.
    fn list_load(&mut self, key: &Key) -> Verdict {
        let at = BlockRef { key: *key, index: 0 };
        if !self.content.has(&self.env, at) {
            return Verdict::NoList;
        }
        if !self.buffer_room(BLOCK, 0) {
            return Verdict::Wait;
        }
        let Some(place) = self.list_place(key) else { return Verdict::Wait };
        if self.storage.get(&mut self.env, at, StoreOwner::List(place)) {
            self.list_set(place, key, None);
        }
        Verdict::Wait
    }

    /// An extent's list was read from storage.
    pub(crate) fn list_stored(&mut self, place: u16, at: BlockRef, stored: Stored) {
        let lists = self.retrieve.lists.items_mut();
        let waits = lists
            .get_mut(usize::from(place))
            .filter(|list| list.as_ref().is_some_and(|list| list.key == at.key && list.buffer.is_none()));
        match (waits, stored) {
            (Some(list), Stored::Got(buffer)) => *list = Some(CachedList { key: at.key, buffer: Some(buffer) }),
            (None, Stored::Got(buffer)) => self.env.buffers.free(buffer),
            (Some(list), _) => *list = None,
            (None, _) => {}
        }
    }

    pub(crate) fn serve_fetch(&mut self, _: PeerId, serve: ServeId, body: Body<'_>, _: &mut Writer<'_>) -> Served {
        let request = read_fetch(self.body_bytes(&body));
        self.free_body(Ok(body));
        let Some((key, index)) = request else { return Served::Refuse(Status::Bad) };
        let at = BlockRef { key, index };
        if !self.content.has(&self.env, at) {
            return Served::Refuse(Status::NotFound);
        }
        if !self.buffer_room(BLOCK, 0) {
            self.env.counters.buffers_refused += 1;
            return Served::Refuse(Status::Busy);
        }
        match self.storage.get(&mut self.env, at, StoreOwner::Serve(serve.0)) {
            true => Served::Later,
            false => Served::Refuse(Status::Busy),
        }
    }

    /// The storage has kept or read a block for a request.
    pub(crate) fn serve_stored(&mut self, serve: Handle, at: BlockRef, stored: Stored) {
        let serve = ServeId(serve);
        match stored {
            Stored::Done => {
                // Only now it is acknowledged.
                self.item_stored(&at.key, at.index);
                self.finish(serve, Status::Ok, None);
            }
            Stored::Got(buffer) => {
                let Some(trailer) = self.content.get(&self.env, &at.key).map(|item| self.fetch_trailer(item)) else {
                    self.env.buffers.free(buffer);
                    self.finish(serve, Status::NotFound, None);
                    return;
                };
                match self.env.buffers.append(buffer, &trailer.write()) {
                    Some(buffer) => self.finish(serve, Status::Ok, Some(buffer)),
                    None => self.finish(serve, Status::Busy, None),
                }
            }
            Stored::Failed(StoreError::Missing) => self.finish(serve, Status::NotFound, None),
            Stored::Failed(StoreError::Full | StoreError::Io) => self.finish(serve, Status::Failed, None),
        }
    }

    fn fetch_trailer(&self, item: &Item) -> FetchTrailer {
        let ItemInfo { kind, blocks, bytes, lease_s, .. } = item.info(self.env.seconds());
        FetchTrailer { kind, blocks, bytes, lease_s }
    }
}

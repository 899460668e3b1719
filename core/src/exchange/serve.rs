//! The server's side.

use super::assembly::{Assembly, FRAGMENT, Part, all, fragment};
use super::{
    ASKS_MAX, Body, DEADLINE_MAX_MS, Failure, Frame, LOCAL, RETRY_MIN_US, Served, Status, serves_for_app,
    serves_per_peer,
};
use crate::id::{NodeId, RouteId};
use crate::node::{BufferId, Event, Node, PeerId, SMALL, ServeId, Timer, Wrote};
use crate::table::{Handle, Index};
use crate::time::Instant;
use crate::wire::{Message, Writer};

/// How far a request has come.
#[derive(Debug)]
pub(super) enum State {
    /// Fragments of the request are missing.
    Receiving(Assembly),
    /// The answer is owed; a request of the application keeps its body until then.
    Owed(Option<BufferId>),
    /// The answer is kept for repetitions.
    Answered(Status, Option<BufferId>),
}

/// A request that we serve.
#[derive(Debug)]
pub struct Serve {
    pub(super) from: NodeId,
    pub(super) peer: PeerId,
    pub(super) number: u32,
    pub(super) route: RouteId,
    /// When the caller gives up.
    pub(super) deadline: Instant,
    pub(super) state: State,
    /// Fragments of the answer that are still to be encoded.
    pending: u64,
    /// A frame for them waits in the outbox.
    queued: bool,
    /// A frame that asks for missing fragments waits in the outbox.
    asking: bool,
    /// How often missing fragments were asked for since one came.
    asks: u8,
    /// The peer is held for it.
    held: bool,
    /// When the state is given up: nothing is received, the answer is no longer kept.
    until: Instant,
    /// When it came.
    since: Instant,
}

impl Serve {
    pub(super) fn for_app(&self) -> bool {
        self.route.0 >= 1 << 31
    }

    /// Keeps an answer in a buffer that `len` bytes could use.
    pub(super) fn keeps_buffer(&self, len: usize) -> bool {
        matches!(&self.state, State::Answered(_, Some(buffer)) if len <= SMALL || buffer.is_large())
    }

    /// Nothing is owed: only the kept answer would be lost.
    fn is_kept(&self) -> bool {
        matches!(self.state, State::Answered(..)) && self.pending == 0
    }
}

impl Node<'_> {
    fn serve_hash(secret: u64, from: &NodeId, number: u32) -> u32 {
        Index::mix(secret ^ u64::from(number) << 16, &from.0)
    }

    fn serve_find(&self, from: &NodeId, number: u32) -> Option<Handle> {
        let hash = Self::serve_hash(self.env.index_secret, from, number);
        let serves = &self.exchange.serves;
        let at = |slot: u32| serves.handle_at(slot as u16);
        let is = |serve: &Serve| serve.number == number && serve.from == *from;
        let slot = self.exchange.serve_index.find(hash, |slot| at(slot).and_then(|h| serves.get(h)).is_some_and(is))?;
        at(slot)
    }

    /// The hash of the serve in a slot, for the index.
    fn serve_hasher<'s>(serves: &'s crate::table::Slots<'_, Serve>, secret: u64) -> impl Fn(u32) -> u32 + 's {
        move |slot| {
            let serve = serves.handle_at(slot as u16).and_then(|handle| serves.get(handle));
            serve.map_or(0, |serve| Self::serve_hash(secret, &serve.from, serve.number))
        }
    }

    /// Drops a serve, with all that it holds.
    pub(super) fn drop_serve(&mut self, handle: Handle) {
        let secret = self.env.index_secret;
        let exchange = &mut self.exchange;
        let Some(serve) = exchange.serves.get(handle) else { return };
        let hash = Self::serve_hash(secret, &serve.from, serve.number);
        let hasher = Self::serve_hasher(&exchange.serves, secret);
        exchange.serve_index.remove(hash, u32::from(handle.index), hasher);
        let Some(serve) = exchange.serves.remove(handle) else { return };
        self.env.timers.clear(Timer::Serve(handle.index));
        if serve.held {
            self.release(serve.peer);
        }
        match serve.state {
            State::Receiving(assembly) => self.env.buffers.free(assembly.buffer),
            State::Owed(buffer) | State::Answered(_, buffer) => self.free_buffer(buffer),
        }
    }

    /// Drops the oldest kept answer for which `is` holds; false when there is none.
    pub(super) fn forget_kept(&mut self, is: impl Fn(&Serve) -> bool) -> bool {
        let kept = self.exchange.serves.iter().filter(|(_, serve)| serve.is_kept() && is(serve));
        let oldest = kept.min_by_key(|(_, serve)| serve.since).map(|(handle, _)| handle);
        if let Some(handle) = oldest {
            self.drop_serve(handle);
            self.env.counters.answers_evicted += 1;
        }
        oldest.is_some()
    }

    /// Makes room for one more serve. Cost: a look at all serves.
    pub(super) fn serve_room(&mut self, from: &NodeId, app: bool) -> bool {
        let of_peer = self.exchange.serves.iter().filter(|(_, serve)| serve.from == *from).count();
        if of_peer >= serves_per_peer(&self.env.limits) && !self.forget_kept(|serve| serve.from == *from) {
            return false;
        }
        if app {
            let owed = |serve: &Serve| serve.for_app() && !serve.is_kept();
            let of_app = self.exchange.serves.iter().filter(|(_, serve)| owed(serve)).count();
            if of_app >= serves_for_app(&self.env.limits) {
                return false;
            }
        }
        !self.exchange.serves.is_full() || self.forget_kept(|_| true)
    }

    fn refuse(&mut self, peer: PeerId, call: u32, status: Status) {
        self.env.counters.serves_refused += 1;
        self.send_frame(peer, Frame::Refuse { call, status });
    }

    /// A fragment of a request.
    pub(super) fn requested(
        &mut self,
        peer: PeerId,
        from: NodeId,
        call: u32,
        route: RouteId,
        deadline_ms: u32,
        part: Part<'_>,
    ) -> bool {
        let Some(number) = part.number(self.env.buffers.longest()) else { return false };
        if let Some(handle) = self.serve_find(&from, call) {
            return self.requested_again(peer, handle, route, number, part);
        }
        if deadline_ms == 0 {
            return false;
        }
        let app = route.0 >= 1 << 31;
        if app && !self.exchange.routes.contains(&route) {
            self.env.counters.routes_unknown += 1;
            self.send_frame(peer, Frame::Refuse { call, status: Status::NoRoute });
            return true;
        }
        let whole = all(part.total as usize) == 1;
        if app && self.env.events.room() <= 1 || !self.serve_room(&from, app) {
            self.refuse(peer, call, Status::Busy);
            return true;
        }
        let needed = if whole && (!app || part.total == 0) { None } else { Some(part.total as usize) };
        let buffer = match needed.map(|len| self.exchange_buffer(len)) {
            Some(None) => {
                self.refuse(peer, call, Status::Busy);
                return true;
            }
            Some(buffer) => buffer,
            None => None,
        };
        let mut body = Body::Packet(part.data);
        let state = match buffer {
            Some(buffer) => {
                let mut assembly = Assembly::new(buffer, part.total as usize);
                assembly.take(&mut self.env.buffers, number, part);
                State::Receiving(assembly)
            }
            None => State::Owed(None),
        };
        let Some(handle) = self.add_serve(from, peer, call, route, deadline_ms, state) else {
            self.refuse(peer, call, Status::Busy);
            return true;
        };
        if whole {
            if let Some(buffer) = self.received(handle) {
                body = Body::Buffer(buffer);
            }
            self.arrived(handle, body);
        } else {
            self.await_fragments(handle);
        }
        true
    }

    /// Adds a serve; frees what `state` holds when there is no room.
    pub(super) fn add_serve(
        &mut self,
        from: NodeId,
        peer: PeerId,
        number: u32,
        route: RouteId,
        deadline_ms: u32,
        state: State,
    ) -> Option<Handle> {
        let now = self.env.now;
        let deadline = now.plus_ms(deadline_ms.min(DEADLINE_MAX_MS));
        let serve = Serve {
            from,
            peer,
            number,
            route,
            deadline,
            state,
            pending: 0,
            queued: false,
            asking: false,
            asks: 0,
            held: peer != LOCAL,
            until: deadline,
            since: now,
        };
        let secret = self.env.index_secret;
        let exchange = &mut self.exchange;
        let refused = match exchange.serves.insert(serve) {
            Ok(handle) => {
                let hash = Self::serve_hash(secret, &from, number);
                let hasher = Self::serve_hasher(&exchange.serves, secret);
                if exchange.serve_index.insert(hash, u32::from(handle.index), hasher) {
                    self.env.timers.set(Timer::Serve(handle.index), deadline);
                    if peer != LOCAL {
                        self.hold(peer);
                    }
                    return Some(handle);
                }
                exchange.serves.remove(handle)
            }
            Err(serve) => Some(serve),
        };
        if let Some(State::Receiving(Assembly { buffer, .. }) | State::Owed(Some(buffer))) = refused.map(|s| s.state) {
            self.env.buffers.free(buffer);
        }
        None
    }

    /// A complete request: its body, if it is in a buffer, is taken out, and the answer is owed.
    fn received(&mut self, handle: Handle) -> Option<BufferId> {
        let serve = self.exchange.serves.get_mut(handle)?;
        serve.until = serve.deadline;
        self.env.timers.set(Timer::Serve(handle.index), serve.deadline);
        match core::mem::replace(&mut serve.state, State::Owed(None)) {
            State::Receiving(assembly) => Some(assembly.buffer),
            State::Owed(buffer) => buffer,
            State::Answered(_, buffer) => buffer,
        }
    }

    /// Waits about a round trip for the next fragment, longer each time in vain.
    fn await_fragments(&mut self, handle: Handle) {
        let Some((peer, asks)) = self.exchange.serves.get(handle).map(|serve| (serve.peer, serve.asks)) else { return };
        let wait = self.retry_us(peer, asks);
        if let Some(serve) = self.exchange.serves.get_mut(handle) {
            serve.until = serve.deadline.min(self.env.now.plus_us(wait));
            self.env.timers.set(Timer::Serve(handle.index), serve.until);
        }
    }

    /// A fragment of a request that we know already.
    fn requested_again(&mut self, peer: PeerId, handle: Handle, route: RouteId, number: u32, part: Part<'_>) -> bool {
        let Some(serve) = self.exchange.serves.get_mut(handle).filter(|serve| serve.route == route) else {
            return false;
        };
        if serve.peer != peer {
            // Its session was lost and is back.
            let (before, held) = (serve.peer, serve.held);
            serve.peer = peer;
            serve.queued = false;
            serve.asking = false;
            if held {
                self.release(before);
                self.hold(peer);
            }
        }
        let Some(serve) = self.exchange.serves.get_mut(handle) else { return false };
        let call = serve.number;
        match &mut serve.state {
            State::Receiving(assembly) => {
                if assembly.take(&mut self.env.buffers, number, part) {
                    serve.asks = 0;
                    if assembly.missing != 0 {
                        self.await_fragments(handle);
                    } else if let Some(buffer) = self.received(handle) {
                        self.arrived(handle, Body::Buffer(buffer));
                    }
                } else {
                    self.env.counters.requests_repeated += 1;
                    self.ask_request(handle);
                }
            }
            // Only fragment 0 is a repetition; the others are fragments that came twice or late.
            _ if number != 0 => {}
            State::Owed(_) => {
                self.env.counters.requests_repeated += 1;
                self.send_frame(peer, Frame::Working { call });
            }
            State::Answered(..) => {
                self.env.counters.requests_repeated += 1;
                // Of a long answer one fragment is enough: what else is missing will be asked for.
                serve.pending = serve.pending.max(1);
                self.queue_response(handle);
            }
        }
        true
    }

    /// A complete request goes to its handler.
    fn arrived(&mut self, handle: Handle, body: Body<'_>) {
        let Some(serve) = self.exchange.serves.get_mut(handle) else {
            self.free_body(Ok(body));
            return;
        };
        let (peer, route) = (serve.peer, serve.route);
        if serve.for_app() {
            if let Body::Buffer(buffer) = body {
                serve.state = State::Owed(Some(buffer));
            }
            if self.env.events.room() <= 1 {
                // Nobody would ever hear of it.
                self.env.counters.serves_refused += 1;
                self.settle(handle, Status::Busy, None);
                return;
            }
            self.env.event(Event::Request(ServeId(handle)));
            return;
        }
        let mut scratch = [0; FRAGMENT];
        let mut reply = Writer::new(&mut scratch);
        match self.serve(peer, ServeId(handle), route, body, &mut reply) {
            Served::Later => {}
            Served::Reply => {
                let written = reply.written();
                if written.is_empty() {
                    self.settle(handle, Status::Ok, None);
                } else {
                    match self.exchange_buffer_from(written) {
                        Some(buffer) => self.settle(handle, Status::Ok, Some(buffer)),
                        None => self.settle(handle, Status::Busy, None),
                    }
                }
            }
            Served::Refuse(status) => {
                if status == Status::NoRoute {
                    self.env.counters.routes_unknown += 1;
                }
                self.settle(handle, status, None);
            }
        }
    }

    /// Answers a request that was served [`Served::Later`]. Takes the buffer, also when the serve is gone.
    pub(crate) fn finish(&mut self, serve: ServeId, status: Status, body: Option<BufferId>) {
        self.settle(serve.0, status, body);
    }

    /// The answer is there: sends it, and keeps it for repetitions.
    pub(super) fn settle(&mut self, handle: Handle, status: Status, body: Option<BufferId>) {
        let kept_until = self.env.now.plus_ms(self.env.config.answer_kept_ms);
        let serve = self.exchange.serves.get_mut(handle);
        let Some(serve) = serve.filter(|serve| matches!(serve.state, State::Owed(_))) else {
            self.free_buffer(body);
            return;
        };
        let (body, unused) = if status == Status::Ok { (body, None) } else { (None, body) };
        let (peer, number) = (serve.peer, serve.number);
        if peer == LOCAL {
            self.drop_serve(handle);
            self.free_buffer(unused);
            self.answer_self(number, status, body);
            return;
        }
        let len = body.as_ref().map_or(0, |body| self.env.buffers.bytes(body).len());
        let before = core::mem::replace(&mut serve.state, State::Answered(status, body));
        serve.pending = all(len);
        serve.until = kept_until;
        if let State::Owed(request) = before {
            self.free_buffer(request);
        }
        self.free_buffer(unused);
        self.env.timers.set(Timer::Serve(handle.index), kept_until);
        self.queue_response(handle);
    }

    /// An answer to a call of our own.
    fn answer_self(&mut self, number: u32, status: Status, body: Option<BufferId>) {
        let result = match (status, body) {
            (Status::Ok, Some(buffer)) => Ok(Body::Buffer(buffer)),
            (Status::Ok, None) => Ok(Body::Packet(&[])),
            (status, _) => Err(Failure::Refused(status)),
        };
        match self.call_numbered(number) {
            Some(call) => self.end_call(call, result),
            None => self.free_body(result),
        }
    }

    fn queue_response(&mut self, handle: Handle) {
        let Some(serve) = self.exchange.serves.get_mut(handle).filter(|serve| !serve.queued) else { return };
        let peer = serve.peer;
        serve.queued = true;
        if !self.send_frame(peer, Frame::Response(handle)) {
            let soon = self.env.now.plus_us(RETRY_MIN_US);
            if let Some(serve) = self.exchange.serves.get_mut(handle) {
                serve.queued = false;
                self.env.timers.set(Timer::Serve(handle.index), soon.min(serve.until));
            }
        }
    }

    pub(super) fn write_response(&mut self, peer: PeerId, handle: Handle, writer: &mut Writer<'_>) -> Wrote {
        let Some(serve) = self.exchange.serves.get_mut(handle).filter(|serve| serve.peer == peer) else {
            return Wrote::Done;
        };
        let State::Answered(status, body) = &serve.state else { return Wrote::Done };
        if serve.pending == 0 {
            serve.queued = false;
            return Wrote::Done;
        }
        let body = body.as_ref().map_or(&[][..], |body| self.env.buffers.bytes(body));
        let (offset, data) = fragment(body, serve.pending.trailing_zeros());
        let (call, status, total) = (serve.number, *status as u8, body.len() as u32);
        if !writer.message(&Message::Response { call, status, total, offset, data }) {
            return Wrote::NoRoom;
        }
        serve.pending &= serve.pending - 1;
        if serve.pending != 0 {
            return Wrote::More;
        }
        serve.queued = false;
        let held = core::mem::take(&mut serve.held);
        let keep = serve.for_app() || all(body.len()) != 1;
        if held {
            self.release(peer);
        }
        if !keep {
            // The protocol's own routes are idempotent: a repetition is simply served again.
            self.drop_serve(handle);
            return Wrote::Done;
        }
        let own_kept = self.env.now.plus_us(self.retry_us(peer, ASKS_MAX));
        if let Some(serve) = self.exchange.serves.get_mut(handle) {
            if !serve.for_app() {
                serve.until = serve.until.min(own_kept);
            }
            self.env.timers.set(Timer::Serve(handle.index), serve.until);
        }
        Wrote::Done
    }

    /// Asks for what is missing of a request.
    fn ask_request(&mut self, handle: Handle) {
        let Some(serve) = self.exchange.serves.get_mut(handle).filter(|serve| !serve.asking) else { return };
        let peer = serve.peer;
        let queued = self.send_frame(peer, Frame::MissingRequest(handle));
        if let Some(serve) = self.exchange.serves.get_mut(handle) {
            serve.asking = queued;
        }
    }

    pub(super) fn write_missing_request(&mut self, peer: PeerId, handle: Handle, writer: &mut Writer<'_>) -> Wrote {
        let Some(serve) = self.exchange.serves.get_mut(handle).filter(|serve| serve.peer == peer) else {
            return Wrote::Done;
        };
        if let State::Receiving(assembly) = &serve.state {
            let message = Message::Missing { call: serve.number, answer: false, fragments: assembly.missing };
            if !writer.message(&message) {
                return Wrote::NoRoom;
            }
            serve.asking = false;
            self.await_fragments(handle);
        } else {
            serve.asking = false;
        }
        Wrote::Done
    }

    /// The caller lacks fragments of an answer.
    pub(super) fn answer_missing(&mut self, peer: PeerId, from: NodeId, number: u32, fragments: u64) -> bool {
        let Some(handle) = self.serve_find(&from, number) else { return false };
        let Some(serve) = self.exchange.serves.get_mut(handle).filter(|serve| serve.peer == peer) else {
            return false;
        };
        let State::Answered(_, body) = &serve.state else { return false };
        let len = body.as_ref().map_or(0, |body| self.env.buffers.bytes(body).len());
        let wanted = fragments & all(len);
        if wanted == 0 {
            return false;
        }
        serve.pending |= wanted;
        self.queue_response(handle);
        true
    }

    /// The caller has given up.
    pub(super) fn cancelled(&mut self, from: NodeId, number: u32) -> bool {
        match self.serve_find(&from, number) {
            Some(handle) => {
                self.lapse(handle);
                true
            }
            None => false,
        }
    }

    /// Nobody waits for the answer any more. Of a request that reached the application a trace is kept, so that a late
    /// repetition is not taken for a new one.
    fn lapse(&mut self, handle: Handle) {
        let Some(serve) = self.exchange.serves.get_mut(handle) else { return };
        let kept_until = self.env.now.plus_ms(self.env.config.answer_kept_ms);
        match &mut serve.state {
            State::Owed(request) if serve.route.0 >= 1 << 31 => {
                let request = request.take();
                let local = serve.peer == LOCAL;
                serve.state = State::Answered(Status::Failed, None);
                serve.until = kept_until;
                let held = core::mem::take(&mut serve.held).then_some(serve.peer);
                self.free_buffer(request);
                if let Some(peer) = held {
                    self.release(peer);
                }
                self.env.timers.set(Timer::Serve(handle.index), kept_until);
                self.env.event(Event::Cancelled(ServeId(handle)));
                if local {
                    self.drop_serve(handle);
                }
            }
            State::Answered(..) if serve.route.0 >= 1 << 31 => {}
            _ => self.drop_serve(handle),
        }
    }

    pub(crate) fn serve_timeout(&mut self, index: u16) {
        let Some(handle) = self.exchange.serves.handle_at(index) else { return };
        let Some(serve) = self.exchange.serves.get_mut(handle) else { return };
        let now = self.env.now;
        if now < serve.until {
            if matches!(serve.state, State::Answered(..)) && serve.pending != 0 {
                self.env.timers.set(Timer::Serve(index), serve.until);
                self.queue_response(handle);
            } else {
                self.env.timers.set(Timer::Serve(index), serve.until);
            }
            return;
        }
        match &serve.state {
            State::Receiving(_) if now < serve.deadline && serve.asks < self.env.config.call_tries => {
                serve.asks += 1;
                self.ask_request(handle);
                self.await_fragments(handle);
            }
            State::Receiving(_) | State::Answered(..) => self.drop_serve(handle),
            State::Owed(_) => {
                self.env.counters.serves_expired += 1;
                self.lapse(handle);
            }
        }
    }

    pub(super) fn serves_peer_down(&mut self, peer: PeerId, id: &NodeId, dead: bool) {
        for index in 0..self.exchange.serves.used() {
            let Some(handle) = self.exchange.serves.handle_at(index) else { continue };
            let Some(serve) = self.exchange.serves.get_mut(handle) else { continue };
            if serve.from != *id || serve.peer == LOCAL {
                continue;
            }
            if dead {
                if matches!(serve.state, State::Owed(_)) && serve.for_app() {
                    self.env.event(Event::Cancelled(ServeId(handle)));
                }
                self.drop_serve(handle);
            } else if serve.peer == peer {
                // What was queued may be gone with the session; the caller asks again.
                serve.queued = false;
                serve.asking = false;
            }
        }
    }
}

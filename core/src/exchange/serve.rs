//! The server's side.

use super::assembly::{Assembly, FRAGMENT, Part, all, fragment};
use super::serves::State;
use super::{ASKS_MAX, Body, Failure, Frame, LOCAL, RETRY_MIN_US, Served, Status};
use crate::id::{NodeId, RouteId};
use crate::node::{BufferId, Event, Node, PeerId, ServeId, Timer, Wrote};
use crate::table::Handle;
use crate::wire::{Message, Writer};

impl Node<'_> {
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
        let mut kept_until = self.env.now.plus_ms(self.env.config.answer_kept_ms);
        let serve = self.exchange.serves.get_mut(handle);
        let Some(serve) = serve.filter(|serve| matches!(serve.state, State::Owed(_))) else {
            self.free_buffer(body);
            return;
        };
        if serve.for_app() {
            // The caller may ask again until then, at intervals that are longer than answers are kept otherwise.
            kept_until = kept_until.max(serve.deadline);
        }
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
                // Whoever was taken for dead wrongly asks again: what was run is not run twice.
                serve.pending = 0;
                serve.queued = false;
                if let Some(held) = core::mem::take(&mut serve.held).then_some(serve.peer) {
                    self.release(held);
                }
                self.lapse(handle);
            } else if serve.peer == peer {
                // What was queued may be gone with the session; the caller asks again.
                serve.queued = false;
                serve.asking = false;
            }
        }
    }
}

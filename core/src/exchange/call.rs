//! The caller's side.

use super::assembly::{Assembly, FRAGMENT, Part, all, fragment};
use super::{
    ASKS_MAX, Body, DEADLINE_MAX_MS, Failure, Frame, LOCAL, Owner, POLL_MAX_US, RETRY_MIN_US, Status, calls_for_app,
};
use crate::id::{NodeId, RouteId};
use crate::node::{BufferId, CallId, Event, Node, PeerId, Timer, Wrote};
use crate::route::internal;
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::{Message, Writer};

/// Microseconds until a busy node is asked again, times the tries so far.
const BUSY_US: u64 = 50_000;
/// Microseconds until it is looked again for a peer's place.
const PLACE_US: u64 = 100_000;

/// A call of ours.
#[derive(Debug)]
pub struct Call {
    pub(super) to: NodeId,
    pub(super) peer: PeerId,
    pub(super) number: u32,
    pub(super) route: RouteId,
    pub(super) owner: Owner,
    pub(super) deadline: Instant,
    /// The request's body; none for an empty one.
    pub(super) body: Option<BufferId>,
    /// Fragments of the request that are still to be encoded.
    pending: u64,
    /// A frame for them waits in the outbox.
    queued: bool,
    /// A frame that asks for missing fragments waits in the outbox.
    asking: bool,
    /// How often the request was sent.
    tries: u8,
    /// How often missing fragments were asked for since one came.
    asks: u8,
    /// How often we asked again since the peer said that it is working; 0 when it did not.
    polls: u8,
    /// When something is to be sent again; never before it was encoded.
    retry: Instant,
    /// When the request was encoded, as long as a round trip can be told from it.
    sent: Option<Instant>,
    /// The answer's body, as far as it came.
    pub(super) answer: Option<Assembly>,
    /// How it ended; only a call of the application is kept after that.
    pub(super) done: Option<Result<(), Failure>>,
}

impl Node<'_> {
    /// Calls one of the protocol's own routes on a peer. `write` writes the request's body, at most [`FRAGMENT`]
    /// bytes; `None` when there is no room for the call. Ends in `answered`, once.
    pub(crate) fn ask(
        &mut self,
        to: PeerId,
        route: RouteId,
        owner: Owner,
        deadline_ms: u32,
        write: impl FnOnce(&mut Writer<'_>) -> bool,
    ) -> Option<Handle> {
        let mut scratch = [0; FRAGMENT];
        let mut writer = Writer::new(&mut scratch);
        let written = write(&mut writer);
        self.ask_written(to, route, owner, deadline_ms, written.then_some(writer.written()))
    }

    fn ask_written(
        &mut self,
        to: PeerId,
        route: RouteId,
        owner: Owner,
        deadline_ms: u32,
        written: Option<&[u8]>,
    ) -> Option<Handle> {
        let Some(written) = written.filter(|_| !self.exchange.calls.is_full()) else {
            self.env.counters.calls_refused += 1;
            return None;
        };
        let body = match written {
            [] => None,
            bytes => Some(self.exchange_buffer_from(bytes)?),
        };
        self.ask_body(to, route, owner, deadline_ms, body)
    }

    /// The same with a body in a buffer, of which it becomes the owner (it is freed when refused, too).
    pub(crate) fn ask_buffer(
        &mut self,
        to: PeerId,
        route: RouteId,
        owner: Owner,
        deadline_ms: u32,
        body: BufferId,
    ) -> Option<Handle> {
        self.ask_body(to, route, owner, deadline_ms, Some(body))
    }

    fn ask_body(
        &mut self,
        peer: PeerId,
        route: RouteId,
        owner: Owner,
        deadline_ms: u32,
        body: Option<BufferId>,
    ) -> Option<Handle> {
        match self.peers.get(peer).map(|peer| peer.id) {
            Some(to) => self.add_call(to, peer, route, owner, deadline_ms, body),
            None => {
                self.free_buffer(body);
                self.env.counters.calls_refused += 1;
                None
            }
        }
    }

    /// Adds a call and queues its request, unless it is to ourselves. Takes the body, also when refused.
    pub(super) fn add_call(
        &mut self,
        to: NodeId,
        peer: PeerId,
        route: RouteId,
        owner: Owner,
        deadline_ms: u32,
        body: Option<BufferId>,
    ) -> Option<Handle> {
        let deadline = self.env.now.plus_ms(deadline_ms.min(DEADLINE_MAX_MS));
        let len = body.as_ref().map_or(0, |body| self.env.buffers.bytes(body).len());
        let call = Call {
            to,
            peer,
            number: 0,
            route,
            owner,
            deadline,
            body,
            pending: all(len),
            queued: false,
            asking: false,
            tries: 0,
            asks: 0,
            polls: 0,
            retry: Instant::NEVER,
            sent: None,
            answer: None,
            done: None,
        };
        let handle = match self.exchange.calls.insert(call) {
            Ok(handle) => handle,
            Err(call) => {
                self.free_buffer(call.body);
                self.env.counters.calls_refused += 1;
                return None;
            }
        };
        self.renumber(handle);
        if peer != LOCAL {
            self.hold(peer);
            self.queue_request(handle);
        }
        Some(handle)
    }

    /// Whether the application may make another call.
    pub(super) fn app_may_call(&self) -> bool {
        let calls = &self.exchange.calls;
        !calls.is_full()
            && calls.iter().filter(|(_, call)| call.owner == Owner::App).count() < calls_for_app(&self.env.limits)
    }

    /// Gives a call a number that it never had.
    fn renumber(&mut self, handle: Handle) {
        // The slot's index in the low bits finds the call; the rest differs at every use.
        let bits = self.exchange.calls.limit().next_power_of_two().trailing_zeros();
        self.exchange.numbers = self.exchange.numbers.wrapping_add(1);
        let number = self.exchange.numbers.wrapping_shl(bits) | u32::from(handle.index);
        if let Some(call) = self.exchange.calls.get_mut(handle) {
            call.number = number;
        }
    }

    pub(super) fn call_numbered(&self, number: u32) -> Option<Handle> {
        let bits = self.exchange.calls.limit().next_power_of_two().trailing_zeros();
        let handle = self.exchange.calls.handle_at((number & ((1 << bits) - 1)) as u16)?;
        self.exchange.calls.get(handle).filter(|call| call.number == number).map(|_| handle)
    }

    /// The call that a peer's message is about.
    fn call_from(&self, peer: PeerId, number: u32) -> Option<Handle> {
        let handle = self.call_numbered(number)?;
        let call = self.exchange.calls.get(handle)?;
        (call.peer == peer && peer != LOCAL && call.done.is_none()).then_some(handle)
    }

    fn arm_call(&mut self, handle: Handle) {
        if let Some(call) = self.exchange.calls.get(handle) {
            self.env.timers.set(Timer::Call(handle.index), call.deadline.min(call.retry));
        }
    }

    /// Queues the fragments that are pending.
    fn queue_request(&mut self, handle: Handle) {
        let Some(call) = self.exchange.calls.get_mut(handle) else { return };
        if !call.queued {
            call.queued = true;
            call.retry = Instant::NEVER;
            let peer = call.peer;
            if !self.send_frame(peer, Frame::Request(handle)) {
                self.call_not_queued(handle);
            }
        }
        self.arm_call(handle);
    }

    /// The outbox is full: looks again soon.
    fn call_not_queued(&mut self, handle: Handle) {
        if let Some(call) = self.exchange.calls.get_mut(handle) {
            call.queued = false;
            call.asking = false;
            call.retry = self.env.now.plus_us(RETRY_MIN_US);
        }
    }

    pub(super) fn write_request(&mut self, peer: PeerId, handle: Handle, writer: &mut Writer<'_>) -> Wrote {
        let Some(call) = self.exchange.calls.get_mut(handle).filter(|call| call.peer == peer) else {
            return Wrote::Done;
        };
        let deadline_ms = call.deadline.ms_since(self.env.now);
        if call.pending == 0 || call.done.is_some() || deadline_ms == 0 {
            call.queued = false;
            return Wrote::Done;
        }
        let body = call.body.as_ref().map_or(&[][..], |body| self.env.buffers.bytes(body));
        let number = call.pending.trailing_zeros();
        let (offset, data) = fragment(body, number);
        let total = body.len() as u32;
        let (number_on_wire, route) = (call.number, call.route);
        if !writer.message(&Message::Request { call: number_on_wire, route, deadline_ms, total, offset, data }) {
            return Wrote::NoRoom;
        }
        let single = all(body.len()) == 1;
        call.pending &= call.pending - 1;
        if call.pending != 0 {
            return Wrote::More;
        }
        call.queued = false;
        // Only what is sent once, in one packet, tells a round trip: else it is not known which one was answered.
        call.sent = (single && call.tries == 0).then_some(self.env.now);
        if call.tries > 0 && call.polls == 0 {
            self.env.counters.requests_retried += 1;
        }
        call.tries = call.tries.saturating_add(1);
        let (tries, polls) = (call.tries, call.polls);
        let wait = if polls > 0 { self.poll_us(peer, polls) } else { self.retry_us(peer, tries - 1) };
        if let Some(call) = self.exchange.calls.get_mut(handle) {
            call.retry = self.env.now.plus_us(wait);
        }
        self.arm_call(handle);
        Wrote::Done
    }

    /// Microseconds until a peer that is working is asked again.
    fn poll_us(&self, peer: PeerId, polls: u8) -> u64 {
        let first = self.retry_us(peer, 3).max(1_000_000);
        (first << polls.saturating_sub(1).min(8)).min(POLL_MAX_US)
    }

    pub(super) fn write_missing_answer(&mut self, peer: PeerId, handle: Handle, writer: &mut Writer<'_>) -> Wrote {
        let Some(call) = self.exchange.calls.get_mut(handle).filter(|call| call.peer == peer) else {
            return Wrote::Done;
        };
        let (number, asks) = (call.number, call.asks);
        let missing = call.answer.as_ref().map_or(0, |answer| answer.missing);
        if missing != 0
            && call.done.is_none()
            && !writer.message(&Message::Missing { call: number, answer: true, fragments: missing })
        {
            return Wrote::NoRoom;
        }
        call.asking = false;
        let wait = self.retry_us(peer, asks);
        if let Some(call) = self.exchange.calls.get_mut(handle).filter(|call| call.done.is_none()) {
            call.retry = self.env.now.plus_us(wait);
            self.arm_call(handle);
        }
        Wrote::Done
    }

    /// A fragment of an answer.
    pub(super) fn responded(&mut self, peer: PeerId, number: u32, status: Status, part: Part<'_>) -> bool {
        let Some(handle) = self.call_from(peer, number) else { return false };
        let Some(fragment) = part.number(self.env.buffers.longest()) else { return false };
        let Some(call) = self.exchange.calls.get_mut(handle) else { return false };
        let partial = call.answer.is_some();
        if status != Status::Ok && part.total != 0 || partial && all(part.total as usize) == 1 && status == Status::Ok {
            return false; // A refusal has no body; an answer does not change its length.
        }
        if let Some(sent) = call.sent.take()
            && call.tries == 1
            && call.polls == 0
            && call.route.0 < 1 << 31
        {
            let rtt = self.env.now.since(sent);
            self.rtt_sample(peer, rtt);
        }
        if status == Status::Busy && self.busy_again(handle) {
            return true;
        }
        if status != Status::Ok {
            self.end_call(handle, Err(Failure::Refused(status)));
            return true;
        }
        if all(part.total as usize) == 1 {
            self.end_call(handle, Ok(Body::Packet(part.data)));
            return true;
        }
        if !partial {
            // Without a buffer the fragment counts as lost: it will be asked for again.
            let Some(buffer) = self.exchange_buffer(part.total as usize) else { return true };
            if let Some(call) = self.exchange.calls.get_mut(handle) {
                call.answer = Some(Assembly::new(buffer, part.total as usize));
            }
        }
        let wait = self.retry_us(peer, 0);
        let Some(call) = self.exchange.calls.get_mut(handle) else { return false };
        let Some(answer) = &mut call.answer else { return false };
        if !answer.take(&mut self.env.buffers, fragment, part) {
            return false;
        }
        if let Some(answer) = call.answer.take_if(|answer| answer.missing == 0) {
            self.end_call(handle, Ok(Body::Buffer(answer.buffer)));
            return true;
        }
        call.asks = 0;
        call.pending = 0; // It has the request.
        call.retry = self.env.now.plus_us(wait);
        self.arm_call(handle);
        true
    }

    /// A small node is soon busy, and soon not: a lookup must not take that for ignorance, and asks again.
    fn busy_again(&mut self, handle: Handle) -> bool {
        let (now, tries_max) = (self.env.now, self.env.config.call_tries);
        let Some(call) = self.exchange.calls.get_mut(handle) else { return false };
        if call.route != internal::LOCATE || call.tries >= tries_max {
            return false;
        }
        call.retry = now.plus_us(BUSY_US * u64::from(call.tries));
        self.arm_call(handle);
        true
    }

    /// The peer lacks fragments of a request.
    pub(super) fn request_missing(&mut self, peer: PeerId, number: u32, fragments: u64) -> bool {
        let Some(handle) = self.call_from(peer, number) else { return false };
        let Some(call) = self.exchange.calls.get_mut(handle) else { return false };
        let len = call.body.as_ref().map_or(0, |body| self.env.buffers.bytes(body).len());
        let wanted = fragments & all(len);
        if wanted == 0 {
            return false;
        }
        call.pending |= wanted;
        call.polls = 0;
        // It lives and says what it lacks: what was sent so far was no try in vain.
        call.tries = call.tries.min(1);
        self.queue_request(handle);
        true
    }

    /// The peer has the request and works on it.
    pub(super) fn working(&mut self, peer: PeerId, number: u32) -> bool {
        let Some(handle) = self.call_from(peer, number) else { return false };
        let polls = self.exchange.calls.get(handle).map_or(0, |call| call.polls.saturating_add(1));
        let wait = self.poll_us(peer, polls);
        let Some(call) = self.exchange.calls.get_mut(handle) else { return false };
        call.polls = polls;
        call.sent = None;
        call.pending = 0;
        call.retry = self.env.now.plus_us(wait);
        self.arm_call(handle);
        true
    }

    pub(crate) fn call_timeout(&mut self, index: u16) {
        let Some(handle) = self.exchange.calls.handle_at(index) else { return };
        let Some(call) = self.exchange.calls.get_mut(handle) else { return };
        if call.done.is_some() {
            return;
        }
        if self.env.now >= call.deadline {
            self.tell_cancelled(handle);
            self.end_call(handle, Err(Failure::Deadline));
            return;
        }
        if self.env.now < call.retry || call.peer == LOCAL {
            self.arm_call(handle);
            return;
        }
        call.retry = Instant::NEVER;
        let to = call.to;
        if !self.peer_again(handle) {
            if self.may_dial(&to) {
                self.end_call(handle, Err(Failure::PeerGone));
            } else if let Some(call) = self.exchange.calls.get_mut(handle) {
                // All peers are in use for the moment.
                call.retry = self.env.now.plus_us(PLACE_US);
                self.arm_call(handle);
            }
            return;
        }
        self.call_again(handle);
    }

    /// Sends again what a call waits for.
    fn call_again(&mut self, handle: Handle) {
        let tries_max = self.env.config.call_tries;
        let Some(call) = self.exchange.calls.get_mut(handle) else { return };
        let peer = call.peer;
        if call.queued || call.asking {
            self.arm_call(handle); // Still waits to be encoded: the deadline is what is left.
            return;
        }
        if call.answer.is_some() {
            if call.asks < ASKS_MAX {
                call.asks += 1;
                call.asking = true;
                if !self.send_frame(peer, Frame::MissingAnswer(handle)) {
                    self.call_not_queued(handle);
                }
                self.arm_call(handle);
                return;
            }
            // The answer is no longer kept there. Fragments of two runs must not be mixed: the protocol's own
            // routes are asked anew, for the application's the answer is kept longer than this takes.
            call.asks = 0;
            let own = call.route.0 < 1 << 31;
            let answer = call.answer.take().map(|answer| answer.buffer);
            self.free_buffer(answer);
            if own {
                self.renumber(handle);
            }
        }
        let Some(call) = self.exchange.calls.get_mut(handle) else { return };
        if call.pending == 0 {
            if call.polls == 0 && call.tries >= tries_max {
                self.tell_cancelled(handle);
                self.end_call(handle, Err(Failure::Silent));
                return;
            }
            let (polls, tries) = (call.polls, call.tries);
            if polls == 0 && tries >= 2 && self.unheard_us(peer) >= self.retry_us(peer, tries - 1) {
                self.doubt_peer(peer);
            }
            let Some(call) = self.exchange.calls.get_mut(handle) else { return };
            // One fragment is enough to hear what is missing, or what became of the request.
            call.pending = 1;
        }
        self.queue_request(handle);
    }

    /// Sees to it that the call has a peer, which may have been closed or evicted while nothing was under way.
    fn peer_again(&mut self, handle: Handle) -> bool {
        let Some((to, peer)) = self.exchange.calls.get(handle).map(|call| (call.to, call.peer)) else { return false };
        if self.peers.get(peer).is_some() {
            return true;
        }
        let Some(peer) = self.dial(&to, None) else { return false };
        self.hold(peer);
        if let Some(call) = self.exchange.calls.get_mut(handle) {
            call.peer = peer;
            call.queued = false;
            call.asking = false;
        }
        true
    }

    /// Tells the peer that nobody waits any more, if it may know of the call.
    fn tell_cancelled(&mut self, handle: Handle) {
        let Some(call) = self.exchange.calls.get(handle) else { return };
        let (peer, number) = (call.peer, call.number);
        if peer == LOCAL {
            let me = self.env.me;
            self.cancelled(me, number);
        } else if call.done.is_none() && (call.tries > 0 || call.queued) {
            // When this is lost, the request's deadline ends the work.
            self.send_frame(peer, Frame::Cancel { call: number });
        }
    }

    /// Ends a call and tells its owner.
    pub(super) fn end_call(&mut self, handle: Handle, result: Result<Body<'_>, Failure>) {
        let Some(call) = self.exchange.calls.get_mut(handle).filter(|call| call.done.is_none()) else {
            self.free_body(result);
            return;
        };
        if call.owner == Owner::App {
            self.end_app_call(handle, result);
            return;
        }
        if result.is_err() {
            self.env.counters.calls_failed += 1;
        }
        if let Some((owner, to)) = self.drop_call(handle) {
            self.answered(owner, to, result);
        }
    }

    fn end_app_call(&mut self, handle: Handle, result: Result<Body<'_>, Failure>) {
        let (outcome, answer) = match result {
            Ok(Body::Packet([])) => (Ok(()), None),
            Ok(Body::Packet(bytes)) => match self.exchange_buffer_from(bytes) {
                Some(buffer) => (Ok(()), Some(buffer)),
                None => return, // Counts as lost: the answer is kept there, and comes again.
            },
            Ok(Body::Buffer(buffer)) => (Ok(()), Some(buffer)),
            Err(failure) => {
                self.env.counters.calls_failed += 1;
                (Err(failure), None)
            }
        };
        let Some(call) = self.exchange.calls.get_mut(handle) else { return };
        call.done = Some(outcome);
        let peer = call.peer;
        let body = call.body.take();
        let partial = core::mem::replace(&mut call.answer, answer.map(|buffer| Assembly { buffer, missing: 0 }));
        self.free_buffer(body);
        self.free_buffer(partial.map(|partial| partial.buffer));
        self.env.timers.clear(Timer::Call(handle.index));
        self.release(peer);
        self.env.event(Event::Answered(CallId(handle)));
    }

    /// Takes a call out, with all that it holds.
    fn drop_call(&mut self, handle: Handle) -> Option<(Owner, NodeId)> {
        let call = self.exchange.calls.remove(handle)?;
        self.env.timers.clear(Timer::Call(handle.index));
        self.free_buffer(call.body);
        self.free_buffer(call.answer.map(|answer| answer.buffer));
        if call.done.is_none() && call.peer != LOCAL {
            self.release(call.peer);
        }
        Some((call.owner, call.to))
    }

    /// Gives a call up without telling its owner.
    pub(crate) fn forget_call(&mut self, handle: Handle) {
        self.tell_cancelled(handle);
        self.drop_call(handle);
    }

    /// Gives up all calls of an operation that has ended. Whoever was silent all the while may be gone, and is looked
    /// after, so that the next operation does not wait for it again.
    pub(crate) fn forget_calls_of(&mut self, op: Handle) {
        for index in 0..self.exchange.calls.used() {
            let Some(handle) = self.exchange.calls.handle_at(index) else { continue };
            let Some(call) = self.exchange.calls.get(handle) else { continue };
            if !matches!(call.owner, Owner::Op(owner) if owner.op == op) {
                continue;
            }
            let (peer, tries) = (call.peer, call.tries);
            let once_us = call.sent.map_or(0, |sent| self.env.now.since(sent));
            let since_us = if tries > 1 { u64::MAX } else { once_us };
            let known = self.peers.get(peer).is_some_and(|peer| peer.rtt_us > 0);
            // What is assumed of an unknown round trip is long.
            let wait_us = self.retry_us(peer, 0) / if known { 1 } else { 2 };
            let silent = tries > 0 && since_us.min(self.unheard_us(peer)) >= wait_us;
            self.drop_call(handle);
            if silent {
                self.doubt_peer(peer);
            }
        }
    }

    /// Microseconds since the peer was last heard.
    fn unheard_us(&self, peer: PeerId) -> u64 {
        self.peers.get(peer).map_or(0, |peer| self.env.now.since(peer.last_heard))
    }

    pub(super) fn calls_peer_down(&mut self, peer: PeerId, failed: bool) {
        for index in 0..self.exchange.calls.used() {
            let Some(handle) = self.exchange.calls.handle_at(index) else { continue };
            let Some(call) = self.exchange.calls.get_mut(handle) else { continue };
            if call.peer != peer || call.done.is_some() {
                continue;
            }
            if failed {
                self.end_call(handle, Err(Failure::PeerGone));
                continue;
            }
            // What was queued may be gone with the session: looks again soon, also for a way to the peer.
            call.retry = self.env.now.plus_us(RETRY_MIN_US);
            call.queued = false;
            call.asking = false;
            call.sent = None;
            self.arm_call(handle);
        }
    }
}

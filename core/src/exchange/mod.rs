//! Calls: a request to a route on one peer, and its answer (PROTOCOL §8).
//!
//! A body travels as fragments of [`FRAGMENT`] bytes: fragment i begins at byte i × `FRAGMENT`, only the last one is
//! shorter, an empty body is one empty fragment. A repeated request is fragment 0 alone: the answer to it says what is
//! missing, that it is being worked on, or what the answer was. A bit of [`Message::Missing`] stands for one fragment.

mod app;
mod assembly;
mod call;
mod serve;
mod serves;
#[cfg(test)]
mod tests;

pub use assembly::FRAGMENT;
pub use call::Call;
pub use serves::Serve;

use crate::id::{NodeId, RouteId};
use crate::memory::Limits;
use crate::node::{BufferId, Node, Out, PeerId, Wrote};
use crate::retrieve::OpOwner;
use crate::table::{Handle, Index, Slot, Slots, Store};
use crate::wire::{Message, Writer};

/// The most routes that an application can serve.
pub const ROUTES_MAX: usize = 32;
/// The longest deadline of a call: an hour. Longer ones are shortened to it, by both sides.
pub const DEADLINE_MAX_MS: u32 = 3_600_000;
/// The least time before anything is sent again.
const RETRY_MIN_US: u64 = 20_000;
/// The most time between two tries.
const RETRY_MAX_US: u64 = 4_000_000;
/// The most time between two questions whether the peer, which is working, still is.
const POLL_MAX_US: u64 = 30_000_000;
/// How often missing fragments are asked for before the whole is asked for again.
const ASKS_MAX: u8 = 3;
/// The peer of a call to ourselves: no table has a slot with this number.
const LOCAL: PeerId = PeerId(Handle { index: u16::MAX, generation: u16::MAX });

/// How a request was answered. The numbers are on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Status {
    /// With success.
    Ok = 0,
    /// Nobody serves that route.
    NoRoute = 1,
    /// No room now: try again later, or elsewhere.
    Busy = 2,
    /// The request makes no sense to the handler.
    Bad = 3,
    /// The handler failed.
    Failed = 4,
    /// What was asked for is not there.
    NotFound = 5,
}

impl Status {
    /// Reads the number on the wire; one that we do not know is a failure.
    fn from_wire(number: u8) -> Self {
        [Status::Ok, Status::NoRoute, Status::Busy, Status::Bad, Status::Failed, Status::NotFound]
            .get(usize::from(number))
            .copied()
            .unwrap_or(Status::Failed)
    }
}

/// Why a call ended without an answer of success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Failure {
    /// The deadline has passed. The peer may have done what was asked.
    Deadline,
    /// The peer is gone. It may have done what was asked.
    PeerGone,
    /// Nothing came back, though the request was sent as often as allowed. The peer may have done what was asked.
    Silent,
    /// The peer answered with this status.
    Refused(Status),
}

/// Who waits for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The application.
    App,
    /// The exchange of known hosts.
    Hosts,
    /// The pull of groups.
    Groups,
    /// A seat, and what it asked for.
    Seat(Handle, u8),
    /// A put or get, and which part of it.
    Op(OpOwner),
    /// The telling of pointers, and the first bytes of the group told.
    Point([u8; 4]),
}

/// A body of a request or an answer.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// It came in one packet: borrowed from the caller's datagram.
    Packet(&'a [u8]),
    /// It came in fragments: whoever receives this owns the buffer.
    Buffer(BufferId),
}

/// What a handler of the protocol's own routes did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Served {
    /// It wrote the answer.
    Reply,
    /// It will call [`Node::finish`] with the serve's id later.
    Later,
    /// It refuses.
    Refuse(Status),
}

/// A message of a call that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// The next fragment of a call's request; comes back until all are out.
    Request(Handle),
    /// The next fragment of a serve's answer; comes back until all are out.
    Response(Handle),
    /// Asks for what is missing of a call's answer.
    MissingAnswer(Handle),
    /// Asks for what is missing of a serve's request.
    MissingRequest(Handle),
    /// Tells that a request is being worked on.
    Working {
        /// The caller's number.
        call: u32,
    },
    /// Tells that we have given up.
    Cancel {
        /// Our number.
        call: u32,
    },
    /// An answer without a body to a request of which nothing is kept.
    Refuse {
        /// The caller's number.
        call: u32,
        /// Why.
        status: Status,
    },
}

/// All calls and serves.
#[derive(Debug)]
pub(crate) struct Exchange<'m> {
    calls: Slots<'m, Call>,
    /// Drawn on for call numbers, with the slot's index in the low bits.
    numbers: u32,
    serves: Slots<'m, Serve>,
    /// Finds a serve by caller and call number.
    serve_index: Index<'m>,
    /// What the application serves.
    routes: heapless::Vec<RouteId, ROUTES_MAX>,
}

impl<'m> Exchange<'m> {
    pub fn new(
        calls: Store<'m, Slot<Call>>,
        serves: Store<'m, Slot<Serve>>,
        serve_index: Store<'m, u32>,
        boot: u64,
    ) -> Self {
        Exchange {
            calls: Slots::new(calls),
            // A restarted node begins elsewhere, so that nobody takes its new calls for repetitions of old ones.
            numbers: boot as u32,
            serves: Slots::new(serves),
            serve_index: Index::new(serve_index),
            routes: heapless::Vec::new(),
        }
    }
}

/// The most serves that one caller may hold.
const fn serves_per_peer(limits: &Limits) -> usize {
    limits.serves / 4 + 2
}

/// The most serves on the application's routes: the protocol's own need the rest.
const fn serves_for_app(limits: &Limits) -> usize {
    limits.serves - limits.serves / 4
}

/// The most calls of the application: the protocol's own need the rest.
const fn calls_for_app(limits: &Limits) -> usize {
    limits.calls - limits.calls / 3
}

impl Node<'_> {
    /// Microseconds until something sent to a peer is sent again, after `before` times: RFC 6298, doubled each time.
    fn retry_us(&self, peer: PeerId, before: u8) -> u64 {
        let known = self.peers.get(peer).filter(|peer| peer.rtt_us > 0);
        let unknown = u64::from(self.env.config.call_retry_ms) * 1000;
        let base = known.map_or(unknown, |peer| u64::from(peer.rtt_us) + 4 * u64::from(peer.rtt_var_us));
        (base.max(RETRY_MIN_US) << before.min(16)).min(RETRY_MAX_US)
    }

    /// Whether a call with a body of `len` bytes can be made now.
    pub(crate) fn may_ask(&mut self, len: usize) -> bool {
        !self.exchange.calls.is_full() && self.buffer_room(len, 0)
    }

    /// Sees to it that a buffer for `len` bytes is free and `spare` large ones besides: kept answers make room if need be,
    /// the oldest first.
    pub(crate) fn buffer_room(&mut self, len: usize, spare: usize) -> bool {
        while !self.env.buffers.has_room(len, spare) {
            if !self.forget_kept(|serve| serve.keeps_buffer(len)) {
                return false;
            }
        }
        true
    }

    /// Takes a buffer; a kept answer makes room if need be, the oldest first.
    fn exchange_buffer(&mut self, len: usize) -> Option<BufferId> {
        loop {
            if let Some(buffer) = self.env.buffers.alloc(len) {
                return Some(buffer);
            }
            if len > self.env.buffers.longest() || !self.forget_kept(|serve| serve.keeps_buffer(len)) {
                self.env.counters.buffers_refused += 1;
                return None;
            }
        }
    }

    /// Fills a buffer as [`Node::exchange_buffer`] finds one.
    fn exchange_buffer_from(&mut self, bytes: &[u8]) -> Option<BufferId> {
        let buffer = self.exchange_buffer(bytes.len())?;
        self.env.buffers.bytes_mut(&buffer).copy_from_slice(bytes);
        Some(buffer)
    }

    fn free_buffer(&mut self, buffer: Option<BufferId>) {
        if let Some(buffer) = buffer {
            self.env.buffers.free(buffer);
        }
    }

    /// Queues a message of a call.
    fn send_frame(&mut self, peer: PeerId, frame: Frame) -> bool {
        self.send(peer, Out::Call(frame))
    }

    pub(crate) fn exchange_message(&mut self, peer: PeerId, message: Message<'_>) {
        let Some(from) = self.peers.get(peer).map(|peer| peer.id) else { return };
        let expected = match message {
            Message::Request { call, route, deadline_ms, total, offset, data } => {
                let part = assembly::Part { total, offset, data };
                self.requested(peer, from, call, route, deadline_ms, part)
            }
            Message::Response { call, status, total, offset, data } => {
                self.responded(peer, call, Status::from_wire(status), assembly::Part { total, offset, data })
            }
            Message::Missing { call, answer: true, fragments } => self.answer_missing(peer, from, call, fragments),
            Message::Missing { call, answer: false, fragments } => self.request_missing(peer, call, fragments),
            Message::Working { call } => self.working(peer, call),
            Message::Cancel { call } => self.cancelled(from, call),
            _ => false,
        };
        if !expected {
            self.env.counters.messages_unexpected += 1;
        }
    }

    pub(crate) fn write_frame(&mut self, peer: PeerId, frame: Frame, writer: &mut Writer<'_>) -> Wrote {
        let message = match frame {
            Frame::Request(call) => return self.write_request(peer, call, writer),
            Frame::Response(serve) => return self.write_response(peer, serve, writer),
            Frame::MissingAnswer(call) => return self.write_missing_answer(peer, call, writer),
            Frame::MissingRequest(serve) => return self.write_missing_request(peer, serve, writer),
            Frame::Working { call } => Message::Working { call },
            Frame::Cancel { call } => Message::Cancel { call },
            Frame::Refuse { call, status } => {
                Message::Response { call, status: status as u8, total: 0, offset: 0, data: &[] }
            }
        };
        if writer.message(&message) { Wrote::Done } else { Wrote::NoRoom }
    }

    /// A peer's session has ended. Only if the peer is `dead` do requests from it lapse, and only if no session could be
    /// had do calls to it fail: else calls go on as soon as there is a session again, and the answers to its requests
    /// are kept for it.
    pub(crate) fn exchange_peer_down(&mut self, peer: PeerId, id: &NodeId, dead: bool, failed: bool) {
        self.calls_peer_down(peer, failed);
        self.serves_peer_down(peer, id, dead);
    }
}

//! Calls: a request to a route on one peer, and its answer (PROTOCOL §8).

use crate::id::{NodeId, RouteId};
use crate::node::{BufferId, Node, PeerId, ServeId, Wrote};
use crate::retrieve::OpOwner;
use crate::table::{Handle, Slot, Slots, Store};
use crate::wire::{Message, Writer};

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

/// Why a call ended without an answer of success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Failure {
    /// The deadline has passed.
    Deadline,
    /// The peer is gone.
    PeerGone,
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
    /// A seat, and what it asked for.
    Seat(Handle, u8),
    /// A put or get, and which part of it.
    Op(OpOwner),
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

/// A call of ours.
#[derive(Debug)]
pub struct Call {}

/// A request that we serve.
#[derive(Debug)]
pub struct Serve {}

/// A message of a call that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Frame {}

/// All calls and serves.
#[derive(Debug)]
pub(crate) struct Exchange<'m> {
    _calls: Slots<'m, Call>,
    _serves: Slots<'m, Serve>,
}

impl<'m> Exchange<'m> {
    pub fn new(calls: Store<'m, Slot<Call>>, serves: Store<'m, Slot<Serve>>) -> Self {
        Exchange { _calls: Slots::new(calls), _serves: Slots::new(serves) }
    }
}

impl Node<'_> {
    /// Calls one of the protocol's own routes on a peer. `write` writes the request's body, at most
    /// [`crate::wire::PAYLOAD`] − 32 bytes; `None` when there is no room for the call. Ends in `answered`, once.
    pub(crate) fn ask(
        &mut self,
        _to: PeerId,
        _route: RouteId,
        _owner: Owner,
        _deadline_ms: u32,
        _write: impl FnOnce(&mut Writer<'_>) -> bool,
    ) -> Option<Handle> {
        None
    }

    /// The same with a body in a buffer, of which it becomes the owner (it is freed when refused, too).
    pub(crate) fn ask_buffer(
        &mut self,
        _to: PeerId,
        _route: RouteId,
        _owner: Owner,
        _deadline_ms: u32,
        _body: BufferId,
    ) -> Option<Handle> {
        None
    }

    /// Gives a call up without telling its owner.
    pub(crate) fn forget_call(&mut self, _call: Handle) {}

    /// Answers a request that was served [`Served::Later`]. Takes the buffer, also when the serve is gone.
    pub(crate) fn finish(&mut self, _serve: ServeId, _status: Status, body: Option<BufferId>) {
        if let Some(buffer) = body {
            self.env.buffers.free(buffer);
        }
    }

    pub(crate) fn exchange_message(&mut self, _peer: PeerId, _message: Message<'_>) {}

    pub(crate) fn write_frame(&mut self, _peer: PeerId, frame: Frame, _writer: &mut Writer<'_>) -> Wrote {
        match frame {}
    }

    pub(crate) fn exchange_peer_down(&mut self, _peer: PeerId) {}

    pub(crate) fn call_timeout(&mut self, _index: u16) {}

    pub(crate) fn serve_timeout(&mut self, _index: u16) {}
}

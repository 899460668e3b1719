//! Who gets what: the one place where the sub-protocols meet.

use super::{Event, Node, PeerId, Timer};
use crate::exchange::{self, Body, Failure, Owner, Served};
use crate::id::{NodeId, RouteId};
use crate::route::internal;
use crate::storage::{BlockRef, StoreOwner, Stored};
use crate::wire::{Message, Writer};
use crate::{group, session};

/// A message that waits to be sent: an intent, encoded when there is room in a packet (N3).
#[derive(Clone, Copy, Debug)]
pub enum Out {
    #[doc(hidden)]
    Path(session::Notice),
    #[doc(hidden)]
    Call(exchange::Frame),
    #[doc(hidden)]
    Group(group::Notice),
}

const _: () = assert!(size_of::<Out>() <= 64, "an intent is small: state stays in the tables");

/// What became of an intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrote {
    /// It is in the packet, or no longer needed.
    Done,
    /// Part of it is in the packet: it goes to the end of its queue and comes back for the next part.
    More,
    /// It did not fit: try again in the next packet.
    NoRoom,
}

impl Node<'_> {
    /// Encodes an intent for a peer.
    pub(crate) fn write(&mut self, peer: PeerId, out: Out, writer: &mut Writer<'_>) -> Wrote {
        match out {
            Out::Path(notice) => self.write_path(peer, notice, writer),
            Out::Call(frame) => self.write_frame(peer, frame, writer),
            Out::Group(notice) => self.write_group(peer, notice, writer),
        }
    }

    /// A message of an established session.
    pub(crate) fn message(&mut self, peer: PeerId, message: Message<'_>) {
        match message {
            Message::PathChallenge { .. }
            | Message::PathResponse { .. }
            | Message::Facts { .. }
            | Message::Introduce { .. }
            | Message::Introduction { .. }
            | Message::Bye => self.path_message(peer, message),
            Message::Request { .. }
            | Message::Response { .. }
            | Message::Missing { .. }
            | Message::Working { .. }
            | Message::Cancel { .. } => self.exchange_message(peer, message),
            Message::Beat { .. }
            | Message::Probe { .. }
            | Message::ProbeAck { .. }
            | Message::ProbeFor { .. }
            | Message::Alive { .. }
            | Message::Group { .. }
            | Message::NotMember { .. }
            | Message::Acting { .. }
            | Message::Hint { .. } => self.group_message(peer, message),
        }
    }

    /// What has come due.
    pub(crate) fn timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Discover => self.discover_timeout(),
            Timer::Exchange => self.exchange_timeout(),
            Timer::Refresh => self.refresh_timeout(),
            Timer::Cookies => self.cookies_timeout(),
            Timer::Beat => self.beat_timeout(),
            Timer::Upkeep => self.upkeep_timeout(),
            Timer::Point => self.pointers_timeout(),
            Timer::Peer(index) => self.peer_timeout(index),
            Timer::Call(index) => self.call_timeout(index),
            Timer::Serve(index) => self.serve_timeout(index),
            Timer::Seat(index) => self.seat_timeout(index),
            Timer::Op(index) => self.op_timeout(index),
        }
    }

    /// A session has begun.
    pub(crate) fn peer_up(&mut self, peer: PeerId) {
        self.env.event(Event::PeerUp(peer));
        let new = self.hosts_peer_up(peer);
        self.groups_peer_up(peer, new);
    }

    /// A peer is gone: its session ended, or none could be had. `dead`: nothing answered, though we tried. `failed`: no
    /// session could be had, dead or not.
    pub(crate) fn peer_down(&mut self, peer: PeerId, id: NodeId, was_up: bool, dead: bool, failed: bool) {
        if was_up {
            self.env.event(Event::PeerDown(peer));
            if self.peers.up() == 0 {
                self.discover_alone();
            }
        }
        if dead {
            self.hosts_peer_dead(&id);
        }
        self.exchange_peer_down(peer, &id, dead, failed);
        self.groups_peer_down(peer, &id);
        self.discover_peer_down(peer);
    }

    /// A call of a sub-protocol has ended. A buffer in the body is the receiver's to free.
    pub(crate) fn answered(&mut self, owner: Owner, from: NodeId, result: Result<Body<'_>, Failure>) {
        match owner {
            Owner::App => self.free_body(result),
            Owner::Hosts => self.hosts_answered(from, result),
            Owner::Groups => self.pulled(result),
            Owner::Seat(seat, what) => self.groups_answered(seat, what, from, result),
            Owner::Op(op) => self.op_answered(op, from, result),
            Owner::Point(group) => self.pointed(group, from, result),
        }
    }

    /// Frees what an unwanted answer came with.
    pub(crate) fn free_body(&mut self, result: Result<Body<'_>, Failure>) {
        if let Ok(Body::Buffer(buffer)) = result {
            self.env.buffers.free(buffer);
        }
    }

    /// A request on one of the protocol's own routes. A buffer in the body is the receiver's to free.
    pub(crate) fn serve(
        &mut self,
        peer: PeerId,
        serve: super::ServeId,
        route: RouteId,
        body: Body<'_>,
        reply: &mut Writer<'_>,
    ) -> Served {
        match route {
            internal::SHUFFLE => self.serve_shuffle(peer, body, reply),
            internal::LOCATE => self.serve_locate(peer, body, reply),
            internal::STORE => self.serve_store(peer, serve, body, reply),
            internal::FETCH => self.serve_fetch(peer, serve, body, reply),
            internal::OFFER => self.serve_offer(peer, body, reply),
            internal::ADMIT => self.serve_admit(peer, body, reply),
            internal::LIST => self.serve_list(peer, body, reply),
            internal::FOUND => self.serve_found(peer, body, reply),
            internal::MERGE => self.serve_merge(peer, body, reply),
            internal::GROUPS => self.serve_groups(peer, body, reply),
            internal::POINT => self.serve_point(peer, body, reply),
            _ => {
                self.free_body(Ok(body));
                Served::Refuse(exchange::Status::NoRoute)
            }
        }
    }

    /// A storage operation has ended.
    pub(crate) fn stored(&mut self, owner: StoreOwner, at: BlockRef, stored: Stored) {
        match owner {
            StoreOwner::None => {
                if let Stored::Got(buffer) = stored {
                    self.env.buffers.free(buffer);
                }
            }
            StoreOwner::Serve(serve) => self.serve_stored(serve, at, stored),
            StoreOwner::Op(op) => self.op_stored(op, at, stored),
            StoreOwner::List(place) => self.list_stored(place, at, stored),
            StoreOwner::Seat(seat, pull) => {
                if matches!(stored, Stored::Done) {
                    // Also when the pull was given up meanwhile: what is on the disk must not be missing in the index.
                    self.item_stored(&at.key, at.index);
                }
                self.seat_stored(seat, pull, stored);
            }
        }
    }

    /// Starts what runs by itself.
    pub(crate) fn begin(&mut self) {
        self.discover_begin();
        self.hosts_begin();
        self.groups_begin();
    }
}

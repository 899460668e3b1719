//! Sessions with hosts: handshake, keys, paths (PROTOCOL §2).

use crate::addr::{Addr, LinkId, LinkState};
use crate::id::NodeId;
use crate::node::{Node, Out, PeerId, Transmit, Wrote};
use crate::table::{Fifo, Index, Slot, Slots, Store};
use crate::time::Instant;
use crate::wire::{Facts, Message, Writer};

/// A host with which there is, or is to be, a session.
#[derive(Debug)]
pub struct Peer {
    /// Who.
    pub id: NodeId,
    /// Where it is reached now; `None` while a path is looked for.
    pub addr: Option<Addr>,
    /// Over which link.
    pub link: LinkId,
    /// Whether a session is established.
    pub up: bool,
    /// When an authenticated packet last came from it.
    pub last_heard: Instant,
    /// When anything was last sent to it.
    pub last_sent: Instant,
    /// Smoothed round-trip time in microseconds (RFC 6298); 0 is not known yet.
    pub rtt_us: u32,
    /// Its mean deviation in microseconds.
    pub rtt_var_us: u32,
    /// What it last said of itself.
    pub facts: Facts,
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {}

/// A packet to somebody with whom there is no session.
#[derive(Clone, Copy, Debug)]
pub enum Stray {}

/// A message of the path and session sub-protocol that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Notice {}

/// All peers.
#[derive(Debug)]
pub(crate) struct Peers<'m> {
    peers: Slots<'m, Peer>,
}

impl<'m> Peers<'m> {
    pub fn new(
        peers: Store<'m, Slot<Peer>>,
        _index: Store<'m, u32>,
        _sessions: Store<'m, u32>,
        _handshakes: Store<'m, Slot<Handshake>>,
        _strays: Store<'m, Option<Stray>>,
    ) -> Self {
        Peers { peers: Slots::new(peers) }
    }

    /// All peers.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(handle, peer)| (PeerId(handle), peer))
    }

    /// Reads a peer.
    pub fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.get(peer.0)
    }
}

impl Node<'_> {
    /// The peer with this id, if there is one (up or not).
    pub(crate) fn peer_of(&self, _id: &NodeId) -> Option<PeerId> {
        None
    }

    /// The peer with this id, made and dialled if need be: by `hint`, by the address known of it, or through whoever
    /// told of it. `None` when no way is known or no room is left. Ends in `peer_up` or `peer_down`.
    pub(crate) fn dial(&mut self, _id: &NodeId, _hint: Option<Addr>) -> Option<PeerId> {
        None
    }

    /// Queues a message. It is sent when the session is up; dropped when the peer goes. False when the outbox is full
    /// or the peer is gone: then nothing was queued.
    pub(crate) fn send(&mut self, _peer: PeerId, _out: Out) -> bool {
        false
    }

    /// Ends a peer.
    pub(crate) fn end_peer(&mut self, _peer: PeerId, _dead: bool) {}

    /// Keeps a peer from being evicted or closed for idleness, until released as many times.
    pub(crate) fn hold(&mut self, _peer: PeerId) {}

    /// Takes one [`Node::hold`] back.
    pub(crate) fn release(&mut self, _peer: PeerId) {}

    /// Takes a measured round trip into the peer's estimate.
    pub(crate) fn rtt_sample(&mut self, _peer: PeerId, _rtt_us: u64) {}

    pub(crate) fn receive(&mut self, _link: LinkId, _from: Addr, _data: &mut [u8]) {}

    pub(crate) fn transmit(&mut self, _link: LinkId, _buf: &mut [u8]) -> Option<Transmit> {
        None
    }

    pub(crate) fn link_changed(&mut self, _link: LinkId, _state: LinkState) {}

    pub(crate) fn write_path(&mut self, _peer: PeerId, notice: Notice, _writer: &mut Writer<'_>) -> Wrote {
        match notice {}
    }

    pub(crate) fn path_message(&mut self, _peer: PeerId, _message: Message<'_>) {}

    pub(crate) fn peer_timeout(&mut self, _index: u16) {}

    pub(crate) fn cookies_timeout(&mut self) {}
}

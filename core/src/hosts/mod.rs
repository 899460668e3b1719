//! Known hosts: who is worth remembering (PROTOCOL §4).

use heapless::Vec;

use crate::addr::{Addr, LinkId};
use crate::exchange::{Body, Failure, Served, Status};
use crate::id::NodeId;
use crate::node::{Env, Node, PeerId};
use crate::table::{Index, Slot, Slots, Store};
use crate::wire::{Facts, HostRecord, Writer};

/// A host that we remember.
#[derive(Clone, Debug)]
pub struct Host {
    /// Who.
    pub id: NodeId,
    /// Where it was last reached or said to be.
    pub addr: Addr,
    /// Over which link.
    pub link: LinkId,
    /// What it said of itself.
    pub facts: Facts,
}

/// All known hosts.
#[derive(Debug)]
pub(crate) struct Hosts<'m> {
    hosts: Slots<'m, Host>,
}

impl<'m> Hosts<'m> {
    pub fn new(hosts: Store<'m, Slot<Host>>, _index: Store<'m, u32>) -> Self {
        Hosts { hosts: Slots::new(hosts) }
    }

    /// Hosts known.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// What is known of a host.
    pub fn get(&self, _env: &Env<'_>, _id: &NodeId) -> Option<&Host> {
        None
    }

    /// Takes what somebody told of a host.
    pub fn learn(&mut self, _env: &mut Env<'_>, _record: &HostRecord, _link: LinkId, _from: Option<NodeId>) {}

    /// Who told us of a host, and may introduce us.
    pub fn introducer(&self, _env: &Env<'_>, _id: &NodeId) -> Option<NodeId> {
        None
    }

    /// Up to 8 hosts to be recruited into a group, best first: free room, believed alive, unlike `members` and each other
    /// (prefix, place, power), none of those that `excluded` names. `tiny_first` prefers hosts with nothing but small seats.
    pub fn recruits(
        &self,
        _env: &mut Env<'_>,
        _members: &[(Addr, Facts)],
        _tiny_first: bool,
        _excluded: &mut dyn FnMut(&NodeId) -> bool,
    ) -> Vec<NodeId, 8> {
        Vec::new()
    }

    /// Up to `n` (at most 8) hosts that know much: the first to ask.
    pub fn capable(&self, _env: &mut Env<'_>, _n: usize, _excluded: &mut dyn FnMut(&NodeId) -> bool) -> Vec<NodeId, 8> {
        Vec::new()
    }
}

impl Node<'_> {
    pub(crate) fn hosts_begin(&mut self) {}

    pub(crate) fn exchange_timeout(&mut self) {}

    pub(crate) fn refresh_timeout(&mut self) {}

    pub(crate) fn hosts_peer_up(&mut self, _peer: PeerId) {}

    pub(crate) fn hosts_peer_dead(&mut self, _id: &NodeId) {}

    pub(crate) fn hosts_answered(&mut self, _from: NodeId, result: Result<Body<'_>, Failure>) {
        self.free_body(result);
    }

    pub(crate) fn serve_shuffle(&mut self, _peer: PeerId, body: Body<'_>, _reply: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }
}

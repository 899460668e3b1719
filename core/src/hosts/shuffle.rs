//! What two hosts tell each other in an exchange (PROTOCOL §4.5).

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::choose::in_order;
use super::{Host, Hosts, Standing, seconds};
use crate::addr::{Addr, LinkId};
use crate::exchange::Body;
use crate::id::NodeId;
use crate::node::Node;
use crate::rng::Rng;
use crate::table::Handle;
use crate::wire::{GroupHint, HostRecord, RECORDS_MAX, Writer};

/// Group hints in one exchange.
pub(crate) const HINTS_MAX: usize = 3;
/// Bytes that a body is filled up to: it fits a small buffer.
pub(super) const BODY: usize = crate::node::SMALL;
/// Bytes of these that group hints may take.
const HINTS: usize = 240;
/// Hosts of which the freshest are told.
const CANDIDATES: usize = 16;

/// The body of a shuffle, the same both ways: postcard, fields in this order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Shuffle {
    /// The sender first, at `0.0.0.0:0`, which means "where you see me"; then hosts that it knows.
    pub records: Vec<HostRecord, RECORDS_MAX>,
    /// Groups that the sender knows.
    pub hints: Vec<GroupHint, HINTS_MAX>,
}

/// From where an address can be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Loopback,
    LinkLocal,
    Private,
    Public,
}

fn scope(addr: &Addr) -> Scope {
    match addr.ip() {
        ip if ip.is_loopback() => Scope::Loopback,
        IpAddr::V4(ip) if ip.is_link_local() => Scope::LinkLocal,
        _ if addr.is_link_local() => Scope::LinkLocal,
        _ if addr.is_public() => Scope::Public,
        _ => Scope::Private,
    }
}

/// Whether `addr` is of use to a host that we see at `told`. Public addresses are to everyone; private ones to hosts on
/// this machine and on the private networks around us; loopback and link-local ones only to those that we see in the same scope.
pub(super) fn useful(addr: &Addr, told: &Addr) -> bool {
    match (scope(addr), scope(told)) {
        (Scope::Public, _) => true,
        (Scope::Private, told) => told != Scope::Public,
        (own, told) => own == told,
    }
}

/// "Where you see me."
pub(super) fn here() -> Addr {
    Addr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

fn encoded(value: &impl Serialize) -> usize {
    let mut scratch = [0; 192];
    let mut writer = Writer::new(&mut scratch);
    if writer.value(value) { writer.len() } else { BODY }
}

impl Hosts<'_> {
    /// What is told to `to`, which we see at `at`: ourselves, some of the groups, and hosts as far as there is room.
    pub(super) fn compose(
        &self,
        now_s: u32,
        rng: &mut Rng,
        (to, at): (&NodeId, &Addr),
        own: HostRecord,
        groups: impl Iterator<Item = GroupHint>,
    ) -> Shuffle {
        // Two counts of elements, and ourselves.
        let mut room = BODY - 2 - encoded(&own);
        let (mut records, mut hints) = (Vec::new(), Vec::new());
        let _ = records.push(own);
        let mut hints_room = HINTS;
        for hint in groups {
            let len = encoded(&hint);
            if len <= hints_room && hints.push(hint).is_ok() {
                (hints_room, room) = (hints_room - len, room - len);
            }
        }
        for record in self.tell(now_s, rng, to, at) {
            let Some(left) = room.checked_sub(encoded(&record)) else { break };
            if records.push(record).is_err() {
                break;
            }
            room = left;
        }
        Shuffle { records, hints }
    }

    /// Random hosts to tell `to` of, the freshest of 16 first.
    pub(super) fn tell(&self, now_s: u32, rng: &mut Rng, to: &NodeId, at: &Addr) -> impl Iterator<Item = HostRecord> {
        let picked: Vec<Handle, CANDIDATES> = self.sample(rng, CANDIDATES, |host| {
            host.standing != Standing::Vanished && host.id != *to && useful(&host.addr, at)
        });
        let sorted = in_order(picked, move |handle| self.hosts.get(*handle).map(|host| host.age_s(now_s)));
        sorted.filter_map(|handle| self.hosts.get(handle)).map(move |host| {
            let age_s = host.age_s(now_s).min(u16::MAX.into()) as u16;
            HostRecord { id: host.id, addr: host.addr, facts: host.facts, age_s }
        })
    }
}

impl Node<'_> {
    /// What we tell a host that we see at `at`.
    pub(super) fn shuffle(&mut self, to: &NodeId, at: &Addr) -> Shuffle {
        let own = HostRecord { id: self.env.me, addr: here(), facts: self.facts(), age_s: 0 };
        let hints = self.hints_to_tell();
        self.hosts.compose(seconds(self.env.now), &mut self.env.rng, (to, at), own, hints.into_iter())
    }

    /// Reads a shuffle and frees the buffer that it came in.
    pub(super) fn read_shuffle(&mut self, body: Body<'_>) -> Option<Shuffle> {
        match body {
            Body::Packet(bytes) => crate::wire::value(bytes),
            Body::Buffer(buffer) => {
                let shuffle = crate::wire::value(self.env.buffers.bytes(&buffer));
                self.env.buffers.free(buffer);
                shuffle
            }
        }
    }

    /// In a small network everybody meets everybody: whoever knows few hosts, and has few peers, dials those that it only
    /// heard of. Waiting for a random exchange to pick them took minutes where multicast does not help.
    fn meet_told(&mut self, told: &HostRecord, link: LinkId) {
        let heard = |host: &Host| host.standing == Standing::Heard;
        if self.hosts.few() && self.hosts.get(&self.env, &told.id).is_some_and(heard) {
            self.discover_told(told, link);
        }
    }

    /// Takes what `from` told. `at`: where we see it.
    pub(super) fn absorb(&mut self, from: NodeId, at: Option<Addr>, shuffle: &Shuffle) {
        let peer = self.peer_of(&from).and_then(|peer| self.peers.get(peer));
        let Some((link, up)) = peer.map(|peer| (peer.link, peer.up)) else { return };
        for record in &shuffle.records {
            if record.id == from {
                if up {
                    self.hosts_met(&from, Some(record.facts));
                }
                continue;
            }
            let mut record = *record;
            if record.addr.is_link_local() {
                // The zone is ours: that in which we see the teller.
                let Some(at) = at.filter(Addr::is_link_local) else { continue };
                record.addr.ip[2] = at.ip[2];
                record.addr.ip[3] = at.ip[3];
            }
            self.hosts.learn(&mut self.env, &record, link, Some(from));
            self.meet_told(&record, link);
        }
        let news = shuffle.hints.iter().filter(|hint| self.learn_hint(hint)).count() > 0;
        if news && let Some(peer) = self.peer_of(&from) {
            self.groups_pull(peer);
        }
    }
}

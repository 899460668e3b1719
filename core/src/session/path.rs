//! Paths: challenges, roaming, and what peers say of themselves (PROTOCOL §2.7).

use super::{Notice, Step};
use crate::addr::{Addr, LinkId};
use crate::node::{Node, PeerId, Transmit, Wrote};
use crate::time::Instant;
use crate::wire::{Facts, Message, Writer};

/// Challenges and responses of all peers under way.
const PROBES: usize = 4;
/// Milliseconds for which a challenge waits for its response, and for which no other is made for the same peer.
const CHALLENGE_MS: u32 = 1_000;

/// Up to this uptime, bits of minutes, a host is a newcomer: 8 minutes.
const YOUNG: u8 = 3;

#[derive(Clone, Copy, Debug)]
struct Probe {
    peer: PeerId,
    to: Addr,
    link: LinkId,
    token: u64,
    /// It answers a challenge.
    response: bool,
    waiting: bool,
    at: Instant,
}

/// Packets that prove a path, each to its own address. Policy when full: the one that waited too long makes room,
/// else the new one is dropped; the next packet from there tries again.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    list: [Option<Probe>; PROBES],
    /// Those not encoded yet.
    waiting: u8,
}

impl Probes {
    pub fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    fn count(&mut self) {
        self.waiting = self.list.iter().flatten().filter(|probe| probe.waiting).count() as u8;
    }

    fn add(&mut self, probe: Probe) -> bool {
        let old = |place: &Option<Probe>| place.is_none_or(|other| probe.at.ms_since(other.at) >= CHALLENGE_MS);
        let Some(place) = self.list.iter_mut().find(|place| old(place)) else { return false };
        *place = Some(probe);
        self.count();
        true
    }

    fn challenged(&self, peer: PeerId, now: Instant) -> bool {
        let recent = |probe: &Probe| !probe.response && probe.peer == peer && now.ms_since(probe.at) < CHALLENGE_MS;
        self.list.iter().flatten().any(recent)
    }

    fn answered(&mut self, peer: PeerId, token: u64) -> Option<(Addr, LinkId, Instant)> {
        let is = |probe: &Probe| !probe.response && !probe.waiting && probe.peer == peer && probe.token == token;
        let place = self.list.iter_mut().find(|place| place.as_ref().is_some_and(is))?;
        place.take().map(|probe| (probe.to, probe.link, probe.at))
    }

    pub fn forget(&mut self, peer: PeerId) {
        for place in &mut self.list {
            if place.is_some_and(|probe| probe.peer == peer) {
                *place = None;
            }
        }
        self.count();
    }

    fn next(&mut self, link: LinkId, now: Instant) -> Option<Probe> {
        let due = |probe: &Probe| probe.waiting && probe.link == link;
        let place = self.list.iter_mut().find(|place| place.as_ref().is_some_and(due))?;
        let probe = place.as_mut()?;
        (probe.waiting, probe.at) = (false, now);
        let copy = *probe;
        if copy.response {
            *place = None;
        }
        self.count();
        Some(copy)
    }
}

impl Node<'_> {
    /// Asks a peer to prove that it is at an address.
    pub(super) fn challenge(&mut self, peer: PeerId, link: LinkId, to: Addr) {
        let now = self.env.now;
        if !self.peers.probes.challenged(peer, now) {
            let token = self.env.rng.next_u64();
            self.peers.probes.add(Probe { peer, to, link, token, response: false, waiting: true, at: now });
        }
    }

    /// Answers a challenge to where it came from.
    pub(super) fn challenged(&mut self, peer: PeerId, link: LinkId, from: Addr, token: u64) {
        let at = self.env.now;
        self.peers.probes.add(Probe { peer, to: from, link, token, response: true, waiting: true, at });
    }

    /// Encodes the next challenge or response of a link.
    pub(super) fn write_probe(&mut self, link: LinkId, buf: &mut [u8], mtu: usize) -> Option<Transmit> {
        let probe = self.peers.probes.next(link, self.env.now)?;
        let (at, room) = super::greeting::frame(&probe.to, mtu);
        let message = match probe.response {
            true => Message::PathResponse { token: probe.token },
            false => Message::PathChallenge { token: probe.token },
        };
        let inner = buf.get_mut(at..at + room)?;
        let len = self.seal_message(probe.peer.0.index, inner, &message)?;
        super::greeting::finish(&mut self.env, probe.to, false, buf, len)
    }

    pub(crate) fn write_path(&mut self, peer: PeerId, notice: Notice, writer: &mut Writer<'_>) -> Wrote {
        let message = match notice {
            Notice::Facts => Message::Facts { facts: self.facts() },
            Notice::Introduce(id) => Message::Introduce { id },
            Notice::Introduction(id, addr, slot) => Message::Introduction { id, addr, slot },
            // Somebody wants the session after all.
            Notice::Bye if self.peers.get(peer).is_some_and(|peer| !peer.closing) => return Wrote::Done,
            Notice::Bye => Message::Bye,
        };
        if writer.message(&message) { Wrote::Done } else { Wrote::NoRoom }
    }

    pub(crate) fn path_message(&mut self, peer: PeerId, message: Message<'_>) {
        match message {
            Message::PathResponse { token } => match self.peers.probes.answered(peer, token) {
                Some((addr, link, sent)) => self.moved(peer, addr, link, sent),
                None => self.env.counters.messages_unexpected += 1,
            },
            Message::Facts { facts } => self.said(peer, facts),
            Message::Introduce { id } => self.introduce(peer, &id),
            Message::Introduction { id, addr, slot } => self.introduced(peer, id, addr, slot),
            Message::Bye => self.end_peer(peer, false),
            _ => self.env.counters.messages_unexpected += 1,
        }
    }

    fn said(&mut self, id: PeerId, facts: Facts) {
        let Some(peer) = self.peers.peers.get_mut(id.0) else { return };
        peer.facts = facts;
        self.hosts_facts(id, facts);
        if facts.uptime <= YOUNG {
            // It may have lost what it was told in an earlier life.
            self.groups_tell(id);
        }
    }

    /// The peer has proved that it is at an address.
    fn moved(&mut self, id: PeerId, addr: Addr, link: LinkId, sent: Instant) {
        self.rtt_sample(id, self.env.now.since(sent));
        let Some(peer) = self.peers.peers.get_mut(id.0) else { return };
        if peer.addr == Some(addr) && peer.link == link {
            return;
        }
        if addr.slot != 0 && peer.addr.is_some_and(|now| now.slot == 0) && peer.alternate.is_none() {
            // The direct path may come back.
            peer.alternate = peer.addr;
        }
        peer.addr = Some(addr);
        peer.link = link;
        self.env.counters.peers_roamed += 1;
        self.settle_path(id.0.index);
        self.peers.list(id.0.index);
        self.schedule(id.0.index);
    }

    /// Keeps whoever relays for a peer as long as its packets go that way, and plans tries of the direct path.
    pub(super) fn settle_path(&mut self, slot: u16) {
        let Some(peer) = self.peers.at(slot) else { return };
        let (addr, link, old) = (peer.addr, peer.link, peer.via);
        let relay = addr.filter(|addr| addr.slot != 0).map(|addr| addr.with_slot(0));
        let is = |(_, other): &(PeerId, &super::Peer)| other.up && other.link == link && other.addr == relay;
        let via = relay.and_then(|_| self.peers.iter().find(is)).map(|(id, _)| id);
        let soon = self.env.now.plus_ms(CHALLENGE_MS);
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.via = via;
            if relay.is_none() {
                peer.alternate = None;
            } else if peer.alternate.is_some() && peer.step == Step::Idle {
                peer.tries = 0;
                peer.due = peer.due.min(soon);
            }
        }
        if via != old {
            via.into_iter().for_each(|via| self.keep(via));
            old.into_iter().for_each(|old| self.unkeep(old));
        }
    }
}

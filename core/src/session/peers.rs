//! The table of peers, its two indices, and the lists of those with something to send.

use super::{Epoch, Handshake, Peer, PeerInfo, Step, Stray};
use crate::addr::{Addr, LINKS_MAX, LinkId};
use crate::id::NodeId;
use crate::node::{Env, Node, PeerId};
use crate::table::{Handle, Index, Pool, Queue, QueueNode, Slot, Slots, Store};
use crate::time::Instant;
use crate::wire::Facts;

const NONE: u16 = u16::MAX;

/// Which of a peer's three indices.
pub(super) mod which {
    pub const CURRENT: usize = 0;
    pub const OTHER: usize = 1;
    pub const HELLO: usize = 2;
}

/// What is to be sent over one link.
#[derive(Debug)]
pub(super) struct Link {
    /// Bytes of one packet; 0 while the link is down.
    pub mtu: u16,
    /// Packets to those with whom there need be no session.
    pub strays: Queue,
    /// Peers with something to send, first come, first served.
    head: u16,
    tail: u16,
}

/// All peers.
#[derive(Debug)]
pub(crate) struct Peers<'m> {
    pub(super) peers: Slots<'m, Peer>,
    /// By id.
    index: Index<'m>,
    /// By our session indices: slot × 3 + which.
    sessions: Index<'m>,
    pub(super) handshakes: Slots<'m, Handshake>,
    pub(super) strays: Pool<'m, Stray>,
    pub(super) links: [Link; LINKS_MAX],
    pub(super) greeter: super::greeting::Greeter,
    pub(super) probes: super::path::Probes,
    /// Peers that are up.
    up: u16,
}

impl<'m> Peers<'m> {
    pub fn new(
        peers: Store<'m, Slot<Peer>>,
        index: Store<'m, u32>,
        sessions: Store<'m, u32>,
        handshakes: Store<'m, Slot<Handshake>>,
        strays: Store<'m, QueueNode<Stray>>,
    ) -> Self {
        const DOWN: Link = Link { mtu: 0, strays: Queue::EMPTY, head: NONE, tail: NONE };
        Peers {
            peers: Slots::new(peers),
            index: Index::new(index),
            sessions: Index::new(sessions),
            handshakes: Slots::new(handshakes),
            strays: Pool::new(strays),
            links: [DOWN; LINKS_MAX],
            greeter: super::greeting::Greeter::default(),
            probes: super::path::Probes::default(),
            up: 0,
        }
    }

    /// Reads a peer.
    pub fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.get(peer.0)
    }

    /// Peers with an established session.
    pub fn up(&self) -> usize {
        self.up.into()
    }

    /// Peers, up or not.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// All peers in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(handle, peer)| (PeerId(handle), peer))
    }

    pub(super) fn handle_at(&self, slot: u16) -> Option<PeerId> {
        self.peers.handle_at(slot).map(PeerId)
    }

    pub(super) fn at(&self, slot: u16) -> Option<&Peer> {
        self.peers.at(slot)
    }

    pub(super) fn at_mut(&mut self, slot: u16) -> Option<&mut Peer> {
        self.peers.at_mut(slot)
    }

    pub(super) fn find(&self, env: &Env<'_>, id: &NodeId) -> Option<PeerId> {
        let is = |slot: u32| self.at(slot as u16).is_some_and(|peer| peer.id == *id);
        let slot = self.index.find(Index::mix(env.index_secret, &id.0), is)?;
        self.peers.handle_at(slot as u16).map(PeerId)
    }

    /// Whose session index this is, and which of its three.
    pub(super) fn session(&self, local: u32) -> Option<(u16, usize)> {
        if local == 0 {
            return None;
        }
        let code = self.sessions.find(local, |code| local_of(&self.peers, code) == local)?;
        Some(((code / 3) as u16, (code % 3) as usize))
    }

    /// Draws an index that is not in use.
    pub(super) fn draw_local(&self, env: &mut Env<'_>) -> u32 {
        loop {
            let bytes = env.secrets.next(env.crypto);
            for word in bytes.chunks_exact(4) {
                let local = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                if local != 0 && self.session(local).is_none() {
                    return local;
                }
            }
        }
    }

    /// Sets one of a peer's indices; 0 unsets it.
    pub(super) fn set_local(&mut self, slot: u16, which: usize, local: u32) {
        let Some(handle) = self.peers.handle_at(slot) else { return };
        let code = u32::from(slot) * 3 + which as u32;
        let old = local_of(&self.peers, code);
        if old != 0 {
            let peers = &self.peers;
            self.sessions.remove(old, code, |code| local_of(peers, code));
        }
        if let Some(place) = self.peers.get_mut(handle).and_then(|peer| peer.locals.get_mut(which)) {
            *place = local;
        }
        if local != 0 {
            let peers = &self.peers;
            let placed = self.sessions.insert(local, code, |code| local_of(peers, code));
            debug_assert!(placed, "there are cells for three sessions of every peer");
        }
    }

    /// Makes the other keys the current ones, and the current ones the other.
    pub(super) fn swap(&mut self, slot: u16) {
        let Some(peer) = self.at_mut(slot) else { return };
        core::mem::swap(&mut peer.current, &mut peer.other);
        let [current, other, _] = peer.locals;
        self.set_local(slot, which::CURRENT, 0);
        self.set_local(slot, which::OTHER, 0);
        self.set_local(slot, which::CURRENT, other);
        self.set_local(slot, which::OTHER, current);
    }

    /// Drops the keys that are not current.
    pub(super) fn drop_other(&mut self, slot: u16) {
        self.set_local(slot, which::OTHER, 0);
        if let Some(peer) = self.at_mut(slot) {
            peer.other = None;
            peer.other_next = false;
        }
    }

    pub(super) fn set_other(&mut self, slot: u16, local: u32, epoch: Epoch, until: Instant) {
        self.set_local(slot, which::OTHER, local);
        if let Some(peer) = self.at_mut(slot) {
            peer.other = Some(epoch);
            peer.other_next = true;
            peer.other_until = until;
        }
    }

    /// Drops the handshake of a peer.
    pub(super) fn drop_handshake(&mut self, slot: u16) {
        self.set_local(slot, which::HELLO, 0);
        let Some(peer) = self.at_mut(slot) else { return };
        peer.want &= !super::want::WELCOME;
        if let Some(handle) = peer.handshake.take() {
            self.handshakes.remove(handle);
        }
    }

    pub(super) fn insert(&mut self, env: &Env<'_>, id: NodeId, link: LinkId) -> Option<PeerId> {
        let peer = Peer {
            id,
            addr: None,
            link,
            up: false,
            last_heard: env.now,
            last_sent: env.now,
            rtt_us: 0,
            rtt_var_us: 0,
            loss: Default::default(),
            facts: Facts::default(),
            told: false,
            boot: 0,
            current: None,
            other: None,
            other_next: false,
            other_until: Instant::NEVER,
            locals: [0; 3],
            handshake: None,
            urgent: Queue::EMPTY,
            bulk: Queue::EMPTY,
            next: NONE,
            listed: None,
            want: 0,
            step: Step::Idle,
            tries: 0,
            pong_ms: 0,
            asked: 0,
            wanted: false,
            answered: false,
            doubted: 0,
            due: Instant::NEVER,
            dial: (Addr::default(), link, [0; 8]),
            alternate: None,
            via: None,
            holds: 0,
            keeps: 0,
            closing: false,
        };
        let handle = self.peers.insert(peer).ok()?;
        let (peers, secret) = (&self.peers, env.index_secret);
        let placed =
            self.index.insert(Index::mix(secret, &id.0), handle.index.into(), |slot| hash_of(peers, secret, slot));
        debug_assert!(placed, "there are cells for every peer");
        Some(PeerId(handle))
    }

    /// Takes a peer out of everything; its queued messages are dropped.
    pub(super) fn remove(&mut self, env: &mut Env<'_>, id: PeerId) -> Option<Peer> {
        let slot = id.0.index;
        self.peers.get(id.0)?;
        self.drop_handshake(slot);
        for which in [which::CURRENT, which::OTHER] {
            self.set_local(slot, which, 0);
        }
        self.unlist(slot);
        let (peers, secret) = (&self.peers, env.index_secret);
        let hash = hash_of(peers, secret, slot.into());
        self.index.remove(hash, slot.into(), |slot| hash_of(peers, secret, slot));
        self.probes.forget(id);
        let mut peer = self.peers.remove(id.0)?;
        env.outbox.clear(&mut peer.urgent);
        env.outbox.clear(&mut peer.bulk);
        env.timers.clear(crate::node::Timer::Peer(slot));
        if peer.up {
            self.up -= 1;
        }
        Some(peer)
    }

    /// Gives a peer a new handle, so that whatever belonged to its life before finds nothing.
    pub(super) fn renew(&mut self, env: &mut Env<'_>, id: PeerId) -> Option<PeerId> {
        self.probes.forget(id);
        // The slot that was freed last is used first, so that every index by slot stays right.
        let mut peer = self.peers.remove(id.0)?;
        env.outbox.clear(&mut peer.urgent);
        env.outbox.clear(&mut peer.bulk);
        (peer.holds, peer.keeps, peer.told) = (0, 0, false);
        let handle = self.peers.insert(peer).ok()?;
        debug_assert_eq!(handle.index, id.0.index);
        Some(PeerId(handle))
    }

    /// Whether a peer was not told of groups in this session before now.
    pub(crate) fn first_told(&mut self, peer: PeerId) -> bool {
        self.peers.get_mut(peer.0).is_some_and(|peer| !core::mem::replace(&mut peer.told, true))
    }

    pub(super) fn set_up(&mut self, slot: u16) {
        if let Some(peer) = self.at_mut(slot)
            && !peer.up
        {
            peer.up = true;
            self.up += 1;
        }
    }

    /// Over which link a peer's next packet goes.
    fn next_link(&self, peer: &Peer) -> LinkId {
        if peer.want & super::want::WELCOME != 0
            && let Some(handshake) = peer.handshake.and_then(|handle| self.handshakes.get(handle))
        {
            return handshake.link;
        }
        if peer.want != 0 { peer.dial.1 } else { peer.link }
    }

    /// Puts a peer with something to send at the end of its link's list. One that waits for another link leaves that
    /// link's list, which may never be looked at again.
    pub(super) fn list(&mut self, slot: u16) {
        let Some(peer) = self.at(slot) else { return };
        let busy = peer.want != 0 || peer.up && !(peer.urgent.is_empty() && peer.bulk.is_empty());
        let to = self.next_link(peer);
        let link = usize::from(to.0);
        if peer.listed == Some(to) || !busy || link >= LINKS_MAX {
            return;
        }
        self.unlist(slot);
        if let Some(peer) = self.at_mut(slot) {
            peer.listed = Some(to);
            peer.next = NONE;
        }
        let tail = core::mem::replace(&mut self.links[link].tail, slot);
        match self.at_mut(tail) {
            Some(last) if tail != NONE => last.next = slot,
            _ => self.links[link].head = slot,
        }
    }

    /// Takes the first peer with something to send over a link.
    pub(super) fn pop_listed(&mut self, link: usize) -> Option<u16> {
        loop {
            let slot = self.links.get(link)?.head;
            if slot == NONE {
                return None;
            }
            let peer = self.at_mut(slot)?;
            peer.listed = None;
            let next = peer.next;
            self.links[link].head = next;
            if next == NONE {
                self.links[link].tail = NONE;
            }
            let goes = self.at(slot).map(|peer| self.next_link(peer));
            if goes == Some(LinkId(link as u8)) {
                return Some(slot);
            }
            // It has moved to another link since it was listed.
            self.list(slot);
        }
    }

    fn unlist(&mut self, slot: u16) {
        let Some(link) = self.at_mut(slot).and_then(|peer| peer.listed.take()).map(|link| usize::from(link.0)) else {
            return;
        };
        let Some(list) = self.links.get(link) else { return };
        let (mut before, mut at) = (NONE, list.head);
        while at != NONE && at != slot {
            before = at;
            at = self.at(at).map_or(NONE, |peer| peer.next);
        }
        if at == NONE {
            return;
        }
        let next = self.at(slot).map_or(NONE, |peer| peer.next);
        match self.at_mut(before) {
            Some(peer) if before != NONE => peer.next = next,
            _ => self.links[link].head = next,
        }
        if self.links[link].tail == slot {
            self.links[link].tail = before;
        }
    }

    /// Queues a packet to somebody with whom there need be no session; gives it back when there is no room.
    pub(super) fn stray(&mut self, env: &mut Env<'_>, link: LinkId, stray: Stray) -> Result<(), Stray> {
        let room = !self.strays.is_full();
        match self.links.get_mut(usize::from(link.0)) {
            Some(link) if room && link.mtu != 0 => {
                self.strays.push(&mut link.strays, stray);
                Ok(())
            }
            _ => {
                env.counters.strays_dropped += 1;
                Err(stray)
            }
        }
    }

    /// The peer that is missed least: without users, and unused for longest, at least since a moment. Cost: a look at
    /// every peer.
    pub(super) fn evictable(&self, since: Instant) -> Option<PeerId> {
        let unused = |(_, peer): &(Handle, &Peer)| {
            let used = peer.last_heard.max(peer.last_sent);
            peer.holds == 0 && peer.step == Step::Idle && peer.up && used <= since
        };
        let (handle, _) =
            self.peers.iter().filter(unused).min_by_key(|(_, peer)| peer.last_heard.max(peer.last_sent))?;
        Some(PeerId(handle))
    }

    /// This link if it works, else the first that does.
    pub(super) fn working_link(&self, link: Option<LinkId>) -> Option<LinkId> {
        link.filter(|link| self.is_link_up(*link))
            .or_else(|| self.links.iter().position(|link| link.mtu != 0).map(|at| LinkId(at as u8)))
    }

    pub(crate) fn is_link_up(&self, link: LinkId) -> bool {
        self.links.get(usize::from(link.0)).is_some_and(|link| link.mtu != 0)
    }
}

fn local_of(peers: &Slots<'_, Peer>, code: u32) -> u32 {
    let peer = peers.at((code / 3) as u16);
    peer.map_or(0, |peer| peer.locals[(code % 3) as usize])
}

fn hash_of(peers: &Slots<'_, Peer>, secret: u64, slot: u32) -> u32 {
    let peer = peers.at(slot as u16);
    peer.map_or(0, |peer| Index::mix(secret, &peer.id.0))
}

impl Peer {
    /// Of 1000 packets that it sends us, how many are lost, as of late.
    pub(crate) fn loss(&self) -> u16 {
        self.loss.permille()
    }

    fn info(&self) -> PeerInfo {
        PeerInfo {
            id: self.id,
            addr: self.addr,
            link: self.link,
            rtt_us: self.rtt_us,
            last_heard: self.last_heard,
            up: self.up,
            facts: self.facts,
        }
    }
}

impl Node<'_> {
    /// What is known of a peer; `None` once it is gone. Cost: a few loads.
    pub fn peer_info(&self, peer: PeerId) -> Option<PeerInfo> {
        self.peers.get(peer).map(Peer::info)
    }

    /// All peers, up or not. Cost: the most peers there ever were.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, PeerInfo)> {
        self.peers.iter().map(|(id, peer)| (id, peer.info()))
    }

    /// The peer with this id, if there is one (up or not).
    pub(crate) fn peer_of(&self, id: &NodeId) -> Option<PeerId> {
        self.peers.find(&self.env, id)
    }

    /// Keeps a peer from being evicted or closed for idleness, until released as many times.
    pub(crate) fn hold(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.peers.get_mut(peer.0) {
            peer.holds = peer.holds.saturating_add(1);
        }
    }

    /// Takes one [`Node::hold`] back.
    pub(crate) fn release(&mut self, peer: PeerId) {
        if let Some(held) = self.peers.peers.get_mut(peer.0) {
            held.holds = held.holds.saturating_sub(1);
            self.schedule(peer.0.index);
        }
    }

    /// Holds a peer, and lets a packet flow now and then so that routers between do not forget it.
    pub(crate) fn keep(&mut self, peer: PeerId) {
        self.hold(peer);
        if let Some(kept) = self.peers.peers.get_mut(peer.0) {
            kept.keeps = kept.keeps.saturating_add(1);
            self.schedule(peer.0.index);
        }
    }

    /// Takes one [`Node::keep`] back.
    pub(crate) fn unkeep(&mut self, peer: PeerId) {
        if let Some(kept) = self.peers.peers.get_mut(peer.0) {
            kept.keeps = kept.keeps.saturating_sub(1);
        }
        self.release(peer);
    }

    /// Takes a measured round trip into the peer's estimate (RFC 6298, §2).
    pub(crate) fn rtt_sample(&mut self, peer: PeerId, rtt_us: u64) {
        let Some(peer) = self.peers.peers.get_mut(peer.0) else { return };
        let sample = rtt_us.clamp(1, 60_000_000) as u32;
        if peer.rtt_us == 0 {
            (peer.rtt_us, peer.rtt_var_us) = (sample, sample / 2);
        } else {
            peer.rtt_var_us = peer.rtt_var_us - peer.rtt_var_us / 4 + peer.rtt_us.abs_diff(sample) / 4;
            peer.rtt_us = (peer.rtt_us - peer.rtt_us / 8 + sample / 8).max(1);
        }
    }

    /// Whether there is, or could be, room for a peer with this id.
    pub(crate) fn may_dial(&self, id: &NodeId) -> bool {
        !self.peers.peers.is_full() || self.peer_of(id).is_some() || self.peers.evictable(self.env.now).is_some()
    }

    /// Room for one more peer, made if need be by evicting one that was unused for so long.
    pub(super) fn peer_new(&mut self, id: NodeId, link: LinkId, unused_ms: u32) -> Option<PeerId> {
        if self.peers.peers.is_full() {
            let since = Instant::ZERO.plus_us(self.env.now.as_micros().saturating_sub(u64::from(unused_ms) * 1_000));
            match self.peers.evictable(since) {
                Some(victim) => {
                    self.env.counters.peers_evicted += 1;
                    self.say_bye(victim);
                    self.end_peer(victim, false);
                }
                None => {
                    self.env.counters.peers_refused += 1;
                    return None;
                }
            }
        }
        self.peers.insert(&self.env, id, link)
    }

    /// Ends a peer. `dead`: nothing answered, though we tried.
    pub(crate) fn end_peer(&mut self, peer: PeerId, dead: bool) {
        let Some(gone) = self.peers.remove(&mut self.env, peer) else { return };
        if gone.up {
            self.env.counters.sessions_ended += 1;
            self.hosts_peer_down(&gone.id, gone.last_heard);
        }
        if let Some(via) = gone.via {
            self.unkeep(via);
        }
        self.relays.forget(peer);
        // Who answered but had no room is not dead, and yet there is no use in trying again at once.
        let failed = dead || !gone.up && gone.answered;
        self.peer_down(peer, gone.id, gone.up, dead, failed);
    }
}

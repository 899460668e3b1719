//! The exchange of known hosts, and what sessions tell of hosts (PROTOCOL §4.5).

use super::shuffle::BODY;
use super::{Hosts, Standing, Turn, bits, seconds};
use crate::exchange::{Body, Failure, Owner, Served, Status};
use crate::id::NodeId;
use crate::node::{Node, PeerId, Timer};
use crate::route::internal;
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::{Facts, Writer};

const _: () = assert!(BODY <= crate::wire::PAYLOAD - 32, "an exchange is one packet each way");

/// The most by which the interval stretches while nothing changes.
const STRETCH_MAX: u32 = 8;
/// Milliseconds until an exchange is given up.
const DEADLINE_MS: u32 = 5_000;
/// Milliseconds after which an exchange follows a host met for the first time, while few are known.
const SOON_MS: u32 = 400;
/// Milliseconds between exchanges while we have heard of hosts and met none.
const ALONE_MS: u32 = 1_000;
/// So many hosts are few, or a quarter of the table if that is less.
const FEW: usize = 32;
/// Exchanges in vain, one after the other, after which a host is taken for dead.
const MISSED_MAX: u8 = 2;

/// How often exchanges are made.
#[derive(Debug)]
pub(super) struct Pace {
    /// The interval is so many times the configured one.
    stretch: u32,
    /// Hosts taken since the last answer.
    news: u16,
    /// When the last exchange began.
    last: crate::time::Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { stretch: 1, news: 0, last: crate::time::Instant::ZERO }
    }
}

impl Pace {
    /// A host was new to us.
    pub(super) fn news(&mut self) {
        self.news = self.news.saturating_add(1);
    }

    /// Hosts come or go.
    pub(super) fn hurry(&mut self) {
        self.stretch = 1;
    }

    /// An exchange was answered: two news or more speed up, none slow down.
    fn answered(&mut self) {
        match self.news {
            0 => self.stretch = (self.stretch * 2).min(STRETCH_MAX),
            1 => {}
            _ => self.stretch = 1,
        }
        self.news = 0;
    }
}

impl Hosts<'_> {
    fn alone(&self) -> bool {
        self.census.count(Standing::Met) == 0 && self.len() > 0
    }

    pub(super) fn few(&self) -> bool {
        self.len() < FEW.min(self.hosts.limit() / 4)
    }

    pub(super) fn mark_down(&mut self, id: &NodeId, heard_s: u32) {
        if let Some(handle) = self.find(id)
            && let Some(host) = self.hosts.get_mut(handle)
            && host.up
        {
            host.up = false;
            host.heard_s = heard_s;
        }
    }

    /// An exchange in vain. True when the host is to be taken for dead.
    pub(super) fn missed(&mut self, id: &NodeId) -> bool {
        let Some(host) = self.find(id).and_then(|handle| self.hosts.get_mut(handle)) else { return false };
        (host.good, host.missed) = (host.good / 2, host.missed.saturating_add(1));
        host.missed >= MISSED_MAX
    }
}

impl Node<'_> {
    /// What we say of ourselves.
    pub(crate) fn facts(&self) -> Facts {
        let minutes = self.env.now.since(self.env.start) / 60_000_000;
        Facts {
            uptime: bits(minutes.min(u32::MAX.into()) as u32) as u8,
            free: bits(self.free_blocks()) as u8,
            hosts: bits(self.hosts.len() as u32) as u8,
            flags: self.env.config.flags | self.seat_flags(),
            place: self.env.config.place,
        }
    }

    pub(crate) fn hosts_begin(&mut self) {
        let soon = self.env.rng.jitter_ms(self.env.config.exchange_interval_ms / 4);
        self.env.timers.set(Timer::Exchange, self.env.now.plus_ms(soon));
        self.refresh_again();
    }

    pub(crate) fn exchange_timeout(&mut self) {
        let usual = self.env.config.exchange_interval_ms.saturating_mul(self.hosts.pace.stretch);
        let interval = if self.hosts.alone() { usual.min(ALONE_MS) } else { usual };
        let next = self.env.rng.jitter_ms(interval);
        self.env.timers.set(Timer::Exchange, self.env.now.plus_ms(next));
        self.hosts.pace.last = self.env.now;
        if let Some(id) = self.exchange_partner() {
            self.exchange_with(&id);
        }
    }

    /// There is news worth telling, of a group of ours: the next exchange comes soon, but not within a second of the last.
    pub(crate) fn exchange_soon(&mut self) {
        let wait = self.env.rng.below(500);
        let at = self.hosts.pace.last.plus_ms(1_000).max(self.env.now).plus_ms(wait);
        self.env.timers.set_earlier(Timer::Exchange, at);
    }

    /// A random known host; mostly one with a session, the longer nothing has changed: a handshake costs more than the exchange.
    fn exchange_partner(&mut self) -> Option<NodeId> {
        let hosts = &self.hosts;
        let rng = &mut self.env.rng;
        let any = rng.chance(1, 1 + hosts.pace.stretch);
        let mut pick = |up: bool| -> Option<Handle> {
            let fits = |host: &super::Host| host.standing != Standing::Vanished && (!up || host.up);
            hosts.sample::<1>(rng, 1, fits).first().copied()
        };
        let handle = if any { None } else { pick(true) }.or_else(|| pick(false));
        handle.and_then(|handle| hosts.hosts.get(handle)).map(|host| host.id)
    }

    /// Asks a host for what it knows, telling it what we know. False when there is no room or no way now.
    pub(super) fn exchange_with(&mut self, id: &NodeId) -> bool {
        let Some(peer) = self.dial(id, None) else { return false };
        let seen = self.peers.get(peer).and_then(|peer| peer.addr);
        let Some(at) = seen.or_else(|| self.hosts.get(&self.env, id).map(|host| host.addr)) else { return false };
        let shuffle = self.shuffle(id, &at);
        let asked = self.ask(peer, internal::SHUFFLE, Owner::Hosts, DEADLINE_MS, |writer| writer.value(&shuffle));
        self.env.counters.exchanges += u32::from(asked.is_some());
        asked.is_some()
    }

    pub(crate) fn hosts_answered(&mut self, from: NodeId, result: Result<Body<'_>, Failure>) {
        match result {
            Ok(body) => {
                let at = self.peer_of(&from).and_then(|peer| self.peers.get(peer)).and_then(|peer| peer.addr);
                if let Some(shuffle) = self.read_shuffle(body) {
                    self.absorb(from, at, &shuffle);
                    self.hosts.pace.answered();
                }
            }
            Err(Failure::Deadline) if !self.heard_lately(&from) && self.hosts.missed(&from) => {
                self.hosts_peer_dead(&from)
            }
            // Whoever refuses, or says other things, is alive; of a peer that is gone the session tells.
            Err(_) => {}
        }
    }

    fn heard_lately(&self, id: &NodeId) -> bool {
        let peer = self.peer_of(id).and_then(|peer| self.peers.get(peer));
        peer.is_some_and(|peer| peer.up && self.env.now.ms_since(peer.last_heard) < DEADLINE_MS)
    }

    pub(crate) fn serve_shuffle(&mut self, peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let shuffle = self.read_shuffle(body);
        let Some((id, at)) = self.peers.get(peer).map(|peer| (peer.id, peer.addr)) else {
            return Served::Refuse(Status::Failed);
        };
        let (Some(shuffle), Some(seen)) = (shuffle, at) else { return Served::Refuse(Status::Bad) };
        // Told first, so that nobody hears its own news.
        let told = self.shuffle(&id, &seen);
        self.absorb(id, at, &shuffle);
        if reply.value(&told) { Served::Reply } else { Served::Refuse(Status::Busy) }
    }

    /// A session with a host, and what it said of itself, if it did.
    pub(super) fn hosts_met(&mut self, id: &NodeId, facts: Option<Facts>) {
        let Some(peer) = self.peer_of(id).and_then(|peer| self.peers.get(peer)) else { return };
        let at = peer.addr.map(|addr| (addr, peer.link));
        let rtt_us = peer.rtt_us;
        if self.hosts.meet(&mut Turn::of(&mut self.env), *id, at, rtt_us, facts) {
            self.hosts.pace.news();
            if self.hosts.few() {
                let soon = self.env.rng.jitter_ms(SOON_MS);
                self.env.timers.set_earlier(Timer::Exchange, self.env.now.plus_ms(soon));
            }
        }
    }

    /// A session has begun. True when the host was not met before, or was forgotten.
    pub(crate) fn hosts_peer_up(&mut self, peer: PeerId) -> bool {
        let Some((id, facts)) = self.peers.get(peer).map(|peer| (peer.id, peer.facts)) else { return false };
        let new = self.hosts.get(&self.env, &id).is_none_or(|host| host.standing != Standing::Met);
        self.refresh_alive(&id);
        self.hosts_met(&id, (facts != Facts::default()).then_some(facts));
        new
    }

    /// A peer said of itself what may have changed.
    pub(crate) fn hosts_facts(&mut self, peer: PeerId, facts: Facts) {
        if let Some(id) = self.peers.get(peer).map(|peer| peer.id) {
            self.hosts_met(&id, Some(facts));
        }
    }

    /// A session has ended, for whatever reason, in which the host was last heard at `heard`.
    pub(crate) fn hosts_peer_down(&mut self, id: &NodeId, heard: Instant) {
        self.hosts.mark_down(id, seconds(heard));
    }

    pub(crate) fn hosts_peer_dead(&mut self, id: &NodeId) {
        if self.hosts.dead(&mut Turn::of(&mut self.env), id) {
            self.hosts.pace.hurry();
            self.refresh_dead();
        }
    }
}

//! Discovery on the local network, and of addresses given by hand (PROTOCOL §3).
//!
//! ```text
//! link up ─ multicast Pings at 0, 0.25, 1, 3 s, then every `ping_interval_ms` (jittered; 5 s while nobody was heard)
//!        └─ nobody heard within `multicast_wait_ms` ─ broadcast Ping, then a sweep: remembered hosts, the subnet
//! ```

use crate::addr::{Addr, DISCOVERY_PORT as PORT, LINKS_MAX, LinkId};
use crate::id::NodeId;
use crate::node::{Destination, Node, PeerId, Refused, Timer, Transmit};
use crate::time::Instant;
use crate::wire::HostRecord;

/// Addresses given by hand that a node can hold.
const JOINS_MAX: usize = 8;
/// Own addresses that a node remembers.
const LOCALS_MAX: usize = 8;

/// Milliseconds between the first Pings.
const FIRST_MS: [u32; 3] = [250, 750, 2_000];
/// Milliseconds between Pings while nobody was heard for a whole interval.
const LONELY_MS: u32 = 5_000;
/// Regular Pings that a local network carries per interval, whatever the number of its hosts: so many suffice to join two halves
/// that were apart, and each is heard by all.
const CROWD: u32 = 16;
/// The least share of rounds in which a host pings: one in so many.
const STRETCH_MAX: u32 = 256;
/// The interval between Pings doubles at most so often while they find nobody.
const QUIET_MAX: u8 = 2;
/// Pongs that wait.
const LATER_MAX: usize = 8;
/// The most milliseconds that a Pong to a multicast Ping waits.
const PONG_DELAY_MS: u32 = 60;
/// Hosts expected to answer a multicast Ping when all know each other.
const ANSWERS: u32 = 8;
/// Hosts that discovery dials: what it finds beyond those is only remembered.
pub(crate) const MEET_MAX: usize = 8;
/// Addresses swept around an own one.
const SWEEP_MAX: u32 = 256;
/// Pings of a sweep sent at once, and milliseconds until the next ones.
const SWEEP_BURST: u8 = 32;
const SWEEP_MS: u32 = 100;
/// Milliseconds between sweeps.
const SWEEP_EVERY_MS: u32 = 60_000;
/// Milliseconds until an address given by hand is pinged again: doubles from the first to the second.
const JOIN_MS: (u32, u32) = (500, 60_000);

/// A Pong that waits, so that not all hosts answer at once.
#[derive(Clone, Copy, Debug)]
struct Later {
    at: Instant,
    link: LinkId,
    to: Addr,
    token: [u8; 8],
}

/// An address given by hand.
#[derive(Clone, Copy, Debug)]
struct Join {
    link: LinkId,
    addr: Addr,
    at: Instant,
    wait_ms: u32,
    /// The peer that answered there.
    peer: Option<PeerId>,
}

/// One of our own addresses.
#[derive(Clone, Copy, Debug)]
struct Local {
    link: LinkId,
    addr: Addr,
    prefix_len: u8,
}

/// A walk over the addresses around our own ones.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    local: u8,
    /// Two for each address: our own port, then the usual one.
    step: u32,
    /// Pings that may be sent now.
    burst: u8,
    next: Instant,
}

/// What discovery remembers between its pings.
#[derive(Debug)]
pub(crate) struct Discover {
    /// Pings sent since the series began.
    round: u8,
    /// Rounds in a row that found nobody: the interval doubles so often.
    quiet: u8,
    next: Instant,
    /// Seeking Pings of others since the last round.
    overheard: u16,
    /// One in so many regular rounds is a Ping.
    stretch: u16,
    /// When broadcast and sweep are due, if nobody was heard since the series began.
    widen: Instant,
    /// Whether multicast brought nothing: then every round is a broadcast too.
    wide: bool,
    began: Instant,
    heard: Option<Instant>,
    /// When somebody was last heard of by multicast or broadcast.
    sought: Option<Instant>,
    /// When a Ping of ours by multicast or broadcast was last answered.
    answered: Option<Instant>,
    later: [Option<Later>; LATER_MAX],
    joins: [Option<Join>; JOINS_MAX],
    locals: [Option<Local>; LOCALS_MAX],
    sweep: Option<Sweep>,
    swept: Option<Instant>,
    observed: Option<Addr>,
    stopped: bool,
}

impl Discover {
    pub fn new() -> Self {
        Discover {
            round: 0,
            quiet: 0,
            next: Instant::NEVER,
            overheard: 0,
            stretch: 1,
            widen: Instant::NEVER,
            wide: false,
            began: Instant::ZERO,
            heard: None,
            sought: None,
            answered: None,
            later: [None; LATER_MAX],
            joins: [None; JOINS_MAX],
            locals: [None; LOCALS_MAX],
            sweep: None,
            swept: None,
            observed: None,
            stopped: false,
        }
    }

    /// Whether a sweep has Pings for this link now.
    pub fn sweeps(&self, link: LinkId) -> bool {
        self.sweep.is_some_and(|sweep| {
            sweep.burst > 0
                && self.locals.get(usize::from(sweep.local)).copied().flatten().is_some_and(|local| local.link == link)
        })
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }
}

impl Node<'_> {
    pub(crate) fn discover_begin(&mut self) {
        // Twice, so that no secret is one that anybody could know.
        self.cookies_timeout();
        self.cookies_timeout();
    }

    pub(crate) fn discover_stop(&mut self) {
        self.discover = Discover { stopped: true, observed: self.discover.observed, ..Discover::new() };
        self.env.timers.clear(Timer::Discover);
    }

    /// A link has come up or has other addresses: the series begins anew.
    pub(crate) fn discover_restart(&mut self) {
        if self.discover.stopped {
            return;
        }
        let now = self.env.now;
        (self.discover.round, self.discover.quiet) = (0, 0);
        self.discover.began = now;
        self.discover.wide = false;
        if self.env.config.lan {
            self.discover.next = now;
            self.discover.widen = now.plus_ms(self.env.config.multicast_wait_ms);
        }
        for join in self.discover.joins.iter_mut().flatten() {
            (join.at, join.wait_ms) = (now, JOIN_MS.0);
        }
        self.discover_schedule();
    }

    fn discover_schedule(&mut self) {
        let d = &self.discover;
        let later = d.later.iter().flatten().map(|later| later.at);
        let joins = d.joins.iter().flatten().map(|join| join.at);
        let sweep = d.sweep.iter().filter(|sweep| sweep.burst == 0).map(|sweep| sweep.next);
        let at = [d.next, d.widen].into_iter().chain(later).chain(joins).chain(sweep).min();
        match at.filter(|at| *at != Instant::NEVER) {
            Some(at) => self.env.timers.set(Timer::Discover, at),
            None => self.env.timers.clear(Timer::Discover),
        }
    }

    pub(crate) fn discover_timeout(&mut self) {
        let now = self.env.now;
        for at in 0..LATER_MAX {
            if let Some(later) = self.discover.later[at].take_if(|later| later.at <= now) {
                self.queue_pong(later.link, later.to, later.token);
            }
        }
        for at in 0..JOINS_MAX {
            if self.discover.joins[at].is_some_and(|join| join.at <= now) {
                self.join_due(at);
            }
        }
        if self.discover.next <= now {
            self.ping_round();
        }
        if self.discover.widen <= now {
            self.discover.widen = Instant::NEVER;
            let began = self.discover.began;
            if self.discover.sought.is_none_or(|sought| sought < began) {
                // Even if somebody found us: that one may know no more than us.
                self.discover.wide = true;
                self.ping_links(Destination::Broadcast);
                self.sweep_begin();
            } else if self.discover.answered.is_none_or(|answered| answered < began) {
                // Either all that are here know us, or multicast brings nothing and who sought us did so by broadcast:
                // then others that only listened so far would never meet us.
                self.ping_links(Destination::Broadcast);
            }
        }
        if let Some(sweep) = self.discover.sweep.as_mut().filter(|sweep| sweep.burst == 0 && sweep.next <= now) {
            sweep.burst = SWEEP_BURST;
        }
        self.discover_schedule();
    }

    fn ping_links(&mut self, to: Destination) {
        for link in (0..LINKS_MAX as u8).map(LinkId) {
            if self.peers.is_link_up(link) {
                self.queue_ping(link, to, true);
            }
        }
    }

    fn ping_round(&mut self) {
        let now = self.env.now;
        let interval_ms = self.env.config.ping_interval_ms;
        let lonely = self.peers.up() == 0
            && self.discover.heard.is_none_or(|heard| now.ms_since(heard) > interval_ms.saturating_add(LONELY_MS));
        // Whoever comes pings by itself: what we send is for those that we did not hear then.
        let interval_ms = interval_ms << self.discover.quiet;
        let first_ms = FIRST_MS.get(usize::from(self.discover.round)).copied();
        let wait_ms = first_ms
            .unwrap_or_else(|| self.env.rng.jitter_ms(if lonely { interval_ms.min(LONELY_MS) } else { interval_ms }));
        if first_ms.is_some() || lonely || self.is_my_turn() {
            self.ping_links(Destination::Multicast);
            if self.discover.wide || first_ms.is_none() && lonely {
                self.ping_links(Destination::Broadcast);
            }
        }
        self.discover.overheard = 0;
        if first_ms.is_none() && lonely {
            self.sweep_begin();
        }
        if first_ms.is_none() {
            self.discover.quiet = if self.peers.up() == 0 { 0 } else { (self.discover.quiet + 1).min(QUIET_MAX) };
        }
        self.discover.round = self.discover.round.saturating_add(1);
        self.discover.next = now.plus_ms(wait_ms);
    }

    /// Whether to ping in a regular round, where all hosts together are to send 16 an interval. Those overheard tell how many
    /// hosts there are, since each pings in the same share of its rounds.
    fn is_my_turn(&mut self) -> bool {
        let d = &mut self.discover;
        let hosts = u32::from(d.overheard) * u32::from(d.stretch);
        d.stretch = (hosts / CROWD).clamp(1, STRETCH_MAX) as u16;
        d.stretch == 1 || self.env.rng.chance(1, d.stretch.into())
    }

    /// The last session has ended: others are sought soon.
    pub(crate) fn discover_alone(&mut self) {
        self.discover.quiet = 0;
        if self.discover.next != Instant::NEVER {
            let soon = self.env.now.plus_ms(self.env.rng.jitter_ms(LONELY_MS));
            self.discover.next = self.discover.next.min(soon);
            self.discover_schedule();
        }
    }

    /// Something of our network reached us.
    pub(crate) fn discover_heard(&mut self) {
        self.discover.heard = Some(self.env.now);
    }

    /// A multicast Ping: unless its sender knows us, answer after a random while, or leave it to others.
    pub(crate) fn discover_sought(&mut self, link: LinkId, to: Addr, token: [u8; 8], known_there: bool) {
        self.discover.sought = Some(self.env.now);
        self.discover.overheard = self.discover.overheard.saturating_add(1);
        let known = self.hosts.len().max(self.peers.up()) as u32;
        if known_there || self.discover.stopped || !self.env.rng.chance(ANSWERS, known.max(ANSWERS)) {
            return;
        }
        let at = self.env.now.plus_ms(self.env.rng.below(PONG_DELAY_MS));
        if let Some(same) = self.discover.later.iter_mut().flatten().find(|later| later.to == to) {
            same.token = token; // A second Ping of the same host needs no second Pong.
            return;
        }
        match self.discover.later.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(Later { at, link, to, token });
                self.discover_schedule();
            }
            None => self.env.counters.strays_dropped += 1,
        }
    }

    /// A host has answered a Ping of ours.
    pub(crate) fn discover_found(&mut self, id: &NodeId, link: LinkId, from: Addr, observed: Addr) {
        self.discover.observed = Some(observed);
        self.discover.quiet = 0;
        let joined = self.discover.joins.iter().position(|join| join.is_some_and(|join| join.addr == from));
        if joined.is_none() && self.discover.swept.is_none_or(|swept| swept < self.discover.began) {
            self.discover.sought = Some(self.env.now);
            self.discover.answered = Some(self.env.now);
        }
        if joined.is_none() && self.peers.len() >= MEET_MAX.min(self.env.limits.peers) {
            return;
        }
        let Some(peer) = self.dial_on(id, Some(from), Some(link)) else { return };
        let Some(join) = joined.and_then(|at| self.discover.joins[at].as_mut()) else { return };
        if join.peer != Some(peer) {
            let old = join.peer.replace(peer);
            old.into_iter().for_each(|old| self.unkeep(old));
            self.keep(peer);
        }
    }

    /// A host that answered has told of another: one that we have met needs no session for that.
    pub(crate) fn discover_told(&mut self, told: &HostRecord, link: LinkId) {
        let met = self.hosts.get(&self.env, &told.id).is_some_and(|host| host.is_met());
        if !met && self.peers.len() < MEET_MAX.min(self.env.limits.peers) {
            self.dial_on(&told.id, Some(told.addr), Some(link));
        }
    }

    /// Looks for a node at an address given by hand, until one answers there, and again whenever its session is gone:
    /// with growing pauses up to a minute, for ever. The session with it is kept up. At most 8 addresses.
    ///
    /// # Errors
    /// `Invalid`: the address is no host's, or no such link can be. `Full`: too many addresses. Nothing was changed.
    pub fn meet(&mut self, now: Instant, link: LinkId, addr: Addr) -> Result<(), Refused> {
        self.env.advance(now);
        if !addr.is_unicast() || usize::from(link.0) >= LINKS_MAX || self.discover.stopped {
            return Err(Refused::Invalid);
        }
        let same = |join: &Join| join.addr == addr && join.link == link;
        if self.discover.joins.iter().flatten().any(same) {
            return Ok(());
        }
        let place = self.discover.joins.iter_mut().find(|join| join.is_none()).ok_or(Refused::Full)?;
        *place = Some(Join { link, addr, at: self.env.now, wait_ms: JOIN_MS.0, peer: None });
        self.discover_schedule();
        Ok(())
    }

    fn join_due(&mut self, at: usize) {
        let now = self.env.now;
        let Some(mut join) = self.discover.joins[at] else { return };
        let alive = join.peer.and_then(|peer| self.peers.get(peer)).is_some_and(|peer| peer.up);
        if alive {
            // Until it is down.
            (join.at, join.wait_ms) = (Instant::NEVER, JOIN_MS.0);
        } else {
            self.queue_ping(join.link, Destination::Addr(join.addr), false);
            join.at = now.plus_ms(self.env.rng.jitter_ms(join.wait_ms));
            join.wait_ms = (join.wait_ms * 2).min(JOIN_MS.1);
        }
        self.discover.joins[at] = Some(join);
    }

    /// A session has ended, or none could be had: an address given by hand is looked at again.
    pub(crate) fn discover_peer_down(&mut self, peer: PeerId) {
        for join in self.discover.joins.iter_mut().flatten().filter(|join| join.peer == Some(peer)) {
            join.peer = None;
            // One that never was up is looked at again as late as was said.
            if join.at == Instant::NEVER {
                join.at = self.env.now.plus_ms(self.env.rng.jitter_ms(JOIN_MS.0));
                self.env.timers.set_earlier(Timer::Discover, join.at);
            }
        }
    }

    /// Tells the node one of its own addresses on a link, with the length of its network's prefix: what a sweep goes
    /// over. At most 8; the oldest makes room.
    pub fn handle_local_addr(&mut self, now: Instant, link: LinkId, addr: Addr, prefix_len: u8) {
        self.env.advance(now);
        let local = Local { link, addr, prefix_len };
        let locals = &mut self.discover.locals;
        match locals.iter_mut().flatten().find(|old| old.link == link && old.addr == addr) {
            Some(old) => *old = local,
            None => {
                locals.rotate_right(1);
                locals[0] = Some(local);
                // The sweep under way counts by places.
                self.discover.sweep = None;
            }
        }
    }

    /// Our address as the last host that answered a Ping saw it.
    pub fn observed_addr(&self) -> Option<Addr> {
        self.discover.observed
    }

    fn sweep_begin(&mut self) {
        let now = self.env.now;
        let recent = self.discover.swept.is_some_and(|swept| now.ms_since(swept) < SWEEP_EVERY_MS);
        if recent {
            return;
        }
        self.discover.swept = Some(now);
        let remembered = self.hosts.capable(&mut self.env, ANSWERS as usize, &mut |_| false);
        for id in remembered {
            if let Some((addr, link)) = self.hosts.get(&self.env, &id).map(|host| (host.addr, host.link)) {
                self.queue_ping(link, Destination::Addr(addr), false);
            }
        }
        if self.discover.locals.iter().any(Option::is_some) {
            self.discover.sweep = Some(Sweep { local: 0, step: 0, burst: SWEEP_BURST, next: now });
        }
    }

    /// Encodes the next Ping of the sweep.
    pub(crate) fn discover_transmit(&mut self, link: LinkId, buf: &mut [u8]) -> Option<Transmit> {
        let to = self.sweep_next(link)?;
        let len = self.write_ping(buf, false)?;
        Some(Transmit { to: Destination::Addr(to), len })
    }

    fn sweep_next(&mut self, link: LinkId) -> Option<Addr> {
        let now = self.env.now;
        for _ in 0..2 * SWEEP_MAX {
            let sweep = self.discover.sweep.as_mut()?;
            let local = self.discover.locals.get(usize::from(sweep.local)).copied().flatten();
            let Some(local) = local else {
                // All addresses were swept.
                self.discover.sweep = None;
                return None;
            };
            if local.link != link {
                return None;
            }
            let step = sweep.step;
            sweep.step += 1;
            let Some(to) = swept(&local, step) else {
                (sweep.local, sweep.step) = (sweep.local + 1, 0);
                continue;
            };
            if to.ip == local.addr.ip {
                continue;
            }
            sweep.burst -= 1;
            if sweep.burst == 0 {
                sweep.next = now.plus_ms(SWEEP_MS);
                self.discover_schedule();
            }
            return Some(to);
        }
        None
    }
}

/// The address of a step of a sweep around an own IPv4 address: at most its /24, our own port and then the usual one.
fn swept(local: &Local, step: u32) -> Option<Addr> {
    let core::net::IpAddr::V4(ip) = local.addr.ip() else { return None };
    let ports: &[u16] = if local.addr.port == PORT { &[PORT] } else { &[local.addr.port, PORT] };
    let host_bits = 32u32.saturating_sub(local.prefix_len.into()).min(8);
    let (host, port) = (step / ports.len() as u32, ports[step as usize % ports.len()]);
    let hosts = 1u32 << host_bits;
    // The first and the last address of a network are no host's.
    let (first, end) = if hosts > 2 { (1, hosts - 1) } else { (0, hosts) };
    let host = host + first;
    if host >= end || port == 0 {
        return None;
    }
    let network = u32::from(ip) & !(hosts - 1);
    Some(core::net::SocketAddr::from((core::net::Ipv4Addr::from(network | host), port)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep_of(addr: &str, prefix_len: u8) -> impl Iterator<Item = Addr> {
        let addr: core::net::SocketAddr = addr.parse().unwrap();
        let local = Local { link: LinkId(0), addr: addr.into(), prefix_len };
        (0..).map_while(move |step| swept(&local, step))
    }

    #[test]
    fn s3_a_sweep_stays_within_the_subnet_and_its_bound() {
        assert_eq!(sweep_of("192.168.7.9:28883", 24).count(), 254);
        assert_eq!(sweep_of("192.168.7.9:5000", 16).count(), 508, "our own port and the usual one, of one /24");
        assert!(sweep_of("192.168.7.9:5000", 30).all(|addr| (9..=10).contains(&addr.ip[15])));
        assert_eq!(sweep_of("[2001:db8::1]:5000", 64).count(), 0, "there is no end of IPv6 addresses");
    }
}

//! Nodes wired in memory: a virtual clock, links with a delay, and rules for what passes.

use std::collections::BTreeMap;

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::identity::{Identity, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::node::{Destination, Event, Node};
use butter_core::time::Instant;
use butter_crypto::RustCrypto;

pub const LINK: LinkId = LinkId(0);
/// Microseconds that a packet travels.
const DELAY_US: u64 = 1_000;

/// What becomes of a packet: decided from its number, sender, receiver (positions) and bytes.
pub type Rule = Box<dyn FnMut(&Packet) -> Fate>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Pass,
    Lose,
    Twice,
    /// Arrives so many microseconds late.
    Late(u64),
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub number: usize,
    pub from: usize,
    pub to: usize,
    pub source: Addr,
    pub multicast: bool,
    pub bytes: Vec<u8>,
}

pub struct Member {
    pub node: Node<'static>,
    pub addr: Addr,
    /// Another address of it, as IPv6 is: it reaches those of others from there.
    pub second: Option<Addr>,
    /// Nodes of one place hear each other's multicast.
    pub place: u8,
    /// The address of the router before it: outsiders see and reach it there, if it spoke to them first.
    pub nat: Option<Addr>,
    /// Where the router lets packets in from.
    pub opened: Vec<Addr>,
    pub events: Vec<Event>,
    pub alive: bool,
}

pub struct World {
    pub now: Instant,
    pub members: Vec<Member>,
    pub rule: Rule,
    flying: BTreeMap<(u64, usize), (usize, Addr, Vec<u8>)>,
    pub sent: usize,
    pub log: Vec<Packet>,
    pub multicast_passes: bool,
}

pub fn addr(text: &str) -> Addr {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

pub fn config() -> Config {
    Config { beat_ms: 86_400_000, ..Config::default() }
}

pub fn node(secret: u8, seed: u8, network: &str, config: Config, limits: &Limits, now: Instant) -> Node<'static> {
    let identity = Identity { secret: SecretKey([secret; 32]), network: Network::open(&RustCrypto, network) };
    Node::new(now, config, identity, [seed; 32], &RustCrypto, Memory::heap(limits)).unwrap()
}

impl World {
    pub fn new() -> World {
        World {
            now: Instant::from_millis(1_000),
            members: Vec::new(),
            rule: Box::new(|_| Fate::Pass),
            flying: BTreeMap::new(),
            sent: 0,
            log: Vec::new(),
            multicast_passes: true,
        }
    }

    /// Adds a node; its secret and seed are derived from its position.
    pub fn add(&mut self, address: &str, place: u8, config: Config) -> usize {
        let n = self.members.len() as u8 + 1;
        self.add_node(node(n, n + 100, "test", config, &Limits::DESKTOP, self.now), address, place)
    }

    pub fn add_node(&mut self, mut node: Node<'static>, address: &str, place: u8) -> usize {
        let addr = addr(address);
        node.handle_local_addr(self.now, LINK, addr, 24);
        node.handle_link(self.now, LINK, LinkState::Up { mtu: 1400 });
        self.members.push(Member {
            node,
            addr,
            second: None,
            place,
            nat: None,
            opened: Vec::new(),
            events: Vec::new(),
            alive: true,
        });
        self.members.len() - 1
    }

    pub fn lan(n: usize) -> World {
        let mut world = World::new();
        for i in 0..n {
            world.add(&format!("10.0.0.{}:5000", i + 1), 0, config());
        }
        world
    }

    fn fly(&mut self, from: usize, to: usize, source: Addr, multicast: bool, bytes: Vec<u8>) {
        let packet = Packet { number: self.sent, from, to, source, multicast, bytes };
        self.sent += 1;
        let fate = (self.rule)(&packet);
        self.log.push(packet.clone());
        let mut arrive = |late: u64, copy: usize| {
            let at = self.now.as_micros() + DELAY_US + late;
            self.flying.insert((at, packet.number * 2 + copy), (to, source, packet.bytes.clone()));
        };
        match fate {
            Fate::Lose => {}
            Fate::Pass => arrive(0, 0),
            Fate::Late(us) => arrive(us, 0),
            Fate::Twice => {
                arrive(0, 0);
                arrive(300, 1);
            }
        }
    }

    /// Puts a packet in front of a node, whatever the rules.
    pub fn inject(&mut self, to: usize, source: Addr, mut bytes: Vec<u8>) {
        self.members[to].node.handle_datagram(self.now, LINK, source, &mut bytes);
        self.drain();
    }

    fn route(&mut self, from: usize, to: Destination, bytes: Vec<u8>) {
        let place = self.members[from].place;
        match to {
            Destination::Addr(to) => {
                let to = to.with_slot(0);
                if let Some(at) = self.members.iter().position(|m| m.second == Some(to)) {
                    let source = self.members[from].second.unwrap_or(self.members[from].addr);
                    return self.fly(from, at, source, false, bytes);
                }
                let near = |m: &Member| m.place == place && m.addr == to;
                if let Some(at) = self.members.iter().position(near) {
                    let source = self.members[from].addr;
                    return self.fly(from, at, source, false, bytes);
                }
                let far = |m: &Member| m.nat == Some(to) || m.nat.is_none() && m.addr == to;
                let source = self.members[from].nat.unwrap_or(self.members[from].addr);
                if self.members[from].nat.is_some() && !self.members[from].opened.contains(&to) {
                    self.members[from].opened.push(to);
                }
                let Some(at) = self.members.iter().position(far) else { return };
                if self.members[at].nat.is_none() || self.members[at].opened.contains(&source) {
                    self.fly(from, at, source, false, bytes);
                }
            }
            _ if !self.multicast_passes => {}
            _ => {
                let source = self.members[from].addr;
                for at in 0..self.members.len() {
                    if self.members[at].place == place {
                        self.fly(from, at, source, true, bytes.clone());
                    }
                }
            }
        }
    }

    /// Takes everything out of every node.
    pub fn drain(&mut self) {
        for at in 0..self.members.len() {
            if !self.members[at].alive {
                continue;
            }
            let mut buf = [0; 1400];
            while let Some(transmit) = self.members[at].node.poll_transmit(self.now, LINK, &mut buf) {
                assert!(transmit.len <= 1232, "{} bytes", transmit.len);
                self.route(at, transmit.to, buf[..transmit.len].to_vec());
            }
            while let Some(event) = self.members[at].node.poll_event() {
                self.members[at].events.push(event);
            }
        }
    }

    /// Lets time pass.
    pub fn run_ms(&mut self, ms: u32) {
        let end = self.now.plus_ms(ms);
        self.drain();
        for step in 0.. {
            assert!(step < 1_000_000, "the world does not come to rest");
            let packet = self.flying.keys().next().map_or(Instant::NEVER, |(at, _)| Instant::from_micros(*at));
            let alive = self.members.iter().filter(|m| m.alive);
            let timer = alive.filter_map(|m| m.node.deadline()).map(|d| d.at).min().unwrap_or(Instant::NEVER);
            let next = packet.min(timer).max(self.now);
            if next > end {
                break;
            }
            self.now = next;
            if packet <= timer {
                let ((_, _), (to, source, mut bytes)) = self.flying.pop_first().unwrap();
                if self.members[to].alive {
                    self.members[to].node.handle_datagram(self.now, LINK, source, &mut bytes);
                }
            } else {
                for member in self.members.iter_mut().filter(|m| m.alive) {
                    if member.node.deadline().is_some_and(|d| d.at <= self.now) {
                        member.node.handle_timeout(self.now);
                    }
                }
            }
            self.drain();
        }
        self.now = end;
    }

    pub fn is_up(&self, a: usize, b: usize) -> bool {
        let id = self.members[b].node.id();
        self.members[a].node.peers().any(|(_, info)| info.id == id && info.up)
    }

    pub fn linked(&self, a: usize, b: usize) -> bool {
        self.is_up(a, b) && self.is_up(b, a)
    }

    /// Where `a` reaches `b`.
    pub fn path(&self, a: usize, b: usize) -> Option<Addr> {
        let id = self.members[b].node.id();
        self.members[a].node.peers().find(|(_, info)| info.id == id && info.up)?.1.addr
    }
}

//! Exchanges between tables of hosts, without sessions between them (PROTOCOL §4.5).

use std::collections::BTreeSet;
use std::vec::Vec;

use super::{World, facts, id, lan};
use crate::hosts::*;

/// Nodes that exchange hosts as the core does, in rounds of 10 s, with no sessions between them.
struct Net {
    nodes: Vec<World>,
    rng: Rng,
}

impl Net {
    fn new(n: u32, limit: usize, seed: u8) -> Self {
        let mut rng = Rng::new([seed; 16]);
        let nodes = (0..n).map(|_| World::new(limit, rng.next_u32() as u8 | 1)).collect();
        Net { nodes, rng }
    }

    fn told(&mut self, from: usize, to: usize) -> Vec<HostRecord> {
        let node = &mut self.nodes[from];
        node.hosts.tell(node.now_s, &mut node.rng, &id(to as u32), &lan(to as u32)).take(7).collect()
    }

    fn facts(&self, n: usize) -> Facts {
        facts(n as u8 % 7, n as u8 % 5, bits(self.nodes[n].hosts.len() as u32) as u8)
    }

    fn exchange(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let (told, facts) = (self.told(from, to), self.facts(from));
            self.nodes[to].meet(from as u32, facts);
            for record in told.iter().filter(|record| record.id != id(to as u32)) {
                let mut turn = self.nodes[to].turn();
                let teller = turn.0.find(&id(from as u32));
                turn.0.hear(&mut turn.1, record, LinkId(0), teller);
            }
            self.nodes[to].down(from as u32);
        }
    }

    fn round(&mut self, reaches: impl Fn(usize, usize) -> bool) {
        for a in 0..self.nodes.len() {
            self.nodes[a].now_s += 10;
            let rng = &mut self.rng;
            let living = |host: &Host| host.standing != Standing::Vanished;
            let random = self.nodes[a].hosts.sample::<1>(rng, 1, living).first().copied();
            let random = random.and_then(|handle| self.nodes[a].hosts.hosts.get(handle)).map(|host| host.id);
            let refreshed = {
                let node = &mut self.nodes[a];
                node.hosts.next_to_refresh(node.now_s, rng)
            };
            for other in [random, refreshed].into_iter().flatten() {
                let b = u32::from_le_bytes([other.0[0], other.0[1], other.0[2], other.0[3]]) as usize;
                if reaches(a, b) { self.exchange(a, b) } else { self.nodes[a].dead(b as u32) }
            }
        }
    }

    /// Nodes reached from node 0 when every living entry is an edge both ways.
    fn reached(&self) -> usize {
        let mut edges = std::vec![Vec::new(); self.nodes.len()];
        for (a, node) in self.nodes.iter().enumerate() {
            for (_, host) in node.hosts.hosts.iter().filter(|(_, host)| host.standing != Standing::Vanished) {
                let b = u32::from_le_bytes([host.id.0[0], host.id.0[1], host.id.0[2], host.id.0[3]]) as usize;
                edges[a].push(b);
                edges[b].push(a);
            }
        }
        let (mut seen, mut open) = (BTreeSet::from([0]), std::vec![0]);
        while let Some(at) = open.pop() {
            open.extend(edges[at].iter().copied().filter(|next| seen.insert(*next)));
        }
        seen.len()
    }
}

#[test]
fn s4_5_exchanges_connect_all_and_heal_a_split() {
    for (n, limit, seed) in [(60, 16, 1), (60, 32, 2)] {
        let mut net = Net::new(n, limit, seed);
        // Everybody knows one host: the first.
        for node in 1..n {
            net.nodes[node as usize].hear(0, facts(1, 1, 1));
        }
        (0..60).for_each(|_| net.round(|_, _| true));
        assert_eq!(net.reached(), n as usize);
        let fewest = net.nodes.iter().map(|node| node.hosts.len()).min().unwrap();
        assert!(fewest >= limit / 2, "the fewest hosts that one knows: {fewest} of {limit}");
        // Split for 10 minutes, until no half knows a living host of the other.
        (0..60).for_each(|_| net.round(|a, b| a % 2 == b % 2));
        assert_eq!(net.reached(), n as usize / 2, "{n} nodes with tables of {limit}");
        // Healed within 10 minutes more.
        let healed = (1..=60).find(|_| {
            net.round(|_, _| true);
            net.reached() == n as usize
        });
        std::println!("{n} nodes, tables of {limit}: together again after {healed:?} rounds of 10 s");
        assert!(healed.is_some());
        net.nodes.iter().for_each(World::check);
    }
}

fn v6(n: u8) -> Addr {
    let mut ip = [0xff; 16];
    (ip[0], ip[15]) = (0x2a, n);
    Addr { ip, port: u16::MAX, slot: u16::MAX }
}

#[test]
fn s4_5_an_exchange_fits_a_small_buffer() {
    let mut world = World::new(64, 17);
    let wide = Facts { place: u16::MAX, ..facts(40, 40, 17) };
    for n in 0..30u32 {
        let mut turn = world.turn();
        turn.0.meet(&mut turn.1, NodeId([n as u8; 32]), Some((v6(n as u8), LinkId(0))), 1, Some(wide));
    }
    world.now_s += 100_000;
    let contact = (NodeId([7; 32]), v6(7));
    let hint = crate::wire::GroupHint {
        id: crate::id::GroupId([9; 16]),
        seat: 9,
        wanted: 8,
        live: 8,
        free: 40,
        age_s: u16::MAX,
        contacts: [contact, contact].into_iter().collect(),
    };
    let own = HostRecord { id: id(99), addr: shuffle::here(), facts: wide, age_s: 0 };
    for hints in 0..=3 {
        let (hosts, now_s, rng) = (&world.hosts, world.now_s, &mut world.rng);
        let groups = core::iter::repeat_n(hint.clone(), hints);
        let shuffle = hosts.compose(now_s, rng, (&id(5), &v6(200)), own, groups);
        let mut buf = [0; 2048];
        let len = postcard::to_slice(&shuffle, &mut buf).unwrap().len();
        assert!(len <= shuffle::BODY, "{len} bytes with {hints} hints");
        assert_eq!(crate::wire::value::<shuffle::Shuffle>(&buf[..len]), Some(shuffle.clone()));
        assert!(shuffle.records.len() >= 5 && shuffle.hints.len() >= hints.min(1), "{shuffle:?}");
    }
}

#[test]
fn s4_5_private_addresses_are_told_where_they_are_of_use() {
    let parse = |text: &str| Addr::from(text.parse::<core::net::SocketAddr>().unwrap());
    let [public, private, local, loopback] = ["8.8.8.8:1", "192.168.0.2:1", "[fe80::1%2]:1", "127.0.0.1:1"].map(parse);
    for (addr, told) in [
        (public, public),
        (public, private),
        (public, loopback),
        (private, private),
        (private, local),
        (private, loopback),
        (local, local),
        (loopback, loopback),
    ] {
        assert!(shuffle::useful(&addr, &told), "{addr} to {told}");
    }
    for (addr, told) in [(private, public), (local, public), (local, private), (loopback, private), (loopback, public)]
    {
        assert!(!shuffle::useful(&addr, &told), "{addr} to {told}");
    }
}

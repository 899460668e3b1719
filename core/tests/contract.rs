//! The contract of `Node`, N1 to N8, one by one.

#[allow(dead_code)] // Shared with the tests of the transport.
#[path = "transport/world.rs"]
mod world;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use butter_core::addr::{LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::{Crypto, CryptoError, HandshakeKeys, HandshakeState, SecretKey, SessionKeys, TAG_LEN};
use butter_core::exchange::Status;
use butter_core::id::{Key, NodeId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::node::{Event, Node, Refused};
use butter_core::rng::Rng;
use butter_core::storage::{StoreDone, StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::wire::{Facts, HostRecord};
use butter_crypto::RustCrypto;
use world::{LINK, World, addr, config};

/// Real cryptography that counts what is dear.
#[derive(Default)]
struct Counting {
    handshake_steps: AtomicU32,
    signatures: AtomicU32,
}

impl Crypto for Counting {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.hash(parts)
    }
    fn node_id(&self, secret: &SecretKey) -> NodeId {
        RustCrypto.node_id(secret)
    }
    fn exchange_key(&self, id: &NodeId) -> Option<[u8; 32]> {
        RustCrypto.exchange_key(id)
    }
    fn sign(&self, secret: &SecretKey, message: &[u8]) -> [u8; 64] {
        self.signatures.fetch_add(1, Relaxed);
        RustCrypto.sign(secret, message)
    }
    fn verify(&self, id: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        self.signatures.fetch_add(1, Relaxed);
        RustCrypto.verify(id, message, signature)
    }
    fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        RustCrypto.seal(key, nonce, ad, data)
    }
    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        RustCrypto.open(key, nonce, ad, data, tag)
    }
    fn write_hello(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<usize, CryptoError> {
        self.handshake_steps.fetch_add(1, Relaxed);
        RustCrypto.write_hello(keys, to, ephemeral, payload, out, state)
    }
    fn read_hello(
        &self,
        keys: HandshakeKeys<'_>,
        message: &[u8],
        payload: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError> {
        self.handshake_steps.fetch_add(1, Relaxed);
        RustCrypto.read_hello(keys, message, payload, state)
    }
    fn write_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        self.handshake_steps.fetch_add(1, Relaxed);
        RustCrypto.write_welcome(keys, ephemeral, payload, out, state)
    }
    fn read_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        message: &[u8],
        payload: &mut [u8],
        state: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        self.handshake_steps.fetch_add(1, Relaxed);
        RustCrypto.read_welcome(keys, to, message, payload, state)
    }
}

fn alone(crypto: &'static dyn Crypto, limits: &Limits) -> Node<'static> {
    let identity = Identity { secret: SecretKey([7; 32]), network: Network::open(crypto, "test") };
    let memory = Memory::heap(limits);
    let mut node = Node::new(Instant::ZERO, Config::default(), identity, [9; 32], crypto, memory).unwrap();
    node.handle_link(Instant::ZERO, LINK, LinkState::Up { mtu: 1232 });
    node
}

fn drain(node: &mut Node<'_>, now: Instant) -> Vec<Event> {
    let mut buf = [0; 4200];
    while node.poll_transmit(now, LINK, &mut buf).is_some() {}
    while let Some(op) = node.poll_store(&mut buf) {
        node.handle_store(now, StoreDone { ticket: op.ticket(), result: Ok(&[]) });
    }
    std::iter::from_fn(|| node.poll_event()).collect()
}

#[test]
fn n1_any_method_at_any_time_in_any_order() {
    for seed in 1..=60u8 {
        let mut rng = Rng::new([seed; 16]);
        let mut world = World::lan(3);
        // Handles of things that are, were, or belong to another node.
        let (mut events, mut calls, mut puts, mut gets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut ops: Vec<StoreOp> = Vec::new();
        for _ in 0..600 {
            let at = rng.below(3) as usize;
            let now = Instant::from_micros(world.now.as_micros().saturating_sub(rng.below(5_000).into()));
            let other = world.members[rng.below(3) as usize].node.id();
            let node = &mut world.members[at].node;
            let mut buf = [0; 5600];
            let short = rng.below(1400) as usize;
            match rng.below(17) {
                0 => node.handle_timeout(now),
                1 => {
                    let _ = node.poll_transmit(now, LinkId(rng.below(6) as u8), &mut buf[..short]);
                }
                2 => ops.extend(node.poll_store(&mut buf[..short * 4])),
                3 => {
                    if let Some(op) = ops.get(rng.below(ops.len() as u32) as usize) {
                        let result = if rng.chance(1, 4) { Err(StoreError::Io) } else { Ok(&buf[..short]) };
                        node.handle_store(now, StoreDone { ticket: op.ticket(), result });
                    }
                }
                4 => events.extend(node.poll_event()),
                5 => node.handle_datagram(now, LinkId(rng.below(6) as u8), addr("10.0.0.9:9"), &mut buf[..short]),
                6 => node.handle_link(now, LinkId(rng.below(6) as u8), LinkState::Up { mtu: rng.below(1500) as u16 }),
                7 => node.handle_link(now, LINK, LinkState::Down),
                8 => calls.extend(node.call(now, other, route("ohce/1"), &buf[..short], rng.below(3_000))),
                9 => calls.iter().for_each(|call| {
                    let _ = node.answer(*call);
                    node.cancel(now, *call);
                }),
                10 => puts.extend(node.put(now, rng.below(10_000).into(), rng.below(5) as u8)),
                11 => puts.iter().for_each(|put| {
                    let _ = node.put_block(now, *put, rng.below(3), &buf[..short]);
                }),
                12 => gets.extend(node.get(now, Key([seed; 32]), rng.below(3))),
                13 => gets.iter().for_each(|get| {
                    let _ = node.got_block(now, *get, rng.below(3), &mut buf);
                }),
                14 => puts.drain(..).for_each(|put| node.put_free(now, put)),
                15 => events.iter().for_each(|event| {
                    if let Event::Request(serve) = event {
                        let _ = node.request(*serve);
                        let _ = node.respond(now, *serve, Status::Ok, &buf[..short]);
                    }
                }),
                _ => gets.drain(..).for_each(|get| node.get_free(now, get)),
            }
            if rng.chance(1, 20) {
                world.run_ms(rng.below(500));
            }
        }
        // Whatever was done to them: once their link is up, and no other, they are linked.
        let now = world.now;
        for member in &mut world.members {
            (1..6).for_each(|other| member.node.handle_link(now, LinkId(other), LinkState::Down));
            member.node.handle_link(now, LINK, LinkState::Up { mtu: 1400 });
        }
        world.run_ms(30_000);
        assert!(world.linked(0, 1) && world.linked(1, 2) && world.linked(0, 2), "seed {seed}");
    }
}

#[test]
fn n2_a_call_does_at_most_one_handshake_step_and_few_events() {
    static CRYPTO: std::sync::OnceLock<Counting> = std::sync::OnceLock::new();
    let crypto = CRYPTO.get_or_init(Counting::default);
    let mut nodes: Vec<Node<'static>> = (0..12u8)
        .map(|i| {
            let identity = Identity { secret: SecretKey([i + 1; 32]), network: Network::open(crypto, "test") };
            let memory = Memory::heap(&Limits::DESKTOP);
            let mut node = Node::new(Instant::ZERO, config(), identity, [i + 50; 32], crypto, memory).unwrap();
            node.handle_link(Instant::ZERO, LINK, LinkState::Up { mtu: 1232 });
            node
        })
        .collect();
    let place = |i: usize| addr(&format!("10.0.0.{}:7", i + 1));
    let dear = || crypto.handshake_steps.load(Relaxed) + crypto.signatures.load(Relaxed);
    let bounded = |what: &str, before: u32, node: &mut Node<'_>| {
        assert!(dear() - before <= 1, "{what}: {} dear steps in one call", dear() - before);
        let events = std::iter::from_fn(|| node.poll_event()).count();
        assert!(events <= 4, "{what}: {events} events from one call");
    };
    for tick in 0..400u64 {
        let now = Instant::from_millis(tick * 10);
        for from in 0..nodes.len() {
            let before = dear();
            nodes[from].handle_timeout(now);
            bounded("handle_timeout", before, &mut nodes[from]);
            loop {
                let mut buf = [0; 1232];
                let before = dear();
                let Some(transmit) = nodes[from].poll_transmit(now, LINK, &mut buf) else { break };
                bounded("poll_transmit", before, &mut nodes[from]);
                for (to, node) in nodes.iter_mut().enumerate() {
                    let hit = match transmit.to {
                        butter_core::node::Destination::Addr(to_addr) => to_addr == place(to),
                        _ => to != from,
                    };
                    if hit {
                        let before = dear();
                        node.handle_datagram(now, LINK, place(from), &mut { buf }[..transmit.len]);
                        bounded("handle_datagram", before, node);
                    }
                }
            }
        }
    }
    let up = nodes.iter().map(|node| node.peers().filter(|(_, info)| info.up).count()).sum::<usize>();
    assert!(up >= 12 * 8, "sessions were really made: {up}");
}

#[test]
fn n3_a_full_link_is_no_reason_to_wake_up() {
    let mut node = alone(&RustCrypto, &Limits::DESKTOP);
    for i in 0..8 {
        node.meet(Instant::ZERO, LINK, addr(&format!("10.0.1.{}:9", i + 1))).unwrap();
    }
    // Nobody polls: the link is full. Time passes by deadlines only.
    let mut now = Instant::ZERO;
    let mut wakes = 0;
    while let Some(deadline) = node.deadline().filter(|d| d.at <= Instant::from_millis(60_000)) {
        now = now.max(deadline.at);
        node.handle_timeout(now);
        wakes += 1;
        assert!(wakes < 600, "woken {wakes} times until {now:?}, the last time for {:?}", deadline.reason);
    }
    // What was wanted all the time is still to be had, and polling it does not need another deadline.
    let mut buf = [0; 1232];
    assert!(node.poll_transmit(now, LINK, &mut buf).is_some());
    // Another link goes on meanwhile.
    let mut node = alone(&RustCrypto, &Limits::DESKTOP);
    node.handle_link(Instant::ZERO, LinkId(1), LinkState::Up { mtu: 1232 });
    node.handle_timeout(Instant::from_millis(1));
    assert!(node.poll_transmit(Instant::from_millis(1), LinkId(1), &mut buf).is_some());
}

#[test]
fn n4_idle_polls_cost_the_same_whatever_is_known() {
    let idle = |hosts: u32| {
        let limits = Limits { hosts: 10_000, ..Limits::DESKTOP };
        let mut node = alone(&RustCrypto, &limits);
        let mut rng = Rng::new([4; 16]);
        for i in 0..hosts {
            let mut id = [0; 32];
            rng.fill(&mut id);
            let place = addr(&format!("10.{}.{}.{}:9", i >> 16, (i >> 8) & 255, i & 255));
            let facts = Facts { free: rng.below(16) as u8, hosts: rng.below(16) as u8, ..Facts::default() };
            let record = HostRecord { id: NodeId(id), addr: place, facts, age_s: 1 };
            node.remember(Instant::ZERO, &record, LINK);
        }
        let now = Instant::from_millis(1);
        drain(&mut node, now);
        (node, now)
    };
    let (mut few, now) = idle(2);
    let (mut many, _) = idle(10_000);
    assert!(many.hosts_known() > 7_000, "{}", many.hosts_known());
    let mut buf = [0; 1232];
    // The best of many rounds, taken in turns, so that a busy machine slows both or neither.
    let mut best = [u128::MAX; 2];
    for _ in 0..200 {
        for (node, best) in [&mut few, &mut many].into_iter().zip(&mut best) {
            let start = std::time::Instant::now();
            for _ in 0..100 {
                assert!(node.poll_transmit(now, LINK, &mut buf).is_none());
                assert!(node.poll_store(&mut buf).is_none() && node.poll_event().is_none());
                std::hint::black_box(node.deadline());
            }
            *best = (*best).min(start.elapsed().as_nanos());
        }
    }
    println!("100 idle rounds of all polls: {} ns with 2 hosts, {} ns with {}", best[0], best[1], many.hosts_known());
    assert!(best[1] < best[0] * 3 + 2_000, "{best:?}");
}

#[test]
fn n5_refused_means_nothing_was_changed() {
    let mut node = alone(&RustCrypto, &Limits { calls: 6, operations: 2, ..Limits::TINY });
    let now = Instant::from_millis(1);
    let record = HostRecord { id: NodeId([3; 32]), addr: addr("10.0.0.3:3"), facts: Facts::default(), age_s: 0 };
    node.remember(now, &record, LINK);
    let state = |node: &Node<'_>| (node.deadline(), node.hosts_known(), node.groups().count(), node.peers().count());
    // Fill the tables, then try what must be refused, over and over.
    let calls: Vec<_> = std::iter::from_fn(|| node.call(now, record.id, route("ohce/1"), b"hi", 60_000).ok()).collect();
    assert!(!calls.is_empty());
    let gets: Vec<_> = std::iter::from_fn(|| node.get(now, Key([1; 32]), 0).ok()).collect();
    assert!(!gets.is_empty());
    drain(&mut node, now);
    let before = state(&node);
    for _ in 0..1_000 {
        assert_eq!(node.call(now, record.id, route("ohce/1"), b"hi", 60_000), Err(Refused::Full));
        assert_eq!(node.call(now, record.id, route("ohce/1"), &[0; 70_000], 60_000), Err(Refused::TooLong));
        assert!(node.get(now, Key([2; 32]), 0).is_err() && node.put(now, 1 << 50, 1).is_err());
        assert_eq!(drain(&mut node, now), []);
    }
    assert_eq!(state(&node), before);
    assert!(node.counters().calls_refused >= 1_000);
    // Nothing leaked: what is given back can be had again, as soon as what others were asked has run out.
    calls.iter().for_each(|call| node.cancel(now, *call));
    gets.iter().for_each(|get| node.get_free(now, *get));
    for round in 0..1_000 {
        let now = Instant::from_millis(10_000 * (round + 1));
        node.handle_timeout(now);
        drain(&mut node, now);
        node.remember(now, &record, LINK);
        let call = node.call(now, record.id, route("ohce/1"), &[7; 4_000], 60_000);
        let call = call.unwrap_or_else(|refused| panic!("{refused} in round {round}"));
        node.cancel(now, call);
        let get = node.get(now, Key([2; 32]), 0).unwrap();
        node.get_free(now, get);
        drain(&mut node, now);
    }
}

#[test]
fn n6_tables_keep_their_limits_and_count_what_they_refuse() {
    let mut world = World::new();
    let limits = Limits::TINY;
    let tiny = world::node(99, 99, "test", config(), &limits, world.now);
    world.add_node(tiny, "10.0.0.99:5000", 0);
    for i in 0..60 {
        world.add(&format!("10.0.0.{}:5000", i + 1), 0, config());
        world.run_ms(100);
        let tiny = &world.members[0].node;
        assert!(tiny.peers().count() <= limits.peers && tiny.hosts().count() <= limits.hosts);
    }
    world.run_ms(20_000);
    let counters = world.members[0].node.counters();
    let turned_away = counters.hosts_refused + counters.hosts_evicted + counters.hosts_crowded;
    assert!(turned_away > 0 && counters.peers_evicted + counters.peers_refused > 0, "{counters:?}");
    // A small node in a crowd is still one of them.
    assert!((1..world.members.len()).any(|other| world.linked(0, other)));
}

#[test]
fn n7_the_same_inputs_give_the_same_outputs() {
    let run = |salt: u8| {
        let mut world = World::new();
        for i in 0..6u8 {
            let node = world::node(i + 1, i + salt, "test", config(), &Limits::DESKTOP, world.now);
            world.add_node(node, &format!("10.0.0.{}:5000", i + 1), 0);
        }
        let mut dice = Rng::new([5; 16]);
        world.rule = Box::new(move |_| match dice.below(20) {
            0 => world::Fate::Lose,
            1 => world::Fate::Twice,
            2 => world::Fate::Late(700),
            _ => world::Fate::Pass,
        });
        world.run_ms(3_000);
        let (to, now) = (world.members[1].node.id(), world.now);
        world.members[0].node.call(now, to, route("ohce/1"), &[1; 5_000], 2_000).unwrap();
        world.run_ms(60_000);
        let mut hash = DefaultHasher::new();
        for packet in &world.log {
            (packet.from, packet.to, &packet.bytes).hash(&mut hash);
        }
        (world.log.len(), hash.finish())
    };
    let once = run(100);
    assert!(once.0 > 200, "something happened: {once:?}");
    assert_eq!(once, run(100));
    assert_ne!(once.1, run(150).1, "another seed gives other bytes");
}

#[test]
fn n8_time_goes_forward() {
    let mut node = alone(&RustCrypto, &Limits::DESKTOP);
    let late = Instant::from_millis(100_000);
    node.handle_timeout(late);
    drain(&mut node, late);
    let before = node.deadline();
    for i in 0..100u64 {
        node.handle_timeout(Instant::from_millis(i));
        node.handle_datagram(Instant::from_millis(i), LINK, addr("10.0.0.1:1"), &mut [0; 40]);
    }
    assert_eq!(node.counters().time_clamped, 200);
    assert_eq!(node.deadline(), before, "what is due does not move back");
    // A jump far ahead is survived, too.
    let far = Instant::from_micros(u64::MAX / 2);
    for _ in 0..100 {
        node.handle_timeout(far);
        drain(&mut node, far);
    }
    assert!(node.deadline().is_some_and(|deadline| deadline.at > far));
}

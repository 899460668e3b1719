//! Calls between two nodes on a wire that loses, repeats and reorders (PROTOCOL §8).
#![cfg(feature = "alloc")]

use std::collections::BTreeMap;

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::exchange::{FRAGMENT, Failure, Status};
use butter_core::id::{NodeId, RouteId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::node::{CallId, PeerId, Refused, ServeId};
use butter_core::route::{Reply, Request, Routes};
use butter_core::time::Instant;
use butter_core::{Event, Node};
use butter_crypto::RustCrypto;

const OHCE: RouteId = route("ohce/1");
const SLOW: RouteId = route("slow/1");
const LINK: LinkId = LinkId(0);

/// An application that echoes in reverse, and leaves everything else to the test.
#[derive(Default)]
struct App {
    runs: u32,
    requests: Vec<ServeId>,
    cancelled: Vec<ServeId>,
    answered: Vec<CallId>,
    peers: Vec<PeerId>,
}

fn ohce(app: &mut App, request: Request<'_>, reply: &mut Reply<'_>) {
    app.runs += 1;
    if request.body == b"bad" {
        reply.write(b"dropped");
        reply.status(Status::Bad);
        return;
    }
    let len = request.body.len();
    for (to, from) in reply.room().iter_mut().zip(request.body.iter().rev()) {
        *to = *from;
    }
    reply.advance(len);
}

const ROUTES: Routes<App> = Routes(&[(OHCE, ohce)]);

/// What the wire does to a packet.
#[derive(Clone, Copy)]
enum Wire {
    Good,
    /// Loses one packet, counted from when this was set.
    Drops(u32),
    /// Of a hundred packets, on average: lost, repeated, late.
    Bad(u32, u32, u32),
    /// Everything that this node sends is lost.
    Mute(usize),
}

/// Two nodes on one wire, one millisecond long.
struct World {
    nodes: Vec<Node<'static>>,
    apps: Vec<App>,
    now: Instant,
    wire: Wire,
    sent: u32,
    dice: u64,
    flying: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    serial: u64,
}

fn node(number: u8, life: u8, limits: &Limits, now: Instant) -> Node<'static> {
    let network = Network::open(&RustCrypto, "calls");
    let identity = Identity { secret: SecretKey([number + 1; 32]), network };
    let config = Config { answer_kept_ms: 60_000, ..Config::default() };
    let seed = [number * 16 + life + 1; 32];
    let mut node = Node::new(now, config, identity, seed, &RustCrypto, Memory::heap(limits)).unwrap();
    node.handle_link(now, LINK, LinkState::Up { mtu: 1232 });
    node
}

fn addr(number: usize) -> Addr {
    std::net::SocketAddr::from(([10, 0, 0, number as u8 + 1], 4000)).into()
}

impl World {
    /// Two nodes that know each other; both serve `ohce` and `slow`.
    fn new(limits: &Limits) -> World {
        let now = Instant::from_millis(1000);
        let mut world = World {
            nodes: (0..2).map(|number| node(number, 0, limits, now)).collect(),
            apps: (0..2).map(|_| App::default()).collect(),
            now,
            wire: Wire::Good,
            sent: 0,
            dice: 1,
            flying: BTreeMap::new(),
            serial: 0,
        };
        for number in 0..2 {
            world.serve(number);
        }
        world.until(10_000, |world| world.apps.iter().all(|app| !app.peers.is_empty()));
        assert!(world.apps.iter().all(|app| !app.peers.is_empty()), "the nodes have met");
        world.run(500);
        world
    }

    fn serve(&mut self, number: usize) {
        ROUTES.serve(&mut self.nodes[number]).unwrap();
        self.nodes[number].serve_route(SLOW).unwrap();
    }

    fn roll(&mut self) -> u32 {
        self.dice = self.dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.dice >> 33) as u32 % 100
    }

    fn fly(&mut self, from: usize, bytes: &[u8]) {
        self.sent += 1;
        let (lost, again, late) = match self.wire {
            Wire::Good => (false, false, false),
            Wire::Drops(which) => (self.sent == which, false, false),
            Wire::Bad(lost, again, late) => (self.roll() < lost, self.roll() < again, self.roll() < late),
            Wire::Mute(node) => (node == from, false, false),
        };
        if lost {
            return;
        }
        for copy in 0..1 + u32::from(again) {
            self.serial += 1;
            let ms = if late || copy > 0 { 2 + self.roll() / 4 } else { 1 };
            self.flying.insert((self.now.plus_ms(ms), self.serial), (1 - from, bytes.to_vec()));
        }
    }

    /// Everything that happens at this moment.
    fn settle(&mut self) {
        for number in 0..2 {
            while let Some(event) = self.nodes[number].poll_event() {
                let (app, node) = (&mut self.apps[number], &mut self.nodes[number]);
                match event {
                    Event::PeerUp(peer) => app.peers.push(peer),
                    Event::Request(serve) if !ROUTES.dispatch(app, node, self.now, serve) => app.requests.push(serve),
                    Event::Cancelled(serve) => app.cancelled.push(serve),
                    Event::Answered(call) => app.answered.push(call),
                    Event::Lost => panic!("events were lost"),
                    _ => {}
                }
            }
            let mut buf = [0; 1232];
            while let Some(transmit) = self.nodes[number].poll_transmit(self.now, LINK, &mut buf) {
                self.fly(number, &buf[..transmit.len]);
            }
        }
    }

    /// Lets time pass until something holds, at most `ms`.
    fn until(&mut self, ms: u32, mut holds: impl FnMut(&World) -> bool) -> bool {
        let end = self.now.plus_ms(ms);
        loop {
            self.settle();
            if holds(self) {
                return true;
            }
            let due = self.nodes.iter().filter_map(|node| node.deadline()).map(|deadline| deadline.at);
            let lands = self.flying.first_key_value().map(|((at, _), _)| *at);
            let next = due.chain(lands).min().unwrap_or(end).max(self.now);
            if next >= end {
                self.now = end;
                return false;
            }
            self.now = next;
            while let Some(landing) = self.flying.first_entry()
                && landing.key().0 <= self.now
            {
                let (to, mut bytes) = landing.remove();
                self.nodes[to].handle_datagram(self.now, LINK, addr(1 - to), &mut bytes);
            }
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
        }
    }

    fn run(&mut self, ms: u32) {
        self.until(ms, |_| false);
    }

    fn id(&self, number: usize) -> NodeId {
        self.nodes[number].id()
    }

    fn call(&mut self, route: RouteId, body: &[u8], deadline_ms: u32) -> CallId {
        let to = self.id(1);
        self.nodes[0].call(self.now, to, route, body, deadline_ms).unwrap()
    }

    /// Calls from node 0, waits for the end, and frees the call.
    fn outcome(&mut self, call: CallId) -> Result<Vec<u8>, Failure> {
        assert!(self.until(120_000, |world| world.nodes[0].answer(call).is_some()), "every call ends");
        let outcome = self.nodes[0].answer(call).unwrap().map(<[u8]>::to_vec);
        self.nodes[0].cancel(self.now, call);
        assert_eq!(self.nodes[0].answer(call), None);
        outcome
    }

    fn ohce(&mut self, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let call = self.call(OHCE, body, 30_000);
        self.outcome(call)
    }

    fn restart(&mut self, number: usize, life: u8) {
        self.nodes[number] = node(number as u8, life, &Limits::DESKTOP, self.now);
        self.apps[number] = App::default();
        self.serve(number);
    }
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[test]
fn s8_ohce_answers_in_reverse_whatever_the_length() {
    let mut world = World::new(&Limits::DESKTOP);
    for len in [0, 1, 511, 512, 513, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 4096, 65_535, 65_536] {
        let body = body(len);
        assert_eq!(world.ohce(&body), Ok(reversed(&body)), "{len} bytes");
    }
    assert_eq!(world.apps[1].runs, 11);
    let counters = *world.nodes[0].counters();
    assert_eq!((counters.requests_retried, counters.calls_failed), (0, 0), "nothing is sent twice on a good wire");
}

#[test]
fn s8_any_one_packet_may_be_lost() {
    let mut world = World::new(&Limits::DESKTOP);
    let body = body(5 * FRAGMENT + 3);
    for lost in 1..=16 {
        (world.wire, world.sent) = (Wire::Drops(lost), 0);
        assert_eq!(world.ohce(&body), Ok(reversed(&body)), "packet {lost} lost");
        assert_eq!(world.ohce(b"butter"), Ok(b"rettub".to_vec()));
        assert_eq!(world.apps[1].runs, 2 * lost, "each ran once");
    }
}

#[test]
fn s8_a_bad_wire_never_runs_a_request_twice() {
    let mut world = World::new(&Limits::DESKTOP);
    let mut ran = 0;
    for seed in 0..12 {
        (world.wire, world.dice) = (Wire::Bad(20, 20, 30), seed);
        for len in [10, 3000, 20_000] {
            let body = body(len);
            let before = world.apps[1].runs;
            match world.ohce(&body) {
                Ok(answer) => {
                    assert_eq!(answer, reversed(&body));
                    assert_eq!(world.apps[1].runs, before + 1);
                    ran += 1;
                }
                Err(failure) => {
                    assert!(matches!(failure, Failure::Deadline | Failure::Silent | Failure::PeerGone), "{failure:?}");
                    assert!(world.apps[1].runs <= before + 1);
                }
            }
        }
    }
    assert!(ran >= 34, "{ran} of 36 came through");
}

#[test]
fn s8_refusals_come_at_once() {
    let mut world = World::new(&Limits::DESKTOP);
    let before = world.now;
    let unknown = world.call(route("nobody/1"), b"?", 30_000);
    assert_eq!(world.outcome(unknown), Err(Failure::Refused(Status::NoRoute)));
    assert_eq!(world.ohce(b"bad"), Err(Failure::Refused(Status::Bad)));
    assert!(world.now.ms_since(before) < 20);
    assert_eq!(world.nodes[1].counters().routes_unknown, 1);
    world.nodes[1].stop_route(OHCE);
    assert_eq!(world.ohce(b"x"), Err(Failure::Refused(Status::NoRoute)));

    let (now, to) = (world.now, world.id(1));
    let node = &mut world.nodes[0];
    assert_eq!(node.call(now, to, RouteId(4), b"", 1000), Err(Refused::Invalid));
    assert_eq!(node.call(now, to, OHCE, &body(65_537), 1000), Err(Refused::TooLong));
    assert_eq!(node.call(now, NodeId([9; 32]), OHCE, b"", 1000), Err(Refused::NoPath));
}

#[test]
fn s8_a_request_is_answered_by_hand_once() {
    let mut world = World::new(&Limits::DESKTOP);
    let call = world.call(SLOW, b"later", 60_000);
    world.run(10_000);
    assert_eq!(world.apps[1].requests.len(), 1, "repetitions do not reach the application");
    assert!(world.nodes[1].counters().requests_repeated > 0);
    assert!(world.nodes[0].counters().requests_retried < 4, "a peer that works is not pressed");
    let serve = world.apps[1].requests[0];
    let (from, now) = (world.id(0), world.now);
    let node = &mut world.nodes[1];
    let request = node.request(serve).unwrap();
    assert_eq!((request.from, request.route, request.body), (from, SLOW, &b"later"[..]));
    assert_eq!(node.respond(now, serve, Status::Bad, b"no"), Err(Refused::Invalid));
    assert_eq!(node.respond(now, serve, Status::Ok, &body(65_537)), Err(Refused::TooLong));
    assert_eq!(node.respond(now, serve, Status::Ok, b"at last"), Ok(()));
    assert_eq!(node.respond(now, serve, Status::Ok, b"again"), Err(Refused::Unknown));
    assert!(node.request(serve).is_none());
    let before = world.now;
    assert_eq!(world.outcome(call), Ok(b"at last".to_vec()));
    assert!(world.now.ms_since(before) < 5);
}

#[test]
fn s8_the_deadline_ends_both_sides() {
    let mut world = World::new(&Limits::DESKTOP);
    let before = world.now;
    let call = world.call(SLOW, b"never answered", 2_000);
    assert_eq!(world.outcome(call), Err(Failure::Deadline));
    assert_eq!(world.now.ms_since(before), 2_000);
    world.run(10);
    let serve = world.apps[1].requests[0];
    assert_eq!(world.apps[1].cancelled, [serve]);
    let now = world.now;
    assert_eq!(world.nodes[1].respond(now, serve, Status::Ok, b""), Err(Refused::Unknown));
}

#[test]
fn s8_a_cancelled_call_is_cancelled_there() {
    let mut world = World::new(&Limits::DESKTOP);
    let call = world.call(SLOW, &body(5000), 60_000);
    world.run(100);
    let serve = world.apps[1].requests[0];
    let now = world.now;
    world.nodes[0].cancel(now, call);
    world.run(10);
    assert_eq!(world.apps[1].cancelled, [serve]);
    assert!(world.apps[0].answered.is_empty());
    assert!(world.nodes[1].request(serve).is_none());
}

#[test]
fn s8_a_call_to_ourselves_is_served_here() {
    let mut world = World::new(&Limits::DESKTOP);
    let (me, now) = (world.id(0), world.now);
    let big = body(30_000);
    let call = world.nodes[0].call(now, me, OHCE, &big, 1000).unwrap();
    assert_eq!(world.outcome(call), Ok(reversed(&big)));
    let unknown = world.nodes[0].call(now, me, route("nobody/1"), b"", 1000).unwrap();
    assert_eq!(world.outcome(unknown), Err(Failure::Refused(Status::NoRoute)));
    let slow = world.nodes[0].call(world.now, me, SLOW, b"x", 1000).unwrap();
    assert_eq!(world.outcome(slow), Err(Failure::Deadline));
    assert_eq!(world.apps[0].cancelled.len(), 1);
    assert_eq!(world.apps[0].answered.len(), 3);
}

#[test]
fn s8_full_tables_refuse_and_recover() {
    let limits = Limits { calls: 12, serves: 8, ..Limits::DESKTOP };
    let mut world = World::new(&limits);
    let (now, to) = (world.now, world.id(1));
    let calls: Vec<_> = (0..8).map(|_| world.nodes[0].call(now, to, SLOW, b"x", 5_000).unwrap()).collect();
    assert_eq!(world.nodes[0].call(now, to, SLOW, b"x", 5_000), Err(Refused::Full));
    world.run(100);
    // One caller may hold a quarter and two.
    assert_eq!(world.apps[1].requests.len(), 4);
    let busy = |world: &World| {
        let refused = |call: &&CallId| world.nodes[0].answer(**call) == Some(Err(Failure::Refused(Status::Busy)));
        calls.iter().filter(refused).count()
    };
    assert_eq!(busy(&world), 4);
    assert_eq!(world.nodes[1].counters().serves_refused, 4);
    // What is owed stays owed, and is answered.
    for serve in world.apps[1].requests.clone() {
        let now = world.now;
        world.nodes[1].respond(now, serve, Status::Ok, b"y").unwrap();
    }
    world.run(100);
    let done = calls.iter().filter(|call| world.nodes[0].answer(**call) == Some(Ok(b"y"))).count();
    assert_eq!(done, 4);
    for call in calls {
        let now = world.now;
        world.nodes[0].cancel(now, call);
    }
    // Kept answers make room.
    for _ in 0..20 {
        assert_eq!(world.ohce(b"ab"), Ok(b"ba".to_vec()));
    }
    assert!(world.nodes[1].counters().answers_evicted >= 16);
}

#[test]
fn s8_a_tiny_node_serves_bodies_of_a_block() {
    let mut world = World::new(&Limits::TINY);
    for _ in 0..10 {
        let block = body(4096);
        assert_eq!(world.ohce(&block), Ok(reversed(&block)));
        assert_eq!(world.ohce(b"ab"), Ok(b"ba".to_vec()));
    }
}

#[test]
fn s8_a_silent_peer_ends_the_call() {
    let mut world = World::new(&Limits::DESKTOP);
    world.wire = Wire::Mute(1);
    let before = world.now;
    let failure = world.ohce(b"anyone?").unwrap_err();
    assert!(matches!(failure, Failure::Silent | Failure::PeerGone), "{failure:?}");
    assert!(world.now.ms_since(before) < 10_000);
}

#[test]
fn s8_a_call_outlives_a_restart_of_the_server() {
    let mut world = World::new(&Limits::DESKTOP);
    let call = world.call(SLOW, b"x", 60_000);
    world.run(100);
    world.restart(1, 1);
    world.until(60_000, |world| !world.apps[1].requests.is_empty());
    let (serve, now) = (world.apps[1].requests[0], world.now);
    world.nodes[1].respond(now, serve, Status::Ok, b"here again").unwrap();
    assert_eq!(world.outcome(call), Ok(b"here again".to_vec()));
}

#[test]
fn s8_a_restarted_caller_gets_no_old_answer() {
    let mut world = World::new(&Limits::DESKTOP);
    for life in 1..4 {
        assert_eq!(world.ohce(b"ab"), Ok(b"ba".to_vec()));
        world.restart(0, life);
        world.until(60_000, |world| !world.apps[0].peers.is_empty());
    }
    assert_eq!(world.ohce(b"cd"), Ok(b"dc".to_vec()));
    assert_eq!(world.apps[1].runs, 4);
}

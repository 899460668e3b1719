//! Three nodes on one wire, and who throws datagrams at them.

use std::collections::{BTreeMap, VecDeque};

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::{Crypto, SecretKey};
use butter_core::exchange::Status;
use butter_core::id::{Key, RouteId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::Limits;
use butter_core::node::{Destination, GetId, PutId};
use butter_core::storage::{BlockRef, StoreDone, StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, MTU};
use butter_core::{Event, Node};

use crate::{Choices, mutate};

butter_core::static_memory!(struct TinyMemory, Limits::TINY);

/// Nodes in a world: as many as a group wants members.
const NODES: usize = 3;
/// The link that all are on.
const LINK: LinkId = LinkId(0);
/// What all serve: the answer is the question.
const ECHO: RouteId = route("echo/1");
/// The longest question, in bytes: several fragments.
const BODY_MAX: usize = 4096;
/// What one node may send, tell, store or be woken for at one moment; more is taken to be without end.
const ENOUGH: usize = 10_000;
/// Packets remembered, to be altered and repeated.
const SEEN_MAX: usize = 64;

/// The longest object put, in bytes: an extent of three blocks.
const OBJECT_MAX: usize = 3 * BLOCK;
/// Keys remembered, to be got.
const KEYS_MAX: usize = 16;

struct Place<'m> {
    node: Node<'m>,
    addr: Addr,
    blocks: BTreeMap<BlockRef, Vec<u8>>,
    /// Lengths of the objects being put.
    puts: Vec<(PutId, usize)>,
    gets: Vec<GetId>,
}

/// The bytes of an object of this length: every length has its own.
fn object(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + len) as u8).collect()
}

pub struct World<'m> {
    now_us: u64,
    places: Vec<Place<'m>>,
    /// Packets under way: to whom, from where, what.
    wire: VecDeque<(usize, Addr, Vec<u8>)>,
    seen: Vec<Vec<u8>>,
    keys: Vec<Key>,
}

fn address(number: usize) -> Addr {
    std::net::SocketAddr::from(([10, 0, 0, number as u8 + 1], 1000)).into()
}

impl<'m> World<'m> {
    /// Makes a world and hands it to `f`. Its nodes' memory is lent, so they cannot grow.
    pub fn with<T>(
        crypto: &'m dyn Crypto,
        choices: &mut Choices<'_>,
        f: impl FnOnce(&mut World<'_>, &mut Choices<'_>) -> T,
    ) -> T {
        let mut memories = (0..NODES).map(|_| Box::new(TinyMemory::new())).collect::<Vec<_>>();
        let mut places = Vec::new();
        for (number, memory) in memories.iter_mut().enumerate() {
            let mut secret = [number as u8; 32];
            secret[..8].copy_from_slice(&choices.array::<8>());
            let identity = Identity { secret: SecretKey(secret), network: Network::open(crypto, "storm") };
            let node = Node::new(Instant::ZERO, Config::default(), identity, secret, crypto, memory.lend());
            let node = node.unwrap_or_else(|e| panic!("the defaults work: {e}"));
            places.push(Place {
                node,
                addr: address(number),
                blocks: BTreeMap::new(),
                puts: Vec::new(),
                gets: Vec::new(),
            });
        }
        let mut world = World { now_us: 0, places, wire: VecDeque::new(), seen: Vec::new(), keys: Vec::new() };
        for place in &mut world.places {
            place.node.handle_link(Instant::ZERO, LINK, LinkState::Up { mtu: MTU as u16 });
            place.node.serve_route(ECHO).unwrap_or_else(|e| panic!("one route can be served: {e}"));
        }
        f(&mut world, choices)
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    /// Lets the nodes be among themselves for `ms` of their time.
    pub fn calm(&mut self, ms: u64) {
        let end = self.now_us + ms * 1000;
        loop {
            self.settle();
            let next = self.places.iter().filter_map(|p| p.node.deadline()).map(|d| d.at.as_micros()).min();
            match next {
                Some(at) if at <= end => self.now_us = self.now_us.max(at),
                _ => break,
            }
        }
        self.now_us = end;
    }

    /// Does what is due at this moment, until nothing is left.
    fn settle(&mut self) {
        for _ in 0..ENOUGH {
            for number in 0..self.places.len() {
                self.serve(number);
            }
            let Some((to, from, mut packet)) = self.wire.pop_front() else { return };
            let now = self.now();
            self.places[to].node.handle_datagram(now, LINK, from, &mut packet);
        }
        panic!("the nodes talk to each other without end at one moment");
    }

    /// What an event loop does for one node, until it wants nothing more.
    fn serve(&mut self, number: usize) {
        let now = self.now();
        let place = &mut self.places[number];
        let mut turns = 0..ENOUGH;
        let mut turn = |what: &str| assert!(turns.next().is_some(), "node {number} {what} without end");
        while place.node.deadline().is_some_and(|d| d.at <= now) {
            turn("wants to be woken");
            place.node.handle_timeout(now);
        }
        let mut block = [0; BLOCK];
        while let Some(op) = place.node.poll_store(&mut block) {
            turn("stores");
            let result = match op {
                StoreOp::Put { at, len, .. } => {
                    place.blocks.insert(at, block[..len].to_vec());
                    Ok([].as_slice())
                }
                StoreOp::Get { at, .. } => place.blocks.get(&at).map(Vec::as_slice).ok_or(StoreError::Missing),
                StoreOp::Delete { key, .. } => {
                    place.blocks.retain(|at, _| at.key != key);
                    Ok([].as_slice())
                }
                StoreOp::Seat { .. } => Ok([].as_slice()),
            };
            place.node.handle_store(now, StoreDone { ticket: op.ticket(), result });
        }
        while let Some(event) = place.node.poll_event() {
            turn("tells");
            match event {
                Event::Request(serve) => {
                    let body = place.node.request(serve).map(|request| request.body.to_vec()).unwrap_or_default();
                    // Refused when nobody waits any more, or there is no room: both are fine.
                    let _ = place.node.respond(now, serve, Status::Ok, &body);
                }
                Event::Answered(call) => {
                    assert!(place.node.answer(call).is_some(), "node {number} tells of an answer that it has not");
                    place.node.cancel(now, call);
                }
                Event::PutWants { put, block } => {
                    if let Some((_, len)) = place.puts.iter().find(|(id, _)| *id == put) {
                        let bytes = object(*len);
                        let from = (block as usize * BLOCK).min(*len);
                        // Refused when there is no room now: it is asked for again.
                        let _ = place.node.put_block(now, put, block, &bytes[from..(from + BLOCK).min(*len)]);
                    }
                }
                Event::PutDone(put) => {
                    if let Some(key) = place.node.put_status(put).and_then(|status| status.key) {
                        if self.keys.len() == KEYS_MAX {
                            self.keys.remove(0);
                        }
                        self.keys.push(key);
                    }
                    place.node.put_free(now, put);
                    place.puts.retain(|(id, _)| *id != put);
                }
                Event::GetHas { get, block } => {
                    let _ = place.node.got_block(now, get, block, &mut [0; BLOCK]);
                }
                Event::GetDone(get) => {
                    place.node.get_free(now, get);
                    place.gets.retain(|id| *id != get);
                }
                _ => {}
            }
        }
        let mut buffer = [0; MTU];
        while let Some(transmit) = place.node.poll_transmit(now, LINK, &mut buffer) {
            turn("sends");
            let packet = buffer[..transmit.len].to_vec();
            let from = place.addr;
            for to in (0..NODES).filter(|to| *to != number) {
                match transmit.to {
                    Destination::Addr(addr) if (addr.ip, addr.port) != (address(to).ip, address(to).port) => {}
                    _ => self.wire.push_back((to, from, packet.clone())),
                }
            }
            if self.seen.len() < SEEN_MAX {
                self.seen.push(packet);
            } else {
                let oldest = self.now_us as usize % SEEN_MAX;
                self.seen[oldest] = packet;
            }
        }
    }

    /// Throws one datagram and goes on. Says how many were thrown.
    pub fn step(&mut self, choices: &mut Choices<'_>) -> u64 {
        let mut thrown = 0;
        let to = choices.below(NODES);
        match choices.below(16) {
            // Time passes; now and then it seems to go back.
            0 => self.now_us += choices.below(20_000) as u64,
            1 => {
                let ms = choices.below(2_000) as u64;
                self.calm(ms);
            }
            2 => {
                let back = choices.below(1_000_000) as u64;
                let then = Instant::from_micros(self.now_us.saturating_sub(back));
                self.places[to].node.handle_timeout(then);
            }
            // The cable.
            3 if choices.one_in(64) => {
                let now = self.now();
                for state in [LinkState::Down, LinkState::Up { mtu: MTU as u16 }] {
                    self.places[to].node.handle_link(now, LINK, state);
                }
            }
            // Honest traffic, to be disturbed.
            4 => {
                let body = vec![choices.array::<1>()[0]; choices.below(BODY_MAX + 1)];
                let whom = self.places[choices.below(NODES)].node.id();
                let now = self.now();
                let _ = self.places[to].node.call(now, whom, ECHO, &body, 3_000);
            }
            5 if choices.one_in(4) => {
                let len = choices.below(OBJECT_MAX + 1);
                let now = self.now();
                if let Ok(put) = self.places[to].node.put(now, len as u64, 1) {
                    self.places[to].puts.push((put, len));
                }
            }
            6 if choices.one_in(4) => {
                let known = self.keys.get(choices.below(KEYS_MAX)).copied();
                let key = known.unwrap_or_else(|| Key(choices.array()));
                let now = self.now();
                if let Ok(get) = self.places[to].node.get(now, key, choices.below(3) as u32) {
                    self.places[to].gets.push(get);
                }
            }
            7 if choices.one_in(64) => {
                // Given up in the middle.
                let (now, place) = (self.now(), &mut self.places[to]);
                place.puts.drain(..).for_each(|(put, _)| place.node.put_free(now, put));
                place.gets.drain(..).for_each(|get| place.node.get_free(now, get));
            }
            8 if choices.one_in(64) => {
                let now = self.now();
                let _ = self.places[to].node.meet(now, LINK, address(choices.below(NODES)));
            }
            5 => {
                let packet = mutate::random(choices);
                let from = Addr { ip: choices.array(), port: u16::from_le_bytes(choices.array()), slot: 0 };
                self.throw(to, from, packet);
                thrown += 1;
            }
            _ => {
                let mut packet = self.any_seen(choices).to_vec();
                let other = self.any_seen(choices).to_vec();
                // Some are only repeated, or come from somewhere else.
                if !choices.one_in(8) {
                    mutate::alter(choices, &mut packet, &other);
                }
                let mut from = address(choices.below(NODES));
                if choices.one_in(16) {
                    from.port = from.port.wrapping_add(1);
                }
                self.throw(to, from, packet);
                thrown += 1;
            }
        }
        self.settle();
        thrown
    }

    fn any_seen(&self, choices: &mut Choices<'_>) -> &[u8] {
        self.seen.get(choices.below(self.seen.len())).map_or(&[], Vec::as_slice)
    }

    fn throw(&mut self, to: usize, from: Addr, mut packet: Vec<u8>) {
        let now = self.now();
        self.places[to].node.handle_datagram(now, LINK, from, &mut packet);
    }
}

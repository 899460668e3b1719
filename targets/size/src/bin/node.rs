//! A node with the smallest limits, and everything that it can do reached, so that the linker keeps all of it.
#![no_std]
#![no_main]

use core::hint::black_box;

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::{Crypto as _, SecretKey};
use butter_core::exchange::Status;
use butter_core::id::{Key, NodeId, RouteId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::Limits;
use butter_core::node::ServeId;
use butter_core::route::{Reply, Request, Routes};
use butter_core::storage::{BlockNote, BlockRef, StoreDone, StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, Facts, HostRecord, MTU};
use butter_core::{Event, Node};
use butter_crypto::RustCrypto;
use butter_size::Wire;
use cortex_m_rt::entry;
use panic_halt as _;
use static_cell::StaticCell;

butter_core::static_memory!(struct TinyMemory, Limits::TINY);

static MEMORY: StaticCell<TinyMemory> = StaticCell::new();
static NODE: StaticCell<Node<'static>> = StaticCell::new();

#[entry]
fn main() -> ! {
    let Some(mut wire) = Wire::take() else { cortex_m::asm::udf() };
    if let Some(node) = start(&mut wire) {
        let mut block = [0; BLOCK];
        loop {
            world(&mut wire, node, &mut block);
            application(&mut wire, node);
        }
    }
    cortex_m::asm::udf()
}

/// A moment that nobody can foresee.
fn now(wire: &mut Wire) -> Instant {
    Instant::from_micros(u64::from_le_bytes(wire.array()))
}

fn start(wire: &mut Wire) -> Option<&'static mut Node<'static>> {
    let network = match wire.array() {
        [0] => Network::open(&RustCrypto, "open"),
        [_] => Network::closed(&RustCrypto, "closed", &wire.array()),
    };
    let identity = Identity { secret: SecretKey(wire.array()), network };
    wire.put(&RustCrypto.node_id(&identity.secret).text());
    let memory = MEMORY.init_with(TinyMemory::new).lend();
    let config = Config { durable: true, ..Config::default() };
    let mut node = Node::new(now(wire), config, identity, wire.array(), &RustCrypto, memory).ok()?;
    black_box(node.restore_seat(now(wire), &wire.array::<256>())).ok();
    let key = Key(wire.array());
    let note = BlockNote::none(key);
    black_box(node.restore_block(now(wire), BlockRef { key, index: 0 }, &note)).ok();
    Some(NODE.init(node))
}

/// What an event loop does.
fn world(wire: &mut Wire, node: &mut Node<'_>, block: &mut [u8; BLOCK]) {
    let link = LinkId(wire.array::<1>()[0]);
    let state = match wire.array() {
        [0] => LinkState::Down,
        [_] => LinkState::Up { mtu: MTU as u16 },
    };
    node.handle_link(now(wire), link, state);
    let from = Addr { ip: wire.array(), port: u16::from_le_bytes(wire.array()), slot: 0 };
    let mut packet = [0; MTU];
    wire.fill(&mut packet);
    node.handle_datagram(now(wire), link, from, &mut packet);
    if let Some(deadline) = node.deadline() {
        wire.put(&deadline.at.as_micros().to_le_bytes());
        node.handle_timeout(now(wire));
    }
    if let Some(transmit) = node.poll_transmit(now(wire), link, &mut packet) {
        black_box(transmit.to);
        wire.put(packet.get(..transmit.len).unwrap_or_default());
    }
    if let Some(op) = node.poll_store(block) {
        if let StoreOp::Put { len, .. } | StoreOp::Seat { len, .. } = op {
            wire.put(block.get(..len).unwrap_or_default());
        }
        let result = match black_box(op) {
            StoreOp::Get { .. } => {
                wire.fill(block);
                Ok(block.as_slice())
            }
            StoreOp::Put { .. } => Err(StoreError::Full),
            StoreOp::Delete { .. } | StoreOp::Seat { .. } => Ok([].as_slice()),
        };
        node.handle_store(now(wire), StoreDone { ticket: op.ticket(), result });
    }
}

const ROUTES: Routes<Wire> = Routes(&[(route("ohce/1"), ohce)]);

/// A handler from a table.
fn ohce(wire: &mut Wire, request: Request<'_>, reply: &mut Reply<'_>) {
    wire.put(request.body);
    reply.write(request.body);
    wire.fill(reply.room());
    reply.advance(request.body.len());
}

/// What a program asks of its node.
fn application(wire: &mut Wire, node: &mut Node<'_>) {
    while let Some(event) = node.poll_event() {
        match event {
            Event::Request(serve) if !ROUTES.dispatch(wire, node, Instant::ZERO, serve) => by_hand(wire, node, serve),
            Event::Answered(call) => {
                if let Some(answer) = node.answer(call) {
                    wire.put(answer.unwrap_or_default());
                }
                node.cancel(now(wire), call);
            }
            Event::PutWants { put, block } => {
                let bytes: [u8; 64] = wire.array();
                black_box(node.put_block(now(wire), put, block, &bytes)).ok();
            }
            Event::PutDone(put) => {
                black_box(node.put_status(put));
                node.put_free(now(wire), put);
            }
            Event::GetHas { get, block } => {
                let mut bytes = [0; 64];
                black_box(node.got_block(now(wire), get, block, &mut bytes));
                wire.put(&bytes);
            }
            Event::GetDone(get) => {
                black_box(node.get_status(get));
                node.get_free(now(wire), get);
            }
            other => {
                black_box(other);
            }
        }
    }
    calls(wire, node);
    black_box(node.put(now(wire), u64::from_le_bytes(wire.array()), 1)).ok();
    black_box(node.get(now(wire), Key(wire.array()), 0)).ok();
    paths(wire, node);
    knowledge(wire, node);
    node.leave(now(wire), u32::from_le_bytes(wire.array()));
    wire.put(&[node.left().into()]);
}

/// Serves a request without a table.
fn by_hand(wire: &mut Wire, node: &mut Node<'_>, serve: ServeId) {
    let at = now(wire);
    black_box(node.respond_with(at, serve, |request, reply| {
        reply.write(&request.from.0);
        reply.status(Status::NotFound);
    }))
    .ok();
    if let Some(request) = node.request(serve) {
        wire.put(request.body);
        let body: [u8; 64] = wire.array();
        black_box(node.respond(at, serve, Status::Ok, &body)).ok();
    }
}

fn calls(wire: &mut Wire, node: &mut Node<'_>) {
    black_box(ROUTES.serve(node)).ok();
    let name = RouteId(u32::from_le_bytes(wire.array()));
    black_box(node.serve_route(name)).ok();
    let (to, body): (_, [u8; 64]) = (NodeId(wire.array()), wire.array());
    black_box(node.call(now(wire), to, name, &body, 5_000)).ok();
    node.stop_route(name);
}

/// Where others are, and where we are.
fn paths(wire: &mut Wire, node: &mut Node<'_>) {
    let addr = Addr { ip: wire.array(), port: u16::from_le_bytes(wire.array()), slot: 0 };
    let [prefix_len] = wire.array();
    node.handle_local_addr(now(wire), LinkId(0), addr, prefix_len);
    black_box(node.meet(now(wire), LinkId(0), addr)).ok();
    black_box(node.observed_addr());
    if let Some((peer, info)) = node.peers().next() {
        wire.put(&info.id.0);
        black_box(node.peer_info(peer));
    }
    if prefix_len == 255 {
        node.shutdown(now(wire));
    }
}

/// All that can be read of a node's state.
fn knowledge(wire: &mut Wire, node: &mut Node<'_>) {
    black_box(node.counters());
    black_box(node.buffers_in_use());
    black_box((node.limits(), node.config()));
    wire.put(&node.id().0);
    node.groups().for_each(|group| wire.put(&group.id.0));
    node.hosts().for_each(|host| wire.put(&host.id.0));
    black_box((node.groups_known(), node.items_held(), node.hosts_known(), node.diversity()));
    let addr = Addr { ip: wire.array(), port: u16::from_le_bytes(wire.array()), slot: 0 };
    let record = HostRecord { id: NodeId(wire.array()), addr, facts: Facts::default(), age_s: 0 };
    node.remember(now(wire), &record, LinkId(0));
}

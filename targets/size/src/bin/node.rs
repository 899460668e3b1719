//! A node with the smallest limits, and everything that it can do reached, so that the linker keeps all of it.
#![no_std]
#![no_main]

use core::hint::black_box;

use butter_core::Node;
use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::{Crypto as _, SecretKey};
use butter_core::identity::{Identity, Network};
use butter_core::memory::Limits;
use butter_core::storage::{StoreDone, StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, MTU};
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
    let node = Node::new(now(wire), Config::default(), identity, wire.array(), &RustCrypto, memory).ok()?;
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
        if let StoreOp::Put { len, .. } = op {
            wire.put(block.get(..len).unwrap_or_default());
        }
        let result = match black_box(op) {
            StoreOp::Get { .. } => {
                wire.fill(block);
                Ok(block.as_slice())
            }
            StoreOp::Put { .. } => Err(StoreError::Full),
            StoreOp::Delete { .. } => Ok([].as_slice()),
        };
        node.handle_store(now(wire), StoreDone { ticket: op.ticket(), result });
    }
}

/// What a program asks of its node.
fn application(wire: &mut Wire, node: &mut Node<'_>) {
    if let Some(event) = node.poll_event() {
        black_box(event);
    }
    black_box(node.counters());
    black_box((node.limits(), node.config()));
    wire.put(&node.id().0);
}

//! What a hostile or confused peer can say, message by message.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::assembly::all;
use super::*;
use crate::Event;
use crate::addr::{Addr, LinkId, LinkState};
use crate::crypto::{Crypto, CryptoError, HandshakeKeys, HandshakeState, SecretKey, SessionKeys, TAG_LEN};
use crate::id::route;
use crate::identity::{Identity, Network};
use crate::memory::Memory;
use crate::node::{CallId, SMALL, ServeId};
use crate::time::Instant;
use crate::wire::PAYLOAD;

/// Enough to begin a node; no session is ever opened here.
struct NoCrypto;

impl Crypto for NoCrypto {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut out = [1; 32];
        for (i, byte) in parts.iter().copied().flatten().enumerate() {
            out[i % 32] = out[(i + 7) % 32] ^ byte.wrapping_add(i as u8);
        }
        out
    }
    fn node_id(&self, secret: &SecretKey) -> NodeId {
        NodeId(secret.0)
    }
    fn exchange_key(&self, _: &NodeId) -> Option<[u8; 32]> {
        None
    }
    fn sign(&self, _: &SecretKey, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
    fn verify(&self, _: &NodeId, _: &[u8], _: &[u8; 64]) -> bool {
        false
    }
    fn seal(&self, _: &[u8; 32], _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; TAG_LEN] {
        [0; TAG_LEN]
    }
    fn open(&self, _: &[u8; 32], _: &[u8; 12], _: &[u8], _: &mut [u8], _: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        Err(CryptoError)
    }
    fn write_hello(
        &self,
        _: HandshakeKeys<'_>,
        _: &NodeId,
        _: &[u8; 32],
        _: &[u8],
        _: &mut [u8],
        _: &mut HandshakeState,
    ) -> Result<usize, CryptoError> {
        Err(CryptoError)
    }
    fn read_hello(
        &self,
        _: HandshakeKeys<'_>,
        _: &[u8],
        _: &mut [u8],
        _: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError> {
        Err(CryptoError)
    }
    fn write_welcome(
        &self,
        _: HandshakeKeys<'_>,
        _: &[u8; 32],
        _: &[u8],
        _: &mut [u8],
        _: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        Err(CryptoError)
    }
    fn read_welcome(
        &self,
        _: HandshakeKeys<'_>,
        _: &NodeId,
        _: &[u8],
        _: &mut [u8],
        _: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        Err(CryptoError)
    }
}

crate::static_memory!(struct TestMemory, Limits { calls: 6, serves: 8, ..Limits::TINY });

const APP: RouteId = route("app/1");
const NOW: Instant = Instant::from_millis(1000);

fn node() -> Node<'static> {
    let identity = Identity { secret: SecretKey([1; 32]), network: Network::open(&NoCrypto, "test") };
    let memory: Memory<'static> = Box::leak(Box::new(TestMemory::NEW)).lend();
    let mut node = Node::new(NOW, crate::config::Config::default(), identity, [5; 32], &NoCrypto, memory).unwrap();
    node.handle_link(NOW, LinkId(0), LinkState::Up { mtu: 1232 });
    node.serve_route(APP).unwrap();
    node
}

fn peer(node: &mut Node<'_>, number: u8) -> PeerId {
    let addr = Addr::from(core::net::SocketAddr::from(([10, 0, 0, number], 4000)));
    node.dial(&NodeId([number; 32]), Some(addr)).unwrap()
}

fn request(call: u32, total: usize, offset: usize, data: &[u8]) -> Message<'_> {
    Message::Request { call, route: APP, deadline_ms: 5000, total: total as u32, offset: offset as u32, data }
}

fn response(call: u32, status: u8, total: usize, offset: usize, data: &[u8]) -> Message<'_> {
    Message::Response { call, status, total: total as u32, offset: offset as u32, data }
}

fn requests(node: &mut Node<'_>) -> Vec<ServeId> {
    let events = core::iter::from_fn(|| node.poll_event());
    events.filter_map(|event| if let Event::Request(serve) = event { Some(serve) } else { None }).collect()
}

/// A call under way, whose request was sent once, and its number.
fn called(node: &mut Node<'_>, peer: PeerId) -> (CallId, u32) {
    let to = node.peers.get(peer).unwrap().id;
    let call = node.call(node.env.now, to, APP, b"?", 60_000).unwrap();
    let mut buf = [0; PAYLOAD];
    assert_eq!(node.write_frame(peer, Frame::Request(call.0), &mut Writer::new(&mut buf)), Wrote::Done);
    (call, node.exchange.calls.get(call.0).unwrap().number)
}

#[test]
fn claims_of_length_take_no_memory() {
    let mut node = node();
    let from = peer(&mut node, 2);
    let data = [7; FRAGMENT];
    let longest = node.limits().large_bytes;
    let bad = [
        request(1, usize::MAX, 0, &data),
        request(2, longest + 1, 0, &data),
        request(3, 3000, 1, &data),
        request(4, 3000, FRAGMENT, &data[..FRAGMENT - 1]),
        request(5, 3000, 3 * FRAGMENT, &data),
        request(6, 10, 0, &data),
        request(7, 0, 0, &data),
    ];
    let count = bad.len() as u32;
    for message in bad {
        node.exchange_message(from, message);
    }
    assert_eq!(node.counters().messages_unexpected, count);
    assert_eq!((node.env.buffers.in_use(), node.exchange.serves.len()), ((0, 0), 0));
}

#[test]
fn a_caller_that_stops_halfway_is_forgotten() {
    let mut node = node();
    let from = peer(&mut node, 2);
    let data = [7; FRAGMENT];
    node.exchange_message(from, request(1, 3000, 0, &data));
    // Another body under the same number, and another route.
    node.exchange_message(from, request(1, 4000, FRAGMENT, &data));
    node.exchange_message(
        from,
        Message::Request {
            call: 1,
            route: route("other/1"),
            deadline_ms: 1,
            total: 3000,
            offset: FRAGMENT as u32,
            data: &data,
        },
    );
    let (_, serve) = node.exchange.serves.iter().next().unwrap();
    assert!(matches!(&serve.state, serves::State::Receiving(assembly) if assembly.missing == all(3000) & !1));
    assert_eq!(node.env.buffers.in_use(), (0, 1));
    for step in 1..200 {
        node.handle_timeout(NOW.plus_ms(step * 50));
    }
    assert_eq!((node.env.buffers.in_use(), node.exchange.serves.len()), ((0, 0), 0));
    assert!(requests(&mut node).is_empty());
}

#[test]
fn one_caller_leaves_room_for_the_others() {
    let mut node = node();
    let (greedy, modest) = (peer(&mut node, 2), peer(&mut node, 3));
    for call in 0..20 {
        node.exchange_message(greedy, request(call, 0, 0, &[]));
    }
    assert_eq!(requests(&mut node).len(), 4);
    node.exchange_message(modest, request(1, 0, 0, &[]));
    assert_eq!(requests(&mut node).len(), 1);
    assert_eq!(node.counters().serves_refused, 16);
}

#[test]
fn answers_to_nothing_change_nothing() {
    let mut node = node();
    let (to, other) = (peer(&mut node, 2), peer(&mut node, 3));
    let (call, number) = called(&mut node, to);
    let data = [7; FRAGMENT];
    let bad = [
        (to, response(number + 1, 0, 1, 0, b"x")),
        (to, response(number ^ 0x8000_0000, 0, 1, 0, b"x")),
        (other, response(number, 0, 1, 0, b"x")),
        (to, response(number, 0, usize::MAX, 0, &data)),
        (to, response(number, 4, 1, 0, b"x")),
        (other, Message::Working { call: number }),
        (to, Message::Missing { call: number, answer: false, fragments: !1 }),
        (to, Message::Missing { call: number, answer: true, fragments: 1 }),
        (to, Message::Cancel { call: number }),
    ];
    let count = bad.len() as u32;
    for (from, message) in bad {
        node.exchange_message(from, message);
    }
    assert_eq!(node.answer(call), None);
    assert_eq!(node.counters().messages_unexpected, count);
    node.exchange_message(to, response(number, 0, 3000, 0, &data));
    node.exchange_message(to, response(number, 0, 4000, FRAGMENT, &data));
    node.exchange_message(to, response(number, 0, 1, 0, b"x"));
    node.exchange_message(to, response(number, 0, 3000, 2 * FRAGMENT, &data[..3000 - 2 * FRAGMENT]));
    node.exchange_message(to, response(number, 0, 3000, FRAGMENT, &data));
    assert_eq!(node.answer(call), Some(Ok(&vec![7; 3000][..])));
    node.exchange_message(to, response(number, 4, 0, 0, &[]));
    assert_eq!(node.answer(call), Some(Ok(&vec![7; 3000][..])), "the first answer stays");
    node.cancel(NOW, call);
    assert_eq!(node.env.buffers.in_use(), (0, 0));
}

#[test]
fn an_unknown_status_is_a_failure() {
    let mut node = node();
    let to = peer(&mut node, 2);
    let (call, number) = called(&mut node, to);
    node.exchange_message(to, response(number, 77, 0, 0, &[]));
    assert_eq!(node.answer(call), Some(Err(Failure::Refused(Status::Failed))));
}

#[test]
fn a_dead_peer_ends_its_calls_and_requests() {
    let mut node = node();
    let (to, other) = (peer(&mut node, 2), peer(&mut node, 3));
    let (call, _) = called(&mut node, to);
    let (lives, _) = called(&mut node, other);
    node.exchange_message(to, request(1, 3, 0, b"abc"));
    let serve = requests(&mut node)[0];
    node.exchange_peer_down(to, &NodeId([2; 32]), false, false);
    assert_eq!((node.answer(call), node.request(serve).is_some()), (None, true), "a session may come again");
    node.exchange_peer_down(to, &NodeId([2; 32]), true, true);
    assert_eq!((node.answer(call), node.request(serve).is_some()), (Some(Err(Failure::PeerGone)), false));
    assert_eq!(node.answer(lives), None);
    assert_eq!(node.poll_event(), Some(Event::Answered(call)));
    assert_eq!(node.poll_event(), Some(Event::Cancelled(serve)));
    node.cancel(NOW, call);
    node.cancel(NOW, lives);
    assert_eq!(node.env.buffers.in_use(), (0, 0));
}

#[test]
fn answers_in_use_take_the_buffers_they_need_only() {
    let mut node = node();
    let from = peer(&mut node, 2);
    node.exchange_message(from, request(1, 3, 0, b"abc"));
    let serve = requests(&mut node)[0];
    let reply = |request: crate::route::Request<'_>, reply: &mut crate::route::Reply<'_>| {
        assert!(reply.write(request.body) && reply.room().len() > SMALL);
    };
    node.respond_with(NOW, serve, reply).unwrap();
    assert_eq!(node.env.buffers.in_use(), (1, 0), "a short answer moved into a small buffer");
    assert_eq!(node.respond_with(NOW, serve, |_, _| unreachable!()), Err(crate::node::Refused::Unknown));
}

#[test]
fn entries_are_small() {
    assert!(size_of::<Call>() <= 128 && size_of::<Serve>() <= 120 && size_of::<Frame>() <= 8);
}

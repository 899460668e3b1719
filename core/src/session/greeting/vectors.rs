//! From Ping to the first packet, in bytes (PROTOCOL §2.2 to §2.4, §2.8, §13).

use std::vec::Vec;

use super::{Greeter, NONCE_LEN, finish, frame, short};
use crate::addr::{Addr, LinkId};
use crate::crypto::{Crypto, TAG_LEN};
use crate::id::NodeId;
use crate::node::{Destination, Node};
use crate::time::Instant;
use crate::vectors::{Provider, Vectors, counting, node};
use crate::wire::vectors::v4;
use crate::wire::{DATA_HEADER, MTU};

const LINK: LinkId = LinkId(0);

fn elsewhere() -> Addr {
    "192.168.1.8:4000".parse::<core::net::SocketAddr>().unwrap().into()
}

/// What a node sends next.
fn sent(node: &mut Node<'_>) -> Vec<u8> {
    let mut buf = [0; MTU];
    let transmit = node.poll_transmit(Instant::ZERO, LINK, &mut buf).expect("a packet");
    buf[..transmit.len].to_vec()
}

/// What stands in a packet sealed under `key`, or nothing if it does not open.
fn opened(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (body, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut body = body.to_vec();
    Provider.open(key, nonce, ad, &mut body, tag).ok().map(|()| body)
}

fn greeting(v: &mut Vectors, name: &str, key: &[u8; 32], packet: &[u8]) {
    let (nonce, sealed) = packet.split_first_chunk::<NONCE_LEN>().unwrap();
    v.add(&std::format!("{name}_plain"), opened(key, nonce, &[], sealed).unwrap());
    v.add(name, packet);
}

#[test]
fn s13_greetings_and_packets() {
    let mut v = Vectors::new(
        "greetings.txt",
        "Greetings (§2.2, §2.8) of the open network home, in the order in which two nodes open a session: a at 192.168.1.7:28883,\n\
         b at 192.168.1.8:4000. A packet is nonce || sealed plain || tag. seeds are Ed25519 seeds; cookie_ip and the like are what\n\
         b's cookie for a is made from. via_to_5 holds the packet of packets.txt, to the client with slot 5.",
    );
    let (mut a, mut b) = (node(0), node(0x80));
    let key = a.env.identity.network.greeting;
    let (at_a, at_b) = (v4(), elsewhere());
    v.add("greeting_key", key);
    v.add("a_seed", counting::<32>(0));
    v.add("b_seed", counting::<32>(0x80));
    v.add("a_id", a.env.me.0);
    v.add("b_id", b.env.me.0);

    a.dial(&b.id(), Some(at_b)).expect("a peer");
    let ping = sent(&mut a);
    greeting(&mut v, "ping", &key, &ping);
    b.handle_datagram(Instant::ZERO, LINK, at_a, &mut ping.clone());
    let pong = sent(&mut b);
    greeting(&mut v, "pong", &key, &pong);
    let secret = b.peers.greeter.cookies[0];
    v.add("cookie_secret", secret);
    v.add("cookie_link", [LINK.0]);
    v.add("cookie_ip", at_a.ip);
    v.add("cookie_port", at_a.port.to_le_bytes());
    v.add("cookie_slot", at_a.slot.to_le_bytes());
    v.add("cookie", Greeter::cookie(&secret, &b.env, LINK, &at_a));
    a.handle_datagram(Instant::ZERO, LINK, at_b, &mut pong.clone());
    let hello = sent(&mut a);
    greeting(&mut v, "hello", &key, &hello);
    b.handle_datagram(Instant::ZERO, LINK, at_a, &mut hello.clone());
    let welcome = sent(&mut b);
    v.add("welcome", &welcome);
    a.handle_datagram(Instant::ZERO, LINK, at_b, &mut welcome.clone());

    let mut p = Vectors::new(
        "packets.txt",
        "The first packet of the session that greetings.txt opens, from a to b (§2.4): header || sealed plain || tag. The header is\n\
         the associated data. welcome_payload is b's boot (§2.3).",
    );
    let packet = sent(&mut a);
    let (header, sealed) = packet.split_first_chunk::<DATA_HEADER>().unwrap();
    let keys = a.peers.iter().find_map(|(_, peer)| peer.current.as_ref()).map(|epoch| epoch.keys.clone()).unwrap();
    let nonce: [u8; 12] = core::array::from_fn(|i| if i < 4 { 0 } else { header[i] });
    p.add("psk", a.env.identity.network.psk);
    p.add("a_boot", a.env.boot.to_le_bytes());
    p.add("welcome_payload", b.env.boot.to_le_bytes());
    p.add("key_a_to_b", keys.send);
    p.add("key_b_to_a", keys.receive);
    p.add("nonce", nonce);
    p.add("header", header);
    p.add("plain", opened(&keys.send, &nonce, header, sealed).unwrap());
    p.add("packet", &packet);
    p.check();
    b.handle_datagram(Instant::ZERO, LINK, at_a, &mut packet.clone());
    assert_eq!(b.peers.up(), 1, "b takes the packet as the first under its new keys");

    let to = at_b.with_slot(5);
    for (name, relayed) in [("via_to_5", false), ("via_from_5", true)] {
        let mut buf = [0; MTU];
        let at = frame(&to, MTU).0;
        buf[at..at + packet.len()].copy_from_slice(&packet);
        let transmit = finish(&mut a.env, to, relayed, &mut buf, packet.len()).unwrap();
        assert_eq!(transmit.to, Destination::Addr(to));
        greeting(&mut v, name, &key, &buf[..transmit.len]);
    }
    let token = counting(60);
    v.add("short_token", token);
    v.add("short_id", counting::<32>(0));
    v.add("short", short(&token, &NodeId(counting(0))));
    v.check();
}

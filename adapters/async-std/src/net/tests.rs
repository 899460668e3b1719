//! Real sockets on this machine.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, or};

use super::*;

fn lan() -> Udp {
    Udp::open(Listen { at: None, lan: true }).expect("a machine has UDP")
}

fn quiet() -> Udp {
    Udp::open(Listen { at: Some("127.0.0.1:0".parse().expect("an address")), lan: false }).expect("loopback")
}

/// What comes in within a second, until `wanted`.
fn receive(net: &mut Udp, wanted: impl Fn(&Incoming, &[u8]) -> bool) -> Option<Incoming> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut buf = [0; MTU];
    block_on(or(
        async {
            loop {
                let incoming = poll_fn(|cx| net.poll_recv(cx, &mut buf)).await;
                if wanted(&incoming, &buf) {
                    return Some(incoming);
                }
            }
        },
        async {
            Timer::at(end).await;
            None
        },
    ))
}

fn send(net: &mut Udp, to: Destination, packet: &[u8]) {
    block_on(poll_fn(|cx| net.poll_send(cx, LINK, to, packet)));
}

/// Bytes that no other test on this machine sends.
fn token(name: &str) -> Vec<u8> {
    format!("{name} {} {:?}", std::process::id(), Instant::now()).into_bytes()
}

#[test]
fn every_node_of_a_machine_hears_a_multicast_from_the_senders_own_port() {
    let (mut a, mut b, mut c) = (lan(), lan(), lan());
    let packet = token("multicast");
    send(&mut a, Destination::Multicast, &packet);
    let port = a.local()[0].port();
    for net in [&mut b, &mut c] {
        let heard =
            receive(net, |incoming, buf| matches!(incoming, Incoming::Datagram { len, .. } if buf[..*len] == packet));
        let Some(Incoming::Datagram { from, .. }) = heard else { panic!("not heard") };
        assert_eq!(from.port, port, "where an answer is to go");
        // And an answer arrives, though all share the discovery port.
        let answer = token("answer");
        send(net, Destination::Addr(from), &answer);
        assert!(
            receive(&mut a, |incoming, buf| {
                matches!(incoming, Incoming::Datagram { len, .. } if buf[..*len] == answer)
            })
            .is_some()
        );
    }
}

#[test]
fn a_quiet_node_neither_multicasts_nor_hears_it() {
    let mut a = lan();
    let mut b = quiet();
    let packet = token("quiet");
    send(&mut a, Destination::Multicast, &packet);
    let datagram = |incoming: &Incoming, _: &[u8]| matches!(incoming, Incoming::Datagram { .. });
    assert_eq!(receive(&mut b, datagram), None);
}

#[test]
fn the_node_is_told_its_link_and_addresses_first() {
    let mut net = quiet();
    let told = receive(&mut net, |_, _| true);
    assert_eq!(told, Some(Incoming::Link { link: LINK, state: LinkState::Up { mtu: MTU as u16 } }));
}

#[test]
fn many_datagrams_come_without_a_wait_between_them() {
    let (mut a, mut b) = (quiet(), quiet());
    let to = Destination::Addr(b.local()[0].into());
    for i in 0..200u8 {
        send(&mut a, to, &[i; 100]);
    }
    let mut next = 0;
    while next < 200 {
        let got = receive(&mut b, |incoming, buf| matches!(incoming, Incoming::Datagram { .. }) && buf[0] == next);
        assert!(got.is_some(), "datagram {next}");
        next += 1;
    }
}

#[test]
fn a_refused_datagram_does_not_stop_the_socket() {
    let (mut a, mut b) = (quiet(), quiet());
    let gone = quiet().local()[0];
    for _ in 0..20 {
        send(&mut a, Destination::Addr(gone.into()), b"nobody there");
    }
    send(&mut a, Destination::Addr(Addr::default()), b"no address");
    send(&mut a, Destination::Addr("[2001:db8::1]:9".parse::<SocketAddr>().expect("an address").into()), b"no way");
    let to = Destination::Addr(a.local()[0].into());
    send(&mut b, to, b"still here");
    let here = |_: &Incoming, buf: &[u8]| buf.starts_with(b"still here");
    assert!(receive(&mut a, here).is_some());
}

#[test]
fn a_port_in_use_is_named() {
    let first = quiet();
    let at = first.local()[0];
    let error = Udp::open(Listen { at: Some(at), lan: false }).expect_err("in use");
    assert!(matches!(&error, Error::Listen { at: named, .. } if *named == at));
    assert!(error.to_string().contains("another program uses this port"), "{error}");
}

#[test]
fn interfaces_are_followed_without_joining_twice() {
    let mut net = lan();
    let all = net.interfaces.clone();
    // All gone, and all back again.
    if let Some(shared) = net.socket(net.shared_v4) {
        socket::follow_v4(shared, &all, &Interfaces::default());
    }
    if let Some(shared) = net.socket(net.shared_v6) {
        socket::follow_v6(shared, &all, &Interfaces::default());
    }
    net.interfaces = Interfaces::default();
    net.look();
    assert_eq!(net.interfaces, all);
    let mut other = lan();
    let packet = token("again");
    send(&mut other, Destination::Multicast, &packet);
    let heard =
        |incoming: &Incoming, buf: &[u8]| matches!(incoming, Incoming::Datagram { len, .. } if buf[..*len] == packet);
    assert!(receive(&mut net, heard).is_some());
}

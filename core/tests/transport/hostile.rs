//! §2.2: strangers, floods, and full tables.

use butter_core::config::Config;
use butter_core::memory::Limits;
use butter_core::node::Event;

use crate::world::{Fate, LINK, Packet, World, addr, config, node};

/// Bytes of a Hello.
const HELLO: usize = 177;

fn hello_of(world: &World) -> Packet {
    world.log.iter().find(|packet| packet.bytes.len() == HELLO).expect("somebody said Hello").clone()
}

/// Packets and bytes that a node wants to send now.
fn output(world: &mut World, at: usize) -> (usize, usize) {
    let mut buf = [0; 1400];
    let (mut packets, mut bytes) = (0, 0);
    while let Some(transmit) = world.members[at].node.poll_transmit(world.now, LINK, &mut buf) {
        (packets, bytes) = (packets + 1, bytes + transmit.len);
    }
    (packets, bytes)
}

#[test]
fn s2_2_strangers_hear_nothing() {
    let mut world = World::lan(2);
    world.run_ms(2_000);
    let other = world.add_node(node(9, 9, "other", config(), &Limits::DESKTOP, world.now), "10.0.0.9:5000", 9);
    output(&mut world, other);
    let log = world.log.clone();
    for packet in &log {
        let mut bytes = packet.bytes.clone();
        world.members[other].node.handle_datagram(world.now, LINK, packet.source, &mut bytes);
    }
    assert_eq!(output(&mut world, other), (0, 0));
    let counters = *world.members[other].node.counters();
    assert_eq!(counters.packets_unopened as usize, log.len());
    assert_eq!(world.members[other].node.peers().count(), 0);
}

#[test]
fn s2_2_no_byte_is_the_same_in_all_packets() {
    let mut world = World::lan(4);
    world.run_ms(60_000);
    for at in 0..28 {
        let first = world.log[0].bytes[at];
        assert!(world.log.iter().any(|packet| packet.bytes[at] != first), "byte {at} is always {first}");
    }
}

#[test]
fn s2_2_an_unproven_address_gets_no_more_than_it_sent() {
    let mut world = World::lan(6);
    world.run_ms(5_000);
    output(&mut world, 0);
    let pings: Vec<_> = world.log.iter().filter(|packet| packet.bytes.len() == 256).cloned().collect();
    for (i, ping) in pings.iter().enumerate() {
        let victim = addr(&format!("10.0.9.{}:9", i % 250 + 1));
        let mut bytes = ping.bytes.clone();
        world.members[0].node.handle_datagram(world.now, LINK, victim, &mut bytes);
        let (_, bytes) = output(&mut world, 0);
        assert!(bytes <= 256, "{bytes} bytes for a Ping");
    }
}

#[test]
fn s2_2_a_cookie_is_good_for_one_address_and_some_minutes() {
    let mut world = World::lan(2);
    world.run_ms(500);
    let hello = hello_of(&world);
    let before = *world.members[hello.to].node.counters();
    let mut bytes = hello.bytes.clone();
    world.members[hello.to].node.handle_datagram(world.now, LINK, addr("10.0.0.77:5000"), &mut bytes);
    assert_eq!(output(&mut world, hello.to), (0, 0));
    assert_eq!(world.members[hello.to].node.counters().cookies_bad, before.cookies_bad + 1);
    world.run_ms(250_000);
    let mut bytes = hello.bytes.clone();
    world.members[hello.to].node.handle_datagram(world.now, LINK, hello.source, &mut bytes);
    assert_eq!(world.members[hello.to].node.counters().cookies_bad, before.cookies_bad + 2);
}

#[test]
fn s2_4_every_packet_counts_once() {
    let mut world = World::lan(2);
    world.run_ms(30_000);
    let before: Vec<_> = world.members.iter().map(|member| member.events.clone()).collect();
    let log = world.log.clone();
    let replayed: u32 = world.members.iter().map(|member| member.node.counters().packets_replayed).sum();
    assert_eq!(replayed, 0);
    for packet in log.iter().chain(log.iter().rev()) {
        world.inject(packet.to, packet.source, packet.bytes.clone());
    }
    world.run_ms(30_000);
    for (member, before) in world.members.iter().zip(before) {
        assert_eq!(member.events, before, "replays change nothing");
        assert!(member.node.counters().packets_replayed > 0);
    }
    assert!(world.linked(0, 1));
}

#[test]
fn s2_4_damage_is_dropped() {
    let mut world = World::lan(2);
    world.run_ms(1_000);
    let log = world.log.clone();
    let events: Vec<_> = world.members.iter().map(|member| member.events.clone()).collect();
    for packet in &log {
        for bit in [0, 40, 8 * 12 + 3, 8 * packet.bytes.len() - 1] {
            let mut bytes = packet.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            world.inject(packet.to, packet.source, bytes);
        }
        for len in [0, 1, 27, 28, 29, packet.bytes.len() - 1] {
            world.inject(packet.to, packet.source, packet.bytes[..len.min(packet.bytes.len())].to_vec());
        }
    }
    world.run_ms(1_000);
    assert!(world.linked(0, 1));
    for (member, before) in world.members.iter().zip(events) {
        assert_eq!(member.events, before);
    }
}

#[test]
fn s2_3_a_flood_of_hellos_is_bounded() {
    let limits = Limits { handshakes: 2, ..Limits::DESKTOP };
    let mut world = World::new();
    world.add_node(node(1, 1, "test", config(), &limits, world.now), "10.0.0.1:5000", 0);
    for i in 2..6 {
        world.add(&format!("10.0.0.{i}:5000"), 0, config());
    }
    world.rule = Box::new(|packet| if packet.bytes.len() == 64 { Fate::Lose } else { Fate::Pass });
    world.run_ms(3_000);
    let hellos: Vec<_> =
        world.log.iter().filter(|packet| packet.to == 0 && packet.bytes.len() == HELLO).cloned().collect();
    assert!(hellos.len() > 4);
    output(&mut world, 0);
    for _ in 0..100 {
        for hello in &hellos {
            let mut bytes = hello.bytes.clone();
            world.members[0].node.handle_datagram(world.now, LINK, hello.source, &mut bytes);
        }
    }
    let (packets, _) = output(&mut world, 0);
    assert!(packets <= 4 + 8, "{packets} packets; at most two Welcomes and what was queued");
    let counters = world.members[0].node.counters();
    assert!(counters.handshakes_refused > 300, "{}", counters.handshakes_refused);
    // And it recovers.
    world.rule = Box::new(|_| Fate::Pass);
    world.run_ms(60_000);
    assert!((1..6).all(|at| at == 0 || at > 4 || world.linked(0, at)));
}

#[test]
fn s2_7_a_full_table_of_peers_makes_room_or_refuses() {
    let mut world = World::new();
    for i in 1..=8 {
        let limits = Limits { peers: 3, ..Limits::DESKTOP };
        world.add_node(node(i, i, "test", config(), &limits, world.now), &format!("10.0.0.{i}:5000"), 0);
    }
    world.run_ms(60_000);
    for member in &world.members {
        assert!(member.node.peers().count() <= 3);
        assert!(member.events.iter().any(|event| matches!(event, Event::PeerUp(_))), "nobody is left out");
    }
}

#[test]
fn s2_2_a_node_without_a_link_says_nothing_and_waits_for_nothing() {
    let mut world = World::new();
    let config = Config { exchange_interval_ms: 86_400_000, ..config() };
    let mut lone = node(1, 1, "test", config, &Limits::TINY, world.now);
    let mut buf = [0; 1400];
    for _ in 0..1_000 {
        let at = lone.deadline().expect("the cookie secret is renewed").at;
        world.now = world.now.max(at);
        lone.handle_timeout(world.now);
        assert_eq!(lone.poll_transmit(world.now, LINK, &mut buf), None);
    }
}

//! §9: introductions, hole punching and relaying.

use butter_core::config::Config;

use crate::world::{Fate, LINK, World, addr, config};

/// A public introducer (0) and two nodes (1, 2), each behind a router of its own.
fn two_behind_routers() -> World {
    let mut world = World::new();
    world.add("8.8.8.8:5000", 0, Config { lan: false, ..config() });
    for i in 1..=2u8 {
        let at = world.add(&format!("192.168.0.{i}:5000"), i, Config { lan: false, ..config() });
        world.members[at].nat = Some(addr(&format!("9.9.9.{i}:7000")));
    }
    world
}

fn join(world: &mut World, at: usize, address: &str) {
    let now = world.now;
    world.members[at].node.meet(now, LINK, addr(address)).unwrap();
}

#[test]
fn s9_1_introduced_hosts_meet_through_their_routers() {
    let mut world = two_behind_routers();
    // Else both may have heard of each other before anybody asks for an introduction.
    let mut lost = 0;
    world.rule = Box::new(move |packet| {
        let direct = packet.from.min(packet.to) == 1;
        lost += u32::from(direct);
        if direct && lost <= 6 { Fate::Lose } else { Fate::Pass }
    });
    join(&mut world, 1, "8.8.8.8:5000");
    world.run_ms(1_000);
    join(&mut world, 2, "8.8.8.8:5000");
    world.run_ms(5_000);
    assert!(world.linked(1, 2));
    assert_eq!(world.path(1, 2), Some(addr("9.9.9.2:7000")));
    assert_eq!(world.path(2, 1), Some(addr("9.9.9.1:7000")));
    assert!(world.members[0].node.counters().introductions >= 1);
}

#[test]
fn s9_2_a_relay_joins_those_who_cannot_meet_until_they_can() {
    let mut world = two_behind_routers();
    world.rule = Box::new(|packet| if packet.from.min(packet.to) == 1 { Fate::Lose } else { Fate::Pass });
    join(&mut world, 1, "8.8.8.8:5000");
    world.run_ms(1_000);
    join(&mut world, 2, "8.8.8.8:5000");
    world.run_ms(8_000);
    assert!(world.linked(1, 2));
    let path = world.path(2, 1).unwrap();
    assert_eq!(path.with_slot(0), addr("8.8.8.8:5000"));
    assert_ne!(path.slot, 0);
    assert!(world.members[0].node.counters().packets_relayed > 4);
    // What barred them is gone.
    world.run_ms(20_000);
    world.rule = Box::new(|_| Fate::Pass);
    world.run_ms(70_000);
    assert!(world.linked(1, 2));
    assert_eq!(world.path(1, 2), Some(addr("9.9.9.2:7000")), "the direct path is taken");
    assert_eq!(world.path(2, 1), Some(addr("9.9.9.1:7000")));
    let roamed: u32 = world.members.iter().map(|member| member.node.counters().peers_roamed).sum();
    assert!(roamed >= 2, "{roamed}");
}

#[test]
fn s9_2_two_networks_joined_at_one_port_reach_each_other() {
    let mut world = World::new();
    // One network behind a router that forwards a port to its first node; the other behind a router that does not.
    let lan = |world: &mut World, n: u8, place: u8| {
        (1..=n).map(|i| world.add(&format!("192.168.{place}.{i}:5000"), place, config())).collect::<Vec<_>>()
    };
    let near = lan(&mut world, 2, 1);
    let far = lan(&mut world, 2, 2);
    for (i, at) in near.iter().chain(&far).enumerate() {
        let router = if near.contains(at) { 1 } else { 2 };
        world.members[*at].nat = Some(addr(&format!("9.9.9.{router}:{}", 7000 + i)));
    }
    world.run_ms(2_000);
    assert!(world.linked(near[0], near[1]) && world.linked(far[0], far[1]));
    // Forwarded: anybody may come in there.
    let outside = [addr("9.9.9.2:7002"), addr("9.9.9.2:7003")];
    world.members[near[0]].opened.extend(outside);
    join(&mut world, far[0], "9.9.9.1:7000");
    world.run_ms(30_000);
    assert!(world.linked(far[0], near[0]));
    assert!(world.linked(far[0], near[1]), "the one that joined reaches those behind the open port");
    assert!(world.linked(far[1], near[0]) || world.is_up(far[1], far[0]), "and its neighbours hear of them");
}

#[test]
fn s9_2_nobody_is_sent_what_he_did_not_ask_for() {
    let mut world = two_behind_routers();
    world.rule = Box::new(|packet| if packet.from.min(packet.to) == 1 { Fate::Lose } else { Fate::Pass });
    join(&mut world, 1, "8.8.8.8:5000");
    world.run_ms(1_000);
    join(&mut world, 2, "8.8.8.8:5000");
    world.run_ms(10_000);
    let before = *world.members[0].node.counters();
    let envelopes: Vec<_> = world.log.iter().filter(|packet| packet.to == 0).cloned().collect();
    for packet in envelopes {
        // From an address that is no client's.
        world.inject(0, addr("7.7.7.7:7"), packet.bytes);
    }
    let after = *world.members[0].node.counters();
    assert_eq!(after.packets_relayed, before.packets_relayed);
    assert!(after.relays_refused > before.relays_refused);
}

#[test]
fn s9_2_relaying_keeps_to_its_rate() {
    let mut world = two_behind_routers();
    let slow = Config { lan: false, relay_rate: 100, ..config() };
    world.members[0].node = crate::world::node(1, 50, "test", slow, &butter_core::memory::Limits::DESKTOP, world.now);
    world.members[0].node.handle_link(world.now, LINK, butter_core::addr::LinkState::Up { mtu: 1400 });
    world.rule = Box::new(|packet| if packet.from.min(packet.to) == 1 { Fate::Lose } else { Fate::Pass });
    join(&mut world, 1, "8.8.8.8:5000");
    world.run_ms(1_000);
    join(&mut world, 2, "8.8.8.8:5000");
    world.run_ms(30_000);
    let counters = world.members[0].node.counters();
    assert!(counters.relays_refused > 0 && counters.packets_relayed < 60, "{}", counters.packets_relayed);
}

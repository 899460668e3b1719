//! §3: finding each other on a network, and at addresses given by hand.

use butter_core::config::Config;
use butter_core::node::Refused;

use crate::world::{Fate, LINK, World, addr, config};

fn all_linked(world: &World) -> bool {
    let n = world.members.len();
    (0..n).all(|a| (0..n).all(|b| a == b || world.linked(a, b)))
}

#[test]
fn s3_five_nodes_know_each_other_within_a_second() {
    let mut world = World::lan(5);
    world.run_ms(1_000);
    assert!(all_linked(&world));
}

#[test]
fn s3_without_multicast_the_subnet_is_swept() {
    let mut world = World::new();
    world.multicast_passes = false;
    for i in [3, 77, 78, 140, 254] {
        world.add(&format!("10.0.0.{i}:28883"), 0, config());
    }
    world.run_ms(10_000);
    assert!(all_linked(&world));
    // And the sweep ends.
    let before = world.sent;
    world.run_ms(60_000);
    assert!(world.sent - before < 5_000, "{} packets", world.sent - before);
}

#[test]
fn s3_a_sweep_is_paced() {
    let mut world = World::new();
    world.multicast_passes = false;
    world.add("10.0.0.9:28883", 0, config());
    let mut most = 0;
    for _ in 0..100 {
        let before = world.members[0].node.counters().packets_out;
        world.run_ms(100);
        most = most.max(world.members[0].node.counters().packets_out - before);
    }
    assert!((32..=70).contains(&most), "{most} packets in 100 ms");
    let sent = world.members[0].node.counters().packets_out;
    assert!((254..=300).contains(&sent), "{sent} packets in 10 s");
}

#[test]
fn s3_no_lan_means_no_search() {
    let mut world = World::new();
    for i in 1..=3 {
        world.add(&format!("10.0.0.{i}:5000"), 0, Config { lan: false, ..config() });
    }
    world.run_ms(60_000);
    assert_eq!(world.sent, 0);
}

#[test]
fn s3_an_address_given_by_hand_is_never_given_up() {
    let mut world = World::new();
    world.add("10.0.0.1:5000", 0, Config { lan: false, ..config() });
    let now = world.now;
    assert_eq!(world.members[0].node.meet(now, LINK, addr("224.0.0.1:5")), Err(Refused::Invalid));
    world.members[0].node.meet(now, LINK, addr("10.0.1.1:5000")).unwrap();
    world.run_ms(3_600_000);
    world.add("10.0.1.1:5000", 1, Config { lan: false, ..config() });
    world.run_ms(80_000);
    assert!(world.linked(0, 1));
    // It goes, for an hour, and comes back.
    world.members[1].alive = false;
    world.run_ms(3_600_000);
    world.members[1].alive = true;
    world.run_ms(80_000);
    assert!(world.linked(0, 1));
}

#[test]
fn s3_a_large_network_does_not_answer_as_one() {
    let mut world = World::lan(60);
    world.run_ms(20_000);
    let before = world.log.len();
    world.add("10.0.0.200:5000", 0, config());
    world.run_ms(5_000);
    let answers = world.log[before..].iter().filter(|packet| packet.to == 60 && !packet.multicast);
    let answers = answers.filter(|packet| packet.bytes.len() > 177 && packet.bytes.len() <= 256).count();
    assert!((1..=70).contains(&answers), "{answers} Pongs");
    assert!((0..60).any(|at| world.linked(60, at)));
}

#[test]
fn s3_listed_hosts_stay_silent() {
    let mut world = World::lan(3);
    world.run_ms(5_000);
    let before = world.log.len();
    world.rule = Box::new(|_| Fate::Pass);
    world.run_ms(70_000);
    let pings = world.log[before..].iter().filter(|packet| packet.multicast).count();
    let pongs = world.log[before..]
        .iter()
        .filter(|packet| !packet.multicast && (150..=256).contains(&packet.bytes.len()) && packet.bytes.len() != 177);
    assert!((3..12).contains(&pings), "each pings after 30 s, and less often while nobody new answers: {pings}");
    assert!(pongs.count() <= 2 * pings / 3);
}

#[test]
fn s3_late_starters_are_found_without_multicast() {
    let mut world = World::new();
    world.multicast_passes = false;
    for i in [3, 77, 78, 140, 254] {
        world.add(&format!("10.0.0.{i}:28883"), 0, config());
        world.run_ms(370);
    }
    world.run_ms(9_000);
    assert!(all_linked(&world));
}

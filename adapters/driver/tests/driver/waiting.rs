//! When the loop waits, and what a wait never loses.

use std::ops::ControlFlow;

use butter_core::addr::LinkId;
use butter_core::crypto::{Crypto, SecretKey};
use butter_core::id::route;
use butter_core::node::Destination;
use butter_core::wire::{Facts, HostRecord};
use butter_crypto::RustCrypto;
use butter_driver::{BURST, FLUSH_MS};

use crate::world::{Poked, World, addr};

const END: fn(&mut butter_core::Node<'_>, butter_core::time::Instant) -> ControlFlow<()> =
    |_, _| ControlFlow::Break(());

#[test]
fn n3_a_full_link_is_left_alone_and_other_links_go_on() {
    let mut world = World::new(1);
    world.net.full = vec![LinkId(0)];
    world.want_to_send(0, 3);
    world.want_to_send(1, 3);
    assert_eq!(world.poke(), Poked::Waits, "a full link does not spin");
    assert!(world.net.sent.iter().all(|(link, ..)| *link == LinkId(1)));
    assert!(world.net.sent.len() >= 3, "the other link goes on");
    let held = world.net.offered.clone();
    assert!(held.iter().all(|packet| *packet == held[0]), "nothing is encoded for a full link: {}", held.len());
}

#[test]
fn a_held_packet_survives_the_loop_and_goes_first() {
    let mut world = World::new(1);
    world.net.full = vec![LinkId(0)];
    world.want_to_send(0, 3);
    world.poke();
    world.poke();
    let held = world.net.offered[0].clone();
    assert_eq!(world.net.offered.last(), Some(&held));
    world.net.full.clear();
    assert_eq!(world.poke(), Poked::Waits);
    assert_eq!(world.net.sent[0], held);
    for n in 1..=3 {
        let times = world.net.sent.iter().filter(|(_, to, _)| *to == Destination::Addr(addr(n))).count();
        assert_eq!(times, 1, "packet {n}");
    }
}

#[test]
fn the_loop_sleeps_until_the_nodes_deadline_and_no_longer() {
    let mut world = World::new(1);
    let deadline = world.node.deadline().expect("discovery goes on").at;
    assert_eq!(world.clock.armed, Some(deadline));
    world.clock.now = deadline;
    assert_eq!(world.poke(), Poked::Waits);
    assert!(world.node.deadline().is_none_or(|next| next.at > deadline), "what was due is done");
}

#[test]
fn more_than_a_burst_goes_out_before_the_loop_waits() {
    let mut world = World::new(1);
    let many = 2 * BURST as u16 + 5;
    let now = world.clock.now;
    for n in 1..=many {
        let id = RustCrypto.node_id(&SecretKey([100 + n as u8; 32]));
        let record = HostRecord { id, addr: addr(n), facts: Facts::default(), age_s: 0 };
        world.node.remember(now, &record, LinkId(0));
        world.node.call(now, record.id, route("any/1"), b"", 1_000).expect("a way is known");
    }
    world.clock.now = now.plus_ms(1);
    assert_eq!(world.poke(), Poked::Waits);
    let told = |n| world.net.sent.iter().any(|(_, to, _)| *to == Destination::Addr(addr(n)));
    assert_eq!((1..=many).filter(|n| told(*n)).count(), usize::from(many));
}

#[test]
fn the_end_waits_for_what_is_to_be_sent() {
    let mut world = World::new(1);
    world.net.full = vec![LinkId(0)];
    world.app.work.push_back(Box::new(|node, now| {
        node.meet(now, LinkId(0), addr(1)).expect("room");
        node.meet(now, LinkId(0), addr(2)).expect("room");
        node.handle_timeout(now);
        ControlFlow::Break(())
    }));
    // One loop from here on: that it is to end is its own knowledge.
    let mut seen = Vec::new();
    world.run_with(|net, _, round| {
        seen.push(net.sent.len());
        if round == 2 {
            net.full.clear();
        }
        round < 10
    });
    assert_eq!(seen[..2], [0, 0], "a full link is waited for");
    assert_eq!(world.net.sent.len(), 2);
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let mut world = World::new(1);
    world.net.full = vec![LinkId(0)];
    world.want_to_send(0, 1);
    world.app.work.push_back(Box::new(END));
    let start = world.clock.now;
    let ended = world.run_with(|_, clock, round| {
        clock.now = start.plus_ms(round * 100);
        round < 100
    });
    assert_eq!(ended, Some(FLUSH_MS / 100));
    assert!(world.net.sent.is_empty());
}

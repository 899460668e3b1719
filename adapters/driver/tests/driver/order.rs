//! What the loop does first, and that nobody is starved.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use butter_driver::{Incoming, ROUNDS};

use crate::world::{Poked, World, addr};
use butter_core::addr::{Addr, LinkId};

fn noise() -> (Incoming, Vec<u8>) {
    (Incoming::Datagram { link: LinkId(0), from: addr(9), len: 40 }, vec![7; 40])
}

#[test]
fn deadlines_come_before_the_application_and_that_before_strangers() {
    let mut world = World::new(1);
    world.pass();
    let (due, packets) = (world.clock.now, world.node.counters().packets_in);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    world.app.work.push_back(Box::new(move |node, _| {
        let later = node.deadline().is_none_or(|deadline| deadline.at > due);
        log.borrow_mut().push((later, node.counters().packets_in));
        ControlFlow::Continue(())
    }));
    world.net.incoming.push_back(noise());
    assert_eq!(world.poke(), Poked::Waits);
    assert_eq!(*seen.borrow(), [(true, packets)], "the deadline was served, the datagram was not");
    assert_eq!(world.node.counters().packets_in, packets + 1);
}

#[test]
fn an_application_that_never_rests_starves_nobody() {
    let mut world = World::new(1);
    for _ in 0..10 * ROUNDS {
        world.app.work.push_back(Box::new(|_, _| ControlFlow::Continue(())));
        world.net.incoming.push_back(noise());
    }
    let polled = world.disk.polled;
    world.net.received = 0;
    assert_eq!(world.poke(), Poked::Yields, "other tasks run, too");
    assert_eq!(world.net.received, ROUNDS, "each round takes a datagram");
    assert_eq!(world.disk.polled - polled, ROUNDS);
}

#[test]
fn a_flood_ends_when_all_is_taken() {
    let mut world = World::new(1);
    world.net.incoming.extend((0..3 * ROUNDS).map(|_| noise()));
    world.net.received = 0;
    let mut polls = 0;
    while world.poke() == Poked::Yields {
        polls += 1;
    }
    assert_eq!((polls, world.net.received), (3, 3 * ROUNDS));
}

/// Lets a node run, and takes what it sends to another.
fn carry(from: &mut World, to: &mut World, at: Addr) {
    while from.poke() == Poked::Yields {}
    for (link, _, packet) in from.net.sent.drain(..) {
        to.net.incoming.push_back((Incoming::Datagram { link, from: at, len: packet.len() }, packet));
    }
}

#[test]
fn two_nodes_meet_through_their_loops() {
    let (mut a, mut b) = (World::new(1), World::new(2));
    a.node.meet(a.clock.now, LinkId(0), addr(2)).expect("room");
    for _ in 0..200 {
        carry(&mut a, &mut b, addr(1));
        carry(&mut b, &mut a, addr(2));
        a.clock.now = a.clock.now.plus_ms(10);
        b.clock.now = a.clock.now;
    }
    for world in [&a, &b] {
        let up = |event: &butter_core::Event| matches!(event, butter_core::Event::PeerUp(_));
        assert_eq!(world.app.events.iter().filter(|event| up(event)).count(), 1, "{:?}", world.app.events);
    }
}

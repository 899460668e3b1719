//! Known hosts between nodes wired in memory (PROTOCOL §4).

#[allow(dead_code)] // Shared with the tests of the transport.
#[path = "transport/world.rs"]
mod world;

use butter_core::addr::LinkId;
use butter_core::hosts::{HostInfo, Standing};
use world::World;

const LINK: LinkId = LinkId(0);

/// Nodes that know nobody and hear no multicast.
fn apart(n: usize) -> World {
    let mut world = World::lan(n);
    world.multicast_passes = false;
    world
}

fn known(world: &World, a: usize, b: usize) -> Option<HostInfo> {
    let id = world.members[b].node.id();
    world.members[a].node.hosts().find(|host| host.id == id)
}

fn tell(world: &mut World, a: usize, b: usize) {
    let (id, addr) = (world.members[b].node.id(), world.members[b].addr);
    let record = butter_core::wire::HostRecord { id, addr, facts: Default::default(), age_s: 60 };
    let now = world.now;
    world.members[a].node.remember(now, &record, LINK);
}

/// How many of the ordered pairs of living nodes know each other.
fn pairs(world: &World, is: impl Fn(&HostInfo) -> bool) -> usize {
    let alive: Vec<usize> = (0..world.members.len()).filter(|n| world.members[*n].alive).collect();
    let pair = |a: usize, b: usize| a != b && known(world, a, b).is_some_and(|host| is(&host));
    alive.iter().map(|a| alive.iter().filter(|b| pair(*a, **b)).count()).sum()
}

#[test]
fn s4_5_one_remembered_host_leads_to_all_others() {
    let mut world = apart(8);
    (1..8).for_each(|n| tell(&mut world, n, 0));
    let all = (1..=60).find(|_| {
        world.run_ms(500);
        pairs(&world, |host| host.standing == Standing::Met) == 8 * 7
    });
    println!("8 nodes that remember one host have all met after {:?} half seconds", all);
    assert!(pairs(&world, |_| true) == 8 * 7);
    let facts = known(&world, 3, 5).unwrap().facts;
    assert!(facts.hosts >= 1 && facts.free > 0, "{facts:?}");
    assert!(world.members.iter().all(|m| m.node.hosts_known() == 7));
}

#[test]
fn s4_5_idle_exchanges_cost_little() {
    let mut world = apart(8);
    (1..8).for_each(|n| tell(&mut world, n, 0));
    world.run_ms(600_000);
    let asked = |world: &World| world.members.iter().map(|m| m.node.counters().exchanges).sum::<u32>();
    let before = asked(&world);
    world.log.clear();
    world.run_ms(600_000);
    // What discovery says to addresses where nobody is does not count here.
    let bytes: usize = world.log.iter().map(|packet| packet.bytes.len()).sum();
    let rate = bytes / 8 / 600;
    println!("8 idle nodes: {rate} B/s each, {} exchanges in 10 minutes", asked(&world) - before);
    assert!(rate <= 64, "{rate} bytes per second with no beats");
}

#[test]
fn s4_6_the_dead_leave_and_the_returned_are_found_again() {
    let mut world = apart(6);
    (1..6).for_each(|n| tell(&mut world, n, 0));
    world.run_ms(60_000);
    world.members[5].alive = false;
    let gone = (1..=120).find(|_| {
        world.run_ms(5_000);
        (0..5).all(|n| known(&world, n, 5).is_none_or(|host| host.standing == Standing::Vanished))
    });
    println!("a dead host is known for dead by all after {gone:?} times 5 s");
    assert!(gone.is_some());
    world.members[5].alive = true;
    let back = (1..=120).find(|_| {
        world.run_ms(5_000);
        (0..5).all(|n| known(&world, n, 5).is_some_and(|host| host.standing != Standing::Vanished))
    });
    println!("one that returns is known for alive by all after {back:?} times 5 s");
    assert!(back.is_some());
}

#[test]
fn s4_6_two_halves_find_each_other_again() {
    let mut world = apart(8);
    (1..8).for_each(|n| tell(&mut world, n, 0));
    world.run_ms(60_000);
    world.rule = Box::new(|packet| match packet.from % 2 == packet.to % 2 {
        true => world::Fate::Pass,
        false => world::Fate::Lose,
    });
    world.run_ms(120_000);
    world.rule = Box::new(|_| world::Fate::Pass);
    let healed = (1..=60).find(|_| {
        world.run_ms(5_000);
        pairs(&world, |host| host.standing == Standing::Met) == 8 * 7
    });
    println!("after a split of two minutes all have met again after {healed:?} times 5 s");
    assert!(healed.is_some());
}

#[test]
fn s4_6_known_hosts_survive_a_restart() {
    let mut world = apart(3);
    (1..3).for_each(|n| tell(&mut world, n, 0));
    world.run_ms(20_000);
    let saved: Vec<_> = world.members[2].node.hosts().map(|host| (host.record(), host.link)).collect();
    assert_eq!(saved.len(), 2);
    world.members[2].node =
        world::node(3, 77, "test", world::config(), &butter_core::memory::Limits::DESKTOP, world.now);
    let now = world.now;
    let node = &mut world.members[2].node;
    node.handle_link(now, LINK, butter_core::addr::LinkState::Up { mtu: 1400 });
    saved.iter().for_each(|(record, link)| node.remember(now, record, *link));
    world.run_ms(10_000);
    assert!((0..2).all(|n| known(&world, 2, n).is_some_and(|host| host.standing == Standing::Met)));
}

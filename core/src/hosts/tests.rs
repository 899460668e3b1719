mod exchange;

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::room::MIX;
use super::*;
use crate::table::Store;

fn lent<T>(n: usize, make: impl Fn() -> T) -> Store<'static, T> {
    Store::Lent(Box::leak((0..n).map(|_| make()).collect::<Box<[T]>>()))
}

fn table(limit: usize) -> Hosts<'static> {
    let cells = limit + limit / 2 + 2;
    Hosts::new(lent(limit, || Slot::EMPTY), lent(cells, || 0), lent(cells, || 0), lent(limit, || Grave::EMPTY), 0x5eed)
}

fn id(n: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    NodeId(id)
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> Addr {
    Addr::from(core::net::SocketAddr::from(([a, b, c, d], 4242)))
}

fn lan(n: u32) -> Addr {
    v4(10, (n >> 16) as u8, (n >> 8) as u8, n as u8)
}

fn facts(uptime: u8, free: u8, hosts: u8) -> Facts {
    Facts { uptime, free, hosts, flags: Facts::MAINS, place: 0 }
}

/// A table with a clock and its own random numbers and counters.
struct World {
    hosts: Hosts<'static>,
    now_s: u32,
    rng: Rng,
    counters: Counters,
}

impl World {
    fn new(limit: usize, seed: u8) -> Self {
        World { hosts: table(limit), now_s: 1 << 17, rng: Rng::new([seed; 16]), counters: Counters::default() }
    }

    fn hear_from(&mut self, n: u32, addr: Addr, facts: Facts, age_s: u16, teller: Option<u32>) -> bool {
        let mut turn = Turn { now_s: self.now_s, rng: &mut self.rng, counters: &mut self.counters };
        let teller = teller.and_then(|teller| self.hosts.find(&id(teller)));
        self.hosts.hear(&mut turn, &HostRecord { id: id(n), addr, facts, age_s }, LinkId(0), teller)
    }

    fn hear(&mut self, n: u32, facts: Facts) -> bool {
        self.hear_from(n, lan(n), facts, 10, None)
    }

    fn meet(&mut self, n: u32, facts: Facts) -> bool {
        let mut turn = Turn { now_s: self.now_s, rng: &mut self.rng, counters: &mut self.counters };
        self.hosts.meet(&mut turn, id(n), Some((lan(n), LinkId(0))), 2_500, Some(facts))
    }

    fn dead(&mut self, n: u32) {
        let mut turn = Turn { now_s: self.now_s, rng: &mut self.rng, counters: &mut self.counters };
        self.hosts.dead(&mut turn, &id(n));
    }

    fn down(&mut self, n: u32) {
        self.hosts.mark_down(&id(n), self.now_s);
    }

    fn turn(&mut self) -> (&mut Hosts<'static>, Turn<'_>) {
        (&mut self.hosts, Turn { now_s: self.now_s, rng: &mut self.rng, counters: &mut self.counters })
    }

    fn knows(&self, n: u32) -> Option<Standing> {
        self.hosts.find(&id(n)).and_then(|handle| self.hosts.hosts.get(handle)).map(|host| host.standing)
    }

    fn random_facts(&mut self) -> Facts {
        facts(self.rng.below(20) as u8, self.rng.below(24) as u8, self.rng.below(14) as u8)
    }

    /// Recomputes all sums, counts and indices from the entries.
    fn check(&self) {
        let entries: Vec<(Handle, &Host)> = self.hosts.hosts.iter().collect();
        let mut counts = BTreeMap::new();
        let mut narrow = BTreeMap::new();
        let mut wide = [0u16; WIDE];
        let (mut sums, mut living) = ([0u32; 3], 0u32);
        for (handle, host) in &entries {
            assert_eq!(self.hosts.find(&host.id), Some(*handle));
            *counts.entry((host.standing, host.class)).or_insert(0u16) += 1;
            if host.standing != Standing::Vanished {
                living += 1;
                let values = [host.facts.uptime, host.facts.free, host.facts.hosts];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += u32::from(value));
            }
            if host.standing == Standing::Heard && host.addr.is_public() {
                wide[self.hosts.wide_bucket(&host.addr)] += 1;
                *narrow.entry(host.addr.prefix()).or_insert(0) += 1;
            }
        }
        for standing in [Standing::Heard, Standing::Met, Standing::Vanished] {
            for (class, count) in self.hosts.census.counts(standing).into_iter().enumerate() {
                let naive = counts.get(&(standing, HostClass(class as u8))).copied().unwrap_or(0);
                assert_eq!(count, naive, "{standing:?} {class}");
            }
        }
        let means = sums.map(|sum| sum * 256 / living.max(1));
        assert_eq!(self.hosts.census.means(), means);
        assert_eq!(self.hosts.wide, wide);
        assert!(narrow.values().all(|n| *n <= 2), "at most 2 per /24: {narrow:?}");
        let limit = self.hosts.hosts.limit();
        assert!(self.hosts.census.count(Standing::Heard) <= limit - limit / 4);
    }
}

#[test]
fn s4_2_counts_sums_and_indices_stay_exact_through_any_changes() {
    for seed in 1..6 {
        for limit in [1, 2, 5, 16, 100] {
            let mut world = World::new(limit, seed);
            for step in 0..3_000 {
                world.now_s += world.rng.below(30);
                let n = world.rng.below(3 * limit as u32 + 3);
                let facts = world.random_facts();
                match world.rng.below(8) {
                    0 => world.dead(n),
                    1 => world.down(n),
                    2 | 3 => {
                        world.meet(n, facts);
                    }
                    4 => {
                        let age = world.rng.below(100) as u16;
                        world.hear_from(n, lan(n), facts, age, Some(n / 2));
                    }
                    _ => {
                        let (a, b) = (1 + world.rng.below(6) as u8, world.rng.below(3) as u8);
                        world.hear_from(n, v4(a, b, 3, n as u8), facts, 0, None);
                    }
                }
                if step % 31 == 0 {
                    world.check();
                }
            }
            world.check();
        }
    }
}

#[test]
fn s4_2_classes_follow_the_means() {
    let mut world = World::new(64, 1);
    for n in 0..40 {
        let facts = world.random_facts();
        world.hear(n, facts);
    }
    // Enough changes for every class to be compared again, while the means stay.
    for _ in 0..16 {
        world.down(0);
        let handle = world.hosts.find(&id(0)).unwrap();
        world.hosts.change(handle, |_| {});
    }
    let living: Vec<&Host> = world.hosts.hosts.iter().map(|(_, host)| host).collect();
    let mean_above = |value: fn(&Host) -> u8, host: &Host| {
        let sum: u32 = living.iter().map(|host| u32::from(value(host))).sum();
        u32::from(value(host)) * living.len() as u32 > sum
    };
    for host in &living {
        let naive = u8::from(mean_above(|h| h.facts.uptime, host)) * HostClass::UPTIME
            + u8::from(mean_above(|h| h.facts.free, host)) * HostClass::FREE
            + u8::from(mean_above(|h| h.facts.hosts, host)) * HostClass::HOSTS;
        assert_eq!(host.class, HostClass(naive));
    }
}

#[test]
fn s4_2_a_full_table_trades_the_common_for_the_rare() {
    let mut world = World::new(32, 2);
    for n in 0..32 {
        world.meet(n, facts(5, 5, 5));
        world.down(n);
    }
    // Rare hosts come: each takes the place of a common one.
    for n in 100..108 {
        assert!(world.meet(n, facts(9, 1, 9)), "{n}");
        world.down(n);
    }
    assert!((100..108).all(|n| world.knows(n) == Some(Standing::Met)));
    assert_eq!(world.counters.hosts_evicted, 8);
    // Common ones are refused but for a small chance.
    let taken = (1_000..11_000).filter(|n| world.meet(*n, facts(5, 5, 5))).count() as u32;
    let expected = 10_000 / MIX;
    assert!((expected - expected / 4..expected + expected / 4).contains(&taken), "{taken}");
    assert!((100..108).all(|n| world.knows(n) == Some(Standing::Met)), "the rare stay");
    world.check();
}

#[test]
fn s4_2_the_least_useful_of_the_crowd_makes_room() {
    let mut world = World::new(16, 3);
    for n in 0..16 {
        world.meet(n, facts(5, 5, 5));
        world.down(n);
        world.now_s += if n == 6 { 0 } else { 1 };
    }
    world.now_s += 1_000;
    for n in (0..16).filter(|n| *n != 6) {
        world.meet(n, facts(5, 5, 5));
        world.down(n);
    }
    assert!(world.meet(99, facts(9, 9, 9)));
    assert_eq!(world.knows(6), None, "the one unheard for longest went");
}

#[test]
fn s4_3_nobody_is_left_out() {
    // Three nodes with room for one host each, meeting in every order: all end up connected.
    for seed in 1..=200 {
        let mut nodes = [World::new(1, seed), World::new(1, seed ^ 0x55), World::new(1, seed ^ 0xaa)];
        let mut rng = Rng::new([seed; 16]);
        for round in 0..30 {
            let a = rng.below(3) as usize;
            let b = (a + 1 + rng.below(2) as usize) % 3;
            let said = [a, b].map(|x| facts(3, 3, bits(nodes[x].hosts.len() as u32) as u8));
            let lonely = said[0].hosts == 0;
            nodes[a].meet(b as u32, said[1]);
            nodes[b].meet(a as u32, said[0]);
            assert!(!lonely || nodes[b].knows(a as u32).is_some(), "a host that knows nobody was refused");
            [a, b].iter().zip([b, a]).for_each(|(x, y)| nodes[*x].down(y as u32));
            let edges = |x: usize| (0..3).filter(move |y| x != *y).map(move |y| (x, y));
            let mut reached = BTreeSet::from([0]);
            for _ in 0..3 {
                for (x, y) in (0..3).flat_map(edges).filter(|(x, y)| nodes[*x].knows(*y as u32).is_some()) {
                    if reached.contains(&x) || reached.contains(&y) {
                        reached.extend([x, y]);
                    }
                }
            }
            let all_met = nodes.iter().all(|node| node.hosts.len() == 1);
            assert!(!all_met || reached.len() == 3, "seed {seed}, round {round}");
            assert!(round < 29 || all_met);
        }
    }
}

#[test]
fn s4_4_hearsay_never_takes_the_place_of_met_hosts() {
    let mut world = World::new(64, 4);
    for n in 0..48 {
        world.meet(n, facts(5, 5, 5));
        world.down(n);
    }
    for n in 1_000..20_000 {
        let facts = world.random_facts();
        world.hear(n, facts);
    }
    assert!((0..48).all(|n| world.knows(n) == Some(Standing::Met)));
    assert_eq!(world.hosts.census.count(Standing::Heard), 16);
    // And in an empty table it leaves a quarter for met ones.
    let mut world = World::new(64, 5);
    for n in 0..20_000 {
        world.hear(n, facts(1, 2, 3));
    }
    assert_eq!(world.hosts.census.count(Standing::Heard), 48);
    (20_000..20_016).for_each(|n| assert!(world.meet(n, facts(1, 2, 3))));
    world.check();
}

#[test]
fn s4_4_one_network_prefix_does_not_fill_the_table() {
    let mut world = World::new(400, 6);
    for n in 0..60_000u32 {
        let facts = world.random_facts();
        world.hear_from(n, v4(66, 6, (n >> 8) as u8, n as u8), facts, 0, None);
    }
    let heard = world.hosts.census.count(Standing::Heard);
    assert_eq!(heard, 30, "a tenth of the heard-of share from one /16");
    world.check();
    let crowded = world.counters.hosts_crowded;
    assert!(world.hear_from(70_000, v4(67, 9, 1, 1), facts(1, 1, 1), 0, None), "others still have room");
    assert_eq!(world.counters.hosts_crowded, crowded);
    // Repeating what was said gains nothing.
    assert!(!world.hear_from(70_000, v4(67, 9, 1, 1), facts(1, 1, 1), 0, None));
    // A host cannot be moved into a crowded prefix.
    world.hear_from(70_000, v4(66, 6, 0, 9), facts(1, 1, 1), 0, None);
    assert_eq!(world.hosts.hosts.get(world.hosts.find(&id(70_000)).unwrap()).unwrap().addr, v4(67, 9, 1, 1));
}

#[test]
fn s4_4_hearsay_does_not_move_a_host_that_answers() {
    let mut world = World::new(16, 7);
    world.meet(1, facts(1, 1, 1));
    world.down(1);
    world.hear_from(1, lan(77), facts(9, 9, 9), 0, None);
    let addr = |world: &World| world.hosts.hosts.get(world.hosts.find(&id(1)).unwrap()).unwrap().addr;
    assert_eq!(addr(&world), lan(1));
    assert!(!world.hosts.missed(&id(1)));
    world.hear_from(1, lan(77), facts(9, 9, 9), 0, None);
    assert_eq!(addr(&world), lan(77), "but one that does not may have moved");
}

#[test]
fn s4_6_the_well_known_vanish_and_the_others_are_dropped() {
    let mut world = World::new(16, 8);
    world.meet(1, facts(1, 1, 1));
    world.meet(2, facts(1, 1, 1));
    world.now_s += VANISH_AFTER_S;
    world.meet(1, facts(1, 1, 1));
    world.meet(3, facts(1, 1, 1));
    for n in 1..=3 {
        world.down(n);
    }
    world.hear(4, facts(1, 1, 1));
    world.dead(1);
    world.dead(3);
    world.dead(4);
    // The one place of the vanished is taken, so that a short acquaintance is dropped.
    assert_eq!([1, 2, 3, 4].map(|n| world.knows(n)), [Some(Standing::Vanished), Some(Standing::Met), None, None]);
    assert_eq!(world.counters.hosts_dead, 3);
    assert_eq!(world.hosts.len(), 1);
    // The last one is never given up, however short the acquaintance.
    let mut lone = World::new(16, 9);
    lone.hear(1, facts(1, 1, 1));
    lone.dead(1);
    assert_eq!((lone.knows(1), lone.hosts.len()), (Some(Standing::Vanished), 0));
}

#[test]
fn s4_6_vanished_hosts_are_dialled_less_and_less_and_return() {
    let mut world = World::new(16, 10);
    world.meet(1, facts(1, 1, 1));
    world.now_s += VANISH_AFTER_S;
    world.meet(1, facts(1, 1, 1));
    world.down(1);
    world.dead(1);
    let mut dials = Vec::new();
    for _ in 0..86_400 {
        world.now_s += 1;
        if world.hosts.next_to_refresh(world.now_s, &mut world.rng).is_some() {
            dials.push(world.now_s);
            world.dead(1);
        }
    }
    let waits: Vec<u32> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!(waits.first() <= Some(&60) && waits.last() == Some(&300), "{waits:?}");
    // Somebody heard it since: dialled at once.
    world.now_s += 1;
    world.hear_from(1, lan(9), facts(1, 1, 1), 0, None);
    assert_eq!(world.hosts.next_to_refresh(world.now_s, &mut world.rng), Some(id(1)));
    world.meet(1, facts(1, 1, 1));
    assert_eq!(world.knows(1), Some(Standing::Met));
    world.check();
}

#[test]
fn s4_6_few_places_are_safe_for_the_vanished() {
    let mut world = World::new(64, 11);
    for n in 0..40 {
        world.meet(n, facts(1, 1, 1));
    }
    world.now_s += VANISH_AFTER_S;
    for n in 0..40 {
        world.meet(n, facts(1, 1, 1));
        world.down(n);
        world.dead(n);
    }
    assert_eq!(world.hosts.census.count(Standing::Vanished), 40, "with room, all are remembered");
    for n in 100..200 {
        let facts = world.random_facts();
        world.meet(n, facts);
    }
    assert_eq!(world.hosts.census.count(Standing::Vanished), 4, "a sixteenth of the table");
    world.check();
}

#[test]
fn s4_6_refresh_dials_the_one_unheard_for_longest() {
    let mut world = World::new(16, 12);
    for n in 0..10 {
        world.meet(n, facts(1, 1, 1));
        world.down(n);
        world.now_s += 100;
    }
    let dialled: Vec<_> = (0..20).filter_map(|_| world.hosts.next_to_refresh(world.now_s, &mut world.rng)).collect();
    assert_eq!(dialled.first(), Some(&id(0)));
    assert_eq!(dialled.iter().collect::<BTreeSet<_>>().len(), dialled.len(), "nobody twice in a second");
}

#[test]
fn s5_2_recruits_are_alive_and_unlike() {
    let mut world = World::new(64, 13);
    let at = |c: u8, d: u8| v4(10, 0, c, d);
    let members = [(at(1, 1), facts(5, 5, 5)), (at(2, 1), facts(5, 5, 5))];
    for n in 0..20 {
        world.hear_from(n, at(1, n as u8), facts(5, 5, 5), 0, None);
    }
    world.hear_from(30, at(3, 1), facts(5, 5, 5), 0, None);
    world.hear_from(31, at(3, 2), Facts { flags: Facts::NO_STORAGE, ..facts(9, 9, 9) }, 0, None);
    world.hear_from(32, at(4, 1), facts(5, 5, 5), 300, None);
    world.hear_from(33, at(5, 1), facts(5, 0, 5), 0, None);
    world.hear_from(34, at(1, 99), Facts { flags: Facts::TINY, ..facts(2, 2, 2) }, 0, None);
    let mut recruits = |tiny, excluded: u32| {
        let (hosts, rng) = (&world.hosts, &mut world.rng);
        hosts.recruit(world.now_s, rng, &members, tiny, &mut |other| *other == id(excluded))
    };
    let chosen = recruits(false, 999);
    assert_eq!(chosen.len(), 8);
    assert_eq!(chosen.first(), Some(&id(30)), "another prefix comes first");
    assert!(!chosen.contains(&id(31)) && !chosen.contains(&id(33)), "no storage, no room");
    assert!(!chosen.contains(&id(32)), "not heard for minutes");
    assert_eq!(recruits(true, 999).first(), Some(&id(34)));
    assert!(!recruits(false, 30).contains(&id(30)));
}

#[test]
fn s4_5_a_random_sample_reaches_every_host() {
    let mut world = World::new(200, 14);
    for n in 0..150 {
        world.meet(n, facts(1, 1, 1));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let picked = world.hosts.sample::<8>(&mut world.rng, 8, |_| true);
        assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), 8);
        seen.extend(picked);
    }
    assert_eq!(seen.len(), 150);
}

#[test]
fn s4_introducers_are_remembered_while_they_are_known() {
    let mut world = World::new(16, 15);
    world.meet(1, facts(1, 1, 1));
    world.hear_from(2, lan(2), facts(1, 1, 1), 5, Some(1));
    assert_eq!(world.hosts.teller(&id(2)), Some(id(1)));
    world.dead(1);
    assert_eq!(world.hosts.teller(&id(2)), None);
}

#[test]
fn s4_2_ten_thousand_hosts_cost_little_each() {
    let mut world = World::new(10_000, 16);
    let start = std::time::Instant::now();
    const CHANGES: u32 = 20_000;
    for n in 0..CHANGES {
        let facts = world.random_facts();
        if n % 3 == 0 {
            world.meet(n, facts)
        } else {
            world.hear(n, facts)
        };
    }
    let each = start.elapsed() / CHANGES;
    std::println!("10,000 hosts: {each:?} per newcomer, {} evicted", world.counters.hosts_evicted);
    // Far from a scan of the table even on a busy machine without optimisation.
    assert!(each < core::time::Duration::from_millis(1), "a newcomer costs {each:?}");
    world.check();
}

//! What goes wrong in the world, and that nodes live with it.

use butter_core::node::Destination;
use butter_core::time::Instant;
use butter_sim::scenario::units::Time;
use butter_sim::{
    Churn, DiskFaults, DiskModel, Dist, Domain, FakeCrypto, Machine, PARTITIONS_MAX, SegmentId, Spec, Then, Trace, Way,
    Who, World, WorldConfig,
};

fn known(world: &World<'_>, who: Who) -> usize {
    world.node(who).map_or(0, |node| node.hosts_known())
}

fn sessions(world: &World<'_>, who: Who) -> usize {
    world.node(who).map_or(0, |node| node.peers().filter(|peer| peer.1.up).count())
}

#[test]
fn a_node_that_restarts_with_its_disk_knows_the_hosts_it_knew() {
    for keep_disk in [true, false] {
        let crypto = FakeCrypto::new();
        let mut world = World::new(&crypto, WorldConfig::default());
        world.add_all(5, &Spec::default());
        world.run_for(5_000);
        assert_eq!(known(&world, Who(0)), 4);
        // Nothing that it could find them by.
        world.net().set_casts(SegmentId(0), false, false);
        world.restart_after(Who(0), keep_disk, Time::from_s(2));
        world.run_for(1_999);
        assert!(!world.is_up(Who(0)));
        world.run_for(1);
        assert!(world.is_up(Who(0)));
        assert_eq!(known(&world, Who(0)), if keep_disk { 4 } else { 0 });
        assert_eq!(world.clock(Who(0)).as_micros(), 0, "its clock starts with it");
    }
}

#[test]
fn a_restart_that_was_overtaken_does_not_happen() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    let who = world.add(&Spec::default());
    world.restart_after(who, true, Time::from_s(5));
    world.restart_after(who, true, Time::from_s(1));
    world.run_for(2_000);
    assert!(world.is_up(who));
    world.kill(who);
    world.run_for(5_000);
    assert!(!world.is_up(who), "the first restart was for a boot that never was");
}

#[test]
fn a_clock_that_jumps_back_is_clamped_and_one_that_drifts_still_talks() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    let nodes = world.add_all(3, &Spec::default());
    let fast = world.add(&Spec { drift_ppb: 50_000_000, ..Spec::default() });
    world.run_for(20_000);
    assert_eq!(world.clock(fast).as_millis(), 21_000, "5 % too fast");
    assert_eq!(world.counter("time_clamped"), 0);
    world.clock_jump(nodes[0], -2_000_000);
    world.clock_jump(nodes[1], 30_000_000);
    assert_eq!(world.clock(nodes[0]).as_millis(), 18_000);
    world.run_for(5_000);
    assert!(world.counter("time_clamped") > 0);
    world.clock_drift(nodes[2], -50_000_000);
    world.run_for(60_000);
    assert!(world.up().all(|who| known(&world, who) == 3 && sessions(&world, who) > 0));
}

#[test]
fn a_partition_heals_by_itself() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    let nodes = world.add_all(4, &Spec::default());
    world.run_for(5_000);
    world.partition(&nodes[..2], None, Way::Both, Time::from_s(10)).unwrap();
    world.partition(&nodes[..1], Some(&nodes[1..2]), Way::Out, Time::from_s(5)).unwrap();
    let replaced = world.replace(nodes[0]);
    let before = world.net().counters().cut;
    world.run_for(9_999);
    assert!(sessions(&world, replaced) <= 1, "it stands where the other stood");
    let during = world.net().counters().cut;
    assert!(during > before);
    world.run_for(1);
    world.run_for(60_000);
    assert_eq!(world.net().counters().cut, during);
    assert_eq!(known(&world, replaced), 3);
    assert!((0..PARTITIONS_MAX).all(|_| world.partition(&nodes, None, Way::Both, Time::from_ms(1)).is_some()));
    assert!(world.partition(&nodes, None, Way::Both, Time::from_ms(1)).is_none());
}

#[test]
fn a_domain_dies_as_one() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    for i in 0..12u16 {
        let spec = Spec { site: 1 + i % 3, power: 1 + i % 2, prefix: Some(i / 4), public: true, ..Spec::default() };
        world.add(&Spec { tells_site: true, ..spec });
    }
    world.run_for(1_000);
    assert_eq!(world.node(Who(1)).map(|node| node.config().place), Some(2));
    assert_eq!(world.kill_domain(Domain::Site(1)), [Who(0), Who(3), Who(6), Who(9)]);
    let prefix = Domain::Prefix(world.addr(Who(4)).prefix());
    assert_eq!(world.kill_domain(prefix), [Who(4), Who(5), Who(7)]);
    assert_eq!(world.kill_domain(Domain::Power(2)), [Who(1), Who(11)]);
    assert_eq!(world.up().count(), 3);
}

#[test]
fn a_slow_worn_or_full_disk_costs_copies_and_never_wrong_bytes() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    let disk = DiskModel { op_us: 2_000, bytes_per_s: 1_000_000, cycles: 0 };
    let machine = Machine::desktop().with(|machine| machine.disk = disk);
    let nodes = world.add_all(5, &Spec { machine, ..Spec::default() });
    world.run_for(5_000);
    let bytes = |n: u8| vec![n; 3_000];
    let first = world.put(nodes[0], bytes(1)).unwrap();
    world.disk_faults(nodes[1], DiskFaults { slow: 50, ..DiskFaults::default() });
    world.disk_faults(nodes[2], DiskFaults { full: true, ..DiskFaults::default() });
    world.disk_faults(nodes[3], DiskFaults { damaging_permille: 1_000, ..DiskFaults::default() });
    world.disk_faults(nodes[4], DiskFaults { failing_permille: 300, ..DiskFaults::default() });
    let keys: Vec<_> = (2..20).filter_map(|n| world.put(nodes[0], bytes(n)).map(|key| (n, key))).collect();
    for (n, key) in [(1, first)].into_iter().chain(keys) {
        for who in &nodes {
            if let Some(got) = world.get(*who, key) {
                assert_eq!(got, bytes(n));
            }
        }
    }
    assert_eq!(world.get(nodes[0], first), Some(bytes(1)));
}

#[test]
fn a_torn_write_leaves_the_old_block_or_one_that_is_seen_to_be_bad() {
    let (mut torn, mut none) = (0, 0);
    for seed in 0..40 {
        let crypto = FakeCrypto::new();
        let mut world = World::new(&crypto, WorldConfig { seed, ..WorldConfig::default() });
        let machine = Machine::desktop().with(|machine| machine.disk.bytes_per_s = 100_000);
        let who = world.add(&Spec { machine, ..Spec::default() });
        world.run_for(3_000);
        world.disk_faults(who, DiskFaults { torn: true, ..DiskFaults::default() });
        world.begin_put(who, vec![7; 4_096]).unwrap();
        let busy = world.run_until(5_000, |world| world.disk(who).is_busy());
        assert!(busy, "{seed}");
        world.kill(who);
        match world.disk(who).iter().next() {
            // What is read is hashed before it is used, and this is not the hash that it is stored under.
            Some((_, bytes)) => torn += u32::from(bytes.len() == 4_096 && bytes[4_095] == 0),
            None => none += 1,
        }
    }
    assert!(torn > 20 && torn + none == 40, "{torn} {none}");
}

#[test]
fn nodes_that_churn_killed_come_back() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    world.add_all(20, &Spec::default());
    world.run_for(5_000);
    let lives = Dist::Weibull { scale: Time::from_s(20), shape_ppm: 500_000 };
    let then = Then::Return { down: Dist::Uniform(Time::from_s(1), Time::from_s(5)), keep_disk: true };
    world.churn(Churn { lives, then }, Time::from_s(120));
    world.run_for(60_000);
    assert!(world.up().count() < 20, "some are down");
    world.run_for(70_000);
    assert_eq!((world.up().count(), world.len()), (20, 20));
    // 20 nodes, 120 s, lives of 40 s on average and 3 s down: 56 deaths are expected, and fewer at first.
    assert!((20..100).contains(&world.churned()), "{}", world.churned());
    world.run_for(60_000);
    assert!(world.up().all(|who| known(&world, who) == 19));
}

#[test]
fn a_place_stays_empty_until_the_replacement_comes() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    world.add_all(10, &Spec::default());
    let then = Then::Replace(Dist::Always(Time::from_s(5)));
    world.churn(Churn { lives: Dist::Always(Time::from_s(20)), then }, Time::from_s(20));
    world.run_for(20_000);
    assert!(world.up().count() < 10 && world.len() > 10);
    world.run_for(5_000);
    assert_eq!(world.up().count(), 10);
}

#[test]
fn a_trace_is_followed() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    world.run_for(1_000);
    let trace = Trace::read("0 0 up\n1 1 up\n3 0 down\n3 2 up\n10 0 up\n12 1 down").unwrap();
    world.follow(&trace, &Spec::default(), true);
    let mut up = Vec::new();
    for _ in 0..14 {
        world.run_for(1_000);
        up.push(world.up().count());
    }
    assert_eq!(up, [2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 2, 2, 2]);
    assert_eq!(world.len(), 3, "who comes back is the same");
}

#[test]
fn nobody_hears_a_dead_node() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    let who = world.add(&Spec::default());
    world.kill(who);
    let mut sent = Vec::new();
    world.net().send(Instant::ZERO, who, Destination::Multicast, 100, &mut sent);
    assert!(sent.is_empty());
}

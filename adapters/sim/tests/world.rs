//! The world itself: time, faults, and that the same seed gives the same run.

use butter_sim::scenario::units::{Share, Time};
use butter_sim::{Churn, FakeCrypto, Loss, Machine, Path, Spec, Who, World, WorldConfig};

/// 40 nodes on a bad network, under churn, for 40 virtual seconds.
fn busy(crypto: &FakeCrypto, seed: u64) -> World<'_> {
    let lan = Path {
        loss: Loss::Independent(Share::from_ppm(50_000)),
        duplicate: Share::from_ppm(20_000),
        reorder: Share::from_ppm(20_000),
        ..Path::LAN
    };
    let mut world = World::new(crypto, WorldConfig { seed, lan, ..WorldConfig::default() });
    let machine = Machine::desktop().with(|machine| machine.disk.op_us = 500);
    for i in 0..40 {
        world.add_at(
            &Spec { machine: machine.clone(), public: i % 2 == 0, ..Spec::default() },
            world.now().plus_ms(i * 10),
        );
    }
    world.run_for(10_000);
    world.churn(Churn::replacing(Time::from_s(50)), Time::from_s(20));
    world.pause(Who(3), 2_000);
    world.run_for(30_000);
    world
}

#[test]
fn churn_kills_at_its_rate_and_replaces() {
    let killed: u32 = (0..5).map(|seed| busy(&FakeCrypto::new(), seed).churned()).sum();
    // 5 runs × 40 nodes × 20 s / 50 s = 80 deaths expected, standard deviation 9.
    assert!((53..107).contains(&killed), "{killed}");
    let crypto = FakeCrypto::new();
    let mut world = busy(&crypto, 1);
    assert_eq!(world.up().count(), 40);
    assert_eq!(world.len(), 40 + world.churned() as usize);
    world.churn(Churn::killing(Time::from_s(1)), Time::from_s(60));
    world.run_for(60_000);
    assert_eq!(world.up().count(), 0);
    world.run_for(1_000);
    assert_eq!(world.in_flight(), 0, "packets to the dead vanish");
}

#[test]
fn a_run_depends_on_its_seed_only() {
    let outcome = |seed| {
        let crypto = FakeCrypto::new();
        let world = busy(&crypto, seed);
        (world.trace(), world.steps(), world.churned(), world.counters())
    };
    let once = outcome(5);
    let again = std::thread::spawn(move || outcome(5)).join().unwrap();
    assert_eq!(once, again);
    assert_ne!(once.1, outcome(6).1);
}

#[test]
fn a_restarted_node_keeps_its_name_and_a_replaced_one_does_not() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    let first = world.add(&Spec::default());
    world.run_for(1_000);
    let (id, addr) = (world.id(first), world.addr(first));
    world.restart(first, true);
    world.run_for(1_000);
    assert!(world.is_up(first));
    assert_eq!(world.node(first).map(|node| node.id()), Some(id));
    let second = world.replace(first);
    assert!(!world.is_up(first) && world.is_up(second));
    assert_ne!((world.id(second), world.addr(second)), (id, addr));
}

//! Worlds that begin with a topology, and of mixed machines.

use butter_sim::scenario::units::Share;
use butter_sim::{FakeCrypto, Machine, SegmentId, Spec, Topology, Who, World, WorldConfig, mixed};

/// Hosts that the node that knows fewest knows.
fn least_known(world: &World<'_>) -> usize {
    world.up().filter_map(|who| world.node(who)).map(|node| node.hosts_known()).min().unwrap_or(0)
}

#[test]
fn nodes_that_know_few_others_come_to_know_all_without_multicast() {
    let all = [
        Topology::Ring,
        Topology::Star,
        Topology::RandomRegular { degree: 4 },
        Topology::PowerLaw { links: 2 },
        Topology::TwoClusters { degree: 3 },
    ];
    for topology in all {
        let crypto = FakeCrypto::new();
        let mut world = World::new(&crypto, WorldConfig { seed: 2, ..WorldConfig::default() });
        let machine = Machine::desktop().with(|machine| machine.config.lan = false);
        let nodes = world.add_all(20, &Spec { machine, segment: SegmentId::NONE, ..Spec::default() });
        world.run_for(100);
        assert_eq!(least_known(&world), 0);
        world.introduce(&nodes, &topology).unwrap();
        assert!(least_known(&world) >= 1, "{topology:?}");
        let found = world.run_until(600_000, |world| least_known(world) == 19);
        assert!(found, "{topology:?}: {}", least_known(&world));
    }
}

#[test]
fn machines_of_all_kinds_keep_what_is_put() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig { seed: 2, ..WorldConfig::default() });
    let kinds = ["microcontroller", "board", "laptop", "server"];
    let shares = [40, 30, 20, 10].map(|percent| Share::from_ppm(percent * 10_000));
    for kind in mixed(2, 20, &shares) {
        world.add(&Spec { machine: Machine::named(kinds[kind]).unwrap(), ..Spec::default() });
    }
    world.run_for(10_000);
    let keys: Vec<_> = (0..10u8).filter_map(|n| world.put(Who(n.into()), vec![n; 4_096])).collect();
    assert_eq!(keys.len(), 10);
    world.run_for(10_000);
    let got = keys.iter().filter(|key| world.get(Who(19), **key).is_some()).count();
    assert_eq!(got, 10);
}

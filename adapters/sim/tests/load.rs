//! Loads on a running world.

use butter_sim::scenario::units::{Rate, Share, Time};
use butter_sim::{Churn, Doing, Ended, FakeCrypto, Load, Popularity, Spec, Tally, World, WorldConfig};

fn load() -> Load {
    let percent = |n: u32| Share::from_ppm(n * 10_000);
    Load {
        rate: Rate::every(Time::from_ms(50)),
        put: percent(20),
        get: percent(50),
        absent: percent(10),
        call: percent(20),
        popularity: Popularity::Zipf(800_000),
        records: 500,
        ..Load::default()
    }
}

#[test]
fn a_load_does_what_it_says_and_everything_ends_well() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig { seed: 3, ..WorldConfig::default() });
    world.add_all(20, &Spec::default());
    world.run_for(5_000);
    let bytes = vec![1; 10_000];
    let hash = World::hash(&bytes);
    let key = world.put(butter_sim::Who(0), bytes).unwrap();
    world.load(load(), Time::from_s(60), &[(key, hash)]);
    world.run_for(90_000);
    let (open, done) = (world.loading(), world.loaded());
    assert_eq!((open, done.skipped, done.operations.len()), (0, 0, 500));
    let tally = |doing| done.tallies.get(&doing).copied().unwrap_or_default();
    // 1,200 operations are expected.
    for (doing, expected) in [(Doing::Put, 240), (Doing::Get, 600), (Doing::Absent, 120), (Doing::Call, 240)] {
        let Tally { begun, .. } = tally(doing);
        assert!(begun.abs_diff(expected) < expected / 4, "{doing:?}: {begun}");
        assert_eq!(tally(doing).of(Ended::Well), begun, "{doing:?}: {:?}", tally(doing));
        assert!(tally(doing).took_us / begun < 1_000_000, "{doing:?}");
    }
    assert!(tally(Doing::Get).contacts > 0);
    assert!(done.operations.is_sorted_by_key(|operation| operation.began.as_micros() + operation.took_us));
}

#[test]
fn under_churn_operations_end_one_way_or_the_other_and_never_wrong() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig { seed: 4, ..WorldConfig::default() });
    world.add_all(20, &Spec::default());
    world.run_for(5_000);
    world.load(load(), Time::from_s(60), &[]);
    world.churn(Churn::replacing(Time::from_s(30)), Time::from_s(60));
    world.run_for(240_000);
    assert_eq!(world.loading(), 0);
    let done = world.loaded();
    let sum = |ended: Ended| done.tallies.values().map(|tally| tally.of(ended)).sum::<u64>();
    let all: u64 = done.tallies.values().flat_map(|tally| tally.ended).sum();
    assert_eq!(all, done.tallies.values().map(|tally| tally.begun).sum::<u64>() + sum(Ended::Refused));
    assert_eq!(sum(Ended::Wrong), 0);
    assert!(sum(Ended::Well) > all * 8 / 10, "{done:?}");
    assert!(done.operations[..100].iter().all(|operation| operation.began.as_millis() >= 5_000));
}

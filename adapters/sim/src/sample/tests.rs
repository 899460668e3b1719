use super::*;
use crate::scenario::units::Time;
use crate::{Churn, Job, Machine, Outcome, Spec, Who, WorldConfig};

/// A world of `n` nodes, each of which puts one item when 10 s old.
fn settled<'c>(crypto: &'c FakeCrypto, n: usize, seed: u64, sampler: &mut Sampler<'c>) -> World<'c> {
    let mut world = World::new(crypto, WorldConfig { seed, ..WorldConfig::default() });
    let spec = Spec { machine: Machine::desktop(), ..Spec::default() };
    let nodes = world.add_all(n, &spec);
    sampler.phase(&mut world, "form");
    sampler.run_for(&mut world, 10_000);
    let put = |world: &mut World<'c>, who: &Who| world.begin_put(*who, who.0.to_le_bytes().repeat(100)).unwrap();
    let jobs: Vec<Job> = nodes.iter().map(|who| put(&mut world, who)).collect();
    assert!(world.finish(&jobs));
    for job in jobs {
        sampler.keep(world.outcome(job).and_then(Outcome::key).unwrap());
    }
    sampler.run_for(&mut world, 20_000);
    world
}

fn sampled(look: bool) -> (Samples, u128) {
    let crypto = FakeCrypto::new();
    let mut sampler = Sampler::new(1000, Some(&crypto), true);
    let mut world = settled(&crypto, 12, 3, &mut sampler);
    world.churn(Churn::replacing(Time::from_s(60)), Time::from_s(20));
    if look {
        sampler.phase(&mut world, "churn");
        sampler.run_for(&mut world, 20_000);
    } else {
        world.run_for(20_000);
    }
    (sampler.finish(&mut world), world.trace())
}

#[test]
fn a_settled_world_is_seen_as_it_is() {
    let (samples, _) = sampled(true);
    let last = |name: &str| *samples.values(name).last().unwrap();
    assert!(samples.series.iter().all(|series| series.values.len() == samples.at_s.len()));
    assert_eq!(last("nodes"), 12.0);
    let at = samples.at_s.iter().position(|at| *at >= 30.0).unwrap();
    let then = |name: &str| samples.values(name)[at];
    assert_eq!((then("3"), then("held"), then("goldilocks"), then("known hosts")), (100.0, 100.0, 100.0, 11.0));
    assert!(samples.values("held")[0].is_nan(), "there is no share of nothing");
    let classes: f32 = ["---", "u--", "-f-", "uf-", "--h", "u-h", "-fh", "ufh"].map(then).iter().sum();
    assert!((classes - 100.0).abs() < 0.01, "{classes}");
    // A beat every 2 s to the two others of each group, and one beat serves all groups that two nodes share.
    assert!((0.3..6.0).contains(&then("beats")), "{}", then("beats"));
    let kinds: f64 = traffic::names(true).map(|name| f64::from(then(name))).sum();
    assert!((1.0..2000.0).contains(&kinds) && then("signs of life") > 1.0, "{kinds}");
    assert_eq!(samples.phases.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["form", "churn"]);
}

#[test]
fn bytes_by_kind_add_up_to_what_nodes_counted() {
    let crypto = FakeCrypto::new();
    let mut sampler = Sampler::new(1000, Some(&crypto), false);
    let world = settled(&crypto, 6, 1, &mut sampler);
    let bytes = traffic::bytes(world.counter("bytes_out"), Some(&crypto));
    assert_eq!(bytes.iter().sum::<u64>(), world.counter("bytes_out"));
    assert!(bytes.iter().all(|bytes| *bytes > 0), "{bytes:?}");
    assert_eq!(traffic::bytes(7, None), [7]);
}

#[test]
fn looking_changes_nothing() {
    let (seen, trace) = sampled(true);
    assert_eq!(sampled(false).1, trace);
    assert_eq!(format!("{:?}", sampled(true).0), format!("{seen:?}"));
}

#[test]
fn moments_and_graphs_are_bounded() {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig::default());
    world.add(&Spec::default());
    let mut sampler = Sampler::new(100, None, true);
    sampler.run_for(&mut world, 1_000_000);
    let samples = sampler.finish(&mut world);
    assert!((MOMENTS_MAX / 2..=MOMENTS_MAX + 1).contains(&samples.at_s.len()), "{}", samples.at_s.len());
    assert!((GRAPHS_MAX / 2..=GRAPHS_MAX + 1).contains(&samples.graphs.len()), "{}", samples.graphs.len());
    assert!(samples.at_s.is_sorted() && samples.at_s.last() == Some(&1000.0));
    let gaps: Vec<f64> = samples.at_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap < 7.0), "{gaps:?}");
}

#[test]
fn a_graph_shows_at_most_its_limits() {
    let crypto = FakeCrypto::new();
    let mut sampler = Sampler::new(1000, None, true);
    let mut world = settled(&crypto, 80, 2, &mut sampler);
    let graph = sampler.finish(&mut world).graphs.pop().unwrap();
    assert_eq!((graph.up, graph.nodes.len()), (80, 80));
    assert!(graph.known_all > 2000 && graph.known.len() == 2000, "{} {}", graph.known_all, graph.known.len());
    assert!(graph.known.iter().chain(&graph.together).all(|(a, b)| a < b && usize::from(*b) < 80));
    assert!(graph.nodes.iter().all(|node| node.age_s >= 30.0));
    // Few groups keep everything: at least one of three members.
    assert!(graph.together_all >= 3, "{}", graph.together_all);
}

#[test]
fn lookups_are_counted_by_contacts() {
    let mut sampler = Sampler::new(1000, None, false);
    [Some(1), Some(1), Some(0), None, Some(u32::MAX)].into_iter().for_each(|contacts| sampler.lookup(contacts));
    assert_eq!((&sampler.lookups.found[..3], sampler.lookups.missed), (&[1, 2, 0][..], 1));
    assert_eq!((sampler.lookups.found.len(), sampler.lookups.found[CONTACTS_MAX]), (CONTACTS_MAX + 1, 1));
}

#[test]
fn rates_are_taken_over_no_short_time() {
    let moment = |ms: u64, count: u64| Moment {
        at: Instant::from_millis(ms),
        up: 2,
        known: 0,
        copies: [0; COPIES],
        seats: [0; 3],
        classes: [0; 8],
        rising: vec![count],
    };
    let moments = [moment(0, 0), moment(1000, 20), moment(1010, 120), moment(2000, 120), moment(3000, 120)];
    let rates = rates(&moments, 0, 500_000);
    // 100 in 10 ms would be 5000 per node and second; over the second before it is about 59.
    assert_eq!((rates[0], rates[1], rates[3], rates[4]), (10.0, 10.0, 0.0, 0.0));
    assert!((rates[2] - 60.0 / 1.01).abs() < 0.1, "{rates:?}");
}

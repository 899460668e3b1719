//! What standing groups cost while nothing happens, and what the repair of a dead node costs.

use butter_core::crypto::Crypto;
use butter_sim::World;
use butter_sim::report::{bootstrap_95, mean};

use crate::{Settings, say};

/// Virtual milliseconds that a world has to come to rest: the exchange interval has stretched to its most.
const REST_MS: u64 = 3_600_000;
/// Packets of everything.
const COUNTED: [&str; 7] =
    ["bytes_out", "packets_out", "beats_out", "probes_out", "exchanges", "handshakes_begun", "pointer_batches"];

fn counted(world: &World<'_>) -> [f64; 7] {
    let all = world.counters();
    COUNTED.map(|name| all.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, n)| *n as f64))
}

/// Nodes that have items and nothing to do.
pub(crate) fn idle(s: &Settings, crypto: &dyn Crypto) {
    let (runs, seconds) = (s.runs.unwrap_or(20), s.seconds.unwrap_or(1800));
    let mut figures: [Vec<f64>; 7] = Default::default();
    let (mut partners, mut held, mut groups, mut wakes, mut worst) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0.0);
    for run in 0..runs {
        let (mut world, nodes) = s.world(crypto, s.seed + run, s.nodes);
        s.fill(&mut world, s.seed + run, &nodes);
        world.net().set_path(Default::default(), &s.path());
        world.run_for(REST_MS);
        let each = |world: &World<'_>| -> Vec<f64> {
            nodes.iter().map(|who| world.node(*who).map_or(0.0, |node| f64::from(node.counters().bytes_out))).collect()
        };
        let (before, before_each, woken) = (counted(&world), each(&world), world.wakes_total());
        world.run_for(u64::from(seconds) * 1000);
        let per = f64::from(s.nodes) * f64::from(seconds);
        for (i, after) in counted(&world).into_iter().enumerate() {
            figures[i].push((after - before[i]) / per);
        }
        wakes.push((world.wakes_total() - woken) as f64 / per);
        for (after, before) in each(&world).into_iter().zip(before_each) {
            worst = f64::max(worst, (after - before) / f64::from(seconds));
        }
        let n = f64::from(s.nodes);
        let members = |who: &butter_sim::Who| {
            let mut all: Vec<_> =
                world.node(*who).into_iter().flat_map(|node| node.groups()).flat_map(|g| g.members).collect();
            all.sort_unstable();
            all.dedup();
            all.len().saturating_sub(1) as f64
        };
        partners.push(nodes.iter().map(members).sum::<f64>() / n);
        let items = |who: &butter_sim::Who| -> f64 {
            world.node(*who).into_iter().flat_map(|node| node.groups()).map(|g| f64::from(g.items)).sum()
        };
        held.push(nodes.iter().map(items).sum::<f64>() / n);
        groups.push(world.groups().len() as f64);
    }
    println!("{}, {seconds} s after {} s of rest", s.head("idle", "", runs), REST_MS / 1000);
    let (low, high) = bootstrap_95(&figures[0], s.seed);
    say(
        "bytes sent",
        format!("{:.1}", mean(&figures[0])),
        &format!("per node and second, UDP payload, every packet [{low:.1}, {high:.1}] (95 %)"),
    );
    say("of the busiest node", format!("{worst:.1}"), "the same, the most of any node of any world");
    for (name, figure) in COUNTED.iter().zip(&figures).skip(1) {
        say(name, format!("{:.4}", mean(figure)), "per node and second");
    }
    say("wakes", format!("{:.2}", mean(&wakes)), "calls of handle_timeout per node and second");
    say("partners", format!("{:.2}", mean(&partners)), "other live members of its groups, per node");
    say("items held", format!("{:.1}", mean(&held)), "per node");
    say("groups", format!("{:.1}", mean(&groups)), "in a world");
}

/// Bytes that all nodes have sent.
fn bytes(world: &World<'_>) -> f64 {
    world.counter("bytes_out") as f64
}

/// Kills one node and counts what the others send until every group is whole again, or lets the items of a member differ.
pub(crate) fn repair(s: &Settings, crypto: &dyn Crypto) {
    let runs = s.runs.unwrap_or(20);
    let (mut ratio, mut floor, mut took, mut unhealed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for run in 0..runs {
        let (mut world, nodes) = s.world(crypto, s.seed + run, s.nodes);
        s.fill(&mut world, s.seed + run, &nodes);
        world.net().set_path(Default::default(), &s.path());
        world.run_for(REST_MS);
        // What it sends anyway.
        let before = bytes(&world);
        world.run_for(60_000);
        let idle = (bytes(&world) - before) / 60_000.0;
        // Somebody who holds something.
        let holds = |who: &butter_sim::Who| -> u64 {
            world.node(*who).into_iter().flat_map(|node| node.groups()).map(|group| group.bytes).sum()
        };
        let Some(victim) = nodes.iter().copied().max_by_key(|who| holds(who)) else { continue };
        let lost = holds(&victim) as f64;
        let idle = idle * f64::from(s.nodes - 1) / f64::from(s.nodes);
        world.kill(victim);
        let (from, began) = (bytes(&world), world.now());
        world.run_for(3_000);
        if !world.run_until(600_000, |world| world.all_goldilocks()) {
            unhealed += 1;
        }
        let whole = world.now();
        // Hints and news of the repair belong to it, too.
        world.run_for(30_000);
        let ms = world.now().since(began) as f64 / 1000.0;
        ratio.push((bytes(&world) - from - idle * ms) / lost);
        floor.push(lost);
        took.push(whole.since(began) as f64 / 1e6);
    }
    println!("{}", s.head("repair", "; the node that holds most dies", runs));
    let (low, high) = bootstrap_95(&ratio, s.seed);
    say(
        "over the floor",
        format!("{:.3}", mean(&ratio)),
        &format!(
            "bytes sent (UDP payload) until all groups are whole + 30 s, less those of an idle minute, over bytes of the items that the dead one held [{low:.3}, {high:.3}] (95 %)"
        ),
    );
    say("floor", format!("{:.0}", mean(&floor)), "bytes of the items that the dead one held");
    say("seconds until whole", format!("{:.2}", mean(&took)), "all groups goldilocks, all members agreeing");
    say("not whole", unhealed, "worlds in which a group was not whole after 600 s");
}

//! How long a death goes unnoticed, and how often a living node is taken for dead. Both in a harness of three nodes, which
//! are one group.

use butter_core::crypto::Crypto;
use butter_sim::{Who, World};

use crate::{Settings, percentile, say};

/// Nodes of the harness.
const THREE: u32 = 3;
/// Virtual milliseconds in which a death must be noticed.
const NOTICED_MS: u32 = 60_000;

/// How many of the others still take a node for a live member of some group.
fn believers(world: &World<'_>, of: Who) -> usize {
    let id = world.id(of);
    let believes = |who: &Who| world.node(*who).is_some_and(|node| node.groups().any(|g| g.members.contains(&id)));
    world.up().filter(|who| *who != of).filter(believes).count()
}

/// Kills one of three again and again; it comes back with its disk after each.
pub(crate) fn detect(s: &Settings, crypto: &dyn Crypto) {
    let runs = s.runs.unwrap_or(200);
    let (mut world, nodes) = s.world(crypto, s.seed, THREE);
    s.fill(&mut world, s.seed, &nodes);
    world.net().set_path(Default::default(), &s.path());
    world.run_for(60_000);
    let (mut first, mut all) = (Vec::new(), Vec::new());
    let (mut unready, mut false_deaths) = (0, 0);
    for run in 0..runs {
        let who = nodes[(run % u64::from(THREE)) as usize];
        if !world.run_until(120_000, |world| world.all_goldilocks()) {
            unready += 1;
        }
        // Time for the loss to be measured, and a moment that no beat knows of.
        world.run_for(30_000 + run * 7919 % 1000);
        let deaths = world.counter("deaths");
        world.kill(who);
        let (mut one, mut both) = (None, None);
        for ms in 1..=NOTICED_MS {
            world.run_for(1);
            let left = believers(&world, who);
            if left < 2 && one.is_none() {
                one = Some(f64::from(ms) / 1000.0);
            }
            if left == 0 {
                both = Some(f64::from(ms) / 1000.0);
                break;
            }
        }
        first.push(one.unwrap_or(f64::INFINITY));
        all.push(both.unwrap_or(f64::INFINITY));
        false_deaths += world.counter("deaths").saturating_sub(deaths + 2);
        world.restart(who, true);
    }
    println!(
        "detection: 3 nodes, r = {}, beats {} ms, {} ‰ lost, latency {} µs; {runs} deaths, seed {}",
        s.replicas, s.beat_ms, s.loss, s.latency_us, s.seed
    );
    for (name, figures, rule) in [
        ("first", &mut first, "s from the crash until one of the two others has it not among the live members"),
        ("all", &mut all, "s from the crash until neither of the two others has it among the live members"),
    ] {
        figures.sort_by(f64::total_cmp);
        let (low, high) = interval_99(figures);
        say(&format!("{name} median"), format!("{:.3}", percentile(figures, 0.5)), rule);
        say(
            &format!("{name} p99"),
            format!("{:.3}", percentile(figures, 0.99)),
            &format!("[{low:.3}, {high:.3}] (95 %)"),
        );
        say(&format!("{name} max"), format!("{:.3}", percentile(figures, 1.0)), "");
    }
    say("not goldilocks before", unready, "deaths for which the group was not whole again after 120 s");
    say("verdicts besides", false_deaths, "verdicts about nodes that lived, within the time of detection");
    say("trace", format!("{:032x}", world.trace()), "");
}

/// The interval of a 99th percentile: order statistics at np ± 1.96 √(np(1 − p)).
fn interval_99(sorted: &[f64]) -> (f64, f64) {
    let n = sorted.len() as f64;
    let half = 1.96 * (n * 0.99 * 0.01).sqrt() / n;
    (percentile(sorted, 0.99 - half), percentile(sorted, (0.99 + half).min(1.0)))
}

/// Three nodes that live for long; every verdict is a false one.
pub(crate) fn verdicts(s: &Settings, crypto: &dyn Crypto) {
    // A world of ten hours at a time: node-hours over seeds are as good as node-hours in a row.
    let hours_each = 10;
    let worlds = s.hours.div_ceil(hours_each * u64::from(THREE));
    let (mut deaths, mut lost, mut short, mut items, mut doubts, mut bytes) = (Vec::new(), 0, 0, 0, 0, 0);
    let wall = std::time::Instant::now();
    for run in 0..worlds {
        let (mut world, nodes) = s.world(crypto, s.seed + run, THREE);
        let keys = s.fill(&mut world, s.seed + run, &nodes);
        world.net().set_path(Default::default(), &s.path());
        world.run_for(60_000);
        let before = ["deaths", "doubts", "bytes_out"].map(|name| world.counter(name));
        for _ in 0..hours_each {
            world.run_for(3_600_000);
            lost += keys.iter().filter(|key| world.holders(**key).next().is_none()).count();
        }
        let after = ["deaths", "doubts", "bytes_out"].map(|name| world.counter(name));
        deaths.push((after[0] - before[0]) as f64);
        doubts += after[1] - before[1];
        bytes += after[2] - before[2];
        items += keys.len();
        // Whatever was suspected, in the end all hold everything again.
        world.net().set_path(Default::default(), &butter_sim::Path { loss: butter_sim::Path::LAN.loss, ..s.path() });
        world.run_for(120_000);
        short += keys.iter().filter(|key| world.holders(**key).count() < THREE as usize).count();
    }
    let hours = (worlds * hours_each * u64::from(THREE)) as f64;
    let total: f64 = deaths.iter().sum();
    println!(
        "false verdicts: 3 nodes, r = {}, beats {} ms, {} ‰ lost, latency {} µs; {worlds} worlds of {hours_each} h, seeds {} to {}",
        s.replicas,
        s.beat_ms,
        s.loss,
        s.latency_us,
        s.seed,
        s.seed + worlds - 1
    );
    let (low, high) = poisson_95(total);
    say("node-hours", hours, "virtual hours × 3 nodes, after 60 s under loss");
    say("false verdicts", total, "counter `deaths`, summed over the nodes; nobody dies");
    say(
        "per node-hour",
        format!("{:.2e}", total / hours),
        &format!("[{:.2e}, {:.2e}] (95 %, Poisson)", low / hours, high / hours),
    );
    say("doubts per node-hour", format!("{:.1}", doubts as f64 / hours), "");
    say("bytes per node-second", format!("{:.1}", bytes as f64 / hours / 3600.0), "UDP payload, all packets");
    say("items lost", lost, &format!("of {items} acknowledged, no running node with the bytes at some full hour"));
    say("items short", short, "held by fewer than 3 nodes 120 s after the loss ended");
    say("wall", format!("{:.1} s", wall.elapsed().as_secs_f64()), "");
}

/// The exact 95 % interval of a count's mean (Garwood), by bisection of the Poisson distribution.
fn poisson_95(count: f64) -> (f64, f64) {
    let at_most = |k: f64, mean: f64| {
        let (mut term, mut sum) = ((-mean).exp(), 0.0);
        for i in 0..=k as u64 {
            sum += term;
            term *= mean / (i + 1) as f64;
        }
        sum
    };
    let solve = |enough: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 10.0 + 3.0 * count);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if enough(middle) { high = middle } else { low = middle }
        }
        high
    };
    let low = if count == 0.0 { 0.0 } else { solve(&|mean| 1.0 - at_most(count - 1.0, mean) >= 0.025) };
    (low, solve(&|mean| at_most(count, mean) <= 0.025))
}

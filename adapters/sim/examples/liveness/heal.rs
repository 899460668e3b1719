//! A partition, and what is felt of it after it healed.

use butter_core::crypto::Crypto;
use butter_sim::Way;
use butter_sim::report::{bootstrap_95, mean};

use crate::{Settings, percentile, say};

/// Virtual milliseconds in which it must be over.
const HEAL_MS: u64 = 300_000;

/// Seconds of a lease that ends within the cut.
const LEASE_S: u32 = 20;

/// Cuts the world in two for a while. Both halves go on putting.
pub(crate) fn heal(s: &Settings, crypto: &dyn Crypto) {
    let (runs, seconds) = (s.runs.unwrap_or(20), s.seconds.unwrap_or(30));
    let (mut took, mut full, mut lost, mut unhealed, mut surplus) = (Vec::new(), Vec::new(), 0, 0, 0);
    let (mut items, mut expired, mut returned, mut short) = (0, 0, 0, 0);
    for run in 0..runs {
        let (mut world, nodes) = s.world(crypto, s.seed + run, s.nodes);
        let mut keys = s.fill(&mut world, s.seed + run, &nodes);
        world.net().set_path(Default::default(), &s.path());
        world.run_for(60_000);
        // An item whose lease ends while the world is in two.
        let mut spec = s.spec();
        spec.machine.config.lease_s = LEASE_S;
        let guest = world.add(&spec);
        world.run_for(5_000);
        let mayfly = world.put(guest, s.item(s.seed + run, guest, 0));
        let odd: Vec<_> = nodes.iter().copied().filter(|who| who.0 % 2 == 1).collect();
        world.net().partition(&odd, None, Way::Both);
        let cut = world.now();
        let puts: Vec<_> =
            nodes.iter().filter_map(|who| world.begin_put(*who, s.item(s.seed + run, *who, u32::MAX)).ok()).collect();
        world.run_to(cut.plus_ms(seconds * 1000));
        keys.extend(puts.iter().filter_map(|put| world.outcome(*put).and_then(butter_sim::Outcome::key)));
        world.net().heal_all();
        let healed = world.now();
        let wanted = usize::from(s.replicas);
        let enough = |world: &butter_sim::World<'_>| keys.iter().all(|key| world.holders(*key).count() >= wanted);
        if world.run_until(HEAL_MS, |world| enough(world)) {
            took.push(world.now().since(healed) as f64 / 1e6);
        } else {
            unhealed += 1;
            short += keys.iter().filter(|key| world.holders(**key).count() < wanted).count();
        }
        if world.run_until(HEAL_MS, |world| world.all_goldilocks() && enough(world)) {
            full.push(world.now().since(healed) as f64 / 1e6);
        } else {
            surplus += 1;
        }
        lost += keys.iter().filter(|key| world.holders(**key).next().is_none()).count();
        items += keys.len();
        expired += u32::from(mayfly.is_some());
        returned += u32::from(mayfly.is_some_and(|key| world.holders(key).next().is_some()));
    }
    let more = format!("; cut in two for {seconds} s, one more item put by each meanwhile");
    println!("{}", s.head("healing", &more, runs));
    for (name, figures, rule) in [
        ("back to r", &mut took, "s from the healing until r running nodes have the bytes of each acknowledged item"),
        ("whole", &mut full, "s until besides all groups are goldilocks and agree"),
    ] {
        figures.sort_by(f64::total_cmp);
        let (low, high) = bootstrap_95(figures, s.seed);
        say(&format!("{name} mean"), format!("{:.2}", mean(figures)), &format!("{rule} [{low:.2}, {high:.2}] (95 %)"));
        say(&format!("{name} max"), format!("{:.2}", percentile(figures, 1.0)), "");
    }
    say("worlds not back to r", unhealed, &format!("after {} s, {short} items short", HEAL_MS / 1000));
    say("worlds not whole", surplus, &format!("after {} s", 2 * HEAL_MS / 1000));
    say("items lost", lost, &format!("of {items} acknowledged"));
    say(
        "returned",
        returned,
        &format!("of {expired} items whose lease of {LEASE_S} s had ended before the healing, on a disk at the end"),
    );
}

//! The scenarios that ship can be run, and a small slice of each still gives what it gave.
//!
//! `tests/scenarios/baseline.toml` has, for each figure with a target or something beside it, what the slice's mean was. A share may
//! differ by 2 percentage points and the width of its interval, any other figure by a third. What changes them on purpose writes them anew:
//! `BUTTER_REGENERATE=1 cargo test -p butter-tests --test scenarios`, and says why.

use std::collections::BTreeMap;
use std::fmt::Write;

use butter_sim::report::Case as Found;
use butter_sim::run::{Control, Keep, Runs, run_all, summary};
use butter_sim::scenario::{Case, Source};
use butter_tests::repo;

/// Scenarios, how many runs of each case, and what is changed so that they take seconds. Those of 10,000 and 100,000 nodes are cut
/// down to hundreds: it is the scenario that is tested here, not the machine.
const SLICES: &[(&str, u32, &[&str])] = &[
    ("all-alike", 1, &["nodes.0.count=60", "nodes.0.limits.hosts=16"]),
    ("cost", 1, &["nodes.0.count=20", "phase.settle.for=60 s", "phase.rest.for=60 s"]),
    ("detection", 1, &["nodes.0.count=24", "phase.die.kill.which.nodes=4", "phase.quiet.for=60 s"]),
    ("flash-crowd", 1, &["nodes.0.count=40", "phase.crowd.get.count=30", "phase.crowd.get.at_once=30"]),
    ("heal", 1, &["nodes.0.count=20", "phase.apart.partition.for=30 s", "phase.apart.for=30 s"]),
    ("home", 4, &[]),
    (
        "internet-100k",
        1,
        &["nodes.0.count=120", "phase.store.put.nodes=40", "phase.day.for=60 s", "phase.read.get.count=60"],
    ),
    (
        "internet-10k",
        1,
        &["nodes.0.count=80", "phase.store.put.nodes=40", "phase.day.for=60 s", "phase.read.get.count=60"],
    ),
    (
        "lookup",
        1,
        &["nodes.0.count=60", "phase.fresh.get.count=60", "phase.any.get.count=60", "phase.absent.get.count=10"],
    ),
    ("loss-30", 1, &["nodes.0.count=24"]),
    ("memory-poor", 1, &[]),
    ("original-retention", 4, &["nodes.0.count=50"]),
    ("school", 1, &["nodes.0.count=24", "phase.day.for=30 min"]),
    ("site-lost", 4, &["nodes.0.count=40"]),
    ("third-slow", 1, &["nodes.0.count=12", "nodes.slow.count=6", "phase.read.get.count=50"]),
];

fn cases(name: &str, sets: &[&str]) -> Vec<Case> {
    let path = repo::root().join("tests/scenarios").join(format!("{name}.toml"));
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let cases = Source::read(&path, &sets).and_then(|source| source.cases());
    cases.unwrap_or_else(|problem| panic!("{problem}"))
}

/// Figures that matter, as the baseline names them, their means, and by how much those may differ.
fn means(name: &str, found: &[Found<'_>]) -> Vec<(String, f64, f64)> {
    let of_case = |case: &Found<'_>| {
        let leading = case.figures.iter().filter(|figure| figure.target.is_some() || !figure.beside.is_empty());
        let key = |figure: &str| format!("{name} / {} / {figure}", case.name);
        let with_leeway = |figure: &butter_sim::report::Figure| {
            let (mean, (low, high)) = (figure.mean?, figure.interval.unwrap_or_default());
            let leeway = if figure.unit == "%" { 2.0 + high - low } else { mean.abs() / 3.0 + 1e-3 };
            Some((key(&figure.name), mean, leeway))
        };
        leading.filter_map(with_leeway).collect::<Vec<_>>()
    };
    found.iter().flat_map(of_case).collect()
}

#[test]
fn every_scenario_has_a_slice_and_is_sound_as_it_ships() {
    let all = std::fs::read_dir(repo::root().join("tests/scenarios")).unwrap();
    let mut names: Vec<String> = all
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().strip_suffix(".toml")?.to_owned()))
        .filter(|name| name != "baseline")
        .collect();
    names.sort();
    assert_eq!(names, SLICES.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for name in names {
        let cases = cases(&name, &[]);
        assert!(!cases[0].scenario.target.is_empty(), "{name} has no target");
    }
}

#[test]
fn slices_give_what_they_gave() {
    let path = repo::root().join("tests/scenarios/baseline.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let before: BTreeMap<String, f64> = text
        .lines()
        .filter_map(|line| {
            let (name, value) = line.strip_prefix('"')?.split_once("\" = ")?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    let (mut now, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, count, sets) in SLICES {
        let cases = cases(name, sets);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runs = Runs { runs: *count, seed: 1, threads, keep: Keep::Figures, series: 0 };
        let records = run_all(&cases, &runs, &Control::new());
        let broken = records.iter().flatten().filter_map(|record| Some((record.seed, record.violation.as_ref()?)));
        wrong.extend(broken.map(|(seed, story)| format!("{name}, seed {seed}: {story}")));
        for (key, mean, leeway) in means(name, &summary(&cases, &records, 1)) {
            match before.get(&key) {
                Some(was) if (mean - was).abs() <= leeway => {}
                was => wrong.push(format!("{key}: {mean}, it was {was:?}")),
            }
            now.insert(key, mean);
        }
    }
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    wrong.extend(gone.map(|key| format!("{key}: there is no such figure any more")));
    if std::env::var_os("BUTTER_REGENERATE").is_some() {
        let mut text =
            String::from("# Means of the slices that tests/tests/scenarios.rs runs: written by it, see there.\n");
        now.iter().for_each(|(key, mean)| {
            let _ = writeln!(text, "\"{key}\" = {}", (mean * 1e4).round() / 1e4);
        });
        std::fs::write(path, text).unwrap();
        assert!(!wrong.iter().any(|wrong| wrong.contains("seed")), "{wrong:#?}");
        return;
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nif this is what was wanted: BUTTER_REGENERATE=1");
}

//! Scenarios as they run.

use std::collections::BTreeSet;

use super::record::Record;
use super::*;
use crate::scenario::{Case, Source, figure_names};

/// Everything that a phase can do, in a small world.
const BUSY: &str = r#"
title = "busy"
[[nodes]]
count = 10
config = { beat = "500 ms" }
sites = 2
[[nodes]]
name = "late"
machine = "tiny"
count = 1
disk_op = "3 ms"
[[phase]]
name = "form"
for = "5 s"
until = "connected"
[[phase]]
name = "store"
put = { per_node = 2, size = "3000 B", of = "desktop" }
until = "goldilocks"
[[phase]]
name = "trouble"
for = "8 s"
measure = true
path = { loss = "1 %", delay = "1 ms" }
partition = { which = { share = "20 %" }, for = "3 s", way = "out" }
disk = { which = { nodes = 1 }, full = true, slow = 2 }
kill = { which = { site = 2, nodes = 1 }, detect = true }
restart = { which = { of = "late" }, down = "1 s", keep_disk = false }
pause = { which = { power = 0, nodes = 1 }, for = "1 s" }
join = { count = 2, of = "late", over = "4 s" }
[[phase]]
name = "churn"
for = "5 s"
churn = { rate = "1/100 per s", replace = true }
expect_loss = true
[[phase]]
name = "use"
for = "10 s"
load = { rate = "5 per s", put = "30 %", get = "50 %", absent = "10 %", call = "10 %", popularity = { zipf = 0.8 } }
[[phase]]
name = "rest"
path = { loss = 0 }
until = "goldilocks"
get = { by = "any", count = 20, at_once = 4 }
[[phase]]
name = "absent"
get = { by = "any", count = 3, absent = true }
[[phase]]
name = "read"
get = { by = "fresh", wait = "3 s" }
"#;

fn cases(text: &str, sets: &[&str]) -> Vec<Case> {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    Source::new("busy.toml", text.into(), &sets)
        .and_then(|source| source.cases())
        .unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// What does not depend on the wall's clock.
fn timeless(mut record: Record) -> String {
    record.wall_s = 0.0;
    serde_json::to_string(&record).unwrap()
}

fn busy() -> Vec<Case> {
    // A choice by power alone would want supplies to be numbered.
    cases(&BUSY.replace("power = 0, ", "").replace("site = 2, nodes = 1", "site = 2"), &[])
}

#[test]
fn every_action_happens_and_every_figure_has_its_name() {
    let case = &busy()[0];
    let record = play(&case.scenario, 3, Keep::Graphs, &Control::new()).unwrap();
    assert_eq!(record.violation, None);
    let names: Vec<&String> = record.figures.iter().map(|figure| &figure.name).collect();
    let (unique, expected): (BTreeSet<_>, BTreeSet<_>) =
        (names.iter().map(|name| name.to_string()).collect(), figure_names(&case.scenario).into_iter().collect());
    assert_eq!((unique.len(), &unique), (names.len(), &expected));
    let value = |name: &str| record.value(name).unwrap_or_else(|| panic!("{name} has no value"));
    assert_eq!((value("store_acknowledged"), value("store_objects")), (100.0, 20.0));
    assert_eq!((value("absent_not_found"), value("trouble_detected")), (100.0, 100.0));
    assert!(value("trouble_detected_median") > 100.0 && value("trouble_bytes") > 10.0);
    assert_eq!(
        record.phases.iter().map(|phase| &*phase.name).collect::<Vec<_>>(),
        ["form", "store", "trouble", "churn", "use", "rest", "absent", "read"]
    );
    assert!(record.phases[2].to_s - record.phases[2].from_s == 8.0, "{:?}", record.phases);
    assert!(record.samples.at_s.len() > 10 && !record.samples.graphs.is_empty());
    assert!(
        names.iter().all(|name| record.figures.iter().all(|figure| &figure.name != *name || !figure.rule.is_empty()))
    );
}

#[test]
fn runs_do_not_depend_on_threads_nor_on_what_is_kept() {
    let all = |threads, keep| {
        let runs = Runs { runs: 3, seed: 5, threads, keep, series: 2 };
        let records = run_all(&busy(), &runs, &Control::new());
        records.into_iter().flatten().map(timeless).collect::<Vec<_>>()
    };
    let alone = all(1, Keep::Graphs);
    assert_eq!(alone.len(), 3);
    assert_eq!(alone, all(3, Keep::Graphs));
    let figures = |records: &[String]| {
        let value = |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap();
        records.iter().map(|text| (value(text)["trace"].clone(), value(text)["figures"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(figures(&alone), figures(&all(2, Keep::Figures)));
    assert_ne!(alone[0], alone[1], "seeds differ");
}

#[test]
fn what_is_stopped_leaves_nothing_and_what_was_done_stays() {
    let control = Control::new();
    control.stop();
    let runs = Runs { runs: 2, seed: 1, threads: 1, keep: Keep::Figures, series: 0 };
    assert!(run_all(&busy(), &runs, &control).iter().all(Vec::is_empty));
    assert!(play(&busy()[0].scenario, 1, Keep::Figures, &control).is_none());
}

#[test]
fn figures_stand_beside_their_targets() {
    let sets = ["target.store_acknowledged.at_least=99", "target.held.at_least=101", "beside.held.theory=99.5"];
    let cases = cases(&BUSY.replace("power = 0, ", "").replace("site = 2, nodes = 1", "site = 2"), &sets);
    let runs = Runs { runs: 2, seed: 1, threads: 2, keep: Keep::Figures, series: 0 };
    let control = Control::new();
    let records = run_all(&cases, &runs, &control);
    assert_eq!((control.done(), runs.planned_us(&cases) >= control.passed_us()), (2, true));
    let found = summary(&cases, &records, 1);
    let figure = |name: &str| found[0].figures.iter().find(|figure| figure.name == name).unwrap();
    assert_eq!(figure("store_acknowledged").target, Some(("≥ 99".into(), true)));
    assert_eq!(figure("held").target, Some(("≥ 101".into(), false)));
    assert_eq!(figure("held").beside, [("theory".to_owned(), 99.5)]);
    assert_eq!(trace(&records[0]).len(), 32);
}

/// A network of homes behind NATs, boards and servers, with a load.
const HOMES: &str = r#"
title = "homes"
[world]
network = "internet"
nodes = 40
[[nodes]]
machine = "server"
share = "20 %"
prefixes = 2
[[nodes]]
machine = "board"
share = "80 %"
nat = { kind = "port-restricted", hosts = 4 }
access = { up = "1 Mbit/s", down = "8 Mbit/s" }
[[phase]]
name = "form"
for = "30 s"
until = "connected"
[[phase]]
name = "use"
for = "60 s"
load = { rate = "2 per s", put = "30 %", get = "60 %", absent = "5 %", call = "5 %" }
[[phase]]
name = "cut"
kill = { which = { prefix = 1 } }
for = "30 s"
"#;

#[test]
fn homes_behind_nats_put_get_and_call() {
    let case = &cases(HOMES, &[])[0];
    let record = play(&case.scenario, 2, Keep::Series, &Control::new()).unwrap();
    assert_eq!(record.violation, None);
    let value = |name: &str| record.value(name).unwrap_or_else(|| panic!("{name} has no value"));
    assert_eq!((value("form_reached"), value("use_wrong")), (100.0, 0.0));
    assert!(value("use_operations") > 60.0);
    for figure in ["put", "get", "call", "absent"] {
        assert!(value(&format!("use_{figure}_well")) > 70.0, "{figure}: {record:?}");
    }
    let nodes = record.samples.values("nodes");
    assert_eq!(
        (nodes[nodes.len() / 2], nodes.last()),
        (40.0, Some(&36.0)),
        "a prefix with half of the servers is gone"
    );
}

#[test]
fn who_knows_whom_at_the_start_is_as_the_topology_says() {
    for topology in
        ["\"ring\"", "\"star\"", "{ two-clusters = { degree = 3 } }", "{ edges = [[0, 1], [1, 2], [0, 2], [2, 3]] }"]
    {
        let text = format!(
            "title = \"t\"\n[world]\nnetwork = \"internet\"\ntopology = {topology}\n[[nodes]]\ncount = 12\n\
             [[phase]]\nname = \"form\"\nuntil = \"connected\"\nat_most = \"5 min\"\n"
        );
        let record = play(&cases(&text, &[])[0].scenario, 1, Keep::Figures, &Control::new()).unwrap();
        // Of the pairs, only 0 to 3 are joined: the others stay alone.
        let all = !topology.contains("edges");
        assert_eq!(record.value("form_reached"), Some(if all { 100.0 } else { 0.0 }), "{topology}");
    }
}

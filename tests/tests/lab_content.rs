//! Content outlives those who put it: nodes in namespaces of their own on one bridge, killed as by `kill -9`.
#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use butter_tests::lab::{Host, Lab};
use butter_tests::node::{Build, Node, Nodes, all_connected, goldilocks, items, sample, seconds, tell, until};
use serde_json::Value;

/// More than a group takes to be whole again, with 64 MiB to copy on a busy machine.
const WHOLE: Duration = Duration::from_secs(60);
/// More than a transfer of 64 MiB takes.
const TRANSFER: Duration = Duration::from_secs(120);
/// Nodes at the beginning.
const NODES: usize = 5;
/// Small items.
const SMALL: usize = 10_000;
/// Files that one `put` is given.
const BATCH: usize = 500;
/// Of all small items, one in so many is fetched and compared.
const LOOKED_AT: usize = 20;

/// Nodes that know each other, each on a host of its own.
fn start(lab: &Lab, nodes: &Nodes) -> (Vec<Host>, Vec<Node>) {
    let lan = lab.lan();
    let hosts = (0..NODES).map(|_| lan.host()).collect::<Vec<_>>();
    let all = hosts.iter().map(|host| nodes.start(&[], |command| host.spawn(command))).collect::<Vec<_>>();
    let known = all.iter().collect::<Vec<_>>();
    until("all nodes have sessions with all others", WHOLE, || all_connected(&known));
    (hosts, all)
}

/// Kills node 1 at once, and then two more, each when all groups are goldilocks again. After each kill `same` looks at
/// the content at one of the nodes left, at once.
fn kill_three(mut all: Vec<Node>, same: impl Fn(&Node)) {
    for round in 1..=3 {
        let killed = Instant::now();
        all.remove(0).kill();
        let left = all.iter().collect::<Vec<_>>();
        std::thread::scope(|scope| {
            // Two nodes cannot make three copies.
            let whole = (round < 3).then(|| scope.spawn(|| wait_for_goldilocks(&left, killed)));
            same(last(&all));
            if let Some(Err(panic)) = whole.map(std::thread::ScopedJoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// Waits until all groups of the nodes left are goldilocks, and tells how long that took.
fn wait_for_goldilocks(left: &[&Node], killed: Instant) {
    let groups = until("all groups are goldilocks again", WHOLE, || goldilocks(left));
    let took = seconds(killed.elapsed());
    tell(&format!("    goldilocks again {took} after a kill: {groups} groups, {} nodes left", left.len()));
}

fn last(all: &[Node]) -> &Node {
    all.last().expect("a node is left")
}

#[test]
fn a_file_of_64_mib_outlives_three_kills() {
    let Some(lab) = Lab::new() else { return };
    let nodes = Nodes::new(Build::Release);
    let bytes = sample(1, 64 << 20);
    let file = nodes.file("file", &bytes);
    let (_hosts, all) = start(&lab, &nodes);
    let stored = all[0].put(&file, TRANSFER);
    let took = stored["seconds"].as_f64().unwrap_or_default();
    tell(&format!("64 MiB put in {took:.2} s, held by {} of {}", stored["replicas"], stored["wanted"]));
    let id = stored["id"].as_str().expect("an id").to_owned();
    kill_three(all, |node| {
        let begun = Instant::now();
        assert!(node.get(&id, TRANSFER) == bytes, "node {} got other bytes", node.number());
        tell(&format!("    64 MiB got at node {} in {}", node.number(), seconds(begun.elapsed())));
    });
}

#[test]
fn ten_thousand_small_items_outlive_three_kills() {
    let Some(lab) = Lab::new() else { return };
    let nodes = Nodes::new(Build::Release);
    let content = |number: usize| sample(number as u64, 20 + number % 400);
    let files = (0..SMALL).map(|n| nodes.file(&format!("f{n}"), &content(n))).collect::<Vec<_>>();
    let (_hosts, all) = start(&lab, &nodes);
    let begun = Instant::now();
    let mut ids = Vec::new();
    let mut fewest = u64::MAX;
    for batch in files.chunks(BATCH) {
        let mut args = vec!["put".to_owned(), "--json".to_owned()];
        args.extend(batch.iter().map(|file| file.to_string_lossy().into_owned()));
        let args = args.iter().map(String::as_str).collect::<Vec<_>>();
        for line in all[0].butter(&args, TRANSFER).lines() {
            let stored: Value = serde_json::from_str(line).expect("JSON");
            fewest = fewest.min(stored["replicas"].as_u64().expect("a number of replicas"));
            ids.push(stored["id"].as_str().expect("an id").to_owned());
        }
    }
    assert_eq!(ids.len(), SMALL);
    tell(&format!("{SMALL} small items put in {}, held by at least {fewest}", seconds(begun.elapsed())));
    let left = all.iter().skip(1).collect::<Vec<_>>();
    let counted = items(&left);
    assert!(counted >= SMALL as u64, "the other nodes hold only {counted}");
    let kills = Cell::new(0);
    kill_three(all, |node| {
        let begun = Instant::now();
        // Others after each kill.
        let first = kills.replace(kills.get() + 1);
        for (number, id) in ids.iter().enumerate().skip(first).step_by(LOOKED_AT) {
            assert!(node.get(id, TRANSFER) == content(number), "item {number} got at node {}", node.number());
        }
        let looked = SMALL / LOOKED_AT;
        tell(&format!("    {looked} of {SMALL} got at node {} in {}", node.number(), seconds(begun.elapsed())));
    });
}

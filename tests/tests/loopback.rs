//! The desktop node as users run it, several of them on this machine: what the network lab shows, in small and without
//! root.
#![cfg(unix)]

use std::time::{Duration, Instant};

use butter_tests::node::{Build, Node, Nodes, all_connected, goldilocks, sample, seconds, tell, until};

/// More than anything here takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const NODES: usize = 5;

/// Nodes that join by the first one, in a network of this name.
fn start(nodes: &Nodes, network: &str) -> Vec<Node> {
    let args = ["--network", network, "--no-lan", "--listen", "127.0.0.1:0"];
    let first = nodes.start_here(&args);
    let ticket = first.ticket();
    let mut all = vec![first];
    let others = (1..NODES).map(|_| nodes.start_here(&[args.as_slice(), &["--join", &ticket]].concat()));
    all.extend(others);
    all
}

#[test]
fn five_nodes_know_each_other_and_keep_a_file_when_three_die() {
    let nodes = Nodes::new(Build::Debug);
    let begun = Instant::now();
    let mut all = start(&nodes, "loopback");
    until("all nodes have sessions with all others", LIMIT, || all_connected(&all.iter().collect::<Vec<_>>()));
    tell(&format!("{NODES} nodes on loopback know each other after {}", seconds(begun.elapsed())));

    let bytes = sample(1, 2 << 20);
    let stored = all[0].put(&nodes.file("file", &bytes), LIMIT);
    assert!(stored["replicas"].as_u64() >= Some(2), "{stored}");
    let id = stored["id"].as_str().expect("an id").to_owned();
    for round in 1..=3 {
        let killed = Instant::now();
        all.remove(0).kill();
        let reader = all.last().expect("a node is left");
        assert!(reader.get(&id, LIMIT) == bytes, "node {} got other bytes", reader.number());
        // Two nodes cannot make three copies.
        if round < 3 {
            until("all groups are goldilocks again", LIMIT, || goldilocks(&all.iter().collect::<Vec<_>>()));
            tell(&format!("    goldilocks again {} after a kill", seconds(killed.elapsed())));
        }
    }
}

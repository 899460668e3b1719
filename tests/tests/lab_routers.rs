//! Two local networks behind routers share content, though only one port is forwarded on one of them.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use butter_tests::lab::{Host, Lab};
use butter_tests::node::{Build, Node, Nodes, goldilocks, sample, seconds, tell, until};

/// The forwarded port.
const PORT: u16 = 4000;
/// More than it takes to join, to be whole again, or to fetch what is put.
const LIMIT: Duration = Duration::from_secs(60);
/// Nodes in each network.
const EACH: usize = 3;

/// Whether a node has sessions with all these.
fn knows(node: &Node, others: &[&Node]) -> Result<(), String> {
    let up = node.connected()?;
    match others.iter().find(|other| !up.iter().any(|id| id == other.id())) {
        None => Ok(()),
        Some(other) => Err(format!("node {} has no session with node {}", node.number(), other.number())),
    }
}

/// Fetches at a node, and compares.
fn same(node: &Node, id: &str, bytes: &[u8], what: &str) {
    let begun = Instant::now();
    assert!(node.get(id, LIMIT) == bytes, "node {} got other bytes", node.number());
    tell(&format!("    {what}: {} bytes got at node {} in {}", bytes.len(), node.number(), seconds(begun.elapsed())));
}

/// Puts at the first node and fetches at the second, which is in the other network; then kills the first when all is
/// goldilocks, and fetches at the third, which is in the other network, too.
fn across(nodes: &Nodes, all: &mut Vec<Node>, [publisher, second, third]: [u32; 3], seed: u64) {
    let at = |all: &[Node], number| all.iter().position(|node| node.number() == number).expect("it lives");
    let bytes = sample(seed, 3_000_000);
    let file = nodes.file("file", &bytes);
    let stored = all[at(all, publisher)].put(&file, LIMIT);
    let id = stored["id"].as_str().expect("an id").to_owned();
    tell(&format!("    put at node {publisher}, held by {} of {}", stored["replicas"], stored["wanted"]));
    same(&all[at(all, second)], &id, &bytes, "across the routers");
    let whole = |all: &[Node], why: &str| {
        let left = all.iter().collect::<Vec<_>>();
        until(&format!("all groups are goldilocks {why}"), LIMIT, || goldilocks(&left));
    };
    whole(all, "before the publisher is killed");
    let killed = Instant::now();
    let mut gone = all.remove(at(all, publisher));
    gone.kill();
    same(&all[at(all, third)], &id, &bytes, "with its publisher gone");
    whole(all, "after the publisher was killed");
    tell(&format!("    goldilocks again {} after the kill", seconds(killed.elapsed())));
}

#[test]
fn two_networks_behind_routers_share_content() {
    let Some(lab) = Lab::new() else { return };
    let nodes = Nodes::new(Build::Release);
    let (world, left, right) = (lab.lan(), lab.lan(), lab.lan());
    let here = (0..EACH).map(|_| left.host()).collect::<Vec<_>>();
    let there = (0..EACH).map(|_| right.host()).collect::<Vec<_>>();
    let router = left.route(&world, &here.iter().collect::<Vec<_>>());
    let _other = right.route(&world, &there.iter().collect::<Vec<_>>());
    router.forward(PORT, &here[0], PORT);
    let start = |host: &Host, args: &[&str]| nodes.start(args, |command| host.spawn(command));
    // Nodes 1 to 3 are here, 4 to 6 there; 1 is forwarded to, 4 joins there.
    let mut all = vec![start(&here[0], &["--listen", &format!("0.0.0.0:{PORT}")])];
    all.extend(here.iter().skip(1).map(|host| start(host, &[])));
    let begun = Instant::now();
    all.push(start(&there[0], &["--join", &format!("{}:{PORT}", router.ip4())]));
    all.extend(there.iter().skip(1).map(|host| start(host, &[])));
    until("the networks know each other", LIMIT, || {
        knows(&all[3], &[&all[0]])?;
        knows(&all[0], &[&all[1], &all[2]])?;
        knows(&all[3], &[&all[4], &all[5]])
    });
    tell(&format!("two networks behind routers are one after {}", seconds(begun.elapsed())));
    // The publishers are those that no port is forwarded to, and that did not join by hand.
    across(&nodes, &mut all, [2, 5, 6], 1);
    across(&nodes, &mut all, [5, 3, 1], 2);
}

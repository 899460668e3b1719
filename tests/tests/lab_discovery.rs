//! Nodes in namespaces of their own on one bridge find each other.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use butter_tests::lab::Lab;
use butter_tests::node::{Build, Nodes, all_connected, summary, tell, until};

/// How many nodes are started.
const NODES: u32 = 5;
/// Within which they are all started.
const STARTS: Duration = Duration::from_millis(900);
/// How long is looked at most, so that a failure says how much too late it was.
const LOOK: Duration = Duration::from_secs(40);

/// What the network lets pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    All,
    NoMulticast,
    NeitherMulticastNorBroadcast,
}

/// Starts nodes with these arguments, and measures from the last start until all have sessions with all others.
fn measure(lab: &Lab, nodes: &Nodes, pass: Pass, args: &[&str], pause: Duration) -> Duration {
    let lan = lab.lan();
    lan.block_multicast(pass != Pass::All);
    lan.block_broadcast(pass == Pass::NeitherMulticastNorBroadcast);
    let hosts = (0..NODES).map(|_| lan.host()).collect::<Vec<_>>();
    let mut all = Vec::new();
    let mut last = Instant::now();
    for (host, number) in hosts.iter().zip(1..) {
        last = Instant::now();
        all.push(nodes.start(args, |command| host.spawn(command)));
        if number < NODES {
            std::thread::sleep(pause);
        }
    }
    let all = all.iter().collect::<Vec<_>>();
    until("all nodes have sessions with all others", LOOK, || all_connected(&all));
    last.elapsed()
}

/// Measures several times: all nodes started at once, and over a second.
fn repeat(what: &str, pass: Pass, args: &[&str], runs: u32, limit: Duration) {
    let Some(lab) = Lab::new() else { return };
    let nodes = Nodes::new(Build::Release);
    let pauses = [Duration::ZERO, STARTS / (NODES - 1)].into_iter().cycle();
    let found = (0..runs).zip(pauses).map(|(_, pause)| measure(&lab, &nodes, pass, args, pause)).collect::<Vec<_>>();
    tell(&format!("{NODES} nodes know each other, {what}: {} (at most {limit:?})", summary(&found)));
    assert!(found.iter().all(|time| *time <= limit), "{what}: {found:?}");
}

#[test]
fn nodes_find_each_other_by_multicast() {
    repeat("by multicast", Pass::All, &[], 6, Duration::from_secs(2));
}

#[test]
fn nodes_find_each_other_by_multicast_of_either_family_alone() {
    for (what, listen) in [("IPv4 alone", "0.0.0.0:0"), ("IPv6 alone", "[::]:0")] {
        repeat(&format!("by multicast, {what}"), Pass::All, &["--listen", listen], 2, Duration::from_secs(2));
    }
}

#[test]
fn nodes_find_each_other_without_multicast() {
    repeat("with multicast blocked", Pass::NoMulticast, &[], 4, Duration::from_secs(10));
}

#[test]
fn nodes_find_each_other_without_multicast_and_broadcast() {
    let pass = Pass::NeitherMulticastNorBroadcast;
    repeat("with multicast and broadcast blocked", pass, &[], 2, Duration::from_secs(10));
}

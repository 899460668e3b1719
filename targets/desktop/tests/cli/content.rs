//! Content from one node to another.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Node, Temp, butter, butter_reads, sample, until};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn put(node: &Node, file: &Path) -> String {
    node.butter(&["put", file.to_str().unwrap()]).text().trim().to_owned()
}

fn get(node: &Node, id: &str) -> Vec<u8> {
    let got = node.butter(&["get", id]);
    assert_eq!(got.code, Some(0), "{}", got.err);
    got.out
}

#[test]
fn what_is_put_on_one_node_is_got_from_the_other_also_after_the_first_is_killed() {
    let temp = Temp::new();
    let mut a = Node::start(&temp.path("a"), &["--network", "pair"]);
    let b = Node::join(&temp.path("b"), &a);
    assert_eq!(b.started["network"], "pair", "the ticket brought it");
    let bytes = sample(1_000_003);
    let file = temp.file("large", &bytes);

    let stored = a.butter(&["put", "--json", file.to_str().unwrap()]).json();
    assert_eq!(keys(&stored), ["blocks", "bytes", "file", "id", "replicas", "seconds", "wanted"]);
    assert_eq!((&stored["bytes"], &stored["blocks"], &stored["replicas"]), (&1_000_003.into(), &245.into(), &2.into()));
    let id = stored["id"].as_str().unwrap();
    let small = put(&a, &temp.file("small", b"hello"));
    let empty = put(&a, &temp.file("empty", b""));
    let piped = butter_reads(&["put", "-", "--data", &a.dir], &bytes).text();
    assert_eq!(piped.trim(), id, "the same bytes are the same object");

    assert!(get(&b, id) == bytes);
    assert_eq!(get(&b, &small), b"hello");
    assert_eq!(get(&b, &empty), b"");

    let groups = b.butter(&["groups", "--json"]).json();
    let groups = groups.as_array().unwrap();
    assert!(!groups.is_empty());
    for group in groups {
        assert_eq!(keys(group), ["agreeing", "bytes", "free", "id", "items", "members", "state", "wanted"]);
        assert_eq!((group["state"].as_str(), group["wanted"].as_u64()), (Some("cold"), Some(3)), "two of three");
        assert_eq!(group["members"].as_array().unwrap().len(), 2);
    }
    assert!(b.butter(&["groups"]).text().contains("2 of 3"));

    a.child.kill().unwrap();
    a.child.wait().unwrap();
    assert!(get(&b, id) == bytes, "its publisher is gone");
    assert_eq!(get(&b, &small), b"hello");
}

#[test]
fn a_file_is_fetched_on_from_where_it_stopped() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("a"), &[]);
    let bytes = sample(300_000);
    let id = put(&node, &temp.file("source", &bytes));
    let target = temp.text("target");

    // Cut in the midst of a block, that is fetched again.
    let part = temp.file(&format!("target.{id}.part"), &bytes[..100_000]);
    let got = node.butter(&["get", &id, "-o", &target]);
    assert!(got.err.contains("going on after 96.0 KiB of 292 KiB"), "{}", got.err);
    assert_eq!((got.code, got.out.len()), (Some(0), 0), "{}", got.err);
    assert!(fs::read(&target).unwrap() == bytes);
    assert!(!part.exists());

    // All of it was there, but for its name.
    fs::rename(&target, &part).unwrap();
    let got = node.butter(&["get", &id, "-o", &target, "--json"]).json();
    assert_eq!(keys(&got), ["bytes", "file", "id", "seconds"]);
    assert!(fs::read(&target).unwrap() == bytes);

    // The part of another object is left alone.
    let other = temp.file(&format!("target.{}.part", "y".repeat(52)), b"other");
    assert_eq!(node.butter(&["get", &id, "-o", &target, "-q"]).err, "");
    assert_eq!(fs::read(other).unwrap(), b"other");
    assert!(fs::read(&target).unwrap() == bytes);
}

#[test]
fn many_files_are_stored_at_once_and_named_in_order() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("a"), &[]);
    let contents: Vec<Vec<u8>> = (0..100).map(|n| format!("item {n}").into_bytes()).collect();
    let files: Vec<String> = contents
        .iter()
        .enumerate()
        .map(|(n, bytes)| temp.file(&format!("f{n}"), bytes).to_str().unwrap().to_owned())
        .collect();
    let mut args = vec!["put"];
    args.extend(files.iter().map(String::as_str));
    let ids = node.butter(&args).text();
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids.len(), files.len());
    for at in [0, 57, 99] {
        assert_eq!(get(&node, ids[at]), contents[at]);
    }
    let lines = node.butter(&["put", "--json", &files[0], &files[1]]).text();
    let named: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&named[0]["file"], &named[0]["id"]), (&files[0].as_str().into(), &ids[0].into()));
    assert_eq!((&named[1]["file"], &named[1]["id"]), (&files[1].as_str().into(), &ids[1].into()));
}

#[test]
fn fewer_replicas_than_asked_for_are_an_error_that_loses_nothing() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("a"), &[]);
    let file = temp.file("f", b"precious");
    let alone = node.butter(&["put", file.to_str().unwrap()]);
    assert!(alone.err.contains("only this node holds"), "{}", alone.err);
    let id = alone.text().trim().to_owned();

    let demanding = node.butter(&["put", "--min-replicas", "2", file.to_str().unwrap()]);
    assert_eq!((demanding.code, demanding.out.len()), (Some(5), 0), "{}", demanding.err);
    assert!(demanding.err.contains("1 of the 2") && demanding.err.contains(&id), "{}", demanding.err);
    assert_eq!(get(&node, &id), b"precious");
}

#[test]
fn a_node_is_told_as_data_and_in_words() {
    let temp = Temp::new();
    let a = Node::start(&temp.path("a"), &["--storage", "64MiB", "--place", "7"]);
    assert_eq!(keys(&a.started), ["addresses", "closed", "control", "id", "network", "ticket"]);
    assert_eq!(a.butter(&["peers", "--json"]).json(), Value::Array(vec![]));
    let b = Node::join(&temp.path("b"), &a);

    let status = a.butter(&["status", "--json"]).json();
    assert_eq!(
        keys(&status),
        [
            "addresses",
            "bytes",
            "closed",
            "counters",
            "free",
            "groups",
            "hosts",
            "id",
            "items",
            "network",
            "peers",
            "pid",
            "storage",
            "ticket",
            "uptime_s",
            "version"
        ]
    );
    assert_eq!((&status["id"], &status["peers"], &status["storage"]), (&a.id().into(), &1.into(), &(64 << 20).into()));
    assert_eq!(keys(&status["groups"]), ["cold", "goldilocks", "hot", "known"]);
    assert!(status["counters"]["packets_in"].as_u64().unwrap() > 0);
    assert!(a.butter(&["status"]).text().contains("1 connected"));

    // What the other says of itself comes with its first messages.
    let peers = until("the other's place is known", || {
        let peers = b.butter(&["peers", "--json"]).json();
        (peers[0]["quality"]["place"] == 7).then_some(peers)
    });
    let peer = &peers[0];
    assert_eq!(keys(peer), ["addresses", "class", "id", "last_seen_s", "quality", "rtt_ms", "state"]);
    assert_eq!((peer["id"].as_str(), peer["state"].as_str()), (Some(a.id()), Some("connected")));
    assert_eq!(peer["addresses"], a.started["addresses"]);
    assert_eq!(
        keys(&peer["quality"]),
        ["ambassador", "free_bytes", "hosts", "place", "power", "storage", "uptime_min"]
    );
    let table = b.butter(&["peers"]).text();
    assert!(table.starts_with("ID ") && table.contains(a.id()) && table.contains("connected"), "{table}");
}

#[test]
fn a_closed_network_is_shared_by_its_secret() {
    let temp = Temp::new();
    temp.file("secret", "0f".repeat(32).as_bytes());
    let secret = temp.text("secret");
    let a = Node::start(&temp.path("a"), &["--network", "home", "--secret-file", &secret]);
    assert_eq!(a.started["closed"], true);
    let stranger = Node::start(&temp.path("s"), &["--join", a.ticket()]);
    let b = Node::start(&temp.path("b"), &["--join", a.ticket(), "--secret-file", &secret]);
    until("those with the secret know each other", || (b.connected() == 1).then_some(()));
    assert_eq!((stranger.connected(), a.connected()), (0, 1));
    let warned = fs::read_to_string(temp.path("a.log")).unwrap();
    assert!(warned.contains("others can read the secret") && warned.contains("chmod 600"), "{warned}");
    assert!(butter(&["status", "--data", &a.dir]).text().contains("home (closed)"));
}

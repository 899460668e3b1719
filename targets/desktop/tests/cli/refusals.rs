//! Bad input: a clear error that names the cause and the way out, and an exit code that is not zero.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::common::{Node, Temp, butter, program, signal, until};

#[track_caller]
fn refused(args: &[&str], code: i32, says: &[&str]) {
    let ended = butter(args);
    assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
    assert!(ended.out.is_empty(), "{args:?} has no result");
    for part in says {
        assert!(ended.err.contains(part), "{args:?} says nothing of {part:?}: {}", ended.err);
    }
}

#[test]
fn a_command_line_that_makes_no_sense() {
    refused(&["peer"], 2, &["did you mean `butter peers`?"]);
    refused(&["run", "--lisen", "x"], 2, &["did you mean --listen?"]);
    refused(&["get", "abc"], 2, &["\"abc\"", "52 characters"]);
    refused(&["get", &"l".repeat(52)], 2, &["ybndrfg8ejkmcpqxot1uwisza345h769"]);
    refused(&["run", "--join", "butter:yyyyyyyyyyyyyyyyyyyy"], 2, &["ticket"]);
    refused(&["run", "--join", "example.org"], 2, &["example.org:4000"]);
    refused(&["run", "--storage", "10 apples"], 2, &["10GiB"]);
    refused(&["run", "--listen", "localhost:1"], 2, &["IP address"]);
}

#[test]
fn no_running_node() {
    let temp = Temp::new();
    let dir = temp.text("none");
    for command in [vec!["peers"], vec!["groups"], vec!["status"], vec!["put", "x"], vec!["get", &"y".repeat(52)]] {
        let mut args = command;
        args.extend(["--data", &dir]);
        refused(&args, 4, &[&format!("start one with: butter run --data {dir}")]);
    }
    assert!(!temp.path("none").exists(), "asking changes nothing");
}

#[test]
fn a_data_directory_that_cannot_be() {
    let temp = Temp::new();
    temp.file("file", b"in the way");
    let dir = temp.text("file/below");
    refused(&["run", "--data", &dir], 1, &[&dir, "--data DIR"]);
    refused(&["id", "--data", &dir], 1, &[&dir]);
    let long = temp.text(&"d".repeat(150));
    refused(&["run", "--no-lan", "--data", &long], 1, &["control.sock", "shorter --data DIR"]);
}

#[test]
fn a_damaged_identity_is_kept() {
    let temp = Temp::new();
    temp.file("identity", b"half of it");
    let dir = temp.text("");
    refused(&["run", "--no-lan", "--data", &dir], 1, &["identity", "restore it"]);
    refused(&["id", "--data", &dir], 1, &["identity", "restore it"]);
    assert_eq!(fs::read(temp.path("identity")).unwrap(), b"half of it");
}

#[test]
fn secrets_that_are_none() {
    let temp = Temp::new();
    let dir = temp.text("node");
    temp.file("secret", b"correct horse battery staple");
    let file = temp.text("secret");
    refused(&["run", "--no-lan", "--data", &dir, "--secret-file", &file], 1, &["passphrase", "openssl rand -hex 32"]);
    let file = temp.text("missing");
    refused(&["run", "--no-lan", "--data", &dir, "--secret-file", &file], 1, &[&file, "cannot read"]);
}

#[test]
fn addresses_that_cannot_be_had() {
    let temp = Temp::new();
    let dir = temp.text("node");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    refused(&["run", "--no-lan", "--data", &dir, "--listen", &addr], 1, &[&addr, "another program", "choose another"]);
    refused(&["run", "--no-lan", "--data", &dir, "--listen", "192.0.2.1:4000"], 1, &["192.0.2.1:4000"]);
    refused(&["run", "--no-lan", "--data", &dir, "--join", "nobody.invalid:4000"], 1, &["nobody.invalid"]);
}

#[test]
fn two_nodes_on_one_data_directory() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("node"), &[]);
    let process = format!("(pid {})", node.child.id());
    refused(
        &["run", "--no-lan", "--data", &node.dir],
        1,
        &[&node.dir, "another node is running", &process, "--data DIR"],
    );
    assert_eq!(node.butter(&["status", "--json"]).json()["pid"], node.child.id(), "the first one does not mind");
}

#[test]
fn files_that_cannot_be_stored() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("node"), &[]);
    let missing = temp.text("missing");
    refused(&["put", &missing, "--data", &node.dir], 1, &[&missing, "cannot read"]);
    refused(&["put", &temp.text(""), "--data", &node.dir], 1, &["is a directory", "tar c"]);
    temp.file("good", b"good");
    let ended = node.butter(&["put", &missing, &temp.text("good")]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(String::from_utf8(ended.out).unwrap().trim().len(), 52, "the good one is stored all the same");
    assert!(ended.err.contains(&missing), "{}", ended.err);
}

#[test]
fn what_nobody_has() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("node"), &[]);
    let id = "y".repeat(52);
    refused(&["get", &id, "--data", &node.dir], 3, &["not found"]);
    let file = temp.text("file");
    refused(&["get", &id, "-o", &file, "--data", &node.dir], 3, &["not found"]);
    let left: Vec<_> = fs::read_dir(temp.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("file")), "no part remains: {left:?}");
    refused(&["get", &id, "-o", &temp.text(""), "--data", &node.dir], 1, &["is a directory"]);
    refused(&["get", &id, "-o", &temp.text("none/file"), "--data", &node.dir], 1, &["cannot write"]);
}

#[test]
fn a_dead_nodes_socket_is_replaced() {
    let temp = Temp::new();
    let mut dead = Node::start(&temp.path("node"), &[]);
    let id = dead.id().to_owned();
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    let socket = temp.path("node/control.sock");
    assert!(socket.exists(), "killed, it could not remove it");
    refused(&["status", "--data", &dead.dir], 4, &["no node runs"]);
    let node = Node::start(&temp.path("node"), &[]);
    assert_eq!(node.id(), id, "who it is survives");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(node.butter(&["status", "--json"]).json()["id"], id.as_str());
}

#[test]
fn stopping_is_clean() {
    let temp = Temp::new();
    for name in ["INT", "TERM"] {
        let mut node = Node::start(&temp.path("node"), &[]);
        signal(name, &node.child);
        let status = until("the node stops", || node.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(!temp.path("node/control.sock").exists());
        assert!(temp.path("node/hosts").exists());
    }
}

#[test]
fn an_id_needs_no_node() {
    let temp = Temp::new();
    let dir = temp.text("new");
    let made = butter(&["id", "--data", &dir]);
    assert!(made.err.contains("made a new identity"), "{}", made.err);
    let id = made.text();
    let again = butter(&["id", "--data", &dir, "--json"]);
    assert_eq!(again.err, "");
    assert_eq!(again.json()["id"], id.trim());
    let node = Node::start(&temp.path("new"), &[]);
    assert_eq!(node.id(), id.trim());
    assert_eq!(node.butter(&["id"]).text(), id);
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let mut child = program().arg("help").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn help_and_version_are_results() {
    for args in [&["help"][..], &["--help"], &["help", "put"], &["get", "-h"]] {
        assert!(butter(args).text().contains("Usage: "), "{args:?}");
    }
    assert_eq!(butter(&["--version"]).text(), concat!("butter ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// `butter sim` refuses what cannot be run before it runs anything, and says where the mistake is.
#[test]
fn scenarios_that_cannot_be_are_refused_with_their_line() {
    let dir = std::env::temp_dir().join(format!("butter-sim-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("s.toml");
    let good = "title = \"t\"\n[[nodes]]\ncount = 4\n[[phase]]\nname = \"p\"\nuntil = \"connected\"\n";
    let run = |text: &str, args: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let output = program().arg("sim").arg(&file).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    };
    for (text, args, what) in [
        (good.replace("count = 4", "cuont = 4"), &[][..], "s.toml:3: unknown field `cuont`"),
        (good.replace("count = 4", "count = 2"), &[], "s.toml:3: 3 copies are wanted and there are 2 nodes"),
        (good.to_owned(), &["--set", "nodes.0.config.beat=2"], "--set nodes.0.config.beat=2: 2 has no unit"),
        (good.to_owned(), &["--runs", "0"], "--runs is a whole number from 1 on"),
    ] {
        let (code, said, stdout) = run(&text, args);
        assert_eq!((code, stdout.is_empty()), (Some(2), true), "{said}");
        assert!(said.contains(what), "{said}");
    }
    let (code, said, stdout) = run(good, &["--json", "--runs", "2"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&stdout).unwrap()["cases"][0]["records"][1]["seed"], 2);
    std::fs::remove_dir_all(&dir).unwrap();
}

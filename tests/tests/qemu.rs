//! One network of desktops and microcontrollers: real firmware in QEMU, and the desktop's real binary, on one bridge.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use butter_tests::boards::{Board, Firmware};
use butter_tests::lab::{Host, Lab, Lan};
use butter_tests::node::{Build, Nodes, sample, seconds, tell, until};

/// Longer than anything here takes on a busy machine, transfers and repairs included.
const SOON: Duration = Duration::from_secs(30);

fn board<'a>(firmware: &'a Firmware, lan: &Lan, settings: &[&str]) -> Board<'a> {
    let tap = lan.tap();
    let ip = format!("ip={}/24", tap.ip4());
    firmware.start(tap, &[&[ip.as_str()], settings].concat())
}

/// The example `ohce`, a desktop program that answers as boards do. Killed when dropped.
struct Ohce {
    child: Child,
    log: PathBuf,
}

impl Ohce {
    fn start(host: &Host, log: PathBuf) -> Ohce {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "-p", "butter-examples", "--example", "ohce", "--message-format=json"]);
        let out = cargo.current_dir(butter_tests::repo::root()).stderr(Stdio::inherit()).output().unwrap();
        assert!(out.status.success(), "{cargo:?} failed");
        let text = String::from_utf8_lossy(&out.stdout);
        let built = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let program = built.filter_map(|line| line["executable"].as_str().map(PathBuf::from)).next_back().unwrap();
        let mut command = Command::new(program);
        command.arg("butter").stdin(Stdio::piped()).stdout(File::create(&log).unwrap());
        Ohce { child: host.run(|| command.spawn().unwrap()), log }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn id(&self) -> String {
        until("ohce says who it is", SOON, || {
            let output = self.output();
            let id = output.lines().find_map(|line| line.strip_prefix("I am "));
            id.map(str::to_owned).ok_or_else(|| output.clone())
        })
    }
}

impl Drop for Ohce {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn boards_and_desktops_find_each_other_and_call_both_ways() {
    let Some(lab) = Lab::new() else { return };
    let Some(firmware) = Firmware::qemu_arm() else { return };
    let nodes = Nodes::new(Build::Debug);
    let lan = lab.lan();
    let (host, other) = (lan.host(), lan.host());
    let mut ohce = Ohce::start(&other, nodes.path("ohce"));
    let desktop = nodes.start(&[], |command| host.spawn(command));
    let (desktop_id, ohce_id) = (desktop.id().to_owned(), ohce.id());
    let boards = [board(&firmware, &lan, &[]), board(&firmware, &lan, &[])];
    let ids = [boards[0].id(), boards[1].id()];
    let wrong = [board(&firmware, &lan, &["network=other", "ip=dhcp"]), board(&firmware, &lan, &["ip=10.83.1"])];
    let begun = Instant::now();
    until("the desktop has sessions with both boards", SOON, || {
        let up = desktop.connected()?;
        if ids.iter().all(|id| up.contains(id)) { Ok(()) } else { Err(format!("{up:?}")) }
    });
    tell(&format!("two boards met a desktop {} after they had said who they are", seconds(begun.elapsed())));

    // Boards call each other, and desktops: one that serves the route, and one that does not.
    for (board, other) in [(&boards[0], &ids[1]), (&boards[1], &ids[0])] {
        for answering in [other, &ohce_id] {
            let took = board.says(&format!("met {answering}: it answered ohce/1 in "), SOON);
            tell(&format!("a call of a board was answered in {took}"));
        }
        let _ = board.says(&format!("met {desktop_id}"), SOON);
    }
    // A desktop calls the boards.
    until("ohce has met both boards", SOON, || {
        let output = ohce.output();
        let met = ids.iter().filter(|id| output.contains(&format!("met {id}"))).count();
        if met == 2 { Ok(()) } else { Err(output) }
    });
    writeln!(ohce.child.stdin.as_mut().unwrap(), "butter").unwrap();
    until("both boards answered backwards", SOON, || {
        let output = ohce.output();
        let answered = ids.iter().filter(|id| output.contains(&format!("{}: rettub", &id[..8]))).count();
        if answered == 2 { Ok(()) } else { Err(output) }
    });

    // What is wrong is said, and what can go on goes on.
    let _ = wrong[1].says("ERROR ip=10.83.1: should be dhcp, or an address such as ", SOON);
    let _ = wrong[0].says("no DHCP server answered within 10 s: using link-local ", SOON);
    let _ = wrong[0].says("are its name and secret the right ones?", SOON);
}

#[test]
fn boards_keep_what_desktops_put_and_desktops_get_what_boards_stored() {
    let Some(lab) = Lab::new() else { return };
    let Some(firmware) = Firmware::qemu_arm() else { return };
    let nodes = Nodes::new(Build::Debug);
    let lan = lab.lan();
    let mut boards = [board(&firmware, &lan, &[]), board(&firmware, &lan, &["reading=3"])];
    let host = lan.host();
    let mut desktop = nodes.start(&[], |command| host.spawn(command));
    let ids = [boards[0].id(), boards[1].id()];
    until("the desktop has sessions with both boards", SOON, || {
        let up = desktop.connected()?;
        if ids.iter().all(|id| up.contains(id)) { Ok(()) } else { Err(format!("{up:?}")) }
    });
    let bytes = sample(4, 1000);
    let stored = desktop.put(&nodes.file("item", &bytes), SOON);
    let id = stored["id"].as_str().expect("an id").to_owned();
    tell(&format!("a desktop's item is held by {} nodes", stored["replicas"]));
    assert_eq!(stored["replicas"], 3, "{stored}");
    desktop.kill();

    // The desktop that put it is gone; another one, that never saw it, gets it from the boards.
    let late = lan.host();
    let new = nodes.start(&[], |command| late.spawn(command));
    until("the new desktop has a session with a board", SOON, || {
        let up = new.connected()?;
        if ids.iter().any(|id| up.contains(id)) { Ok(()) } else { Err(format!("{up:?}")) }
    });
    assert!(new.get(&id, SOON) == bytes, "other bytes");

    // And the reverse: a reading outlives the board that made it.
    let reading = boards[1].says("reading stored, ", SOON);
    let (copies, key) = reading.split_once(" copies: ").expect("copies and a key");
    tell(&format!("a board's reading is held by {copies} nodes"));
    let key = key.trim().to_owned();
    let own = boards[1].id();
    boards[1].kill();
    let text = String::from_utf8(new.get(&key, SOON)).expect("a text");
    assert!(text.starts_with("board ") && text.contains(" s: 2"), "{text:?} of {own}");

    // A board that starts again joins again, as another node.
    boards[1].restart();
    assert_ne!(boards[1].id(), own);
    let _ = boards[1].says(&format!("met {}", new.id()), SOON);
    for board in &boards {
        tell(&format!("stack at start: {}", board.says("stack at start: ", SOON)));
        tell(&format!("deepest stack since: {}", board.says("deepest stack: ", SOON)));
    }
}

#[test]
fn the_least_firmware_is_a_whole_node() {
    let Some(lab) = Lab::new() else { return };
    let Some(firmware) = Firmware::minimal() else { return };
    let lan = lab.lan();
    let boards = [firmware.start(lan.tap(), &[]), firmware.start(lan.tap(), &[])];
    for board in &boards {
        let _ = board.says(" 1 peers, 1 hosts, ", SOON);
        let _ = board.says("using link-local ", SOON);
    }
}

//! Nodes and commands to be tested.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// More than anything takes, even on a busy machine.
pub const LONG: Duration = Duration::from_secs(120);
/// How often is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(20);

/// A directory that is removed at the end.
pub struct Temp(PathBuf);

impl Temp {
    pub fn new() -> Temp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("butter-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Temp(path)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A path in it, as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A file in it.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until something has come about.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LONG, "never: {what}");
        thread::sleep(LOOK);
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ended {
    /// Its output as text, of a command that went well.
    #[track_caller]
    pub fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        String::from_utf8(self.out).unwrap()
    }

    /// Its output as JSON, of a command that went well.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

/// The program, with its standard streams taken and nobody's environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_butter"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn reading(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    let mut stream = stream.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Waits for a command to end.
pub fn end(mut child: Child) -> Ended {
    let (out, err) = (reading(child.stdout.take()), reading(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > LONG {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let (out, err) = (out.join().unwrap(), String::from_utf8(err.join().unwrap()).unwrap());
    let code = status.unwrap_or_else(|| panic!("hangs, after saying: {err}")).code();
    Ended { code, out, err }
}

/// Runs a command.
pub fn butter(args: &[&str]) -> Ended {
    end(program().args(args).spawn().unwrap())
}

/// Runs a command that reads these bytes.
pub fn butter_reads(args: &[&str], input: &[u8]) -> Ended {
    let mut child = program().args(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = thread::spawn(move || stdin.write_all(&input).unwrap());
    let ended = end(child);
    writing.join().unwrap();
    ended
}

/// Sends a signal.
pub fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A running node.
pub struct Node {
    pub dir: String,
    pub started: Value,
    pub child: Child,
}

impl Node {
    /// Starts a node on loopback with these further settings, and waits until it says that it is ready.
    pub fn start(dir: &Path, args: &[&str]) -> Node {
        let dir = dir.to_str().unwrap().to_owned();
        let log = dir.clone() + ".log";
        let mut child = program()
            .args(["run", "--json", "--no-lan", "--listen", "127.0.0.1:0", "--data", &dir])
            .args(args)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = out.read_line(&mut text);
            let _ = line.send(text);
        });
        let text = lines.recv_timeout(LONG).unwrap_or_default();
        let started = serde_json::from_str(&text).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("{text:?}, and: {}", fs::read_to_string(&log).unwrap())
        });
        Node { dir, started, child }
    }

    /// Starts a node that joins another.
    pub fn join(dir: &Path, other: &Node) -> Node {
        let node = Node::start(dir, &["--join", other.ticket()]);
        until("two nodes know each other", || [&node, other].iter().all(|node| node.connected() > 0).then_some(()));
        node
    }

    pub fn id(&self) -> &str {
        self.started["id"].as_str().unwrap()
    }

    pub fn ticket(&self) -> &str {
        self.started["ticket"].as_str().unwrap()
    }

    /// Runs a command at this node.
    pub fn butter(&self, args: &[&str]) -> Ended {
        let mut all = args.to_vec();
        all.extend(["--data", &self.dir]);
        butter(&all)
    }

    pub fn connected(&self) -> u64 {
        self.butter(&["status", "--json"]).json()["peers"].as_u64().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that look random and are not.
pub fn sample(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

//! The desktop node as users run it: the real binary, in processes of its own.
//!
//! Everything waits for a bounded time and fails with what was seen last. In a failing test each node shows its
//! counters and groups, and the end of its log.

use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Process;

/// How often is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(20);
/// More than a command takes that only asks the node something, even on a busy machine.
const ASK: Duration = Duration::from_secs(20);

/// How the binary is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// As `cargo test` has it already.
    Debug,
    /// As users run it: for what is measured.
    Release,
}

/// The binary `butter`, built at the first call.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn binary(build: Build) -> PathBuf {
    static DEBUG: OnceLock<PathBuf> = OnceLock::new();
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    let (cell, profile) = match build {
        Build::Debug => (&DEBUG, "test"),
        Build::Release => (&RELEASE, "release"),
    };
    cell.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        // Without a package named, features are those of `cargo test`, so that nothing is compiled twice.
        cargo.args(["build", "--bin", "butter", "--profile", profile, "--message-format=json-render-diagnostics"]);
        let out = cargo.current_dir(crate::repo::root()).stderr(Stdio::inherit()).output();
        let out = out.unwrap_or_else(|e| panic!("{cargo:?}: {e}"));
        assert!(out.status.success(), "{cargo:?} failed");
        let text = String::from_utf8_lossy(&out.stdout);
        let built = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut executables = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
        executables.next().unwrap_or_else(|| panic!("{cargo:?} made no executable"))
    })
    .clone()
}

/// Waits until something has come about, for at most `limit`.
///
/// # Panics
/// After that, with the reason that `look` gave last.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(begun.elapsed() < limit, "not within {limit:?}: {what}: {why}"),
        }
        std::thread::sleep(LOOK);
    }
}

/// A line with what a test measured, past the test harness's capture.
pub fn tell(line: &str) {
    // Nothing to do if nobody listens.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Seconds of a duration, for people.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Median and worst of some durations, for people.
#[must_use]
pub fn summary(durations: &[Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let at = |index: usize| sorted.get(index).map_or("-".to_owned(), |d| seconds(*d));
    format!("median {}, worst {}, {} runs", at(sorted.len() / 2), at(sorted.len().saturating_sub(1)), sorted.len())
}

/// Bytes that look random, the same for the same seed.
#[must_use]
pub fn sample(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Where the nodes of a test have their directories. Gone, when dropped, if the test went well.
pub struct Nodes {
    program: PathBuf,
    folder: PathBuf,
    started: AtomicU32,
}

impl Nodes {
    /// A new empty folder for nodes of this build.
    ///
    /// # Panics
    /// When there is none to be had.
    #[must_use]
    pub fn new(build: Build) -> Nodes {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let program = binary(build);
        let name = format!("butter-nodes-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Short, as the path of a socket must be.
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        Nodes { program, folder, started: AtomicU32::new(0) }
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a file in the folder.
    ///
    /// # Panics
    /// When that fails.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Starts `butter run` with a new data directory and these further arguments, where `spawn` starts it. Does not
    /// wait until the node is ready.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, args: &[&str], spawn: impl FnOnce(Command) -> Process) -> Node {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let dir = self.path(&format!("n{number}"));
        let mut command = Command::new(&self.program);
        command.args(["run", "--json", "-v", "--data"]).arg(&dir).args(args);
        let process = spawn(command);
        Node { program: self.program.clone(), dir, number, process, alive: true, id: OnceLock::new() }
    }

    /// Starts a node here, not on a host of the lab; see [`Nodes::start`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_here(&self, args: &[&str]) -> Node {
        let log = self.path(&format!("log{}", self.started.load(Ordering::Relaxed) + 1));
        self.start(args, |command| Process::start(command, log))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Files of 64 MiB are not left behind even by failures: what is of interest was shown.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How a command ended that did not go well.
#[derive(Debug)]
pub struct Failed {
    /// Its exit code; `None` when it did not end in time.
    pub code: Option<i32>,
    /// What it said.
    pub err: String,
}

/// A running node. Dropping it kills it.
pub struct Node {
    program: PathBuf,
    dir: PathBuf,
    number: u32,
    process: Process,
    alive: bool,
    id: OnceLock<String>,
}

fn reading(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What cannot be read is missing from the text, and the test says so.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

impl Node {
    /// Runs a command at this node, for at most `limit`; what it printed, if it went well.
    ///
    /// # Errors
    /// How it ended.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn try_butter(&self, args: &[&str], limit: Duration) -> Result<String, Failed> {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--data").arg(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (out, err) = (reading(child.stdout.take()), reading(child.stderr.take()));
        let begun = Instant::now();
        let status = loop {
            if let Ok(Some(status)) = child.try_wait() {
                break Some(status);
            }
            if begun.elapsed() > limit {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let text =
            |reader: JoinHandle<Vec<u8>>| String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned();
        let (out, err) = (text(out), text(err));
        match status {
            Some(status) if status.success() => Ok(out),
            Some(status) => Err(Failed { code: status.code(), err }),
            None => Err(Failed { code: None, err: format!("not ended within {limit:?}, after saying: {err}") }),
        }
    }

    /// Runs a command at this node; see [`Node::try_butter`].
    ///
    /// # Panics
    /// When it does not go well, with what it said.
    pub fn butter(&self, args: &[&str], limit: Duration) -> String {
        let shown = args.iter().take(4).copied().collect::<Vec<_>>().join(" ");
        self.try_butter(args, limit).unwrap_or_else(|e| panic!("node {}: butter {shown}: {e:?}", self.number))
    }

    /// What a command prints with `--json`.
    ///
    /// # Panics
    /// When it does not go well.
    #[must_use]
    pub fn json(&self, command: &str) -> Value {
        let text = self.butter(&[command, "--json"], ASK);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("node {}: {command}: {e}: {text}", self.number))
    }

    /// Its number among the nodes of a test, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its id; the first call waits until the node is ready.
    ///
    /// # Panics
    /// When it is not, in time.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.get_or_init(|| self.once_ready("id"))
    }

    /// A ticket by which others join; waits until the node is ready.
    ///
    /// # Panics
    /// When it is not, in time.
    #[must_use]
    pub fn ticket(&self) -> String {
        self.once_ready("ticket")
    }

    /// A text of its status, as soon as there is one.
    fn once_ready(&self, name: &str) -> String {
        until(&format!("node {} is ready", self.number), ASK, || {
            let status = self.try_butter(&["status", "--json"], ASK).map_err(|e| format!("{e:?}"))?;
            let status: Value = serde_json::from_str(&status).map_err(|e| e.to_string())?;
            status[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name}"))
        })
    }

    /// The ids of the hosts with which it has a session.
    ///
    /// # Errors
    /// It does not answer (yet).
    pub fn connected(&self) -> Result<Vec<String>, String> {
        let text = self.try_butter(&["peers", "--json"], ASK).map_err(|e| format!("node {}: {e:?}", self.number))?;
        let peers: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let peers = peers.as_array().ok_or_else(|| "no array".to_owned())?;
        let up = peers.iter().filter(|peer| peer["state"] == "connected");
        Ok(up.filter_map(|peer| peer["id"].as_str().map(str::to_owned)).collect())
    }

    /// Stores a file and returns the answer of `put --json`.
    ///
    /// # Panics
    /// When it does not go well within `limit`.
    #[must_use]
    pub fn put(&self, file: &Path, limit: Duration) -> Value {
        let text = self.butter(&["put", "--json", &file.to_string_lossy()], limit);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("node {}: put: {e}: {text}", self.number))
    }

    /// Fetches an object, to nowhere but here.
    ///
    /// # Panics
    /// When it does not go well within `limit`.
    #[must_use]
    pub fn get(&self, id: &str, limit: Duration) -> Vec<u8> {
        self.try_get(id, limit).unwrap_or_else(|e| panic!("node {}: butter get {id}: {e:?}", self.number))
    }

    /// Fetches an object; see [`Node::get`].
    ///
    /// # Errors
    /// How it ended.
    pub fn try_get(&self, id: &str, limit: Duration) -> Result<Vec<u8>, Failed> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = self.dir.join(format!("got{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let path = file.to_string_lossy().into_owned();
        self.try_butter(&["get", id, "-o", &path], limit)?;
        let bytes = fs::read(&file).map_err(|e| Failed { code: None, err: format!("{path}: {e}") })?;
        let _ = fs::remove_file(&file);
        Ok(bytes)
    }

    /// The file with all it has printed.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
        self.alive = false;
    }

    /// Whether it lives, and its counters that are not zero.
    fn state(&self) -> String {
        if !self.alive {
            return "killed".to_owned();
        }
        let status = self.try_butter(&["status", "--json"], Duration::from_secs(3)).unwrap_or_default();
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        let counters = status["counters"].as_object().into_iter().flatten();
        let counters = counters.filter(|(_, n)| n.as_u64() != Some(0)).map(|(name, n)| format!("{name}={n}"));
        counters.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut text = format!("--- node {} ({}), {}\n", self.number, self.dir.display(), self.state());
        for command in ["peers", "groups"] {
            if let Ok(shown) = self.try_butter(&[command], Duration::from_secs(3)) {
                text += &shown;
            }
        }
        tell(&text);
    }
}

/// Whether each of these nodes has a session with all the others.
///
/// # Errors
/// Who lacks whom.
pub fn all_connected(nodes: &[&Node]) -> Result<(), String> {
    for node in nodes {
        let up = node.connected()?;
        let mut others = nodes.iter().filter(|other| other.number != node.number);
        if let Some(missing) = others.find(|other| !up.iter().any(|id| id == other.id())) {
            return Err(format!("node {} has no session with node {}, but {}", node.number, missing.number, up.len()));
        }
    }
    Ok(())
}

/// Whether all groups of these nodes are goldilocks, with none but these nodes as members; how many groups.
///
/// # Errors
/// What is not.
pub fn goldilocks(nodes: &[&Node]) -> Result<usize, String> {
    let mut known = Vec::new();
    for node in nodes {
        for group in node.json("groups").as_array().into_iter().flatten() {
            let id = group["id"].as_str().unwrap_or_default().to_owned();
            let members = group["members"].as_array().cloned().unwrap_or_default();
            let strangers = members.iter().filter(|id| !nodes.iter().any(|n| **id == *n.id())).count();
            if group["state"] != "goldilocks" || strangers > 0 {
                return Err(format!(
                    "at node {} group {id} is {} with {} members, {strangers} of them dead",
                    node.number,
                    group["state"],
                    members.len()
                ));
            }
            if !known.contains(&id) {
                known.push(id);
            }
        }
    }
    if known.is_empty() { Err("no groups".to_owned()) } else { Ok(known.len()) }
}

/// The most items that any of these nodes holds of each group, together: those that at least one node holds.
///
/// # Panics
/// When a node does not answer.
#[must_use]
pub fn items(nodes: &[&Node]) -> u64 {
    let mut most = std::collections::BTreeMap::new();
    for node in nodes {
        for group in node.json("groups").as_array().into_iter().flatten() {
            let items = group["items"].as_u64().unwrap_or_default();
            let entry = most.entry(group["id"].as_str().unwrap_or_default().to_owned()).or_insert(0);
            *entry = items.max(*entry);
        }
    }
    most.values().sum()
}

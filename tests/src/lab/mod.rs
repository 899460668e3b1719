//! Real networks on one Linux machine, from network namespaces: hosts on bridges, routers with NAT, captures.
//!
//! Each host is a namespace with one interface, `eth0`, plugged into a bridge that stands in a namespace of its
//! own. Nothing here touches the machine's own interfaces, and no packet leaves the namespaces. Everything goes
//! when its last handle is dropped, also in a panic; what a killed test left is removed by the next [`Lab::new`].
//!
//! ```no_run
//! use butter_tests::lab::Lab;
//! # fn main() {
//! let Some(lab) = Lab::new() else { return };
//! let lan = lab.lan();
//! let (a, b) = (lan.host(), lan.host());
//! let socket = a.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
//! socket.send_to(b"hi", (b.ip4(), 7)).unwrap();
//! # }
//! ```

mod capture;
mod host;
mod lan;
mod namespace;
mod wire;

use std::fmt::Write as _;
use std::io::Write as _;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::process::Process;
pub use capture::{Capture, Datagram, Frame};
pub use host::Host;
pub use lan::{Lan, Router, Tap};
pub use wire::{Cable, Wire};

use namespace::Namespace;

/// One lab at a time in a process: times measured in one are not blurred by another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The ground on which networks are built.
pub struct Lab {
    logs: PathBuf,
    lans: AtomicU8,
    _turn: MutexGuard<'static, ()>,
    _here: PhantomData<*const ()>,
}

impl Lab {
    /// Prepares for building networks; waits until no other lab stands in this process.
    ///
    /// `None` where that is impossible (not root, or `ip` or `nft` missing); then a line that starts with `SKIPPED`
    /// says why, past the test harness's capture, and the test should return.
    ///
    /// # Panics
    /// Instead of returning `None` when the environment has `CI=true`: there, a skipped test is a broken one. Only
    /// `BUTTER_LAB=skip` skips it there too, for a CI that runs the lab by itself.
    #[must_use]
    pub fn new() -> Option<Lab> {
        let set = |name, value| std::env::var_os(name).is_some_and(|v| v == value);
        let skip = set("BUTTER_LAB", "skip");
        let ready = if skip { Err("BUTTER_LAB=skip".into()) } else { possible() };
        if let Err(why) = ready {
            assert!(skip || !set("CI", "true"), "the network lab cannot run: {why}");
            let test = std::thread::current();
            let test = test.name().unwrap_or("a lab test").to_owned();
            // Not `eprintln!`, which the harness would swallow. Nothing to do if stderr is closed.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        namespace::sweep();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::repo::root().join("target"), PathBuf::from);
        let logs = target.join("lab").join(std::process::id().to_string());
        std::fs::create_dir_all(&logs).unwrap_or_else(|e| panic!("{}: {e}", logs.display()));
        Some(Lab { logs, lans: AtomicU8::new(0), _turn: turn, _here: PhantomData })
    }

    /// A new local network: an empty bridge. The n-th one (from 1) has the prefixes `10.83.n.0/24` and `fd83:0:0:n::/64`.
    ///
    /// # Panics
    /// When the system refuses, or after 250 networks.
    #[must_use]
    pub fn lan(&self) -> Lan {
        let number = self.lans.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= 250, "too many networks in one lab");
        Lan::new(number, self.logs.clone())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // After a failure the logs stay for who looks into it.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.logs);
        }
    }
}

/// Why no lab can be built here.
fn possible() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root to make network namespaces".into());
    }
    for (tool, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if std::process::Command::new(tool)
            .arg("-V")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .is_err()
        {
            return Err(format!("needs `{tool}` (Debian package {package})"));
        }
    }
    Namespace::try_new("probe").map(drop)
}

/// Runs a tool to its end, with `input` on its standard input.
fn tool(name: &str, args: &[&str], input: &str) -> Result<String, String> {
    use std::process::{Command, Stdio};
    let run = || {
        let mut child = Command::new(name)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let mut line = name.to_owned();
    for arg in args {
        let _ = write!(line, " {arg}");
    }
    let out = run().map_err(|e| format!("{line}: {e}"))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&out.stderr).trim()))
    }
}

/// `ip` with the words of `line`, in a namespace.
///
/// # Panics
/// When `ip` fails: the lab would not be what the test thinks it is.
fn ip(namespace: &Arc<Namespace>, line: &str) {
    let mut args = vec!["-n", namespace.name()];
    args.extend(line.split_whitespace());
    tool("ip", &args, "").unwrap_or_else(|e| panic!("{e}"));
}

/// Loads a rule set into a namespace's packet filter.
///
/// # Panics
/// When `nft` refuses it.
fn nft(namespace: &Arc<Namespace>, rules: &str) {
    tool("ip", &["netns", "exec", namespace.name(), "nft", "-f", "-"], rules)
        .unwrap_or_else(|e| panic!("{e}\n{rules}"));
}

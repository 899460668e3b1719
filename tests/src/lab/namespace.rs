//! A network namespace that is gone when dropped.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tool;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// What our namespaces' names start with; the maker's process id follows.
const PREFIX: &str = "butter-lab-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A named network namespace. Dropping it kills what runs in it and removes it.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace with its loopback up. `role` shows in its name.
    pub fn try_new(role: &str) -> Result<Arc<Namespace>, String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        tool("ip", &["netns", "add", &name], "")?;
        let namespace = Arc::new(Namespace { name });
        tool("ip", &["-n", &namespace.name, "link", "set", "lo", "up"], "")?;
        Ok(namespace)
    }

    /// Its name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `f` on a thread in this namespace. Sockets and processes made there stay there.
    ///
    /// # Panics
    /// When the namespace cannot be entered, and when `f` panics.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let path = Path::new(NAMES).join(&self.name);
                let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                setns(file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("enter {}: {e}", self.name));
                f()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sets a kernel parameter below `net`, for example `ipv4/ip_forward`.
    ///
    /// # Panics
    /// When there is no such parameter.
    pub fn set(&self, parameter: &str, value: &str) {
        let path = format!("/proc/sys/net/{parameter}");
        self.run(|| std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces of test processes that are no more.
pub fn sweep() {
    let Ok(entries) = std::fs::read_dir(NAMES) else {
        return;
    };
    for name in entries.flatten().filter_map(|e| e.file_name().into_string().ok()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(maker) = maker.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{maker}")).exists() {
            remove(&name);
        }
    }
}

/// Kills what runs in a namespace and removes it. Failing here has no remedy but the next sweep.
fn remove(name: &str) {
    // Only what stands in one of our own namespaces is killed.
    if let Ok(pids) = tool("ip", &["netns", "pids", name], "") {
        for pid in pids.lines().filter_map(|l| l.trim().parse().ok()) {
            // A thread of ours may still be in there: `ip` lists it under our own id.
            if pid != std::process::id().cast_signed() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    let _ = tool("ip", &["netns", "del", name], "");
}

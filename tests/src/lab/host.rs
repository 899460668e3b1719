//! A host of a lab network: a place to open sockets, start programs and watch the wire.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::net::if_::if_nametoindex;

use super::{Capture, Namespace, Process, ip};

/// A host: a namespace with one interface, `eth0`. Gone, with all that runs on it, when dropped.
pub struct Host {
    role: String,
    namespace: Arc<Namespace>,
    ip4: Ipv4Addr,
    ip6: Ipv6Addr,
    // What it is plugged into must not go first; nothing for hosts of a `Wire`.
    _switch: Option<Arc<Namespace>>,
    logs: PathBuf,
    started: AtomicU32,
}

impl Host {
    pub(super) fn new(
        role: String,
        namespace: Arc<Namespace>,
        ip4: Ipv4Addr,
        ip6: Ipv6Addr,
        switch: Option<Arc<Namespace>>,
        logs: PathBuf,
    ) -> Host {
        Host { role, namespace, ip4, ip6, _switch: switch, logs, started: AtomicU32::new(0) }
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn ip4(&self) -> Ipv4Addr {
        self.ip4
    }

    /// Its routable IPv6 address.
    #[must_use]
    pub fn ip6(&self) -> Ipv6Addr {
        self.ip6
    }

    /// The number of its interface, which IPv6 wants to know for link-local groups.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn interface_index(&self) -> u32 {
        self.run(|| if_nametoindex("eth0").unwrap_or_else(|e| panic!("eth0: {e}")))
    }

    /// Runs `f` on a thread of this host, and waits for it. Sockets opened there stay on this host, wherever they go.
    ///
    /// # Panics
    /// When `f` panics.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(f)
    }

    /// Starts a program on this host, its output going to a file: see [`Process::log`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(&self, command: Command) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.logs.join(format!("{}-{number}.log", self.role));
        // A child is born where the thread that makes it is.
        self.run(|| Process::start(command, log))
    }

    /// Records what passes this host's interface, from now on.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn capture(&self) -> Capture {
        self.run(|| Capture::start("eth0"))
    }

    /// Plugs the cable in or pulls it out.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn link(&self, up: bool) {
        ip(&self.namespace, &format!("link set dev eth0 {}", if up { "up" } else { "down" }));
    }

    pub(super) fn default_route(&self, router: Ipv4Addr) {
        ip(&self.namespace, &format!("route replace default via {router}"));
    }
}

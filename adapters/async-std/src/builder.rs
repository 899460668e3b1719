//! How a node is set up.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use butter_core::Node as Core;
use butter_core::addr::Addr;
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::identity::{Identity, NETWORK_NAME_MAX, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::ticket::{TICKET_PREFIX, Ticket};
use butter_core::wire::BLOCK;
use butter_crypto::RustCrypto;
use butter_driver::{Buffers, Clock, Immediate, run};
use butter_store::Heap;

use crate::clock::SystemClock;
use crate::data_dir::{DataDir, random};
use crate::engine::Engine;
use crate::error::Error;
use crate::net::{LINK, Listen, Udp};
use crate::node::Node;
use crate::{hosts, rt};

/// Commands of handles that may wait for the node.
const COMMANDS: usize = 64;

/// A node that is being set up: see [`Node::builder`].
#[derive(Clone, Debug)]
#[must_use = "a node runs once it is spawned"]
pub struct Builder {
    network: Option<String>,
    secret: Option<SecretKey>,
    data_dir: Option<PathBuf>,
    listen: Listen,
    join: Vec<String>,
    limits: Limits,
    config: Config,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            network: None,
            secret: None,
            data_dir: None,
            listen: Listen { at: None, lan: true },
            join: Vec::new(),
            limits: Limits::DESKTOP,
            config: Config::default(),
        }
    }
}

impl Builder {
    /// The network's name, 1 to 64 bytes; nodes of different networks ignore each other. Default: that of the ticket
    /// joined by, or `butter`.
    pub fn network(mut self, name: &str) -> Self {
        self.network = Some(name.to_owned());
        self
    }

    /// The secret of a closed network: without it not even a ping is answered. Default: the network is open.
    pub fn secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Some(SecretKey(secret));
        self
    }

    /// Where the node's identity and known hosts are kept over restarts. Default: nowhere, each start is a new node.
    pub fn data_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.data_dir = Some(path.as_ref().to_owned());
        self
    }

    /// The address to listen at, port 0 for any free one. Default: any port, on all addresses, IPv4 and IPv6.
    pub fn listen(mut self, at: SocketAddr) -> Self {
        self.listen.at = Some(at);
        self
    }

    /// What to join by: the address of a node, such as `example.org:4000`, or a ticket. May be given several times. A name is
    /// resolved once, at start.
    pub fn join(mut self, by: impl Into<String>) -> Self {
        self.join.push(by.into());
        self
    }

    /// Bytes of storage given to the network, rounded down to blocks of 4,096. Content is kept in memory. Default: 1 GiB.
    pub fn storage(mut self, bytes: u64) -> Self {
        self.config.storage_blocks = u32::try_from(bytes / BLOCK as u64).unwrap_or(u32::MAX);
        self
    }

    /// Whether to look for nodes on the local network, and be found there. Default: yes.
    pub fn lan(mut self, lan: bool) -> Self {
        self.listen.lan = lan;
        self
    }

    /// How much the node may hold. Default: [`Limits::DESKTOP`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Timings and policies; replaces what [`Builder::storage`] said before. Default: [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Starts the node on a task of its own.
    ///
    /// # Errors
    /// Everything that can be wrong with the settings or the machine is found here; then nothing runs, and at most the data
    /// directory and the identity in it were made.
    pub async fn spawn(self) -> Result<Node, Error> {
        // Files, names and sockets block.
        let prepared = blocking::unblock(move || self.prepare()).await?;
        Ok(prepared.start())
    }

    fn prepare(self) -> Result<Prepared, Error> {
        let (name, join) = resolve(self.network, &self.join)?;
        if !(1..=NETWORK_NAME_MAX).contains(&name.len()) {
            return Err(Error::NetworkName);
        }
        let dir = self.data_dir.as_deref().map(DataDir::open).transpose()?;
        let secret = match &dir {
            Some(dir) => dir.secret()?,
            None => SecretKey(random()?),
        };
        let network = match &self.secret {
            Some(secret) => Network::closed(&RustCrypto, &name, &secret.0),
            None => Network::open(&RustCrypto, &name),
        };
        let net = Udp::open(self.listen)?;
        let mut clock = SystemClock::new();
        let storage = u64::from(self.config.storage_blocks) * BLOCK as u64;
        let room = storage.saturating_add(self.limits.items as u64 * Heap::OVERHEAD);
        let now = clock.now();
        let identity = Identity { secret, network };
        let memory = Memory::heap(&self.limits);
        let mut core = Core::new(now, self.config, identity, random()?, &RustCrypto, memory).map_err(Error::Config)?;
        if let Some(dir) = &dir {
            hosts::read(&mut core, now, &dir.hosts(hosts::bytes_max(self.limits.hosts)));
        }
        for addrs in join {
            // A name may have more addresses than there is room for: one will do.
            let met: Vec<_> = addrs.into_iter().map(|addr| core.meet(now, LINK, Addr::from(addr))).collect();
            if !met.contains(&Ok(())) {
                met.into_iter().try_for_each(|met| met.map_err(Error::Refused))?;
            }
        }
        Ok(Prepared { core: Box::new(core), net, clock, store: Heap::new(room), dir: dir.map(Arc::new) })
    }
}

/// The network's name, and the addresses of each node to join by.
fn resolve(network: Option<String>, join: &[String]) -> Result<(String, Vec<Vec<SocketAddr>>), Error> {
    let mut network = network;
    let mut all = Vec::new();
    for by in join {
        // A host may be called butter, too: `butter:4000` is its address.
        if by.strip_prefix(TICKET_PREFIX).is_some_and(|rest| rest.parse::<u16>().is_err()) {
            let ticket: Ticket = by.parse().map_err(Error::Ticket)?;
            let network = network.get_or_insert_with(|| ticket.network.as_str().to_owned());
            if network.as_str() != ticket.network.as_str() {
                let (ticket, network) = (ticket.network.as_str().to_owned(), network.clone());
                return Err(Error::OtherNetwork { ticket, network });
            }
            all.push(ticket.hosts.iter().map(|(_, addr)| addr.socket()).collect());
        } else {
            let fail = |source| Error::Resolve { name: by.clone(), source };
            let addrs: Vec<SocketAddr> = by.to_socket_addrs().map_err(|source| fail(Some(source)))?.collect();
            if addrs.is_empty() {
                return Err(fail(None));
            }
            all.push(addrs);
        }
    }
    Ok((network.unwrap_or_else(|| "butter".to_owned()), all))
}

/// A node about to start.
struct Prepared {
    core: Box<Core<'static>>,
    net: Udp,
    clock: SystemClock,
    store: Heap,
    dir: Option<Arc<DataDir>>,
}

impl Prepared {
    fn start(self) -> Node {
        let Prepared { mut core, mut net, mut clock, mut store, dir } = self;
        let (commands, from_handles) = async_channel::bounded(COMMANDS);
        let (urgent, from_inside) = async_channel::unbounded();
        let (running, ended) = async_channel::bounded::<()>(1);
        let node = Node::new(core.id(), net.local(), commands, urgent.clone(), ended);
        rt::spawn(async move {
            let mut engine = Engine::new(from_handles, from_inside, urgent, dir);
            let mut disk = Box::new(Immediate::new(move |op: &_, buf: &mut [u8]| store.apply(op, buf)));
            let mut buffers = Box::<Buffers>::default();
            run(&mut core, &mut net, &mut clock, &mut *disk, &mut engine, &mut buffers).await;
            engine.finish(&core).await;
            // Whoever waits for the end finds the ports free.
            drop(net);
            drop(running);
        });
        node
    }
}

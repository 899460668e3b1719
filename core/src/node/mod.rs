//! The façade: one struct, what goes in, what comes out.

mod buffers;
mod event;
mod hooks;
mod timer;

pub use buffers::{Arena, Chunk, LARGE_MIN, SMALL};
pub(crate) use buffers::{BufferId, Buffers};
pub use event::{CallId, Deadline, Destination, Event, GetId, PeerId, PutId, Refused, SeatId, ServeId, Transmit};
pub use hooks::Out;
pub(crate) use hooks::Wrote;
pub(crate) use timer::TimerSet;
pub use timer::{Timer, timers_needed};

use crate::addr::{Addr, LinkId, LinkState};
use crate::config::{Config, ConfigError};
use crate::content::Content;
use crate::counters::Counters;
use crate::crypto::Crypto;
use crate::discover::Discover;
use crate::exchange::Exchange;
use crate::group::Groups;
use crate::hosts::Hosts;
use crate::id::NodeId;
use crate::identity::Identity;
use crate::memory::{Limits, Memory};
use crate::relay::Relays;
use crate::retrieve::{Pointers, Retrieve};
use crate::rng::{Rng, Secrets};
use crate::session::Peers;
use crate::storage::Storage;
use crate::table::{Fifo, Pool, SLOTS_MAX};
use crate::time::Instant;

/// Timers served by one call of [`Node::handle_timeout`]; more wait for the next call.
const TIMERS_PER_CALL: usize = 64;

/// What every sub-protocol uses.
pub(crate) struct Env<'m> {
    pub now: Instant,
    /// When the node began.
    pub start: Instant,
    pub config: Config,
    pub limits: Limits,
    pub crypto: &'m dyn Crypto,
    pub identity: Identity,
    /// Our id.
    pub me: NodeId,
    /// Drawn at every start: tells others that we restarted.
    pub boot: u64,
    pub rng: Rng,
    pub secrets: Secrets,
    /// Keys the hashes of all indices.
    pub index_secret: u64,
    pub counters: Counters,
    pub timers: TimerSet<'m>,
    pub outbox: Pool<'m, Out>,
    pub events: Fifo<'m, Event>,
    events_lost: bool,
    pub buffers: Buffers<'m>,
}

impl Env<'_> {
    /// Time goes forward (N8).
    #[inline(never)]
    pub fn advance(&mut self, now: Instant) {
        if now < self.now {
            self.counters.time_clamped += 1;
        } else {
            self.now = now;
        }
    }

    /// Milliseconds since the node's start, modulo 2^16.
    pub fn uptime_ms16(&self) -> u16 {
        self.now.ms_since(self.start) as u16
    }

    /// Whole seconds since the node's start.
    pub fn seconds(&self) -> u32 {
        self.now.ms_since(self.start) / 1000
    }

    /// Tells the application.
    #[inline(never)]
    pub fn event(&mut self, event: Event) {
        // One place is kept for `Lost`.
        if self.events.room() > 1 {
            self.events.push(event);
        } else {
            self.counters.events_dropped += 1;
            if !self.events_lost {
                self.events_lost = true;
                self.events.push(Event::Lost);
            }
        }
    }
}

/// One node: the whole protocol as a state machine. See the crate's documentation for its contract.
pub struct Node<'m> {
    pub(crate) env: Env<'m>,
    pub(crate) peers: Peers<'m>,
    pub(crate) relays: Relays<'m>,
    pub(crate) discover: Discover,
    pub(crate) hosts: Hosts<'m>,
    pub(crate) exchange: Exchange<'m>,
    pub(crate) groups: Groups<'m>,
    pub(crate) content: Content<'m>,
    pub(crate) retrieve: Retrieve<'m>,
    pub(crate) pointers: Pointers<'m>,
    pub(crate) storage: Storage<'m>,
}

impl<'m> Node<'m> {
    /// A node that has not spoken yet. `seed` is 32 secret random bytes, never used before: after a restart, draw new ones.
    ///
    /// # Errors
    /// [`ConfigError`] says what cannot work.
    pub fn new(
        now: Instant,
        config: Config,
        identity: Identity,
        seed: [u8; 32],
        crypto: &'m dyn Crypto,
        memory: Memory<'m>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let limits = memory.limits;
        let needed = [limits.hosts, limits.peers, limits.handshakes, limits.outbox, limits.strays, limits.calls];
        let too_many = [limits.hosts, limits.peers, limits.calls, limits.serves, limits.seats, limits.operations];
        if needed.contains(&0)
            || limits.events < 2
            || limits.large_bytes < LARGE_MIN
            || limits.large_buffers == 0
            || too_many.iter().any(|n| *n > usize::from(u16::MAX))
            || limits.items.max(limits.pointers) > SLOTS_MAX
            || timers_needed(&limits) > usize::from(u16::MAX)
        {
            return Err(ConfigError::Limits);
        }
        let part = |name: &[u8]| crypto.hash(&[b"butter seed", name, &seed]);
        let choices = part(b"choices");
        let mut halves = [[0; 16]; 2];
        halves[0].copy_from_slice(&choices[..16]);
        halves[1].copy_from_slice(&choices[16..]);
        let mut other = Rng::new(halves[1]);
        let me = crypto.node_id(&identity.secret);
        let boot = other.next_u64();
        let index_secret = other.next_u64();
        let env = Env {
            now,
            start: now,
            config,
            limits,
            crypto,
            identity,
            me,
            boot,
            rng: Rng::new(halves[0]),
            secrets: Secrets::new(part(b"secrets")),
            index_secret,
            counters: Counters::default(),
            timers: TimerSet::new(memory.timers, &limits),
            outbox: Pool::new(memory.outbox),
            events: Fifo::new(memory.events),
            events_lost: false,
            buffers: Buffers::new(
                memory.small,
                memory.small_chunks,
                memory.large,
                memory.large_chunks,
                limits.large_bytes,
            ),
        };
        let mut node = Node {
            env,
            peers: Peers::new(memory.peers, memory.peer_index, memory.session_index, memory.handshakes, memory.strays),
            relays: Relays::new(memory.relays),
            discover: Discover::new(),
            hosts: Hosts::new(memory.hosts, memory.host_index, memory.host_prefixes, memory.host_graves, index_secret),
            exchange: Exchange::new(memory.calls, memory.serves, memory.serve_index, boot),
            groups: Groups::new(memory.seats, memory.partners, memory.known, memory.known_index),
            content: Content::new(memory.items, memory.item_index),
            retrieve: Retrieve::new(memory.operations, memory.transfers, memory.lists),
            pointers: Pointers::new(memory.pointers, memory.pointer_index),
            storage: Storage::new(memory.jobs),
        };
        node.begin();
        Ok(node)
    }

    /// Takes one datagram, which is decrypted in place. Never an error: what is bad is counted.
    pub fn handle_datagram(&mut self, now: Instant, link: LinkId, from: Addr, data: &mut [u8]) {
        self.env.advance(now);
        self.env.counters.packets_in = self.env.counters.packets_in.wrapping_add(1);
        self.env.counters.bytes_in = self.env.counters.bytes_in.wrapping_add(data.len() as u32);
        self.receive(link, from, data);
    }

    /// Does what is due. Calling it early or late is harmless. Serves at most 64 timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.env.advance(now);
        for _ in 0..TIMERS_PER_CALL {
            let Some(timer) = self.env.timers.pop_due(self.env.now) else { return };
            self.timeout(timer);
        }
    }

    /// Takes a link's state.
    pub fn handle_link(&mut self, now: Instant, link: LinkId, state: LinkState) {
        self.env.advance(now);
        self.link_changed(link, state);
    }

    /// Encodes the next packet for `link` into `buf`, which should hold the link's MTU; what does not fit a shorter one
    /// waits. `None`: nothing to send now. Cost when idle: a few loads.
    pub fn poll_transmit(&mut self, now: Instant, link: LinkId, buf: &mut [u8]) -> Option<Transmit> {
        self.env.advance(now);
        let transmit = self.transmit(link, buf)?;
        self.env.counters.packets_out = self.env.counters.packets_out.wrapping_add(1);
        self.env.counters.bytes_out = self.env.counters.bytes_out.wrapping_add(transmit.len as u32);
        Some(transmit)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.env.events.pop()?;
        if event == Event::Lost {
            self.env.events_lost = false;
        }
        Some(event)
    }

    /// When [`Node::handle_timeout`] is to be called next, and what for. Cost: a few loads.
    pub fn deadline(&self) -> Option<Deadline> {
        self.env.timers.first().map(|(at, reason)| Deadline { at, reason })
    }

    /// Our id.
    pub fn id(&self) -> NodeId {
        self.env.me
    }

    /// What was counted since start.
    pub fn counters(&self) -> &Counters {
        &self.env.counters
    }

    /// Buffers in use, small and large: none for long when nothing is under way.
    pub fn buffers_in_use(&self) -> (usize, usize) {
        self.env.buffers.in_use()
    }

    /// The limits this node runs with.
    pub fn limits(&self) -> &Limits {
        &self.env.limits
    }

    /// The configuration this node runs with.
    pub fn config(&self) -> &Config {
        &self.env.config
    }
}

impl core::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Node({:?} at {:?})", self.env.me, self.env.now)
    }
}

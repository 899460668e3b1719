//! The world: nodes, their network and their clock.

mod groups;
mod jobs;
mod packets;
mod pump;
mod queue;
mod slot;

use butter_core::Node;
use butter_core::addr::Addr;
use butter_core::counters::Counters;
use butter_core::crypto::Crypto;
use butter_core::id::NodeId;
use butter_core::node::{Event, Refused};
use butter_core::rng::Rng;
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, MTU};

pub use groups::GroupView;
pub use jobs::{Job, Outcome};
pub(crate) use queue::What;
pub use slot::Spec;

use crate::chance;
use crate::check::Checks;
use crate::disk::Disk;
use crate::fault::{Churning, Following};
use crate::load::Loading;
use crate::net::{Net, Path, Sent};
use jobs::Jobs;
use packets::Packets;
use queue::Queue;
pub(crate) use slot::LINK;
use slot::Slot;

/// Virtual milliseconds between two looks at a condition.
const LOOK_MS: u32 = 10;

/// Which node of the world: the number of nodes added before it. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Who(pub u32);

impl Who {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a world begins with.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Everything that is drawn comes from this.
    pub seed: u64,
    /// How packets travel in the first segment.
    pub lan: Path,
    /// How packets travel between segments.
    pub internet: Path,
    /// Whether the first rule that is broken is kept for [`World::violation`]. Else it panics.
    pub keep_violation: bool,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig { seed: 0, lan: Path::LAN, internet: Path::INTERNET, keep_violation: false }
    }
}

/// The application of all nodes: takes every event that the world does not need itself, and may call the node.
pub type Hook = Box<dyn FnMut(Instant, Who, Event, &mut Node<'_>)>;

/// Many nodes on a virtual clock. It borrows the cryptography, which is the same for all of them.
pub struct World<'c> {
    pub(crate) config: WorldConfig,
    pub(crate) crypto: &'c dyn Crypto,
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) slots: Vec<Slot<'c>>,
    pub(crate) churn: Option<Churning>,
    pub(crate) churns: u32,
    pub(crate) following: Option<Following>,
    pub(crate) loading: Option<Loading>,
    pub(crate) loads: u32,
    pub(crate) jobs: Jobs,
    pub(crate) checks: Checks,
    net: Net,
    packets: Packets,
    sent: Vec<Sent>,
    pub(crate) buffer: Vec<u8>,
    trace: u128,
    steps: u64,
    hook: Option<Hook>,
    /// What storage draws its faults from.
    pub(crate) disk_rng: Rng,
}

impl<'c> World<'c> {
    /// An empty world with one segment.
    pub fn new(crypto: &'c dyn Crypto, config: WorldConfig) -> World<'c> {
        let mut net = Net::new(config.seed, &config.internet);
        net.add_segment(&config.lan);
        World {
            disk_rng: chance::stream(config.seed, "disk", 0),
            checks: Checks::new(config.keep_violation),
            config,
            crypto,
            now: Instant::ZERO,
            queue: Queue::default(),
            slots: Vec::new(),
            churn: None,
            churns: 0,
            following: None,
            loading: None,
            loads: 0,
            jobs: Jobs::default(),
            net,
            packets: Packets::default(),
            sent: Vec::new(),
            buffer: vec![0; MTU.max(BLOCK)],
            trace: 0,
            steps: 0,
            hook: None,
        }
    }

    /// What takes the nodes' events.
    pub fn set_hook(&mut self, hook: impl FnMut(Instant, Who, Event, &mut Node<'_>) + 'static) {
        self.hook = Some(Box::new(hook));
    }

    /// Virtual time since the world began.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The network, to change it or to read its counters.
    pub fn net(&mut self) -> &mut Net {
        &mut self.net
    }

    /// A hash over every packet sent so far: its time, sender, destination and bytes.
    pub fn trace(&self) -> u128 {
        self.trace
    }

    /// Things that have happened: packets arrived, wake-ups, storage operations ended, faults.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Packets under way.
    pub fn in_flight(&self) -> usize {
        self.packets.len()
    }

    /// How many nodes were ever added; they are `Who(0)` to `Who(n - 1)`.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no node was ever added.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Nodes that run, paused ones included, in the order in which they were added.
    pub fn up(&self) -> impl Iterator<Item = Who> {
        (0..self.slots.len() as u32).map(Who).filter(|who| self.is_up(*who))
    }

    /// Whether a node runs.
    pub fn is_up(&self, who: Who) -> bool {
        self.node(who).is_some()
    }

    /// Whether a node stands still.
    pub fn is_paused(&self, who: Who) -> bool {
        self.slots.get(who.index()).is_some_and(|slot| slot.paused)
    }

    /// A node that runs, to read it.
    pub fn node(&self, who: Who) -> Option<&Node<'c>> {
        self.slots.get(who.index())?.node.as_deref()
    }

    /// Virtual microseconds since a node last started.
    pub fn uptime_us(&self, who: Who) -> u64 {
        self.now.since(self.slots[who.index()].booted)
    }

    /// A node's id.
    pub fn id(&self, who: Who) -> NodeId {
        self.slots[who.index()].id
    }

    /// A node's address.
    pub fn addr(&self, who: Who) -> Addr {
        self.slots[who.index()].addr
    }

    /// Whose address this is, if somebody's who runs.
    pub fn net_who(&self, addr: &Addr) -> Option<Who> {
        self.net.who(addr)
    }

    /// What a node was added as.
    pub fn spec(&self, who: Who) -> &Spec {
        &self.slots[who.index()].spec
    }

    /// What a node's clock shows now: its time since it started, as far as it can tell.
    pub fn clock(&self, who: Who) -> Instant {
        self.slots[who.index()].clock.read(self.now)
    }

    /// What a node has stored.
    pub fn disk(&mut self, who: Who) -> &mut Disk {
        &mut self.slots[who.index()].disk
    }

    /// Calls a node that runs: `verb` gets its clock and the node. What it then has to send is sent.
    pub fn call<R>(&mut self, who: Who, verb: impl FnOnce(Instant, &mut Node<'c>) -> R) -> Option<R> {
        let result = self.call_quietly(who, verb)?;
        self.pump(who);
        Some(result)
    }

    /// The same, but what it has to say waits for the next [`World::pump`].
    pub(crate) fn call_quietly<R>(&mut self, who: Who, verb: impl FnOnce(Instant, &mut Node<'c>) -> R) -> Option<R> {
        let slot = self.slots.get_mut(who.index())?;
        let clock = slot.clock.read(self.now);
        Some(verb(clock, slot.node.as_deref_mut()?))
    }

    /// Tells a node the address of another, which may be on another segment.
    ///
    /// # Errors
    /// The node refused, or does not run ([`Refused::Unknown`]).
    pub fn meet(&mut self, who: Who, other: Who) -> Result<(), Refused> {
        let addr = self.addr(other);
        self.call(who, |clock, node| node.meet(clock, LINK, addr)).unwrap_or(Err(Refused::Unknown))
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, ms: u64) {
        self.run_to(Instant::from_micros(self.now.as_micros() + ms * 1000));
    }

    /// Lets virtual time pass until a moment.
    pub fn run_to(&mut self, until: Instant) {
        while self.step(until) {}
        self.now = self.now.max(until);
    }

    /// Lets virtual time pass until `cond` holds, looked at every 10 virtual milliseconds; false after `ms_max`.
    pub fn run_until(&mut self, ms_max: u64, mut cond: impl FnMut(&mut World<'c>) -> bool) -> bool {
        let end = self.now.plus_us(ms_max * 1000);
        while self.now < end {
            if cond(self) {
                return true;
            }
            self.run_to(end.min(self.now.plus_ms(LOOK_MS)));
        }
        cond(self)
    }

    /// Lets the next thing happen, if it happens by `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some((at, what)) = self.queue.pop(until) else { return false };
        self.now = at;
        self.steps += 1;
        if self.checks.due(at) {
            self.look();
        }
        match what {
            What::Packet { to, packet } => self.arrive(to, packet),
            What::Gate { hop, packet } => self.enter(hop, packet),
            What::Wake(who) => self.wake(who),
            What::Stored { at, boot, ticket } if self.slots[at.index()].boots == boot => {
                if self.end_stored(at, ticket) {
                    self.pump(at);
                }
            }
            What::Stored { .. } => {}
            What::Start { who, boot } if self.slots[who.index()].boots == boot => self.start(who),
            What::Start { .. } => {}
            What::Kill { who, churn } => self.churn_kill(who, churn),
            What::Resume { who, boot } if self.slots[who.index()].boots == boot => self.resume(who),
            What::Resume { .. } => {}
            What::Follow => self.follow_on(),
            What::Load(load) => self.load_due(load),
            What::Heal(partition) => {
                self.net.heal(partition);
            }
        }
        true
    }

    /// Deliveries under way, those that wait for paused nodes included.
    pub(crate) fn deliveries_owed(&self) -> u64 {
        self.packets.owed()
    }

    /// What became of the packets so far.
    pub fn net_counters(&self) -> crate::net::NetCounters {
        self.net.counters()
    }

    pub(crate) fn detach(&mut self, who: Who) {
        self.net.detach(who);
    }

    /// Wake-ups of a node since it was added.
    pub fn wakes(&self, who: Who) -> u64 {
        self.slots[who.index()].wakes
    }

    /// Wake-ups of all nodes.
    pub fn wakes_total(&self) -> u64 {
        self.slots.iter().map(|slot| slot.wakes).sum()
    }

    /// The sum over all nodes, dead ones and earlier boots included, of what each has counted since its last start.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut sums: Vec<_> = Counters::default().iter().map(|(name, _)| (name, 0u64)).collect();
        for slot in &self.slots {
            sums.iter_mut().zip(&slot.counted).for_each(|(sum, n)| sum.1 += n);
            if let Some(node) = &slot.node {
                sums.iter_mut().zip(node.counters().iter()).for_each(|(sum, (_, n))| sum.1 += u64::from(n));
            }
        }
        sums
    }

    /// One counter of [`World::counters`], by name.
    pub fn counter(&self, name: &str) -> u64 {
        let found = self.counters().into_iter().find(|(other, _)| *other == name);
        found.unwrap_or_else(|| panic!("there is no counter {name}")).1
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the world had seed {}, and it was {:?} after {} steps", self.config.seed, self.now, self.steps);
        }
    }
}

//! The world: nodes, their network and their clock.

use butter_core::Node;
use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::counters::Counters;
use butter_core::crypto::{Crypto, SecretKey};
use butter_core::id::NodeId;
use butter_core::identity::{Identity, Network};
use butter_core::memory::Memory;
use butter_core::node::{Destination, Event, Refused};
use butter_core::storage::StoreDone;
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, MTU};
use twox_hash::XxHash3_128;

use crate::chance;
use crate::disk::Disk;
use crate::fault::Churning;
use crate::jobs::Jobs;
use crate::net::{Net, Path, SegmentId, Sent};
use crate::packets::{PacketId, Packets};
use crate::profile::Profile;
use crate::queue::{Queue, What};

/// The one link of a simulated node.
pub(crate) const LINK: LinkId = LinkId(0);
/// Rounds of polling after one input, and wake-ups at one moment, past which a node is taken to spin.
const SPIN: u32 = 10_000;
/// Virtual milliseconds between two looks at a condition.
const LOOK_MS: u32 = 10;
/// Packets that wait for a paused node, as in a socket's buffer; more are lost.
const BACKLOG: usize = 256;

/// Which node of the world: the number of nodes added before it. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Who(pub u32);

impl Who {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a world begins with.
#[derive(Clone, Copy, Debug)]
pub struct WorldConfig {
    /// Everything that is drawn comes from this.
    pub seed: u64,
    /// How packets travel in the first segment.
    pub lan: Path,
    /// How packets travel between segments.
    pub internet: Path,
    /// Microseconds that a storage operation takes; 0 ends it before anything else happens.
    pub disk_us: u64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig { seed: 0, lan: Path::LAN, internet: Path::INTERNET, disk_us: 0 }
    }
}

/// A node to be added.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What kind of machine.
    pub profile: Profile,
    /// On which segment.
    pub segment: SegmentId,
    /// Whether with a public address.
    pub public: bool,
    /// The network that it is a member of.
    pub network: String,
    /// The secret of a closed network.
    pub secret: Option<[u8; 32]>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec { profile: Profile::default(), segment: SegmentId(0), public: false, network: "sim".into(), secret: None }
    }
}

/// The application of all nodes: takes every event that the world does not need itself, and may call the node.
pub type Hook = Box<dyn FnMut(Instant, Who, Event, &mut Node<'_>)>;

pub(crate) struct Slot<'c> {
    pub spec: Spec,
    pub secret: [u8; 32],
    pub id: NodeId,
    pub addr: Addr,
    pub disk: Disk,
    pub node: Option<Box<Node<'c>>>,
    /// When it last started: the zero of its clock.
    pub booted: Instant,
    pub boots: u32,
    pub paused: bool,
    pub backlog: Vec<(Who, PacketId)>,
    pub wakes: u64,
    spin: (Instant, u32),
    /// What nodes that are gone had counted.
    pub counted: Vec<u64>,
}

impl Slot<'_> {
    fn clock(&self, now: Instant) -> Instant {
        Instant::from_micros(now.since(self.booted))
    }
}

/// Many nodes on a virtual clock. It borrows the cryptography, which is the same for all of them.
pub struct World<'c> {
    pub(crate) config: WorldConfig,
    pub(crate) crypto: &'c dyn Crypto,
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) slots: Vec<Slot<'c>>,
    pub(crate) churn: Option<Churning>,
    pub(crate) churns: u32,
    pub(crate) jobs: Jobs,
    net: Net,
    packets: Packets,
    sent: Vec<Sent>,
    buffer: Vec<u8>,
    trace: u128,
    steps: u64,
    hook: Option<Hook>,
}

impl<'c> World<'c> {
    /// An empty world with one segment.
    pub fn new(crypto: &'c dyn Crypto, config: WorldConfig) -> World<'c> {
        let mut net = Net::new(config.seed, config.internet);
        net.add_segment(config.lan);
        World {
            config,
            crypto,
            now: Instant::ZERO,
            queue: Queue::default(),
            slots: Vec::new(),
            churn: None,
            churns: 0,
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

    /// Adds a node that starts now.
    pub fn add(&mut self, spec: &Spec) -> Who {
        self.add_at(spec, self.now)
    }

    /// Adds nodes of one kind that start now.
    pub fn add_all(&mut self, n: usize, spec: &Spec) -> Vec<Who> {
        (0..n).map(|_| self.add(spec)).collect()
    }

    /// Adds a node that starts at `at`.
    pub fn add_at(&mut self, spec: &Spec, at: Instant) -> Who {
        let who = Who(self.slots.len() as u32);
        let mut secret = [0; 32];
        chance::stream(self.config.seed, "secret", who.0.into()).fill(&mut secret);
        let addr = self.net.next_addr(spec.segment, spec.public);
        self.slots.push(Slot {
            spec: spec.clone(),
            secret,
            id: self.crypto.node_id(&SecretKey(secret)),
            addr,
            disk: Disk::default(),
            node: None,
            booted: at,
            boots: 0,
            paused: false,
            backlog: Vec::new(),
            wakes: 0,
            spin: (Instant::ZERO, 0),
            counted: Vec::new(),
        });
        if at <= self.now {
            self.start(who);
        } else {
            self.queue.push(at, What::Start(who));
        }
        who
    }

    /// Starts a node that is not up: a new boot with its identity, its address and what is on its disk.
    pub(crate) fn start(&mut self, who: Who) {
        let slot = &mut self.slots[who.index()];
        if slot.node.is_some() {
            return;
        }
        let network = match &slot.spec.secret {
            Some(secret) => Network::closed(self.crypto, &slot.spec.network, secret),
            None => Network::open(self.crypto, &slot.spec.network),
        };
        let identity = Identity { secret: SecretKey(slot.secret), network };
        slot.boots += 1;
        slot.booted = self.now;
        let mut seed = [0; 32];
        let boot = u64::from(who.0) << 32 | u64::from(slot.boots);
        chance::stream(self.config.seed, "boot", boot).fill(&mut seed);
        let Profile { limits, config } = &slot.spec.profile;
        let memory = Memory::heap(limits);
        let node = Node::new(Instant::ZERO, config.clone(), identity, seed, self.crypto, memory);
        let mut node = node.unwrap_or_else(|error| panic!("the profile of {who:?} cannot work: {error}"));
        node.handle_link(Instant::ZERO, LINK, LinkState::Up { mtu: MTU as u16 });
        slot.node = Some(Box::new(node));
        self.net.attach(who, slot.spec.segment, slot.addr);
        self.pump(who);
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

    /// A node that runs, to read it.
    pub fn node(&self, who: Who) -> Option<&Node<'c>> {
        self.slots.get(who.index())?.node.as_deref()
    }

    /// A node's id.
    pub fn id(&self, who: Who) -> NodeId {
        self.slots[who.index()].id
    }

    /// A node's address.
    pub fn addr(&self, who: Who) -> Addr {
        self.slots[who.index()].addr
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
        let clock = slot.clock(self.now);
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
        match what {
            What::Packet { to, from, packet } => self.arrive(to, from, packet),
            What::Wake(who) => self.wake(who),
            What::Stored { at, boot, ticket } if self.slots[at.index()].boots == boot => {
                if self.end_stored(at, ticket) {
                    self.pump(at);
                }
            }
            What::Stored { .. } => {}
            What::Start(who) => self.start(who),
            What::Kill { who, churn } => self.churn_kill(who, churn),
            What::Resume(who) => self.resume(who),
        }
        true
    }

    fn arrive(&mut self, to: Who, from: Who, packet: PacketId) {
        let slot = &mut self.slots[to.index()];
        if slot.paused && slot.backlog.len() < BACKLOG {
            slot.backlog.push((from, packet));
            return;
        }
        let len = self.packets.take(packet, &mut self.buffer);
        let from = self.slots[from.index()].addr;
        let slot = &mut self.slots[to.index()];
        let clock = slot.clock(self.now);
        if let Some(node) = slot.node.as_mut().filter(|_| !slot.paused) {
            node.handle_datagram(clock, LINK, from, &mut self.buffer[..len]);
            self.pump(to);
        }
    }

    fn wake(&mut self, who: Who) {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock(self.now);
        let Some(node) = slot.node.as_mut().filter(|_| !slot.paused) else { return };
        slot.wakes += 1;
        slot.spin = if slot.spin.0 == self.now { (self.now, slot.spin.1 + 1) } else { (self.now, 0) };
        assert!(slot.spin.1 < SPIN, "{who:?} spins at {clock:?}: {:?}", node.deadline());
        node.handle_timeout(clock);
        self.pump(who);
    }

    /// Everything that a node has to say after an input, and its next wake-up.
    pub(crate) fn pump(&mut self, who: Who) {
        for round in 0.. {
            assert!(round < SPIN, "{who:?} never falls silent at {:?}", self.now);
            let events = self.pump_events(who);
            let packets = self.pump_packets(who);
            let stored = self.pump_store(who);
            if !(events || packets || stored) {
                break;
            }
        }
        let slot = &self.slots[who.index()];
        let deadline = slot.node.as_ref().filter(|_| !slot.paused).and_then(|node| node.deadline());
        let at = deadline.map(|deadline| slot.booted.plus_us(deadline.at.as_micros()).max(self.now));
        self.queue.arm(who, at);
    }

    fn pump_events(&mut self, who: Who) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock(self.now);
        let Some(node) = slot.node.as_deref_mut().filter(|_| !slot.paused) else { return false };
        let mut any = false;
        while let Some(event) = node.poll_event() {
            any = true;
            if !self.jobs.event(self.now, clock, who, event, node)
                && let Some(hook) = &mut self.hook
            {
                hook(clock, who, event, node);
            }
        }
        any
    }

    fn pump_packets(&mut self, who: Who) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock(self.now);
        let Some(node) = slot.node.as_deref_mut().filter(|_| !slot.paused) else { return false };
        let mut any = false;
        while let Some(transmit) = node.poll_transmit(clock, LINK, &mut self.buffer[..MTU]) {
            any = true;
            let bytes = &self.buffer[..transmit.len];
            self.trace = traced(self.trace, self.now, who, transmit.to, bytes);
            self.sent.clear();
            self.net.send(who, transmit.to, bytes.len(), &mut self.sent);
            if self.sent.is_empty() {
                continue;
            }
            let packet = self.packets.keep(bytes, self.sent.len() as u32);
            for sent in &self.sent {
                let what = What::Packet { to: sent.to, from: who, packet };
                self.queue.push(self.now.plus_us(sent.after_us), what);
            }
        }
        any
    }

    fn pump_store(&mut self, who: Who) -> bool {
        let mut any = false;
        loop {
            let slot = &mut self.slots[who.index()];
            let Some(node) = slot.node.as_deref_mut().filter(|_| !slot.paused) else { return any };
            let Some(op) = node.poll_store(&mut self.buffer) else { return any };
            any = true;
            slot.disk.begin(op, &self.buffer);
            if self.config.disk_us == 0 {
                self.end_stored(who, op.ticket());
            } else {
                let what = What::Stored { at: who, boot: slot.boots, ticket: op.ticket() };
                self.queue.push(self.now.plus_us(self.config.disk_us), what);
            }
        }
    }

    fn end_stored(&mut self, who: Who, ticket: butter_core::storage::StoreTicket) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock(self.now);
        let (Some(node), Some(result)) = (slot.node.as_deref_mut(), slot.disk.end(ticket)) else { return false };
        node.handle_store(clock, StoreDone { ticket, result });
        true
    }

    /// Hands a resumed node what has waited for it.
    pub(crate) fn drain_backlog(&mut self, who: Who) {
        for (from, packet) in std::mem::take(&mut self.slots[who.index()].backlog) {
            self.arrive(who, from, packet);
        }
    }

    /// Forgets what has waited for a node that died.
    pub(crate) fn drop_backlog(&mut self, who: Who) {
        for (_, packet) in std::mem::take(&mut self.slots[who.index()].backlog) {
            self.packets.take(packet, &mut self.buffer);
        }
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

fn traced(trace: u128, now: Instant, from: Who, to: Destination, bytes: &[u8]) -> u128 {
    let mut head = [0; 64];
    head[..16].copy_from_slice(&trace.to_le_bytes());
    head[16..24].copy_from_slice(&now.as_micros().to_le_bytes());
    head[24..28].copy_from_slice(&from.0.to_le_bytes());
    match to {
        Destination::Addr(addr) => {
            head[29..45].copy_from_slice(&addr.ip);
            head[45..47].copy_from_slice(&addr.port.to_le_bytes());
            head[47..49].copy_from_slice(&addr.slot.to_le_bytes());
        }
        Destination::Multicast => head[28] = 1,
        Destination::Broadcast => head[28] = 2,
    }
    head[49..57].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    let seed = XxHash3_128::oneshot(&head);
    XxHash3_128::oneshot_with_seed(seed as u64, bytes) ^ seed >> 64
}

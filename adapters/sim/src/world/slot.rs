//! A node's place in the world: how it is made and started.

use butter_core::Node;
use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::crypto::SecretKey;
use butter_core::id::NodeId;
use butter_core::identity::{Identity, Network};
use butter_core::memory::Memory;
use butter_core::time::Instant;
use butter_core::wire::MTU;

use super::packets::PacketId;
use super::queue::What;
use super::{Who, World};
use crate::chance;
use crate::disk::Disk;
use crate::machine::Machine;
use crate::net::SegmentId;

/// The one link of a simulated node.
pub(crate) const LINK: LinkId = LinkId(0);

/// A node to be added.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What kind of machine.
    pub machine: Machine,
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
        Spec { machine: Machine::default(), segment: SegmentId(0), public: false, network: "sim".into(), secret: None }
    }
}

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
    pub spin: (Instant, u32),
    /// What nodes that are gone had counted.
    pub counted: Vec<u64>,
}

impl Slot<'_> {
    pub fn clock(&self, now: Instant) -> Instant {
        Instant::from_micros(now.since(self.booted))
    }
}

impl<'c> World<'c> {
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
        let Machine { limits, config } = &slot.spec.machine;
        let memory = Memory::heap(limits);
        let node = Node::new(Instant::ZERO, config.clone(), identity, seed, self.crypto, memory);
        let mut node = node.unwrap_or_else(|error| panic!("the machine of {who:?} cannot work: {error}"));
        node.handle_link(Instant::ZERO, LINK, LinkState::Up { mtu: MTU as u16 });
        slot.node = Some(Box::new(node));
        let id = slot.id;
        self.net.attach(who, slot.spec.segment, slot.addr);
        self.checks.started(self.now, who, id);
        self.pump(who);
    }
}

//! A node's place in the world: how it is made and started.

use std::rc::Rc;

use butter_core::Node;
use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::crypto::SecretKey;
use butter_core::id::NodeId;
use butter_core::identity::{Identity, Network};
use butter_core::memory::Memory;
use butter_core::time::Instant;
use butter_core::wire::{HostRecord, MTU};
use butter_replay::{Call, Start};

use super::packets::PacketId;
use super::queue::What;
use super::{Who, World};
use crate::chance;
use crate::disk::Disk;
use crate::fault::Clock;
use crate::machine::Machine;
use crate::net::{Plug, SegmentId};
use crate::record::Recorder;

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
    /// The site where it stands: a failure domain. 0 is a place of its own.
    pub site: u16,
    /// Whether it knows its site, and tells it as its place ([`butter_core::config::Config::place`]).
    pub tells_site: bool,
    /// The power supply that it hangs on: a failure domain. 0 is its own.
    pub power: u16,
    /// The /24 that its address is of, when public: a failure domain. `None`: any address, far from others.
    pub prefix: Option<u16>,
    /// In which region, where there are some ([`crate::Regions`]). `None`: drawn by their shares.
    pub region: Option<u8>,
    /// By how many billionths its clock runs too fast; a quartz crystal is within 100,000.
    pub drift_ppb: i32,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            machine: Machine::default(),
            segment: SegmentId(0),
            public: false,
            network: "sim".into(),
            secret: None,
            site: 0,
            tells_site: false,
            power: 0,
            prefix: None,
            region: None,
            drift_ppb: 0,
        }
    }
}

pub(crate) struct Slot<'c> {
    /// Shared by all nodes that were added as one kind.
    pub spec: Rc<Spec>,
    pub secret: [u8; 32],
    pub id: NodeId,
    pub addr: Addr,
    pub region: u8,
    pub disk: Disk,
    pub node: Option<Box<Node<'c>>>,
    pub clock: Clock,
    /// When it last started, in the world's time.
    pub booted: Instant,
    pub boots: u32,
    pub paused: bool,
    pub backlog: Vec<PacketId>,
    pub wakes: u64,
    pub spin: (Instant, u32),
    /// The hosts that it knew when it died: what a program saves, and reads when it starts.
    pub hosts: Vec<HostRecord>,
    /// What nodes that are gone had counted.
    pub counted: Vec<u64>,
    /// What writes down its calls, if something does.
    pub recorder: Option<Box<Recorder>>,
}

impl<'c> World<'c> {
    /// Adds a node that starts now.
    pub fn add(&mut self, spec: &Spec) -> Who {
        self.add_at(spec, self.now)
    }

    /// Adds nodes of one kind that start now.
    pub fn add_all(&mut self, n: usize, spec: &Spec) -> Vec<Who> {
        let spec = Rc::new(spec.clone());
        (0..n).map(|_| self.add_one(spec.clone(), self.now, None)).collect()
    }

    /// Adds a node that starts at `at`.
    pub fn add_at(&mut self, spec: &Spec, at: Instant) -> Who {
        self.add_one(Rc::new(spec.clone()), at, None)
    }

    /// Adds a node, perhaps at the place of another.
    pub(crate) fn add_one(&mut self, spec: Rc<Spec>, at: Instant, stands_for: Option<Who>) -> Who {
        let who = Who(self.slots.len() as u32);
        let mut secret = [0; 32];
        chance::stream(self.config.seed, "secret", who.0.into()).fill(&mut secret);
        let public = spec.public || spec.segment == SegmentId::NONE;
        let addr = self.net.next_addr(spec.segment, public, spec.prefix);
        self.net.joined(who, stands_for);
        let region = match (spec.region, stands_for, self.net.regions()) {
            (Some(region), ..) => region,
            (None, Some(other), _) => self.slots[other.index()].region,
            (None, None, Some(regions)) => regions.draw(&mut chance::stream(self.config.seed, "region", who.0.into())),
            (None, None, None) => 0,
        };
        self.slots.push(Slot {
            secret,
            id: self.crypto.node_id(&SecretKey(secret)),
            addr,
            region,
            disk: Disk::new(spec.machine.disk, spec.machine.config.storage_blocks),
            node: None,
            clock: Clock::new(at, spec.drift_ppb),
            booted: at,
            boots: 0,
            paused: false,
            backlog: Vec::new(),
            wakes: 0,
            spin: (Instant::ZERO, 0),
            hosts: Vec::new(),
            counted: Vec::new(),
            recorder: None,
            spec,
        });
        self.start_at(who, at);
        who
    }

    /// Starts a node at a moment, unless it was started before then.
    pub(crate) fn start_at(&mut self, who: Who, at: Instant) {
        if at <= self.now {
            self.start(who);
        } else {
            let boot = self.slots[who.index()].boots;
            self.queue.push(at, What::Start { who, boot });
        }
    }

    /// Starts a node that is not up: a new boot with its identity, its address, and the hosts that it knew when it died.
    /// What is on its disk is forgotten: the core has no way yet to be told what is there.
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
        slot.clock = Clock::new(self.now, slot.spec.drift_ppb);
        slot.booted = self.now;
        slot.disk.clear();
        let mut seed = [0; 32];
        let boot = u64::from(who.0) << 32 | u64::from(slot.boots);
        chance::stream(self.config.seed, "boot", boot).fill(&mut seed);
        if let Some(recorder) = &mut slot.recorder {
            recorder.start(&slot.spec.machine, &Start { secret: slot.secret, seed, network: &slot.spec.network });
        }
        let Machine { limits, config, .. } = &slot.spec.machine;
        let mut config = config.clone();
        if slot.spec.tells_site {
            config.place = slot.spec.site;
        }
        let node = Node::new(Instant::ZERO, config, identity, seed, self.crypto, Memory::heap(limits));
        let mut node = node.unwrap_or_else(|error| panic!("the machine of {who:?} cannot work: {error}"));
        for record in std::mem::take(&mut slot.hosts) {
            slot.recorder.iter_mut().for_each(|recorder| recorder.call(Instant::ZERO, &Call::Remember(record)));
            node.remember(Instant::ZERO, &record, LINK);
        }
        slot.recorder.iter_mut().for_each(|recorder| recorder.call(Instant::ZERO, &Call::Link));
        node.handle_link(Instant::ZERO, LINK, LinkState::Up { mtu: MTU as u16 });
        slot.node = Some(Box::new(node));
        let id = slot.id;
        let plug = Plug { segment: slot.spec.segment, region: slot.region, access: slot.spec.machine.access };
        self.net.attach(who, plug, slot.addr);
        self.checks.started(self.now, who, id);
        self.pump(who);
    }
}

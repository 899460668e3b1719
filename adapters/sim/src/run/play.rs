//! One run: a world is made as the scenario says, and its phases happen.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant as Wall;

use butter_core::crypto::Crypto;
use butter_core::id::Key;
use butter_core::rng::Rng;
use butter_core::time::Instant;
use butter_crypto::RustCrypto;

use super::content::mean;
use super::detect::Detect;
use super::many::Control;
use super::measure::Measure;
use super::record::{PhaseRecord, Record};
use super::risk::{self, Risk};
use crate::chance;
use crate::crypto::FakeCrypto;
use crate::disk::DiskFaults;
use crate::fault::Trace;
use crate::net::{Path, Regions, SegmentId};
use crate::sample::Sampler;
use crate::scenario::units::Time;
use crate::scenario::{Join, Network, Nodes, Phase, Scenario, Until, Which};
use crate::topology::Topology;
use crate::world::{Spec, Who, World, WorldConfig};

/// The segment on which all nodes of a local network are.
const LOCAL: SegmentId = SegmentId(0);
/// Virtual milliseconds between two looks at what is waited for, in a world of up to [`LOOK_NODES`] nodes; a look costs a scan of
/// all nodes, so that larger worlds are looked at less often.
const LOOK_MS: u64 = 10;
const LOOK_NODES: u64 = 250;
/// Draws for each host that a node is told of, until one can be reached from outside.
const GREET_TRIES: u32 = 64;
/// The most virtual milliseconds that pass between two looks at whether to stop.
const STRIDE_MS: u64 = 1_000;

/// What is kept of a run for plots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// Nothing but figures.
    #[default]
    Figures,
    /// Series, too.
    Series,
    /// Series, and graphs of who knew whom.
    Graphs,
}

/// Runs a scenario once. `None`: it was stopped before its end.
///
/// Everything in the record but the wall's time depends on scenario and seed alone: not on what is kept, nor on what else runs.
pub fn play(scenario: &Scenario, seed: u64, keep: Keep, control: &Control) -> Option<Record> {
    let fake = FakeCrypto::new();
    let real = scenario.world.real_crypto;
    let crypto: &dyn Crypto = if real { &RustCrypto } else { &fake };
    // A sampler that never looks again costs nothing.
    let period_ms = if keep == Keep::Figures { u64::from(u32::MAX) } else { scenario.sample.ms() };
    let sampler = Sampler::new(period_ms, (!real).then_some(&fake), keep == Keep::Graphs);
    let path = scenario.world.path.change(scenario.world.network.path());
    let (lan, internet) = (path.clone(), path.clone());
    let mut world = World::new(crypto, WorldConfig { seed, lan, internet, keep_violation: true });
    if scenario.world.network == Network::Earth {
        world.net().set_regions(Regions::earth());
    }
    let play = Play {
        scenario,
        sampler,
        world,
        path,
        control,
        seed,
        rng: chance::stream(seed, "scenario", 0),
        keys: Vec::new(),
        hashes: Vec::new(),
        homes: Vec::new(),
        puts: 0,
        record: Record { seed, ..Record::default() },
        told_us: 0,
        kinds: HashMap::new(),
        specs: BTreeMap::new(),
        to_come: VecDeque::new(),
        greeted: 0,
    };
    play.whole(Wall::now(), keep)
}

/// Kind, site, power supply, prefix and local network.
type Place = (usize, u16, u16, Option<u16>, SegmentId);

/// A run under way.
pub(super) struct Play<'a, 'c> {
    pub scenario: &'a Scenario,
    pub world: World<'c>,
    pub sampler: Sampler<'c>,
    pub seed: u64,
    /// What the scenario draws.
    pub rng: Rng,
    /// Objects whose put was acknowledged.
    pub keys: Vec<Key>,
    /// What the bytes of each hash to.
    pub hashes: Vec<u64>,
    /// The local networks behind NATs, by kind.
    homes: Vec<Vec<SegmentId>>,
    /// Puts begun.
    pub puts: u64,
    pub record: Record,
    /// Of which kind nodes are, by where their spec is: those that replace others share it.
    kinds: HashMap<*const Spec, usize>,
    /// What nodes of one kind that stand at the same place share.
    specs: BTreeMap<Place, Rc<Spec>>,
    /// Nodes that are to come: when, the index of their kind, and their number in it.
    to_come: VecDeque<(Instant, usize, u32)>,
    /// Nodes that were told of others.
    greeted: u32,
    path: Path,
    control: &'a Control,
    /// Virtual microseconds that the control was told of.
    told_us: u64,
}

/// It was stopped.
pub(super) struct Stopped;

impl<'c> Play<'_, 'c> {
    fn whole(mut self, began: Wall, keep: Keep) -> Option<Record> {
        let done = self.phases();
        let planned = crate::scenario::planned(self.scenario).us();
        self.control.passed(planned.saturating_sub(self.told_us));
        done.ok()?;
        self.last_figures();
        let Play { sampler, mut world, mut record, .. } = self;
        record.trace = format!("{:032x}", world.trace());
        record.steps = world.steps();
        record.virtual_s = world.now().as_micros() as f64 / 1e6;
        record.violation = world.violation().map(ToString::to_string);
        if keep != Keep::Figures {
            record.samples = sampler.finish(&mut world);
        }
        record.wall_s = began.elapsed().as_secs_f64();
        Some(record)
    }

    fn phases(&mut self) -> Result<(), Stopped> {
        self.build();
        let order = self.scenario.order(self.seed);
        let mut so_many = vec![0; self.scenario.nodes.len()];
        for (number, kind) in order.iter().enumerate() {
            let after_us = self.scenario.world.start.us() * number as u64 / order.len() as u64;
            self.to_come.push_back((self.world.now().plus_us(after_us), *kind, so_many[*kind]));
            so_many[*kind] += 1;
        }
        let topology = self.scenario.world.topology.as_ref().filter(|topology| **topology != Topology::Multicast);
        if let Some(topology) = topology {
            // They are told of others by the topology alone.
            self.greeted = order.len() as u32;
            self.come();
            let all: Vec<Who> = self.world.up().collect();
            // It was tried before the run: there is such a topology.
            let _ = self.world.introduce(&all, topology);
        }
        self.come();
        for phase in &self.scenario.phase {
            self.phase(phase)?;
            if self.world.violation().is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Builds local networks: the one of all nodes, and those behind NATs.
    fn build(&mut self) {
        let multicast = self.scenario.world.has_multicast();
        self.world.net().set_casts(LOCAL, multicast, multicast);
        for nodes in &self.scenario.nodes {
            let home = |_| {
                let segment = self.world.net().add_segment(&Path::LAN);
                if let Some(nat) = nodes.nat {
                    self.world.net().set_nat(segment, nat.model());
                }
                segment
            };
            let homes = (0..nodes.nats().max(u32::from(nodes.nat.is_some()))).map(home).collect();
            self.homes.push(homes);
        }
    }

    /// What the i-th node of a kind is.
    fn spec(&self, kind: usize, i: u32) -> Spec {
        let nodes = &self.scenario.nodes[kind];
        let mut spec = spec(self.scenario, nodes, i);
        // Those that come later join the homes that there are.
        if let (Some(nat), homes) = (nodes.nat, &self.homes[kind]) {
            spec.segment = homes[(i / nat.hosts) as usize % homes.len()];
        }
        spec
    }

    /// Adds the i-th node of a kind.
    pub(super) fn add(&mut self, kind: usize, i: u32) -> Who {
        let spec = self.spec(kind, i);
        let alike = (kind, spec.site, spec.power, spec.prefix, spec.segment);
        let spec = self.specs.entry(alike).or_insert_with(|| Rc::new(spec)).clone();
        self.kinds.insert(Rc::as_ptr(&spec), kind);
        let who = self.world.add_one(spec, self.world.now(), None);
        self.greet();
        who
    }

    /// Adds the nodes whose time has come.
    fn come(&mut self) {
        while let Some((_, kind, i)) = self.to_come.pop_front_if(|(at, ..)| *at <= self.world.now()) {
            self.add(kind, i);
        }
    }

    /// Tells nodes that are new, also those that replace others, of hosts: a program has some in its settings.
    fn greet(&mut self) {
        let usual = if self.scenario.world.has_multicast() { 0 } else { 3 };
        let contacts = self.scenario.world.contacts.unwrap_or(usual);
        while self.greeted < self.world.len() as u32 {
            let who = Who(self.greeted);
            for _ in 0..contacts.min(self.greeted) {
                // One that is gone is of no use, as an old address in a file. One behind a NAT has no address to be told.
                let mut draws = (0..GREET_TRIES).map(|_| Who(self.rng.below(self.greeted)));
                let spec = |other: &Who| self.world.spec(*other);
                if let Some(other) = draws.find(|other| spec(other).public || spec(other).segment == LOCAL) {
                    let _ = self.world.meet(who, other);
                }
            }
            self.greeted += 1;
        }
    }

    /// Of which kind a node is.
    fn kind(&self, who: Who) -> Option<&Nodes> {
        self.kinds.get(&std::ptr::from_ref(self.world.spec(who))).map(|kind| &self.scenario.nodes[*kind])
    }

    /// The kind with this name; the first without one.
    fn named(&self, of: Option<&String>) -> usize {
        of.and_then(|of| self.scenario.nodes.iter().position(|nodes| nodes.name() == of)).unwrap_or(0)
    }

    fn join(&mut self, join: &Join) {
        let kind = self.named(join.of.as_ref());
        for i in 0..join.count {
            let after_us = join.over.us() * u64::from(i) / u64::from(join.count);
            self.to_come.push_back((self.world.now().plus_us(after_us), kind, i));
        }
        // Those of a phase before may still have to come.
        self.to_come.make_contiguous().sort_by_key(|(at, ..)| *at);
        self.come();
    }

    /// Nodes that run, of a kind or of all, in the order in which they were added.
    pub(super) fn running(&self, of: Option<&String>) -> Vec<Who> {
        let Some(of) = of else { return self.world.up().collect() };
        self.world.up().filter(|who| self.kind(*who).is_some_and(|nodes| nodes.name() == of)).collect()
    }

    /// The nodes that are meant; those drawn are drawn without any twice.
    fn choose(&mut self, which: &Which) -> Vec<Who> {
        let mut all = self.running(which.of.as_ref());
        all.retain(|who| {
            let spec = self.world.spec(*who);
            which.site.is_none_or(|site| spec.site == site)
                && which.power.is_none_or(|power| spec.power == power)
                && which.prefix.is_none_or(|prefix| spec.prefix == Some(prefix))
        });
        let some = which.nodes.map(u64::from).or(which.share.map(|share| share.of(all.len() as u64)));
        let n = some.map_or(all.len(), |n| (n as usize).min(all.len()));
        self.draw(&mut all, n);
        all
    }

    /// Leaves `n` of them, drawn.
    pub(super) fn draw<T>(&mut self, all: &mut Vec<T>, n: usize) {
        if n < all.len() {
            for i in 0..n {
                let other = i + self.rng.below((all.len() - i) as u32) as usize;
                all.swap(i, other);
            }
            all.truncate(n);
        }
    }

    fn phase(&mut self, phase: &Phase) -> Result<(), Stopped> {
        let from = self.world.now();
        self.sampler.phase(&mut self.world, &phase.name);
        let mut detect = None;
        if let Some(path) = &phase.path {
            self.path = path.change(self.path.clone());
            self.world.net().set_path(LOCAL, &self.path);
            self.world.net().set_internet(&self.path);
        }
        if let Some(partition) = &phase.partition {
            let near = self.choose(&partition.which);
            self.world.partition(&near, None, partition.way.into(), partition.lasts);
        }
        if let Some(disk) = &phase.disk {
            let failing_permille = (disk.failing.ppm() / 1000) as u16;
            for who in self.choose(&disk.which) {
                let faults = DiskFaults {
                    slow: disk.slow,
                    full: disk.full,
                    torn: disk.torn,
                    failing_permille,
                    ..DiskFaults::default()
                };
                self.world.disk_faults(who, faults);
            }
        }
        if let Some(kill) = &phase.kill {
            let victims = self.choose(&kill.which);
            detect = kill.detect.then(|| Detect::new(&self.world, &victims));
            victims.iter().for_each(|who| self.world.kill(*who));
        }
        if let Some(restart) = &phase.restart {
            for who in self.choose(&restart.which) {
                self.world.restart_after(who, restart.keep_disk, restart.down);
            }
        }
        if let Some(pause) = &phase.pause {
            for who in self.choose(&pause.which) {
                self.world.pause(who, pause.lasts.ms());
            }
        }
        if let Some(join) = &phase.join {
            self.join(join);
        }
        if let Some(put) = &phase.put {
            self.put(&phase.name, put)?;
        }
        let measure = phase.measure.then(|| Measure::new(&self.world));
        if let Some(churn) = &phase.churn {
            self.world.churn(churn.clone(), phase.lasts);
        }
        if let Some(follow) = &phase.follow {
            let kind = self.named(follow.of.as_ref());
            // It was read before the run, or there would be none.
            if let Ok(trace) = Trace::read(&follow.text) {
                let spec = self.spec(kind, 0);
                self.world.follow(&trace, &spec, follow.keep_disk);
            }
        }
        if let Some(load) = &phase.load {
            self.begin_load(load, phase.lasts);
        }
        let rate = phase.churn.as_ref().and_then(|churn| churn.rate()).filter(|_| phase.expect_loss);
        let mut risk = rate.map(|rate| Risk::new(&self.world, rate));
        let look = match (&detect, &risk) {
            (Some(_), _) => Time::from_ms(LOOK_MS),
            (None, Some(_)) => risk::LOOK,
            (None, None) => phase.lasts,
        };
        let end = self.world.now().plus_us(phase.lasts.us());
        while self.world.now() < end {
            self.pass(look.min(Time::from_us(end.since(self.world.now()))))?;
            detect.iter_mut().for_each(|detect| detect.look(&self.world));
            risk.iter_mut().for_each(|risk| risk.look(&mut self.world, &self.keys));
        }
        let name = |figure: &str| format!("{}_{figure}", phase.name);
        let reached = phase.until.map(|until| self.wait(until, phase.waits().unwrap_or_default())).transpose()?;
        if let Some(reached) = reached {
            let took = self.world.now().since(from) as f64 / 1e6;
            let rule = "runs in which what the phase waited for came to be";
            self.record.figure(&name("reached"), "%", if reached { 100.0 } else { 0.0 }, rule);
            let rule = "seconds from the begin of the phase until it was so, of runs in which it came to be";
            self.record.figure(&name("took"), "s", reached.then_some(took), rule);
        }
        if phase.churn.is_some() {
            let killed = f64::from(self.world.churned());
            self.record.figure(&name("killed"), "", killed, "nodes that died by churn");
        }
        if let Some(risk) = risk {
            risk.figures(&phase.name, &mut self.record);
        }
        if let Some(measure) = measure {
            measure.figures(&self.world, &phase.name, &mut self.record);
        }
        if let Some(detect) = detect {
            detect.figures(&phase.name, &mut self.record);
        }
        if let Some(load) = &phase.load {
            self.end_load(&phase.name, load)?;
        }
        if phase.put.is_some() {
            let batches = self.world.counter("pointer_batches") as f64;
            let objects = self.keys.len() as f64;
            let rule = "batches of pointers sent until the phase ends, per acknowledged object";
            let each = (objects > 0.0).then_some(batches / objects);
            self.record.figure(&name("pointer_batches_per_object"), "", each, rule);
        }
        if phase.put.is_some() || phase.until == Some(Until::Goldilocks) {
            let groups = self.world.groups();
            self.record.figure(
                &name("groups"),
                "",
                groups.len() as f64,
                "groups with a running member, when the phase ends",
            );
            let unready = groups.values().filter(|group| !group.is_goldilocks()).count();
            let rule = "of those, groups that are not goldilocks";
            self.record.figure(&name("not_goldilocks"), "", unready as f64, rule);
        }
        if let Some(get) = &phase.get {
            self.get(&phase.name, get)?;
        }
        let seconds = |at: Instant| at.as_micros() as f64 / 1e6;
        let (from_s, to_s) = (seconds(from), seconds(self.world.now()));
        self.record.phases.push(PhaseRecord { name: phase.name.clone(), from_s, to_s, reached });
        Ok(())
    }

    /// Lets virtual time pass.
    pub(super) fn pass(&mut self, time: Time) -> Result<(), Stopped> {
        let end = self.world.now().plus_us(time.us());
        while self.world.now() < end {
            if self.control.stopped() {
                return Err(Stopped);
            }
            let next = self.to_come.front().map_or(end, |(at, ..)| end.min(*at));
            let left_us = next.since(self.world.now());
            if left_us < 1_000 {
                self.world.run_to(next);
            } else {
                self.sampler.run_for(&mut self.world, (left_us / 1_000).min(STRIDE_MS));
            }
            self.come();
            self.greet();
            self.tell();
        }
        Ok(())
    }

    /// Whether it is to stop.
    pub(super) fn control_stopped(&self) -> bool {
        self.control.stopped()
    }

    /// Tells the control how far it is.
    fn tell(&mut self) {
        let now = self.world.now().as_micros();
        self.control.passed(now.saturating_sub(self.told_us));
        self.told_us = self.told_us.max(now);
    }

    /// Whether what is waited for came to be in time.
    fn wait(&mut self, until: Until, at_most: Time) -> Result<bool, Stopped> {
        let look = Time::from_ms(LOOK_MS * (self.world.up().count() as u64).div_ceil(LOOK_NODES).max(1));
        let end = self.world.now().plus_us(at_most.us());
        loop {
            let met = match until {
                Until::Goldilocks => self.world.all_goldilocks(),
                Until::Connected => {
                    let alone = |who| self.world.node(who).is_some_and(|node| node.peers().next().is_none());
                    !self.world.up().any(alone)
                }
            };
            let left_us = end.since(self.world.now());
            if met || left_us == 0 {
                return Ok(met);
            }
            self.pass(Time::from_us(left_us.min(look.us())))?;
        }
    }

    fn last_figures(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let known: Vec<f64> =
            (self.world.up().filter_map(|who| self.world.node(who))).map(|node| node.groups_known() as f64).collect();
        let mut held: HashSet<Key> = HashSet::new();
        let mut copies = 0u64;
        let all: HashSet<Key> = self.keys.iter().copied().collect();
        for who in self.world.up().collect::<Vec<_>>() {
            for (block, _) in self.world.disk(who).iter().filter(|(block, _)| block.index == 0) {
                if all.contains(&block.key) {
                    copies += 1;
                    held.insert(block.key);
                }
            }
        }
        let items = all.len() as f64;
        let rule = "acknowledged objects of which a running node has the first bytes at the end";
        self.record.figure("held", "%", 100.0 * held.len() as f64 / items, rule);
        let rule = "copies per acknowledged object at the end, on running nodes";
        self.record.figure("copies", "", copies as f64 / items, rule);
        self.record.figure("groups_known", "", mean(&known), "groups that a running node knows of at the end: mean");
    }
}

/// The i-th node of a kind.
fn spec(scenario: &Scenario, nodes: &Nodes, i: u32) -> Spec {
    // Sites, power supplies and prefixes are numbered from 1; each kind is spread over its own first ones.
    let spread = |over: u16| if over == 0 { 0 } else { 1 + (i % u32::from(over)) as u16 };
    Spec {
        machine: nodes.spec_machine(),
        segment: if scenario.world.network.is_local() { LOCAL } else { SegmentId::NONE },
        public: nodes.public.unwrap_or(!scenario.world.network.is_local() && nodes.nat.is_none()),
        site: spread(nodes.sites),
        tells_site: nodes.tells_site,
        power: spread(nodes.powers),
        prefix: (nodes.prefixes > 0).then(|| spread(nodes.prefixes)),
        drift_ppb: nodes.drift_ppm.saturating_mul(1000),
        ..Spec::default()
    }
}

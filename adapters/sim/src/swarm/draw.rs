//! What a seed draws: the whole world of one run.

use std::fmt;

use butter_core::config::Config;
use butter_core::memory::Limits;
use butter_core::rng::Rng;

use crate::chance;
use crate::disk::DiskModel;
use crate::machine::Machine;
use crate::net::{Loss, Path};
use crate::scenario::units::{Share, Time};

/// What can be done to a world, each by a stream of its own, so that leaving one out changes no other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A node dies for ever.
    Kill,
    /// A node dies, and an empty one of the same kind comes.
    Replace,
    /// A node dies and starts again with its disk.
    Restart,
    /// A node dies and starts again with an empty disk.
    Wipe,
    /// A node stands still for a while.
    Pause,
    /// Packets from one node to another are cut, in one direction.
    Cut,
    /// The network is split in two.
    Split,
    /// Many packets are lost for a while.
    Loss,
    /// A disk is full, slow, fails at times, or tears what is written when power fails, for a while.
    Disk,
    /// A clock jumps, or runs too fast or too slow.
    Clock,
    /// A node leaves in good order.
    Leave,
    /// A node comes.
    Join,
    /// Several nodes die at the same moment.
    Together,
    /// An object is put.
    Put,
    /// An object that was put is got, or one that never was.
    Get,
    /// A node calls another.
    Call,
}

impl Kind {
    /// All kinds, faults first.
    pub const ALL: [Kind; 16] = [
        Kind::Kill,
        Kind::Replace,
        Kind::Restart,
        Kind::Wipe,
        Kind::Pause,
        Kind::Cut,
        Kind::Split,
        Kind::Loss,
        Kind::Disk,
        Kind::Clock,
        Kind::Leave,
        Kind::Join,
        Kind::Together,
        Kind::Put,
        Kind::Get,
        Kind::Call,
    ];

    /// The name for `--without`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Replace => "replace",
            Kind::Restart => "restart",
            Kind::Wipe => "wipe",
            Kind::Pause => "pause",
            Kind::Cut => "cut",
            Kind::Split => "split",
            Kind::Loss => "loss",
            Kind::Disk => "disk",
            Kind::Clock => "clock",
            Kind::Leave => "leave",
            Kind::Join => "join",
            Kind::Together => "together",
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::Call => "call",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is something that goes wrong, and not use.
    pub fn is_fault(self) -> bool {
        !matches!(self, Kind::Put | Kind::Get | Kind::Call)
    }
}

/// How nodes learn of each other where multicast does not reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// Each is told the address of the one before it.
    Chain,
    /// All are told the address of the first.
    Star,
    /// Each is told the address of one before it, drawn at random.
    Tree,
}

/// One thing to be done, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// Milliseconds after the begin of phase one.
    pub at_ms: u64,
    /// What.
    pub kind: Kind,
    /// Which node or object, as a number to be divided by how many there are.
    pub pick: u32,
    /// For how many milliseconds, or of how many bytes.
    pub amount: u32,
}

/// Changes to what a seed draws: to look for the smallest case that still fails.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Less {
    /// Kinds left out.
    pub without: Vec<Kind>,
    /// At most this many nodes at the start.
    pub nodes: Option<u32>,
    /// At most this long a phase one, in virtual milliseconds.
    pub for_ms: Option<u64>,
}

/// The world of one run.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Where all of it comes from.
    pub seed: u64,
    /// Nodes at the start.
    pub nodes: u32,
    /// Local networks, and whether each carries multicast.
    pub segments: Vec<bool>,
    /// Of how nodes learn of each other where multicast does not reach.
    pub topology: Topology,
    /// Of 8 nodes, how many are microcontrollers.
    pub tiny_eighths: u32,
    /// Nodes of these machines, the first one a microcontroller.
    pub machines: Vec<Machine>,
    /// How packets travel within a segment.
    pub lan: Path,
    /// How packets travel between segments.
    pub internet: Path,
    /// Milliseconds within which all nodes start.
    pub start_ms: u32,
    /// Virtual milliseconds of phase one.
    pub for_ms: u64,
    /// How often each kind happens on average: milliseconds between two. Those not listed are off.
    pub gaps_ms: Vec<(Kind, u32)>,
    /// Bytes of the largest objects.
    pub bytes_max: u32,
    /// What is done, in order of time.
    pub actions: Vec<Action>,
}

/// A number from `low` to `high` whose logarithm is about uniform.
fn scale(rng: &mut Rng, low: u32, high: u32) -> u32 {
    let octaves = (high / low.max(1)).max(1).ilog2();
    let base = low << rng.below(octaves + 1);
    (base + chance::up_to(rng, base)).clamp(low, high)
}

fn path(rng: &mut Rng, latency_us: u32, lossy: bool) -> Path {
    let some = |rng: &mut Rng, most: u32| Share::from_ppm(if rng.chance(1, 2) { chance::up_to(rng, most) } else { 0 });
    let lost = some(rng, if lossy { 100_000 } else { 5_000 });
    let packets = 1 + chance::up_to(rng, 7) as u16;
    let reorder_us = u64::from(1_000 + chance::up_to(rng, 3 * latency_us));
    Path {
        loss: if rng.chance(1, 2) { Loss::Bursts { mean: lost, packets } } else { Loss::Independent(lost) },
        duplicate: some(rng, 30_000),
        reorder: some(rng, 50_000),
        reorder_by: Time::from_us(reorder_us),
        ..Path::uniform(latency_us, chance::up_to(rng, latency_us))
    }
}

fn machines(rng: &mut Rng, quiet: bool) -> Vec<Machine> {
    let op_us = [0, 0, 500, 5_000, 50_000][rng.below(5) as usize];
    let beat_ms = if quiet { scale(rng, 8_000, 60_000) } else { scale(rng, 100, 4_000) };
    let replicas = 1 + [0, 1, 1, 2, 2, 2, 3, 4][rng.below(8) as usize];
    let slow = if quiet { 1 + rng.below(10) } else { 1 };
    let lease_s = if quiet && rng.chance(1, 3) { scale(rng, 1_800, 14_400) } else { 30 * 24 * 3600 };
    let session_idle_ms = scale(rng, 30_000, 600_000);
    let common = |config: Config| Config {
        beat_ms,
        replicas,
        lease_s,
        session_idle_ms,
        ping_interval_ms: 30_000 * slow,
        exchange_interval_ms: 10_000 * slow,
        pointer_refresh_ms: 600_000 * slow,
        ..config
    };
    let mut machines = vec![Machine::tiny(), Machine::desktop()];
    // One more, with tables of its own.
    let hosts = scale(rng, 16, 512) as usize;
    let peers = scale(rng, 12, 128) as usize;
    let desktop = Machine::desktop();
    let limits = Limits {
        hosts,
        peers,
        outbox: peers * 8,
        seats: scale(rng, 1, 32) as usize,
        known: scale(rng, 8, 512) as usize,
        items: scale(rng, 64, 4096) as usize,
        calls: scale(rng, 8, 64) as usize,
        serves: scale(rng, 8, 64) as usize,
        small_buffers: scale(rng, 8, 64) as usize,
        large_buffers: scale(rng, 4, 32) as usize,
        events: scale(rng, 16, 256) as usize,
        ..desktop.limits
    };
    let storage_blocks = scale(rng, 64, 16_384);
    machines.push(Machine { limits, config: Config { storage_blocks, ..desktop.config }, ..desktop });
    let disk = DiskModel { op_us, ..DiskModel::default() };
    machines.into_iter().map(|m| Machine { config: common(m.config), disk, ..m }).collect()
}

impl Draw {
    /// What `seed` draws, less what is to be left out.
    pub fn of(seed: u64, less: &Less) -> Draw {
        let mut rng = chance::stream(seed, "swarm", 0);
        let rng = &mut rng;
        // Worlds at rest for hours cost little and show what only time shows; worlds in trouble show the rest.
        let quiet = rng.chance(1, 2);
        let nodes = scale(rng, 2, if quiet { 24 } else { 32 });
        let segments = if rng.chance(1, 2) { 1 } else { 1 + rng.below(3) };
        let segments: Vec<bool> = (0..segments).map(|_| rng.chance(3, 4)).collect();
        let topology = [Topology::Chain, Topology::Star, Topology::Tree][rng.below(3) as usize];
        let tiny_eighths = [0, 0, 0, 1, 2, 4, 8][rng.below(7) as usize];
        let machines = machines(rng, quiet);
        let lossy = rng.chance(1, 2);
        let lan_us = scale(rng, 100, 4_000);
        let lan = path(rng, lan_us, lossy);
        let internet_us = scale(rng, 5_000, 150_000);
        let internet = path(rng, internet_us, lossy);
        let start_ms = [0, 100, 5_000, 60_000][rng.below(4) as usize];
        let for_ms = u64::from(if quiet { scale(rng, 3_600_000, 28_800_000) } else { scale(rng, 20_000, 120_000) });
        let bytes_max = [200, 2_000, 4_096, 20_000, 200_000, 1_500_000][rng.below(6) as usize];
        let mut draw = Draw {
            seed,
            nodes: nodes.min(less.nodes.unwrap_or(nodes)),
            segments,
            topology,
            tiny_eighths,
            machines,
            lan,
            internet,
            start_ms,
            for_ms: for_ms.min(less.for_ms.unwrap_or(for_ms)),
            gaps_ms: Vec::new(),
            bytes_max,
            actions: Vec::new(),
        };
        // How much goes wrong, too, differs from run to run: where all is chaos, little can be told.
        let calm = 1 << rng.below(5);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            let mut rng = chance::stream(seed, "swarm actions", number as u64);
            let on = if kind.is_fault() { rng.chance(1, 2) } else { rng.chance(7, 8) };
            let gap_ms = match (kind.is_fault(), quiet) {
                (true, false) => scale(&mut rng, 1_500, 12_000) * calm,
                (true, true) => scale(&mut rng, 300_000, 2_400_000) * calm,
                (false, false) => scale(&mut rng, 100, 3_000),
                (false, true) => scale(&mut rng, 60_000, 1_200_000),
            };
            if on && !less.without.contains(&kind) {
                draw.gaps_ms.push((kind, gap_ms));
                draw.plan(kind, gap_ms, for_ms, &mut rng);
            }
        }
        // A stable sort: at the same moment, kinds follow in their order.
        draw.actions.sort_by_key(|action| action.at_ms);
        draw
    }

    fn plan(&mut self, kind: Kind, gap_ms: u32, for_ms: u64, rng: &mut Rng) {
        // Objects come early, too, and several at a time, so that there is something to lose.
        let mut at_ms = if kind == Kind::Put { rng.below(2_000).into() } else { 0 };
        let burst = if kind == Kind::Put { [1, 4, 16, 60][rng.below(4) as usize] } else { 1 };
        let long_ms = [2_000, 15_000, 60_000, 400_000][rng.below(4) as usize];
        loop {
            at_ms += chance::exponential_us(rng, u64::from(gap_ms) * burst * 1000) / 1000;
            if at_ms >= for_ms {
                return;
            }
            for _ in 0..burst {
                let pick = rng.next_u32();
                let amount = if kind == Kind::Put { scale(rng, 1, self.bytes_max) } else { scale(rng, 50, long_ms) };
                // Drawn for all of phase one, so that a shorter one is the beginning of it.
                if at_ms < self.for_ms {
                    self.actions.push(Action { at_ms, kind, pick, amount });
                }
            }
        }
    }

    /// The longest beat interval of its machines, in milliseconds.
    pub fn beat_ms(&self) -> u64 {
        self.machines.iter().map(|machine| machine.config.beat_ms).max().unwrap_or(0).into()
    }

    /// Virtual milliseconds in which a healed world must have come to rest: after a long split, hosts found dead are
    /// dialled again every 300 s, and in a quiet world exchanges are 8 intervals apart.
    pub fn converge_ms(&self) -> u64 {
        let slowest = |of: fn(&Config) -> u32| self.machines.iter().map(|m| of(&m.config)).max().unwrap_or(0);
        let exchange = u64::from(slowest(|config| config.exchange_interval_ms)) * 8;
        let ping = u64::from(slowest(|config| config.ping_interval_ms));
        900_000 + 60 * self.beat_ms() + 4 * exchange + 4 * ping
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Draw { nodes, segments, topology, tiny_eighths, start_ms, .. } = self;
        writeln!(
            f,
            "  {nodes} nodes within {start_ms} ms, {tiny_eighths}/8 tiny; {topology:?} where multicast does not reach"
        )?;
        writeln!(f, "  segments with multicast: {segments:?}; phase one {} s", self.for_ms / 1000)?;
        writeln!(f, "  within a segment  {:?}", self.lan)?;
        writeln!(f, "  between segments  {:?}", self.internet)?;
        let config = &self.machines[2].config;
        writeln!(
            f,
            "  beat {} ms, {} replicas, lease {} s, disk {} us, objects up to {} bytes",
            config.beat_ms, config.replicas, config.lease_s, self.machines[2].disk.op_us, self.bytes_max
        )?;
        writeln!(f, "  third machine: {} blocks, {:?}", config.storage_blocks, self.machines[2].limits)?;
        let mut text = String::new();
        for (kind, gap_ms) in &self.gaps_ms {
            text += &format!(" {} {:.1} s", kind.name(), f64::from(*gap_ms) / 1000.0);
        }
        write!(f, "  on, and the time between two:{text}; all else is off")
    }
}

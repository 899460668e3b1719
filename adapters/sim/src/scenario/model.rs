//! What a scenario says. Every field here is a key of the file, and SCENARIOS.md explains each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::nodes::Nodes;
use super::units::{Share, Size, Time};
use crate::dist::Dist;
use crate::fault::Churn;
use crate::load::Load;
use crate::net::{Loss, Path, Way};
use crate::topology::Topology;

/// A scenario, or one case of it: base and changes put together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a line.
    pub title: String,
    /// What is done and why, for whoever reads the results. Default: nothing.
    #[serde(default)]
    pub about: String,
    /// Runs of each case. Default 1.
    #[serde(default = "one")]
    pub runs: u32,
    /// The seed of the first run; run i has the seed + i. Default 1.
    #[serde(default = "one_u64")]
    pub seed: u64,
    /// How often the world is looked at for plots. Default 1 s.
    #[serde(default = "second")]
    pub sample: Time,
    /// The world.
    #[serde(default)]
    pub world: WorldPlan,
    /// The nodes, one entry for each kind.
    pub nodes: Vec<Nodes>,
    /// What happens, in order.
    pub phase: Vec<Phase>,
    /// Figures that the table shows; those with a target or something beside are always shown. Default: none more.
    #[serde(default)]
    pub show: Vec<String>,
    /// What figures have to reach, by the figure's name.
    #[serde(default)]
    pub target: BTreeMap<String, Target>,
    /// Other figures to show beside ours, by the figure's name, then by what they are.
    #[serde(default)]
    pub beside: BTreeMap<String, BTreeMap<String, f64>>,
}

/// The world that the nodes are in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldPlan {
    /// How nodes are joined. Default `"lan"`.
    pub network: Network,
    /// How packets travel, where it differs from what the network has.
    pub path: PathPlan,
    /// All nodes together, where kinds give a `share`. Default: what their counts add up to.
    pub nodes: Option<u32>,
    /// Who knows whom at the start. Default: nobody; they find each other by multicast, or by `contacts`.
    pub topology: Option<Topology>,
    /// Whether a local network carries multicast and broadcast. Default: true, but false with a topology.
    pub multicast: Option<bool>,
    /// Hosts that each node is told of when it starts: drawn from those before it that can be reached. Default: 0 where there is
    /// multicast, else 3. With a topology only those are told that come later.
    pub contacts: Option<u32>,
    /// All nodes start within this time, evenly. Default 0 s: all at once.
    pub start: Time,
    /// Whether packets are really encrypted; else by a fake that is fast and checks how it is used. Default false.
    pub real_crypto: bool,
}

/// How nodes are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// One wired local network with multicast: 0.2 to 0.5 ms, nothing lost.
    #[default]
    Lan,
    /// One local network with wireless hosts: 1 ms and some, now and then much more; 0.5 % lost, mostly several at a time.
    Home,
    /// Public addresses without multicast: 20 to 40 ms, drawn for each packet, 1 ‰ lost.
    Internet,
    /// The same with ways of different lengths, as across a continent: nine of ten between 10 and 32 ms.
    Continental,
    /// The same around the earth: hosts in regions, drawn by their shares, and delays between regions.
    Earth,
}

impl Network {
    /// Whether all nodes are on one local network with multicast.
    pub fn is_local(self) -> bool {
        matches!(self, Network::Lan | Network::Home)
    }

    /// How packets travel in it.
    pub fn path(self) -> Path {
        match self {
            Network::Lan => Path::LAN,
            Network::Home => Path::HOME,
            Network::Internet => Path::INTERNET,
            Network::Continental | Network::Earth => Path::CONTINENTAL,
        }
    }
}

impl WorldPlan {
    /// Whether hosts hear multicast.
    pub fn has_multicast(&self) -> bool {
        self.network.is_local() && self.multicast.unwrap_or(matches!(self.topology, None | Some(Topology::Multicast)))
    }
}

/// How packets travel from one node to another. What is not given is as the network has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathPlan {
    /// How long the way is: drawn once for each two hosts.
    pub delay: Option<Dist>,
    /// What each packet takes longer.
    pub jitter: Option<Dist>,
    /// Which packets are lost.
    pub loss: Option<Loss>,
    /// How many packets arrive twice.
    pub duplicate: Option<Share>,
    /// How many packets are held back, so that others overtake them.
    pub reorder: Option<Share>,
    /// For how long those are.
    pub reorder_by: Option<Time>,
    /// Bytes of UDP payload that a packet may have; longer ones are lost.
    pub mtu: Option<u16>,
}

impl PathPlan {
    /// This path with the changes made.
    pub fn change(&self, path: Path) -> Path {
        let plan = self.clone();
        Path {
            delay: plan.delay.unwrap_or(path.delay),
            jitter: plan.jitter.unwrap_or(path.jitter),
            loss: plan.loss.unwrap_or(path.loss),
            duplicate: plan.duplicate.unwrap_or(path.duplicate),
            reorder: plan.reorder.unwrap_or(path.reorder),
            reorder_by: plan.reorder_by.unwrap_or(path.reorder_by),
            mtu: plan.mtu.unwrap_or(path.mtu),
        }
    }
}

/// A stretch of time. What it does comes in this order: `path`, `partition`, `disk`, `kill`, `restart`, `pause`, `join`, `put`,
/// `churn`, `follow`, `load`; then its time passes (`for`, `until`); then `get`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name: figures of this phase begin with it. Letters, digits and `_`.
    pub name: String,
    /// How long it lasts. Default 0 s, or until what is waited for.
    #[serde(rename = "for", default)]
    pub lasts: Time,
    /// What is waited for, after `for`.
    pub until: Option<Until>,
    /// The longest that is waited for it. Default 60 s.
    pub at_most: Option<Time>,
    /// Whether messages, bytes and wake-ups are counted while time passes. Default false.
    #[serde(default)]
    pub measure: bool,
    /// How packets travel from now on, where it differs from how they do now.
    pub path: Option<PathPlan>,
    /// Nodes that packets do not reach for a while.
    pub partition: Option<Partition>,
    /// Nodes whose disks are slow, full or faulty from now on.
    pub disk: Option<DiskPlan>,
    /// Nodes that die at once.
    pub kill: Option<Kill>,
    /// Nodes that die and come back.
    pub restart: Option<Restart>,
    /// Nodes that stand still for a while.
    pub pause: Option<Pause>,
    /// Nodes that come.
    pub join: Option<Join>,
    /// Objects that nodes put.
    pub put: Option<Put>,
    /// Nodes that die, and come, as long as the phase lasts.
    pub churn: Option<Churn>,
    /// Nodes that come and go as a file says, from now on.
    pub follow: Option<Follow>,
    /// What users do while the phase lasts.
    pub load: Option<Load>,
    /// Whether the loss to be expected is measured: from the time in which objects have one holder, which dies at the churn's rate.
    /// Default false.
    #[serde(default)]
    pub expect_loss: bool,
    /// Objects that nodes get.
    pub get: Option<Get>,
}

impl Phase {
    /// The longest that is waited for what is waited for.
    pub fn waits(&self) -> Option<Time> {
        self.until.map(|_| self.at_most.unwrap_or(Time::from_s(60)))
    }
}

/// What can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// There are groups, and each is goldilocks: as many members as wanted, all of the same mind and with the same items.
    Goldilocks,
    /// Every node that runs has a session with another.
    Connected,
}

/// Some of the nodes that run. Exactly one of `nodes`, `share`, `site`, `power` and `prefix`, or `of` alone for all of a kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// So many, drawn.
    pub nodes: Option<u32>,
    /// This share of them, drawn.
    pub share: Option<Share>,
    /// All of a site, counted from 1.
    pub site: Option<u16>,
    /// All on a power supply, counted from 1.
    pub power: Option<u16>,
    /// All with addresses of a /24 prefix, counted from 1.
    pub prefix: Option<u16>,
    /// Only of this kind of nodes, by name. Default: of all.
    pub of: Option<String>,
}

/// Nodes that die at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Which.
    pub which: Which,
    /// Whether the time is measured until each of their partners takes them for dead, while the phase lasts. Default false.
    #[serde(default)]
    pub detect: bool,
}

/// Nodes that die and come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Which.
    pub which: Which,
    /// For how long they are down. Default 0 s.
    #[serde(default)]
    pub down: Time,
    /// Whether they come back with what was on their disks. Default true.
    #[serde(default = "yes")]
    pub keep_disk: bool,
}

/// Nodes that stand still.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Which.
    pub which: Which,
    /// For how long.
    #[serde(rename = "for")]
    pub lasts: Time,
}

/// Nodes that packets do not reach.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Which are cut off from all others.
    pub which: Which,
    /// For how long; then it heals.
    #[serde(rename = "for")]
    pub lasts: Time,
    /// `"both"` ways, only what they send (`"out"`), or only what is sent to them (`"in"`). Default `"both"`.
    #[serde(default)]
    pub way: WayPlan,
}

/// Which packets a partition stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayPlan {
    /// Those in both directions.
    #[default]
    Both,
    /// Those that the nodes send.
    Out,
    /// Those sent to them.
    In,
}

impl From<WayPlan> for Way {
    fn from(way: WayPlan) -> Way {
        match way {
            WayPlan::Both => Way::Both,
            WayPlan::Out => Way::Out,
            WayPlan::In => Way::In,
        }
    }
}

/// Disks that are slow, full or faulty.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    /// Whose.
    pub which: Which,
    /// How many times as long each operation takes. Default 1.
    #[serde(default = "one")]
    pub slow: u32,
    /// Whether nothing more fits. Default false.
    #[serde(default)]
    pub full: bool,
    /// Whether a write under way is torn when the node dies. Default false.
    #[serde(default)]
    pub torn: bool,
    /// How many operations fail and say so. Default 0.
    #[serde(default)]
    pub failing: Share,
}

/// Nodes that come.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// How many.
    pub count: u32,
    /// Of which kind, by name. Default: the first.
    pub of: Option<String>,
    /// Within which time, evenly. Default 0 s: all at once.
    #[serde(default)]
    pub over: Time,
}

/// Objects that nodes put. The phase goes on when all puts have ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// How many each node puts. Default 1.
    #[serde(default = "one")]
    pub per_node: u32,
    /// Of which size each is. Default 1 block.
    #[serde(default = "block")]
    pub size: Size,
    /// Nodes of which kind put, by name. Default: all.
    pub of: Option<String>,
    /// How many nodes put, drawn. Default: all.
    pub nodes: Option<u32>,
}

/// Nodes that come and go as a file says: one event a line, `SECONDS NODE up` or `SECONDS NODE down`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// The file; a relative path begins where the scenario is.
    pub file: PathBuf,
    /// Of which kind the nodes are, by name. Default: the first.
    pub of: Option<String>,
    /// Whether a node that comes again finds what was on its disk. Default true.
    #[serde(default = "yes")]
    pub keep_disk: bool,
    /// What is in the file, once it is read.
    #[serde(skip)]
    pub text: Arc<str>,
}

/// Objects that nodes get, of those whose put was acknowledged. The phase ends when all gets have ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// Who gets. Default `"fresh"`.
    #[serde(default)]
    pub by: By,
    /// How long a fresh node runs before it begins. Default 10 s.
    #[serde(default = "ten_seconds")]
    pub wait: Time,
    /// How many gets, of objects drawn. Default: each object once.
    pub count: Option<u32>,
    /// How many at the same time. Default: as many as the node's table of operations holds.
    pub at_once: Option<u32>,
    /// Whether objects are got that nobody has put: then not found is right. Default false.
    #[serde(default)]
    pub absent: bool,
    /// Whether all get the same object: a flash crowd. Default false.
    #[serde(default)]
    pub same: bool,
}

/// Who gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A node that has just come, of the first kind.
    #[default]
    Fresh,
    /// A node that runs, drawn for each get, but none that holds the object itself.
    Any,
}

/// What a figure has to reach: its mean over the runs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// The least.
    pub at_least: Option<f64>,
    /// The most.
    pub at_most: Option<f64>,
}

impl Target {
    /// Whether a value reaches it.
    pub fn reached(&self, value: f64) -> bool {
        self.at_least.is_none_or(|least| value >= least) && self.at_most.is_none_or(|most| value <= most)
    }
}

fn one() -> u32 {
    1
}

fn one_u64() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn second() -> Time {
    Time::from_s(1)
}

fn ten_seconds() -> Time {
    Time::from_s(10)
}

fn block() -> Size {
    Size::from_blocks(1)
}

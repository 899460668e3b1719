//! Nodes of one kind, as a scenario has them.

use serde::Deserialize;

use super::model::Scenario;
use super::settings::{Settings, Tables};
use super::units::{Share, Time};
use crate::machine::{Machine, mixed};
use crate::net::{Access, NatKind, NatModel};

/// The most nodes of a world.
pub(super) const NODES_MAX: u64 = 200_000;

/// Nodes of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// By what other keys speak of them. Default: the machine's name.
    #[serde(default)]
    pub name: String,
    /// How many; once the scenario is read, also where it gives a share.
    pub count: Option<u32>,
    /// Instead of it: the share of all nodes of `[world]`. Nodes of all kinds then come in an order that is drawn.
    pub share: Option<Share>,
    /// What kind of machine. Default `"desktop"`.
    #[serde(default)]
    pub machine: MachineKind,
    /// Timings and policies, where they differ from the machine's.
    #[serde(default)]
    pub config: Settings,
    /// Limits of tables, where they differ from the machine's.
    #[serde(default)]
    pub limits: Tables,
    /// How much each can send and receive. Default: as the machine.
    pub access: Option<Access>,
    /// The NATs that they are behind. Default: none.
    pub nat: Option<NatPlan>,
    /// Whether each has a public address. Default: false on a LAN and behind a NAT, else true.
    pub public: Option<bool>,
    /// Over how many sites they are spread, evenly: failure domains. Default 0: each has a place of its own.
    #[serde(default)]
    pub sites: u16,
    /// Whether each knows its site and tells it as its place. Default true.
    #[serde(default = "yes")]
    pub tells_site: bool,
    /// Over how many power supplies they are spread, evenly. Default 0: each has its own.
    #[serde(default)]
    pub powers: u16,
    /// Over how many /24 prefixes their public addresses are spread, evenly. Default 0: all far from each other.
    #[serde(default)]
    pub prefixes: u16,
    /// By how many millionths their clocks run too fast. Default 0.
    #[serde(default)]
    pub drift_ppm: i32,
    /// How long each operation of their disks takes. Default: as the machine.
    pub disk_op: Option<Time>,
}

/// NATs, and how many nodes are behind each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatPlan {
    /// What each maps, and what it lets in.
    pub kind: NatKind,
    /// After how long without a packet from inside a mapping ends. Default: 120 s.
    pub timeout: Option<Time>,
    /// Mappings at the same time. Default: 1,024.
    pub mappings: Option<u16>,
    /// Nodes behind each, on one local network with multicast. Default: 1.
    #[serde(default = "one")]
    pub hosts: u32,
}

impl NatPlan {
    /// Each of them.
    pub fn model(&self) -> NatModel {
        let usual = NatModel::new(self.kind);
        let (timeout, mappings) = (self.timeout.unwrap_or(usual.timeout), self.mappings.unwrap_or(usual.mappings));
        NatModel { timeout, mappings, ..usual }
    }
}

/// Kinds of machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineKind {
    /// A microcontroller with one seat of 8 blocks.
    Tiny,
    /// The same with flash that is slow and wears out, and 1 Mbit/s.
    Microcontroller,
    /// A single-board computer or an old telephone on a home's line.
    Board,
    /// A laptop on a home's line.
    Laptop,
    /// A desktop program: tables of 256 hosts and groups, 16 MiB of storage.
    #[default]
    Desktop,
    /// A server in a data centre.
    Server,
}

impl MachineKind {
    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            MachineKind::Tiny => "tiny",
            MachineKind::Microcontroller => "microcontroller",
            MachineKind::Board => "board",
            MachineKind::Laptop => "laptop",
            MachineKind::Desktop => "desktop",
            MachineKind::Server => "server",
        }
    }

    fn machine(self) -> Machine {
        match self {
            MachineKind::Tiny => Machine::tiny(),
            MachineKind::Microcontroller => Machine::microcontroller(),
            MachineKind::Board => Machine::board(),
            MachineKind::Laptop => Machine::laptop(),
            MachineKind::Desktop => Machine::desktop(),
            MachineKind::Server => Machine::server(),
        }
    }
}

impl Nodes {
    /// By what other keys speak of them.
    pub fn name(&self) -> &str {
        if self.name.is_empty() { self.machine.name() } else { &self.name }
    }

    /// How many run at the start.
    pub fn count(&self) -> u32 {
        self.count.unwrap_or(0)
    }

    /// How many NATs they are behind.
    pub fn nats(&self) -> u32 {
        self.nat.map_or(0, |nat| self.count().div_ceil(nat.hosts.max(1)))
    }

    /// The machine of these nodes, with the changes made.
    pub fn spec_machine(&self) -> Machine {
        self.machine.machine().with(|machine| {
            self.config.change(&mut machine.config);
            self.limits.change(&mut machine.limits);
            machine.access = self.access.unwrap_or(machine.access);
            if let Some(op) = self.disk_op {
                machine.disk.op_us = op.us().try_into().unwrap_or(u32::MAX);
            }
        })
    }
}

impl Scenario {
    /// Gives each kind that has a share its count.
    ///
    /// # Errors
    /// A path in the file, and what is wrong there.
    pub(super) fn share_out(&mut self) -> Result<(), (String, String)> {
        let wrong = |path: String, what: &str| Err((path, what.to_owned()));
        for (i, nodes) in self.nodes.iter().enumerate() {
            match (nodes.count, nodes.share, self.world.nodes) {
                (Some(_), Some(_), _) => return wrong(format!("nodes.{i}.share"), "give count or share, not both"),
                (None, None, _) => {
                    return wrong(format!("nodes.{i}"), "how many? give count, or share, of the nodes in [world]");
                }
                (None, Some(_), None) => {
                    return wrong(format!("nodes.{i}.share"), "a share of how many? give nodes in [world]");
                }
                (Some(_), None, Some(_)) => {
                    let what = "nodes of [world] are shared out: give this kind a share, or leave those out";
                    return wrong(format!("nodes.{i}.count"), what);
                }
                _ => {}
            }
        }
        let Some(n) = self.world.nodes else { return Ok(()) };
        if u64::from(n) > NODES_MAX {
            return wrong("world.nodes".into(), &format!("{n} nodes: a world has at most {NODES_MAX}"));
        }
        if self.nodes.iter().all(|nodes| nodes.share.is_none_or(|share| share.ppm() == 0)) {
            return wrong("nodes".into(), "all shares are 0: give one more");
        }
        let kinds = self.order(0);
        for (kind, nodes) in self.nodes.iter_mut().enumerate() {
            nodes.count = Some(kinds.iter().filter(|other| **other == kind).count() as u32);
        }
        Ok(())
    }

    /// Of which kind the nodes are that run at the start, in the order in which they come.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        if let Some(n) = self.world.nodes {
            let shares: Vec<Share> = self.nodes.iter().filter_map(|nodes| nodes.share).collect();
            return mixed(seed, n as usize, &shares);
        }
        let kinds = self.nodes.iter().enumerate();
        kinds.flat_map(|(kind, nodes)| std::iter::repeat_n(kind, nodes.count() as usize)).collect()
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

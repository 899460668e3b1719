//! Known hosts for applications: to show them, and to remember them over a restart.

use super::{CLASSES, HostClass, Standing, seconds};
use crate::addr::{Addr, LinkId};
use crate::id::NodeId;
use crate::node::Node;
use crate::time::Instant;
use crate::wire::{Facts, HostRecord};

/// A known host, for people and files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HostInfo {
    /// Who.
    pub id: NodeId,
    /// Where it was last reached or said to be.
    pub addr: Addr,
    /// Over which link.
    pub link: LinkId,
    /// What it said of itself, or was said of it.
    pub facts: Facts,
    /// Met, heard-of or vanished.
    pub standing: Standing,
    /// Whether there is a session with it.
    pub up: bool,
    /// Seconds since it was last heard, by us or by whoever told.
    pub age_s: u32,
    /// Round trip in milliseconds; 0 is not known.
    pub rtt_ms: u16,
    /// How it compares with all others.
    pub class: HostClass,
}

impl HostInfo {
    /// What is to be kept to [`Node::remember`] it later.
    pub fn record(&self) -> HostRecord {
        let age_s = self.age_s.min(u16::MAX.into()) as u16;
        HostRecord { id: self.id, addr: self.addr, facts: self.facts, age_s }
    }
}

/// How diverse the known hosts are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Diversity {
    /// Met hosts by class: the index is [`HostClass`]'s number.
    pub met: [u16; CLASSES],
    /// Heard-of hosts by class.
    pub heard: [u16; CLASSES],
    /// Vanished hosts.
    pub vanished: u16,
    /// Means over met and heard-of hosts, in 256ths: uptime, free storage and hosts known, each as in [`Facts`].
    pub means: [u32; 3],
}

impl super::Hosts<'_> {
    /// What every known host said of itself.
    pub(crate) fn facts_heard(&self) -> impl Iterator<Item = Facts> {
        self.hosts.iter().map(|(_, host)| host.facts)
    }
}

impl Node<'_> {
    /// All known hosts, in no order of merit. Cost: a scan of the table.
    pub fn hosts(&self) -> impl Iterator<Item = HostInfo> {
        let now_s = seconds(self.env.now);
        self.hosts.hosts.iter().map(move |(_, host)| HostInfo {
            id: host.id,
            addr: host.addr,
            link: host.link,
            facts: host.facts,
            standing: host.standing,
            up: host.up,
            age_s: host.age_s(now_s),
            rtt_ms: host.rtt_ms,
            class: host.class,
        })
    }

    /// Known hosts that were not found dead. Cost: a few loads.
    pub fn hosts_known(&self) -> usize {
        self.hosts.len()
    }

    /// How diverse the known hosts are. Cost: a few loads.
    pub fn diversity(&self) -> Diversity {
        let census = &self.hosts.census;
        Diversity {
            met: census.counts(Standing::Met),
            heard: census.counts(Standing::Heard),
            vanished: census.count(Standing::Vanished) as u16,
            means: census.means(),
        }
    }

    /// Takes a host known from before, as if somebody had told of it: it is heard-of until it is met, and refused where
    /// the table has no room for it.
    pub fn remember(&mut self, now: Instant, record: &HostRecord, link: LinkId) {
        self.env.advance(now);
        self.hosts.learn(&mut self.env, record, link, None);
    }
}

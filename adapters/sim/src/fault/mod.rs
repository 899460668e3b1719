//! What goes wrong: nodes that die, restart, stand still, and are replaced.

mod clock;
mod domain;

use butter_core::rng::Rng;
use butter_core::time::Instant;

pub(crate) use clock::Clock;
pub use domain::Domain;

use crate::chance;
use crate::disk::{Disk, DiskFaults};
use crate::net::{PartitionId, Way};
use crate::world::{What, Who, World};

/// How nodes die and come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Churn {
    /// The mean life of a node, in milliseconds: 50,000 is a death rate of 1/50 per second. Lives are exponentially
    /// distributed, so deaths are asynchronous and a node's age says nothing.
    pub mean_life_ms: u32,
    /// For how long, in milliseconds.
    pub for_ms: u32,
    /// Whether each dead node is replaced, at once, by an empty one with a new identity and a new address.
    pub replace: bool,
}

pub(crate) struct Churning {
    rng: Rng,
    churn: Churn,
    until: Instant,
    killed: u32,
}

impl World<'_> {
    /// Kills a node: it says nothing, and what was under way to its disk never happened, unless writes tear
    /// ([`DiskFaults::torn`](crate::DiskFaults)). Its disk stays, and so do the hosts that it knew, for a restart.
    pub fn kill(&mut self, who: Who) {
        let slot = &mut self.slots[who.index()];
        let Some(node) = slot.node.take() else { return };
        let counters = node.counters();
        slot.counted.resize(counters.iter().count(), 0);
        slot.counted.iter_mut().zip(counters.iter()).for_each(|(sum, (_, n))| *sum += u64::from(n));
        slot.hosts = node.hosts().map(|host| host.record()).collect();
        slot.disk.crash(&mut self.disk_rng);
        slot.paused = false;
        self.jobs.died(who, self.now);
        self.checks.died(self.now, who);
        self.drop_backlog(who);
        self.detach(who);
        self.queue.arm(who, None);
    }

    /// Kills a node for good: nobody will ask for its disk and hosts again.
    pub fn remove(&mut self, who: Who) {
        self.kill(who);
        let slot = &mut self.slots[who.index()];
        slot.disk = Disk::default();
        slot.hosts = Vec::new();
    }

    /// Kills a node for good and adds an empty one of the same kind at the same place, with a new identity and a new
    /// address.
    pub fn replace(&mut self, who: Who) -> Who {
        let spec = self.slots[who.index()].spec.clone();
        self.remove(who);
        self.add_one(spec, self.now, Some(who))
    }

    /// Kills a node, if it runs, and starts it again with the same identity and address. With its disk, it remembers the
    /// hosts that it knew; its content is lost either way, as the core cannot be told yet what is on its disk.
    pub fn restart(&mut self, who: Who, keep_disk: bool) {
        self.restart_after(who, keep_disk, 0);
    }

    /// The same, but it is down for `down_ms` virtual milliseconds. If it is started before then, it stays so.
    pub fn restart_after(&mut self, who: Who, keep_disk: bool, down_ms: u64) {
        self.kill(who);
        let slot = &mut self.slots[who.index()];
        if !keep_disk {
            slot.disk.clear();
            slot.hosts = Vec::new();
        }
        self.start_at(who, self.now.plus_us(down_ms * 1000));
    }

    /// Stops a node for a while, as when its machine sleeps: packets wait for it in a bounded buffer, time passes.
    pub fn pause(&mut self, who: Who, ms: u64) {
        let slot = &mut self.slots[who.index()];
        if slot.node.is_some() && !slot.paused {
            slot.paused = true;
            self.checks.paused(self.now, who, ms);
            let boot = slot.boots;
            self.queue.arm(who, None);
            self.queue.push(self.now.plus_us(ms * 1000), What::Resume { who, boot });
        }
    }

    pub(crate) fn resume(&mut self, who: Who) {
        if std::mem::take(&mut self.slots[who.index()].paused) {
            self.drain_backlog(who);
            self.pump(who);
        }
    }

    /// Lets a node's clock jump, forward or (as no good clock does) back. Its deadlines move with it.
    pub fn clock_jump(&mut self, who: Who, us: i64) {
        self.slots[who.index()].clock.jump(self.now, us);
        self.pump(who);
    }

    /// Lets a node's clock run too fast by so many billionths, until it restarts. Its deadlines move with it.
    pub fn clock_drift(&mut self, who: Who, ppb: i32) {
        self.slots[who.index()].clock.drift(self.now, ppb);
        self.pump(who);
    }

    /// What goes wrong with a node's disk from now on, also after a restart.
    pub fn disk_faults(&mut self, who: Who, faults: DiskFaults) {
        self.slots[who.index()].disk.set_faults(faults);
    }

    /// Stops packets between `near` and `far`, or everybody else, for `ms`. See [`crate::Net::partition`].
    pub fn partition(&mut self, near: &[Who], far: Option<&[Who]>, way: Way, ms: u64) -> Option<PartitionId> {
        let partition = self.net().partition(near, far, way)?;
        self.queue.push(self.now.plus_us(ms * 1000), What::Heal(partition));
        Some(partition)
    }

    /// Begins to kill every node that runs or comes, each at its own time. Replaces a churn that is under way.
    pub fn churn(&mut self, churn: Churn) {
        self.churns += 1;
        let rng = chance::stream(self.config.seed, "churn", self.churns.into());
        let until = self.now.plus_ms(churn.for_ms);
        self.churn = Some(Churning { rng, churn, until, killed: 0 });
        for who in self.up().collect::<Vec<_>>() {
            self.churn_doom(who);
        }
    }

    /// Nodes killed by the last churn so far.
    pub fn churned(&self) -> u32 {
        self.churn.as_ref().map_or(0, |churning| churning.killed)
    }

    /// Draws when a node dies, if it does so while the churn lasts.
    fn churn_doom(&mut self, who: Who) {
        if let Some(Churning { rng, churn, until, .. }) = &mut self.churn {
            let at = self.now.plus_us(chance::exponential_us(rng, u64::from(churn.mean_life_ms) * 1000));
            if at <= *until {
                self.queue.push(at, What::Kill { who, churn: self.churns });
            }
        }
    }

    pub(crate) fn churn_kill(&mut self, who: Who, churn: u32) {
        if churn != self.churns || self.slots[who.index()].node.is_none() {
            return;
        }
        let Some(churning) = &mut self.churn else { return };
        churning.killed += 1;
        if churning.churn.replace {
            let new = self.replace(who);
            self.churn_doom(new);
        } else {
            self.kill(who);
        }
    }
}

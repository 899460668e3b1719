//! What goes wrong: nodes that die, restart, stand still, and are replaced.

mod churn;
mod clock;
mod domain;
mod trace;

use butter_core::time::Instant;

pub(crate) use churn::Churning;
pub use churn::{Churn, Then};
pub(crate) use clock::Clock;
pub use domain::Domain;
pub(crate) use trace::Following;
pub use trace::{TRACE_LINES_MAX, Trace};

use crate::disk::{Disk, DiskFaults};
use crate::net::{PartitionId, Way};
use crate::scenario::units::Time;
use crate::world::{What, Who, World};

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
        self.replace_at(who, self.now)
    }

    /// The same, but the new one starts at a later moment.
    pub(crate) fn replace_at(&mut self, who: Who, at: Instant) -> Who {
        let spec = self.slots[who.index()].spec.clone();
        self.remove(who);
        self.add_one(spec, at, Some(who))
    }

    /// Kills a node, if it runs, and starts it again with the same identity and address. With its disk, it remembers the
    /// hosts that it knew; its content is lost either way, as the core cannot be told yet what is on its disk.
    pub fn restart(&mut self, who: Who, keep_disk: bool) {
        self.restart_after(who, keep_disk, Time::default());
    }

    /// The same, but it is down for a while. If it is started before then, it stays so.
    pub fn restart_after(&mut self, who: Who, keep_disk: bool, down: Time) {
        self.kill(who);
        let slot = &mut self.slots[who.index()];
        if !keep_disk {
            slot.disk.clear();
            slot.hosts = Vec::new();
        }
        self.start_at(who, self.now.plus_us(down.us()));
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

    /// Stops packets between `near` and `far`, or everybody else, for a while. See [`crate::Net::partition`].
    pub fn partition(&mut self, near: &[Who], far: Option<&[Who]>, way: Way, lasts: Time) -> Option<PartitionId> {
        let partition = self.net().partition(near, far, way)?;
        self.queue.push(self.now.plus_us(lasts.us()), What::Heal(partition));
        Some(partition)
    }
}

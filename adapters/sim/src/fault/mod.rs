//! What goes wrong: nodes that die, restart, stand still, and are replaced.

use butter_core::rng::Rng;
use butter_core::time::Instant;

use crate::chance;
use crate::disk::Disk;
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
    /// Kills a node: it says nothing, and what was under way to its disk never happened.
    pub fn kill(&mut self, who: Who) {
        let slot = &mut self.slots[who.index()];
        let Some(node) = slot.node.take() else { return };
        let counters = node.counters();
        slot.counted.resize(counters.iter().count(), 0);
        slot.counted.iter_mut().zip(counters.iter()).for_each(|(sum, (_, n))| *sum += u64::from(n));
        slot.disk.crash();
        slot.paused = false;
        self.jobs.died(who, self.now);
        self.checks.died(self.now, who);
        self.drop_backlog(who);
        self.detach(who);
        self.queue.arm(who, None);
    }

    /// Kills a node and adds an empty one of the same kind, with a new identity and a new address.
    pub fn replace(&mut self, who: Who) -> Who {
        let spec = self.slots[who.index()].spec.clone();
        self.kill(who);
        // Nobody reads it again.
        self.slots[who.index()].disk = Disk::default();
        self.add(&spec)
    }

    /// Kills a node, if it runs, and starts it again with the same identity and address: with what was on its disk, or
    /// with an empty one.
    pub fn restart(&mut self, who: Who, keep_disk: bool) {
        self.kill(who);
        if !keep_disk {
            self.slots[who.index()].disk = Disk::default();
        }
        self.start(who);
    }

    /// Stops a node for a while, as when its machine sleeps: packets wait for it in a bounded buffer, time passes.
    pub fn pause(&mut self, who: Who, ms: u64) {
        let slot = &mut self.slots[who.index()];
        if slot.node.is_some() && !slot.paused {
            slot.paused = true;
            self.checks.paused(self.now, who, ms);
            self.queue.arm(who, None);
            self.queue.push(self.now.plus_us(ms * 1000), What::Resume(who));
        }
    }

    pub(crate) fn resume(&mut self, who: Who) {
        if std::mem::take(&mut self.slots[who.index()].paused) {
            self.drain_backlog(who);
            self.pump(who);
        }
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

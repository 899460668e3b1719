//! The loss to be expected: the same expectation as what is lost, with less scatter.

use std::collections::HashMap;

use butter_core::id::Key;
use butter_core::time::Instant;

use super::record::Record;
use crate::scenario::units::Time;
use crate::world::World;

/// Virtual time between two looks at how many hold each object.
pub(super) const LOOK: Time = Time::from_ms(50);

/// For how long objects have had one holder.
pub(super) struct Risk {
    /// Deaths of a node per second.
    rate: f64,
    looked: Instant,
    /// Seconds with one holder, per object.
    single_s: f64,
}

impl Risk {
    /// Begins now.
    pub fn new(world: &World<'_>, rate: f64) -> Risk {
        Risk { rate, looked: world.now(), single_s: 0.0 }
    }

    /// Looks at who holds what. Costs a scan of all disks.
    pub fn look(&mut self, world: &mut World<'_>, keys: &[Key]) {
        let passed_s = world.now().since(self.looked) as f64 / 1e6;
        self.looked = world.now();
        let mut holders: HashMap<Key, u32> = keys.iter().map(|key| (*key, 0)).collect();
        for who in world.up().collect::<Vec<_>>() {
            for (block, _) in world.disk(who).iter().filter(|(block, _)| block.index == 0) {
                holders.entry(block.key).and_modify(|n| *n += 1);
            }
        }
        let single = holders.values().filter(|n| **n == 1).count();
        self.single_s += passed_s * single as f64 / holders.len().max(1) as f64;
    }

    /// What it came to.
    pub fn figures(&self, phase: &str, record: &mut Record) {
        let rule =
            "objects to be expected lost: the time in which they had one holder, times the rate at which that dies";
        record.figure(&format!("{phase}_lost_expected"), "%", 100.0 * self.rate * self.single_s, rule);
    }
}

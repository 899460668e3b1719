//! Objects put and got.

use butter_core::id::Key;
use butter_core::retrieve::Progress;
use butter_core::storage::BlockRef;

use super::play::{Play, Stopped};
use crate::scenario::{By, Get, Put};
use crate::world::{Job, Outcome, Who, World};

/// What some gets came to.
#[derive(Default)]
struct Gets {
    tried: u64,
    /// Right answers: the object, or for one that nobody has put, not found.
    right: u64,
    contacts: Vec<f64>,
    calls: Vec<f64>,
    took_ms: Vec<f64>,
}

/// The mean; `None` of nothing.
pub(super) fn mean(figures: &[f64]) -> Option<f64> {
    (!figures.is_empty()).then(|| crate::report::mean(figures))
}

/// The value with 99 % of them below.
pub(super) fn p99(figures: &mut [f64]) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() * 99 / 100).copied()
}

impl Play<'_, '_> {
    /// The bytes of an object that no other is like.
    fn object(&self, number: u64, bytes: u64) -> Vec<u8> {
        [self.seed.to_le_bytes(), number.to_le_bytes()]
            .as_flattened()
            .iter()
            .copied()
            .cycle()
            .take(bytes as usize)
            .collect()
    }

    /// Waits for jobs to end.
    fn finish(&mut self, jobs: &[Job]) -> Result<(), Stopped> {
        for job in jobs {
            self.world.finish(&[*job]);
            self.sampler.look(&mut self.world);
            if self.control_stopped() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// Nodes put, each as many at the same time as its table of operations holds.
    pub fn put(&mut self, phase: &str, put: &Put) -> Result<(), Stopped> {
        let mut nodes = self.running(put.of.as_ref());
        if let Some(n) = put.nodes {
            self.draw(&mut nodes, n as usize);
        }
        let (mut copies, mut took_ms) = (Vec::new(), Vec::new());
        let tried = nodes.len() as u64 * u64::from(put.per_node);
        let mut left: Vec<(Who, u32)> = nodes.into_iter().map(|who| (who, put.per_node)).collect();
        while !left.is_empty() {
            let mut jobs = Vec::new();
            for (who, left) in &mut left {
                let room = self.world.spec(*who).machine.limits.operations as u32;
                for _ in 0..room.min(*left) {
                    // A node that refuses is asked again when its other puts have ended, as a program would.
                    let bytes = self.object(self.puts, put.size.bytes());
                    let hash = World::hash(&bytes);
                    let Ok(job) = self.world.begin_put(*who, bytes) else { break };
                    self.puts += 1;
                    *left -= 1;
                    jobs.push((job, hash));
                }
            }
            if jobs.is_empty() {
                break;
            }
            left.retain(|(_, left)| *left > 0);
            self.finish(&jobs.iter().map(|(job, _)| *job).collect::<Vec<_>>())?;
            for (job, hash) in jobs {
                let Some(Outcome::Put(status)) = self.world.outcome(job) else { continue };
                let Some(key) = status.key.filter(|_| status.progress == Progress::Done) else { continue };
                copies.push(f64::from(status.replicas));
                took_ms.push(self.world.took_us(job) as f64 / 1e3);
                self.keys.push(key);
                self.hashes.push(hash);
                self.sampler.keep(key);
            }
        }
        let name = |figure: &str| format!("{phase}_{figure}");
        let share = (tried > 0).then(|| 100.0 * copies.len() as f64 / tried as f64);
        self.record.figure(&name("acknowledged"), "%", share, "puts that were acknowledged, of those wanted");
        self.record.figure(&name("objects"), "", copies.len() as f64, "objects whose put was acknowledged");
        let rule = "nodes that held the object when its put was acknowledged, the fewest over its items";
        self.record.figure(&name("replicas"), "", mean(&copies), rule);
        self.record.figure(
            &name("acknowledged_ms"),
            "ms",
            mean(&took_ms),
            "milliseconds from the put to its acknowledgement",
        );
        Ok(())
    }

    /// A node gets, or some do.
    pub fn get(&mut self, phase: &str, get: &Get) -> Result<(), Stopped> {
        let fresh = match get.by {
            By::Any => None,
            By::Fresh => {
                let fresh = self.add(0, 0);
                self.pass(get.wait)?;
                Some(fresh)
            }
        };
        let room = self.scenario.nodes[0].spec_machine().limits.operations as u32;
        let at_once = get.at_once.unwrap_or(if fresh.is_some() { room } else { 1 }).min(1 << 16);
        let all = get.count.map_or(self.keys.len() as u64, u64::from);
        let same = if self.keys.is_empty() { 0 } else { self.rng.below(self.keys.len() as u32) as usize };
        let mut gets = Gets::default();
        while gets.tried < all {
            let mut jobs = Vec::new();
            for _ in 0..u64::from(at_once).min(all - gets.tried) {
                let number = gets.tried as usize;
                gets.tried += 1;
                let Some(key) = self.wanted(get, number, same) else { continue };
                let who = fresh.or_else(|| self.asker(key));
                let Some(who) = who else { continue };
                let held = self.world.disk(who).get(BlockRef { key, index: 0 }).is_some();
                if let Ok(job) = self.world.begin_get(who, key) {
                    jobs.push((job, held));
                }
            }
            let begun: Vec<Job> = jobs.iter().map(|(job, _)| *job).collect();
            self.finish(&begun)?;
            for (job, held) in jobs {
                self.got(&mut gets, job, held, get.absent);
            }
        }
        let name = |figure: &str| format!("{phase}_{figure}");
        let share = (gets.tried > 0).then(|| 100.0 * gets.right as f64 / gets.tried as f64);
        if get.absent {
            let rule = "gets of objects that nobody has put that ended with not found, of all";
            self.record.figure(&name("not_found"), "%", share, rule);
        } else {
            self.record.figure(&name("got"), "%", share, "gets that gave the object, of all");
        }
        let rule = "contacts asked where the object is, per get that ended, at a node that does not hold it: mean";
        self.record.figure(&name("contacts"), "", mean(&gets.contacts), rule);
        self.record.figure(&name("contacts_p99"), "", p99(&mut gets.contacts), "the same: 99 % asked fewer");
        let rule = "calls made to find and fetch it, per get that ended, at a node that does not hold it: mean";
        self.record.figure(&name("calls"), "", mean(&gets.calls), rule);
        let rule = "milliseconds from the get to its end, per get with the right answer: mean";
        self.record.figure(&name("ms"), "ms", mean(&gets.took_ms), rule);
        self.record.figure(&name("ms_p99"), "ms", p99(&mut gets.took_ms), "the same: 99 % took less");
        self.record.figure(&name("gets"), "", gets.tried as f64, "gets");
        Ok(())
    }

    fn got(&mut self, gets: &mut Gets, job: Job, held: bool, absent: bool) {
        let (right, status) = match self.world.outcome(job) {
            Some(Outcome::Got(_, status)) => (!absent, Some(*status)),
            Some(Outcome::NotGot(status)) => (absent && status.progress == Progress::NotFound, Some(*status)),
            _ => (false, None),
        };
        if right {
            gets.right += 1;
            gets.took_ms.push(self.world.took_us(job) as f64 / 1e3);
        }
        if !held {
            gets.contacts.extend(status.map(|status| f64::from(status.contacts)));
            gets.calls.extend(status.map(|status| f64::from(status.asked)));
            self.sampler.lookup(status.filter(|_| right && !absent).map(|status| status.contacts));
        }
    }

    /// What is got as the n-th.
    fn wanted(&mut self, get: &Get, n: usize, same: usize) -> Option<Key> {
        if get.absent {
            let mut key = [0; 32];
            self.rng.fill(&mut key);
            return Some(Key(key));
        }
        let at = match get.count {
            _ if self.keys.is_empty() => return None,
            _ if get.same => same,
            Some(_) => self.rng.below(self.keys.len() as u32) as usize,
            None => n,
        };
        self.keys.get(at).copied()
    }

    /// A node that runs and does not hold the object, drawn; any node if 64 draws find none such.
    fn asker(&mut self, key: Key) -> Option<Who> {
        let up: Vec<Who> = self.world.up().collect();
        if up.is_empty() {
            return None;
        }
        let mut who = up[0];
        for _ in 0..64 {
            who = up[self.rng.below(up.len() as u32) as usize];
            if self.world.disk(who).get(BlockRef { key, index: 0 }).is_none() {
                break;
            }
        }
        Some(who)
    }
}

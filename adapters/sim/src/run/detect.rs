//! How long it takes until those who shared a group with a dead node know.

use std::collections::BTreeSet;

use butter_core::id::{GroupId, NodeId};
use butter_core::time::Instant;

use super::record::Record;
use crate::world::{Who, World};

/// Partners who have not noticed yet, and how long the others took.
pub(super) struct Detect {
    at: Instant,
    waiting: Vec<(Who, GroupId, NodeId)>,
    took_ms: Vec<f64>,
    died_first: u32,
}

impl Detect {
    /// Nodes that are about to die, at once.
    pub fn new(world: &World<'_>, victims: &[Who]) -> Detect {
        let dying: BTreeSet<NodeId> = victims.iter().map(|who| world.id(*who)).collect();
        let mut waiting = Vec::new();
        for who in world.up().filter(|who| !dying.contains(&world.id(*who))) {
            for group in world.node(who).into_iter().flat_map(|node| node.groups()) {
                let lost = group.members.iter().filter(|member| dying.contains(member));
                waiting.extend(lost.map(|member| (who, group.id, *member)));
            }
        }
        Detect { at: world.now(), waiting, took_ms: Vec::new(), died_first: 0 }
    }

    /// Looks who has noticed by now.
    pub fn look(&mut self, world: &World<'_>) {
        let ms = world.now().since(self.at) as f64 / 1e3;
        let (took_ms, died_first) = (&mut self.took_ms, &mut self.died_first);
        self.waiting.retain(|(who, group, member)| {
            let Some(node) = world.node(*who) else {
                *died_first += 1;
                return false;
            };
            let still = node.groups().any(|info| info.id == *group && info.members.contains(member));
            if !still {
                took_ms.push(ms);
            }
            still
        });
    }

    /// What it came to.
    pub fn figures(mut self, phase: &str, record: &mut Record) {
        self.took_ms.sort_by(f64::total_cmp);
        let at = |share: usize| self.took_ms.get(self.took_ms.len() * share / 100).copied();
        let rule = "milliseconds from death to a partner's verdict, for each partner and group: the median";
        record.figure(&format!("{phase}_detected_median"), "ms", at(50), rule);
        let rule = "the same: 99 % took less";
        record.figure(&format!("{phase}_detected_p99"), "ms", at(99), rule);
        let all = self.took_ms.len() + self.waiting.len();
        let share = (all > 0).then(|| 100.0 * self.took_ms.len() as f64 / all as f64);
        let rule = "partners with a verdict by the end of the phase, of those that ran until then";
        record.figure(&format!("{phase}_detected"), "%", share, rule);
    }
}

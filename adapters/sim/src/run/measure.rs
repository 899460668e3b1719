//! What nodes do while time passes, per node and second.

use butter_core::time::Instant;

use super::record::Record;
use crate::world::World;

/// Counters that are measured: name of the figure, of the counter, unit, and counting rule.
const RATES: [(&str, &str, &str, &str); 5] = [
    ("beats", "beats_out", "/s", "beats sent per node and second"),
    ("probes", "probes_out", "/s", "probes sent in doubt per node and second"),
    ("packets", "packets_out", "/s", "packets sent per node and second, all kinds"),
    (
        "bytes",
        "bytes_out",
        "B/s",
        "bytes of packets sent per node and second, all kinds, without headers of UDP and IP",
    ),
    ("pointer_batches", "pointer_batches", "/s", "batches of pointers to objects sent per node and second"),
];

/// Counters as they were when the measuring began.
pub(super) struct Measure {
    at: Instant,
    nodes: usize,
    before: [u64; RATES.len()],
    wakes: u64,
    deaths: u64,
}

fn counters(world: &World<'_>) -> [u64; RATES.len()] {
    RATES.map(|(_, counter, ..)| world.counter(counter))
}

impl Measure {
    /// Begins now.
    pub fn new(world: &World<'_>) -> Measure {
        Measure {
            at: world.now(),
            nodes: world.up().count(),
            before: counters(world),
            wakes: world.wakes_total(),
            deaths: world.counter("deaths"),
        }
    }

    /// Ends now: what was counted since the begin, by the nodes that ran then.
    pub fn figures(&self, world: &World<'_>, phase: &str, record: &mut Record) {
        let node_seconds = self.nodes as f64 * world.now().since(self.at) as f64 / 1e6;
        let rate = |n: u64| (node_seconds > 0.0).then_some(n as f64 / node_seconds);
        let after = counters(world);
        for (i, (name, _, unit, rule)) in RATES.iter().enumerate() {
            record.figure(&format!("{phase}_{name}"), unit, rate(after[i] - self.before[i]), rule);
        }
        let wakes = rate(world.wakes_total() - self.wakes);
        record.figure(&format!("{phase}_wakes"), "/s", wakes, "wake-ups by a timer per node and second");
        let beats = (after[0] - self.before[0]) as f64;
        record.figure(&format!("{phase}_beats_all"), "", beats, "beats sent by all nodes together");
        let deaths = rate(world.counter("deaths") - self.deaths).map(|per_s| per_s * 3600.0);
        let rule = "verdicts that a member is dead per node and hour; where no node died, all of them are false";
        record.figure(&format!("{phase}_verdicts"), "/h", deaths, rule);
        record.figure(&format!("{phase}_node_hours"), "h", node_seconds / 3600.0, "node-hours that this is over");
    }
}

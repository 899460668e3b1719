//! What is seen of a world over time by somebody who looks at it from outside: series of figures, how lookups went, and the
//! graph of known hosts at some moments.
//!
//! Looking changes nothing: the same run without a sampler has the same trace.

mod graph;
mod traffic;

use std::collections::HashMap;

use butter_core::group::GroupState;
use butter_core::id::Key;
use butter_core::time::Instant;
use serde::Serialize;

use crate::crypto::FakeCrypto;
use crate::world::World;
pub use graph::{Graph, Seen};

/// The most moments that are kept; with one more, every second one is dropped and the period doubles.
pub const MOMENTS_MAX: usize = 600;
/// The most graphs that are kept; thinned in the same way.
pub const GRAPHS_MAX: usize = 16;
/// Contacts past which lookups are no longer told apart.
const CONTACTS_MAX: usize = 1024;
/// Numbers of copies told apart: 0 to 5, and more.
const COPIES: usize = 7;

/// Counters whose rate is sampled, and the series that each gives.
const RATES: [(&str, &str); 14] = [
    ("packets_out", "packets"),
    ("beats_out", "beats"),
    ("probes_out", "probes"),
    ("doubts", "doubts"),
    ("deaths", "deaths"),
    ("recruits", "recruits"),
    ("groups_founded", "founded"),
    ("groups_joined", "joined"),
    ("groups_left", "left"),
    ("groups_merged", "merged"),
    ("exchanges", "exchanges"),
    ("pointer_batches", "pointer batches"),
    ("lookups", "lookups"),
    ("handshakes_begun", "handshakes"),
];

/// What was seen in one run. All series are as long as `at_s`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Samples {
    /// The moments, in virtual seconds since the world began.
    pub at_s: Vec<f64>,
    /// Phases: what each is called, and the virtual second at which it began.
    pub phases: Vec<(String, f64)>,
    /// Figures over time.
    pub series: Vec<Series>,
    /// How lookups went.
    pub lookups: Lookups,
    /// Known hosts at some moments; none when the sampler was told to leave them out.
    pub graphs: Vec<Graph>,
}

impl Samples {
    /// The values of a series; empty when it was not sampled.
    pub fn values(&self, name: &str) -> &[f32] {
        self.series.iter().find(|series| series.name == name).map_or(&[], |series| &series.values)
    }
}

/// A figure over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What it is called.
    pub name: &'static str,
    /// One value a moment.
    pub values: Vec<f32>,
}

/// How lookups went: gets by somebody who does not hold the item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lookups {
    /// Lookups that found their item, by the number of contacts asked; the last number counts all that asked more.
    pub found: Vec<u32>,
    /// Lookups that did not.
    pub missed: u32,
}

/// One look at the world. What only rises is kept as it stands, and becomes a rate at the end: so moments can be dropped.
struct Moment {
    at: Instant,
    up: u32,
    known: u64,
    copies: [u32; COPIES],
    seats: [u32; 3],
    classes: [u64; 8],
    rising: Vec<u64>,
}

/// Looks at a world now and then, more seldom the longer it lasts.
///
/// Cost of one look: a scan of all nodes, of their seats and of the blocks they store.
pub struct Sampler<'c> {
    crypto: Option<&'c FakeCrypto>,
    items: HashMap<Key, u32>,
    counts: Vec<u16>,
    moments: Vec<Moment>,
    period_us: u64,
    next: Instant,
    phases: Vec<(String, f64)>,
    lookups: Lookups,
    graphs: Option<Vec<Graph>>,
    graph_every: usize,
    looks: usize,
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

impl<'c> Sampler<'c> {
    /// A sampler that looks every `period_ms` at first (at least 1). Only the fake cryptography sees of what kind the traffic
    /// is; without it, its bytes are one sum. With `graphs`, up to [`GRAPHS_MAX`] graphs are kept.
    pub fn new(period_ms: u64, crypto: Option<&'c FakeCrypto>, graphs: bool) -> Sampler<'c> {
        Sampler {
            crypto,
            items: HashMap::new(),
            counts: Vec::new(),
            moments: Vec::new(),
            period_us: period_ms.max(1) * 1000,
            next: Instant::ZERO,
            phases: Vec::new(),
            lookups: Lookups::default(),
            graphs: graphs.then(Vec::new),
            graph_every: 1,
            looks: 0,
        }
    }

    /// Counts the copies of this item from now on: its put was acknowledged.
    pub fn keep(&mut self, key: Key) {
        let next = self.counts.len() as u32;
        if *self.items.entry(key).or_insert(next) == next {
            self.counts.push(0);
        }
    }

    /// Does so no longer: it was removed.
    pub fn forget(&mut self, key: Key) {
        self.items.remove(&key);
    }

    /// A lookup has ended: with its item after this many contacts, or without.
    pub fn lookup(&mut self, contacts: Option<u32>) {
        let Some(contacts) = contacts else { return self.lookups.missed += 1 };
        let (found, at) = (&mut self.lookups.found, (contacts as usize).min(CONTACTS_MAX));
        found.resize(found.len().max(at + 1), 0);
        found[at] += 1;
    }

    /// A phase begins.
    pub fn phase(&mut self, world: &mut World<'_>, name: &str) {
        self.phases.push((name.into(), seconds(world.now())));
        self.moment(world);
        self.graph(world);
    }

    /// Looks at the world if it is time to; to be called often.
    pub fn look(&mut self, world: &mut World<'_>) {
        if world.now() < self.next {
            return;
        }
        self.moment(world);
        let every = MOMENTS_MAX / GRAPHS_MAX * self.graph_every / 2;
        if self.looks.is_multiple_of(every.max(1)) {
            self.graph(world);
        }
        self.looks += 1;
        let now = world.now().as_micros();
        self.next = Instant::from_micros(now - now % self.period_us + self.period_us);
    }

    /// Lets virtual time pass, and looks at the world when it is time to.
    pub fn run_for(&mut self, world: &mut World<'_>, ms: u64) {
        let end = world.now().plus_us(ms * 1000);
        while world.now() < end {
            self.look(world);
            world.run_to(self.next.min(end));
        }
        self.look(world);
    }

    fn moment(&mut self, world: &mut World<'_>) {
        if self.moments.last().is_some_and(|last| last.at == world.now()) {
            return;
        }
        let moment = self.see(world);
        self.moments.push(moment);
        if self.moments.len() > MOMENTS_MAX {
            let mut index = 0;
            self.moments.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.period_us *= 2;
        }
    }

    fn graph(&mut self, world: &World<'_>) {
        let Some(graphs) = &mut self.graphs else { return };
        let at_s = seconds(world.now());
        if graphs.last().is_some_and(|last| last.at_s == at_s) {
            return;
        }
        graphs.push(graph::see(world, at_s));
        if graphs.len() > GRAPHS_MAX {
            let mut index = 0;
            graphs.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.graph_every *= 2;
        }
    }

    fn see(&mut self, world: &mut World<'_>) -> Moment {
        let (mut up, mut known, mut seats, mut classes) = (0, 0, [0; 3], [0; 8]);
        self.counts.fill(0);
        for who in world.up().collect::<Vec<_>>() {
            let Some(node) = world.node(who) else { continue };
            up += 1;
            known += node.hosts_known() as u64;
            for group in node.groups() {
                seats[match group.state {
                    GroupState::Cold => 0,
                    GroupState::Goldilocks => 1,
                    GroupState::Hot => 2,
                }] += 1;
            }
            let diversity = node.diversity();
            let all = diversity.met.iter().zip(&diversity.heard);
            classes.iter_mut().zip(all).for_each(|(sum, (met, heard))| *sum += u64::from(*met) + u64::from(*heard));
            for (block, _) in world.disk(who).iter().filter(|(block, _)| block.index == 0) {
                if let Some(item) = self.items.get(&block.key) {
                    self.counts[*item as usize] += 1;
                }
            }
        }
        let mut copies = [0; COPIES];
        for item in self.items.values() {
            copies[usize::from(self.counts[*item as usize]).min(COPIES - 1)] += 1;
        }
        let counters = world.counters();
        let of = |name| counters.iter().find(|(other, _)| *other == name).map_or(0, |(_, n)| *n);
        let mut rising: Vec<u64> = RATES.iter().map(|(counter, _)| of(*counter)).collect();
        rising.push(world.wakes_total());
        rising.extend(traffic::bytes(of("bytes_out"), self.crypto));
        Moment { at: world.now(), up, known, copies, seats, classes, rising }
    }

    /// What was seen, with a last look.
    pub fn finish(mut self, world: &mut World<'_>) -> Samples {
        self.moment(world);
        self.graph(world);
        let mut series = Vec::new();
        let moments = &self.moments;
        let mut add = |name, value: &dyn Fn(&Moment) -> f64| {
            series.push(Series { name, values: moments.iter().map(|moment| value(moment) as f32).collect() });
        };
        add("nodes", &|moment| f64::from(moment.up));
        add("known hosts", &|moment| moment.known as f64 / f64::from(moment.up.max(1)));
        let share = |part: f64, all: f64| if all > 0.0 { 100.0 * part / all } else { f64::NAN };
        let items = |moment: &Moment| moment.copies.iter().map(|n| f64::from(*n)).sum::<f64>();
        add("held", &|moment| share(items(moment) - f64::from(moment.copies[0]), items(moment)));
        for (n, name) in ["0", "1", "2", "3", "4", "5", "6 or more"].into_iter().enumerate() {
            add(name, &|moment| share(f64::from(moment.copies[n]), items(moment)));
        }
        for (n, name) in ["cold", "goldilocks", "hot"].into_iter().enumerate() {
            let seats = |moment: &Moment| moment.seats.iter().map(|n| f64::from(*n)).sum::<f64>();
            add(name, &|moment| share(f64::from(moment.seats[n]), seats(moment)));
        }
        const CLASSES: [&str; 8] = ["---", "u--", "-f-", "uf-", "--h", "u-h", "-fh", "ufh"];
        for (n, name) in CLASSES.into_iter().enumerate() {
            let hosts = |moment: &Moment| moment.classes.iter().sum::<u64>() as f64;
            add(name, &|moment| share(moment.classes[n] as f64, hosts(moment)));
        }
        let names =
            RATES.iter().map(|(_, name)| *name).chain(["wake-ups"]).chain(traffic::names(self.crypto.is_some()));
        for (n, name) in names.enumerate() {
            series.push(Series { name, values: rates(moments, n, self.period_us / 2) });
        }
        Samples {
            at_s: moments.iter().map(|moment| seconds(moment.at)).collect(),
            phases: self.phases,
            series,
            lookups: self.lookups,
            graphs: self.graphs.unwrap_or_default(),
        }
    }
}

/// What rose per node and second since the last moment that is at least `apart_us` earlier, or the first one: phases begin
/// between two looks, and what falls into a short time says little. The first moment says what the second one does.
fn rates(moments: &[Moment], n: usize, apart_us: u64) -> Vec<f32> {
    let mut earlier = 0;
    let rate = |i: usize| {
        while moments[i].at.since(moments[earlier + 1].at) >= apart_us && earlier + 1 < i {
            earlier += 1;
        }
        let (from, to) = (&moments[earlier], &moments[i]);
        let seconds = to.at.since(from.at) as f64 / 1e6;
        let nodes = f64::from(from.up + to.up).max(1.0) / 2.0;
        (to.rising[n].saturating_sub(from.rising[n]) as f64 / seconds / nodes) as f32
    };
    let mut rates: Vec<f32> = (1..moments.len()).map(rate).collect();
    rates.insert(0, rates.first().copied().unwrap_or(0.0));
    rates
}

#[cfg(test)]
mod tests;

//! How deaths are noticed, what that costs, and what the network does with a difference: the third table of the figures to
//! reach, on the real core. Every figure comes with its seed, its setting, the number of runs, an interval and what was counted.
//!
//! ```sh
//! cargo run --release -p butter-sim --example liveness -- detect --loss 200 --runs 1000
//! cargo run --release -p butter-sim --example liveness -- verdicts --loss 200 --hours 100
//! cargo run --release -p butter-sim --example liveness -- idle --nodes 30 --items 3 --beat-ms 1000
//! cargo run --release -p butter-sim --example liveness -- repair
//! cargo run --release -p butter-sim --example liveness -- heal
//! ```

mod cost;
mod death;
mod heal;

use std::fmt::Display;
use std::process::exit;

use butter_core::crypto::Crypto;
use butter_core::id::Key;
use butter_sim::scenario::units::Share;
use butter_sim::{FakeCrypto, Loss, Machine, Outcome, Path, Spec, Who, World, WorldConfig};

const USAGE: &str = "\
liveness detect    kills one of three and asks how long the two others take to notice
liveness verdicts  counts verdicts about nodes that live
liveness idle      beats and bytes of nodes that have nothing to do
liveness repair    bytes that the repair of a dead node's items takes
liveness heal      how long a partition is felt after it healed

  --seed N         seed of the first run; run i has seed N + i          default 1
  --runs N         deaths (detect), worlds (others)                     default 20; detect 200
  --nodes N        nodes                                                default 30; detect, verdicts: always 3
  --items N        items of --bytes bytes that each node puts           default 3
  --bytes N        bytes of an item                                     default 4096
  --beat-ms MS     milliseconds between beats                           default 1000
  --replicas R     members wanted in a group                            default 3
  --pointers N     better-ranked groups told of an item                 default 2
  --loss N         packets lost of 1000, each by itself                 default 0
  --latency-us N   the least time of a packet; as much again is drawn   default 200
  --hours N        node-hours (verdicts), virtual ones                  default 100
  --seconds S      seconds measured (idle), cut (heal)                  default 1800; heal 30";

/// What is asked for.
struct Settings {
    seed: u64,
    runs: Option<u64>,
    nodes: u32,
    items: u32,
    bytes: usize,
    beat_ms: u32,
    replicas: u8,
    pointers: u8,
    loss: u16,
    latency_us: u32,
    hours: u64,
    seconds: Option<u32>,
}

impl Settings {
    /// The setting, with how the runs were made: what every table begins with. `more`: what else was done.
    fn head(&self, what: &str, more: &str, runs: u64) -> String {
        format!(
            "{what}: {} nodes, {} items each of {} bytes, r = {}, beats {} ms, {} ‰ lost{more}; {runs} worlds, seeds {} to {}",
            self.nodes,
            self.items,
            self.bytes,
            self.replicas,
            self.beat_ms,
            self.loss,
            self.seed,
            self.seed + runs - 1
        )
    }

    /// A world of such nodes that have found each other.
    fn world<'c>(&self, crypto: &'c dyn Crypto, seed: u64, nodes: u32) -> (World<'c>, Vec<Who>) {
        let lan = Path::uniform(self.latency_us, self.latency_us);
        let mut world = World::new(crypto, WorldConfig { seed, lan, ..WorldConfig::default() });
        let nodes = world.add_all(nodes as usize, &self.spec());
        world.run_for(10_000);
        (world, nodes)
    }

    /// A node that has room for its share of the items of all.
    fn spec(&self) -> Spec {
        let blocks = self.bytes.div_ceil(4096) as u32 * self.items * u32::from(self.replicas) * 4;
        let machine = Machine::desktop().with(|machine| {
            machine.config.beat_ms = self.beat_ms;
            machine.config.replicas = self.replicas;
            machine.config.pointers = self.pointers;
            machine.config.storage_blocks = machine.config.storage_blocks.max(blocks);
            machine.limits.items = machine.limits.items.max(self.items as usize * usize::from(self.replicas) * 3);
        });
        Spec { machine, ..Spec::default() }
    }

    /// The path with the loss that was asked for.
    fn path(&self) -> Path {
        let loss = Loss::Independent(Share::from_ppm(u32::from(self.loss) * 1_000));
        Path { loss, ..Path::uniform(self.latency_us, self.latency_us) }
    }

    /// Each node puts its items, and the groups that come of it find their shape. The keys of what was acknowledged.
    fn fill(&self, world: &mut World<'_>, seed: u64, nodes: &[Who]) -> Vec<Key> {
        let mut keys = Vec::new();
        for i in 0..self.items {
            let puts: Vec<_> =
                nodes.iter().filter_map(|who| world.begin_put(*who, self.item(seed, *who, i)).ok()).collect();
            world.finish(&puts);
            keys.extend(puts.iter().filter_map(|put| world.outcome(*put).and_then(Outcome::key)));
        }
        world.run_until(120_000, |world| world.all_goldilocks());
        keys
    }

    /// The bytes of an item, which nobody else puts.
    fn item(&self, seed: u64, who: Who, i: u32) -> Vec<u8> {
        let word = [seed.to_le_bytes(), (u64::from(who.0) << 32 | u64::from(i)).to_le_bytes()].concat();
        word.iter().copied().cycle().take(self.bytes).collect()
    }
}

/// Prints a figure: its name, its value, and what was counted.
fn say(name: &str, figure: impl Display, rule: &str) {
    println!("  {name:<28}{figure:>14}   {rule}");
}

/// A share of sorted figures: 0.99 is the 99th percentile (nearest rank).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

fn wrong(message: &str) -> ! {
    eprintln!("liveness: {message}\n\n{USAGE}");
    exit(2)
}

fn number<T: std::str::FromStr>(arg: &str, value: Option<String>) -> T {
    let Some(value) = value else { wrong(&format!("{arg} wants a value")) };
    value.parse().unwrap_or_else(|_| wrong(&format!("{arg}: {value} is not such a number")))
}

fn main() {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| wrong("what is to be measured?"));
    let mut s = Settings {
        seed: 1,
        runs: None,
        nodes: 30,
        items: 3,
        bytes: 4096,
        beat_ms: 1000,
        replicas: 3,
        pointers: 2,
        loss: 0,
        latency_us: 200,
        hours: 100,
        seconds: None,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => s.seed = number(&arg, args.next()),
            "--runs" => s.runs = Some(number(&arg, args.next())),
            "--nodes" => s.nodes = number(&arg, args.next()),
            "--items" => s.items = number(&arg, args.next()),
            "--bytes" => s.bytes = number(&arg, args.next()),
            "--beat-ms" => s.beat_ms = number(&arg, args.next()),
            "--replicas" => s.replicas = number(&arg, args.next()),
            "--pointers" => s.pointers = number(&arg, args.next()),
            "--loss" => s.loss = number(&arg, args.next()),
            "--latency-us" => s.latency_us = number(&arg, args.next()),
            "--hours" => s.hours = number(&arg, args.next()),
            "--seconds" => s.seconds = Some(number(&arg, args.next())),
            "--help" => {
                println!("{USAGE}");
                exit(0)
            }
            _ => wrong(&format!("what is {arg}?")),
        }
    }
    if s.loss >= 1000 || s.nodes == 0 || s.items == 0 || s.bytes < 16 || s.runs == Some(0) || s.hours == 0 {
        wrong("--loss has to be below 1000, --bytes at least 16, --nodes, --items, --runs, --hours at least 1");
    }
    if let Err(error) = s.spec().machine.config.check() {
        wrong(&error.to_string());
    }
    let crypto = FakeCrypto::new();
    match command.as_str() {
        "detect" => death::detect(&s, &crypto),
        "verdicts" => death::verdicts(&s, &crypto),
        "idle" => cost::idle(&s, &crypto),
        "repair" => cost::repair(&s, &crypto),
        "heal" => heal::heal(&s, &crypto),
        _ => wrong(&format!("what is {command}?")),
    }
}

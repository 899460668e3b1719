//! How many contacts a lookup asks: get by id in a network that is at rest.
//!
//! Some nodes start at once on one LAN and each puts one block, all at the same time. The network settles; then a fresh node
//! and nodes drawn at random get items drawn at random, one after the other, and none that they hold themselves. Contacts of gets that found nothing count, too. Then absent keys are asked for.
//!
//! ```sh
//! cargo run --release -p butter-sim --example lookup -- --seed 1 --nodes 1000
//! ```

use std::process::exit;
use std::time::Instant;

use butter_core::crypto::Crypto;
use butter_core::id::Key;
use butter_core::retrieve::GetStatus;
use butter_core::storage::BlockRef;
use butter_crypto::RustCrypto;
use butter_sim::report::mean;
use butter_sim::{FakeCrypto, Machine, Outcome, Spec, Who, World, WorldConfig};

const USAGE: &str = "\
lookup [--seed N] [--nodes N] [--gets N] [--known N] [--pointers N] [--settle S] [--stale P] [--real-crypto] [--json]

  --seed N        seed of the run                                default 1
  --nodes N       nodes, each with one item                      default 250
  --gets N        gets by the fresh node, and as many by others  default 500
  --known N       known groups, at most                          default 256
  --pointers N    better-ranked groups told of each item         default 5
  --stale P       percent of the nodes that die 10 s before gets  default 0
  --settle S      seconds between the last put and the gets      default 60
  --real-crypto   RustCrypto instead of the fake that checks use
  --json          one object instead of text";

#[derive(Clone, Copy)]
struct Settings {
    seed: u64,
    nodes: u32,
    gets: u32,
    known: usize,
    pointers: u8,
    settle: u64,
    stale: u32,
    real_crypto: bool,
    json: bool,
}

fn wrong(message: &str) -> ! {
    eprintln!("lookup: {message}\n\n{USAGE}");
    exit(2)
}

fn settings() -> Settings {
    let mut s = Settings {
        seed: 1,
        nodes: 250,
        gets: 500,
        known: 256,
        pointers: 5,
        settle: 60,
        stale: 0,
        real_crypto: false,
        json: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        fn number<T: std::str::FromStr>(arg: &str, value: Option<String>) -> T {
            let Some(value) = value else { wrong(&format!("{arg} wants a value")) };
            value.parse().unwrap_or_else(|_| wrong(&format!("{arg}: {value} is not such a number")))
        }
        match arg.as_str() {
            "--seed" => s.seed = number(&arg, args.next()),
            "--nodes" => s.nodes = number(&arg, args.next()),
            "--gets" => s.gets = number(&arg, args.next()),
            "--known" => s.known = number(&arg, args.next()),
            "--pointers" => s.pointers = number(&arg, args.next()),
            "--stale" => s.stale = number(&arg, args.next()),
            "--settle" => s.settle = number(&arg, args.next()),
            "--real-crypto" => s.real_crypto = true,
            "--json" => s.json = true,
            "--help" => {
                println!("{USAGE}");
                exit(0)
            }
            _ => wrong(&format!("what is {arg}?")),
        }
    }
    if s.nodes == 0 || s.gets == 0 || s.known == 0 || s.known > usize::from(u16::MAX) {
        wrong("--nodes, --gets and --known have to be at least 1, and --known at most 65535");
    }
    if let Err(error) = machine(&s).config.check() {
        wrong(&error.to_string());
    }
    s
}

fn machine(s: &Settings) -> Machine {
    Machine::desktop().with(|machine| {
        machine.limits.known = s.known;
        machine.config.pointers = s.pointers;
    })
}

/// What some gets came to.
#[derive(Default)]
struct Gets {
    tried: u32,
    found: u32,
    contacts: Vec<f64>,
    ms: Vec<f64>,
}

impl Gets {
    fn get(&mut self, world: &mut World<'_>, at: Who, key: Key) {
        self.tried += 1;
        let Ok(job) = world.begin_get(at, key) else { return };
        world.finish(&[job]);
        let ended = match world.outcome(job) {
            Some(Outcome::Got(_, status)) => {
                self.found += 1;
                status
            }
            Some(Outcome::NotGot(status)) => status,
            _ => return,
        };
        let GetStatus { contacts, .. } = *ended;
        self.contacts.push(f64::from(contacts));
        self.ms.push(world.took_us(job) as f64 / 1000.0);
    }

    fn figures(&self) -> [(&'static str, f64); 5] {
        [
            ("success_percent", 100.0 * f64::from(self.found) / f64::from(self.tried.max(1))),
            ("contacts_mean", mean(&self.contacts)),
            ("contacts_p99", p99(&self.contacts)),
            ("ms_mean", mean(&self.ms)),
            ("ms_p99", p99(&self.ms)),
        ]
    }
}

fn p99(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(0.0)
}

fn main() {
    let s = settings();
    let started = Instant::now();
    let fake = FakeCrypto::new();
    let crypto: &dyn Crypto = if s.real_crypto { &RustCrypto } else { &fake };
    let mut world = World::new(crypto, WorldConfig { seed: s.seed, ..WorldConfig::default() });
    let spec = Spec { machine: machine(&s), ..Spec::default() };
    let nodes = world.add_all(s.nodes as usize, &spec);
    world.run_for(10_000);

    let item = |i: u32| [s.seed.to_le_bytes(), u64::from(i).to_le_bytes()].concat().repeat(256);
    let puts: Vec<_> = nodes.iter().filter_map(|who| world.begin_put(*who, item(who.0)).ok()).collect();
    world.finish(&puts);
    let keys: Vec<_> = puts.iter().filter_map(|job| world.outcome(*job).and_then(Outcome::key)).collect();
    world.run_for(s.settle * 1000);
    if keys.is_empty() {
        wrong("no put was acknowledged");
    }

    let rest = 10_000;
    let before = [world.counter("packets_out"), world.counter("pointer_batches")];
    world.run_for(rest);
    let after = [world.counter("packets_out"), world.counter("pointer_batches")];
    let [packets, batches] = [0, 1].map(|i| (after[i] - before[i]) as f64 * 1000.0 / rest as f64 / f64::from(s.nodes));

    // A stream of its own, so that other settings draw the same.
    let mut drawn = s.seed;
    let mut below = |n: usize| {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (drawn >> 33) as usize % n
    };
    let fresh = world.add(&spec);
    world.run_for(5_000);
    // Each node dies with the same chance, and is not told to be dead to those outside its groups.
    for who in nodes.iter().filter(|_| below(100) < s.stale as usize) {
        world.kill(*who);
    }
    if s.stale > 0 {
        world.run_for(10_000);
    }
    let nodes: Vec<_> = nodes.into_iter().filter(|who| world.node(*who).is_some()).collect();
    let keys: Vec<_> = keys.into_iter().filter(|key| world.holders(*key).next().is_some()).collect();
    let mut absent = Gets::default();
    let (mut by_fresh, mut by_any) = (Gets::default(), Gets::default());
    for _ in 0..s.gets {
        let key = keys[below(keys.len())];
        if world.disk(fresh).get(BlockRef { key, index: 0 }).is_none() {
            by_fresh.get(&mut world, fresh, key);
        }
        let (at, key) = (nodes[below(nodes.len())], keys[below(keys.len())]);
        if world.disk(at).get(BlockRef { key, index: 0 }).is_none() {
            by_any.get(&mut world, at, key);
        }
    }

    for i in 0..s.gets / 4 {
        let mut key = Key([i as u8; 32]);
        key.0[..8].copy_from_slice(&u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        absent.get(&mut world, nodes[below(nodes.len())], key);
    }

    let known: Vec<_> =
        nodes.iter().filter_map(|who| world.node(*who)).map(|node| node.groups_known() as f64).collect();
    let mut figures = vec![
        ("acknowledged".to_string(), keys.len() as f64),
        ("groups".to_string(), world.groups().len() as f64),
        ("groups_known_mean".to_string(), mean(&known)),
        ("packets_per_node_second_at_rest".to_string(), packets),
        ("pointer_batches_per_node_second_at_rest".to_string(), batches),
        ("pointer_batches_per_item".to_string(), before[1] as f64 / keys.len() as f64),
    ];
    for (who, gets) in [("fresh", by_fresh), ("any", by_any), ("absent", absent)] {
        figures.extend(gets.figures().map(|(name, figure)| (format!("{who}_{name}"), figure)));
    }
    let (trace, wall) = (world.trace(), started.elapsed().as_secs_f64());
    if s.json {
        let fields: Vec<String> = figures.iter().map(|(name, figure)| format!("\"{name}\":{figure}")).collect();
        println!(
            "{{\"seed\":{},\"nodes\":{},\"gets\":{},\"known\":{},\"pointers\":{},\"settle\":{},{},\"trace\":\"{trace:032x}\",\"wall_seconds\":{wall:.2}}}",
            s.seed,
            s.nodes,
            s.gets,
            s.known,
            s.pointers,
            s.settle,
            fields.join(",")
        );
        return;
    }
    println!(
        "{} nodes with one block each, tables of {} known groups, {} pointers per item, {} s settled, seed {}",
        s.nodes, s.known, s.pointers, s.settle, s.seed
    );
    for (name, figure) in figures {
        println!("{:<44}{figure:>12.3}", name.replace('_', " "));
    }
    println!("trace {trace:032x}, {wall:.1} s of wall time");
}

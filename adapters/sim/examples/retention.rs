//! How much content outlives churn: the first table of the original's measurements, on the real core.
//!
//! Some nodes start at once on one LAN and each puts one block. When every group is goldilocks, each node dies with rate p
//! (asynchronously: exponential lives) for some seconds and is replaced, at once, by an empty node with a new identity and a
//! new address. The world settles; then a fresh node gets everything. Retention is the share of acknowledged items it gets;
//! beside it stands the share that a running node still holds.
//!
//! ```sh
//! cargo run --release -p butter-sim --example retention -- --seed 1 --runs 20 --p 0.02
//! ```

use std::collections::BTreeMap;
use std::process::exit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use butter_core::crypto::Crypto;
use butter_core::id::Key;
use butter_crypto::RustCrypto;
use butter_sim::report::{bootstrap_95, mean, without_repair};
use butter_sim::scenario::units::Time;
use butter_sim::{Churn, FakeCrypto, Machine, Outcome, Spec, World, WorldConfig};

const USAGE: &str = "\
retention [--seed N] [--runs N] [--p RATE] [--nodes N] [--seconds S] [--beat-ms MS] [--replicas R] [--replicas-max R]
          [--settle S] [--threads N] [--real-crypto] [--json]

  --seed N        seed of the first run; run i has seed N + i    default 1
  --runs N        number of runs                                 default 20
  --p RATE        deaths per node and second                     default 0.02
  --nodes N       nodes, each with one item                      default 250
  --seconds S     how long the churn lasts                       default 30
  --beat-ms MS    milliseconds between beats                     default 2000
  --replicas R    members wanted in a group                      default 3
  --replicas-max R  members wanted while they are young or die often  default 3
  --settle S      seconds after the churn before the fresh node  default 30
  --threads N     runs at the same time                          default: all cores
  --real-crypto   RustCrypto instead of the fake that checks use
  --json          one object instead of text";

/// Virtual milliseconds between two looks at how many hold each item.
const LOOK_MS: u32 = 50;

#[derive(Clone, Copy)]
struct Settings {
    seed: u64,
    runs: u64,
    p: f64,
    nodes: u32,
    seconds: u32,
    beat_ms: u32,
    replicas: u8,
    replicas_max: u8,
    settle: u32,
    threads: u64,
    real_crypto: bool,
    json: bool,
}

/// What one run gave.
#[derive(Clone, Default)]
struct Run {
    acknowledged: u32,
    kept: u32,
    /// Items of which a running node still has the bytes.
    held: u32,
    /// Percent of the items that were to be lost, from the time in which they had one holder, which dies with rate p: the same
    /// expectation as what is lost, with less scatter.
    risk: f64,
    /// Calls per get that succeeded.
    asked: f64,
    /// Milliseconds per get that succeeded.
    get_ms: f64,
    killed: u32,
    groups: u32,
    /// Groups that were not goldilocks when the churn began.
    unready: u32,
    /// Per node and second of churn.
    beats: f64,
    probes: f64,
    bytes: f64,
    wakes: f64,
    /// Of the whole run.
    steps: u64,
    virtual_ms: u64,
    trace: u128,
}

fn wrong(message: &str) -> ! {
    eprintln!("retention: {message}\n\n{USAGE}");
    exit(2)
}

fn settings() -> Settings {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut s = Settings {
        seed: 1,
        runs: 20,
        p: 0.02,
        nodes: 250,
        seconds: 30,
        beat_ms: 2000,
        replicas: 3,
        replicas_max: 3,
        settle: 30,
        threads,
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
            "--runs" => s.runs = number(&arg, args.next()),
            "--p" => s.p = number(&arg, args.next()),
            "--nodes" => s.nodes = number(&arg, args.next()),
            "--seconds" => s.seconds = number(&arg, args.next()),
            "--beat-ms" => s.beat_ms = number(&arg, args.next()),
            "--replicas" => s.replicas = number(&arg, args.next()),
            "--replicas-max" => s.replicas_max = number(&arg, args.next()),
            "--settle" => s.settle = number(&arg, args.next()),
            "--threads" => s.threads = number(&arg, args.next()),
            "--real-crypto" => s.real_crypto = true,
            "--json" => s.json = true,
            "--help" => {
                println!("{USAGE}");
                exit(0)
            }
            _ => wrong(&format!("what is {arg}?")),
        }
    }
    if !(1e-6..=1.0).contains(&s.p) {
        wrong("--p has to be between 0.000001 and 1 per second");
    }
    if s.runs == 0 || s.nodes == 0 || s.threads == 0 || !(1..=3600).contains(&s.seconds) {
        wrong("--runs, --nodes, --threads have to be at least 1, and --seconds between 1 and 3600");
    }
    let machine = machine(&s);
    if let Err(error) = machine.config.check() {
        wrong(&error.to_string());
    }
    s
}

fn machine(s: &Settings) -> Machine {
    Machine::desktop().with(|machine| {
        machine.config.beat_ms = s.beat_ms;
        machine.config.replicas = s.replicas;
        machine.config.replicas_max = s.replicas_max.max(s.replicas);
    })
}

fn run(s: &Settings, seed: u64) -> Run {
    let fake = FakeCrypto::new();
    let crypto: &dyn Crypto = if s.real_crypto { &RustCrypto } else { &fake };
    let mut world = World::new(crypto, WorldConfig { seed, ..WorldConfig::default() });
    let spec = Spec { machine: machine(s), ..Spec::default() };
    let nodes = world.add_all(s.nodes as usize, &spec);
    world.run_for(10_000);

    let item = |i: u32| [seed.to_le_bytes(), u64::from(i).to_le_bytes()].concat().repeat(256);
    let puts: Vec<_> = nodes.iter().filter_map(|who| world.begin_put(*who, item(who.0)).ok()).collect();
    world.finish(&puts);
    let keys: Vec<_> = puts.iter().filter_map(|job| world.outcome(*job).and_then(Outcome::key)).collect();
    world.run_until(60_000, |world| world.all_goldilocks());

    let groups = world.groups();
    let before = [world.counter("beats_out"), world.counter("probes_out"), world.counter("bytes_out")];
    let wakes = world.wakes_total();
    let mean_life = Time::from_ms((1000.0 / s.p) as u64);
    world.churn(Churn::replacing(mean_life), Time::from_s(s.seconds.into()));
    let mut single = 0.0;
    for _ in 0..s.seconds * 1000 / LOOK_MS {
        world.run_for(LOOK_MS.into());
        single += f64::from(LOOK_MS) / 1000.0 * single_holders(&mut world, &keys);
    }
    let after = [world.counter("beats_out"), world.counter("probes_out"), world.counter("bytes_out")];
    let per_node = |n: u64| n as f64 / f64::from(s.nodes) / f64::from(s.seconds);
    let [beats, probes, bytes] = [0, 1, 2].map(|i| per_node(after[i] - before[i]));
    let wakes = per_node(world.wakes_total() - wakes);
    world.run_for(u64::from(s.settle) * 1000);

    let fresh = world.add(&spec);
    world.run_for(10_000);
    let held = keys.iter().filter(|key| world.holders(**key).next().is_some()).count() as u32;
    let (mut asked, mut get_ms) = (Vec::new(), Vec::new());
    for keys in keys.chunks(spec.machine.limits.operations) {
        let gets: Vec<_> = keys.iter().filter_map(|key| world.begin_get(fresh, *key).ok()).collect();
        world.finish(&gets);
        for job in gets {
            if let Some(Outcome::Got(_, status)) = world.outcome(job) {
                asked.push(f64::from(status.asked));
                get_ms.push(world.took_us(job) as f64 / 1000.0);
            }
        }
    }
    Run {
        acknowledged: keys.len() as u32,
        kept: asked.len() as u32,
        held,
        risk: 100.0 * s.p * single,
        asked: mean(&asked),
        get_ms: mean(&get_ms),
        killed: world.churned(),
        groups: groups.len() as u32,
        unready: groups.values().filter(|group| !group.is_goldilocks()).count() as u32,
        beats,
        probes,
        bytes,
        wakes,
        steps: world.steps(),
        virtual_ms: world.now().as_millis(),
        trace: world.trace(),
    }
}

/// The share of items that exactly one running node holds.
fn single_holders(world: &mut World<'_>, keys: &[Key]) -> f64 {
    let mut holders: BTreeMap<Key, u32> = keys.iter().map(|key| (*key, 0)).collect();
    for who in world.up().collect::<Vec<_>>() {
        for (at, _) in world.disk(who).iter() {
            holders.entry(at.key).and_modify(|n| *n += 1);
        }
    }
    holders.values().filter(|n| **n == 1).count() as f64 / keys.len().max(1) as f64
}

fn main() {
    let s = settings();
    let started = Instant::now();
    let (next, done) = (AtomicU64::new(0), Mutex::new(vec![Run::default(); s.runs as usize]));
    std::thread::scope(|scope| {
        for _ in 0..s.threads.min(s.runs) {
            scope.spawn(|| {
                while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < s.runs) {
                    let run = run(&s, s.seed + i);
                    if let Ok(mut done) = done.lock() {
                        done[i as usize] = run;
                    }
                }
            });
        }
    });
    let runs = done.into_inner().unwrap_or_default();
    print(&s, &runs, started.elapsed().as_secs_f64());
}

fn print(s: &Settings, runs: &[Run], wall: f64) {
    let over = |figure: &dyn Fn(&Run) -> f64| mean(&runs.iter().map(figure).collect::<Vec<_>>());
    let share = |items: fn(&Run) -> u32| -> Vec<f64> {
        runs.iter().map(|run| 100.0 * f64::from(items(run)) / f64::from(run.acknowledged.max(1))).collect()
    };
    let kept = share(|run| run.kept);
    let (low, high) = bootstrap_95(&kept, s.seed);
    let plain = 100.0 * without_repair(s.p, f64::from(s.seconds), s.replicas.into());
    let figures = [
        ("retention_percent", mean(&kept)),
        ("retention_low_95", low),
        ("retention_high_95", high),
        ("no_repair_percent", plain),
        ("lost_percent_expected", over(&|run| run.risk)),
        ("held_percent", mean(&share(|run| run.held))),
        ("acknowledged", over(&|run| run.acknowledged.into())),
        ("groups", over(&|run| run.groups.into())),
        ("groups_not_goldilocks_at_start", over(&|run| run.unready.into())),
        ("killed", over(&|run| run.killed.into())),
        ("beats_per_node_second", over(&|run| run.beats)),
        ("probes_per_node_second", over(&|run| run.probes)),
        ("bytes_per_node_second", over(&|run| run.bytes)),
        ("wakes_per_node_second", over(&|run| run.wakes)),
        ("calls_per_get", over(&|run| run.asked)),
        ("milliseconds_per_get", over(&|run| run.get_ms)),
        ("steps", over(&|run| run.steps as f64)),
        ("virtual_seconds", over(&|run| run.virtual_ms as f64 / 1000.0)),
    ];
    let trace = runs.iter().fold(0u128, |trace, run| trace.rotate_left(1) ^ run.trace);
    if s.json {
        let fields: Vec<String> = figures.iter().map(|(name, figure)| format!("\"{name}\":{figure}")).collect();
        println!(
            "{{\"seed\":{},\"runs\":{},\"p\":{},\"nodes\":{},\"seconds\":{},\"beat_ms\":{},\"replicas\":{},{},\"trace\":\"{trace:032x}\",\"wall_seconds\":{wall:.2}}}",
            s.seed,
            s.runs,
            s.p,
            s.nodes,
            s.seconds,
            s.beat_ms,
            s.replicas,
            fields.join(",")
        );
        return;
    }
    println!(
        "{} nodes, 1 block each, {} s of churn at p = {} per s, beats {} ms, r = {}; {} runs, seeds {} to {}",
        s.nodes,
        s.seconds,
        s.p,
        s.beat_ms,
        s.replicas,
        s.runs,
        s.seed,
        s.seed + s.runs - 1
    );
    println!("retention  {:.3} %   [{low:.3}, {high:.3}] (95 %, bootstrap over runs)", mean(&kept));
    println!("no repair  {plain:.3} %   {} static copies, 1 - (1 - e^(-pT))^{}", s.replicas, s.replicas);
    for (name, figure) in &figures[4..] {
        println!("{:<32}{figure:>12.4}", name.replace('_', " "));
    }
    println!("trace {trace:032x}, {wall:.1} s of wall time");
}

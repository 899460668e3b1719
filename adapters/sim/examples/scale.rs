//! How large a world may be: speed and memory of an internet of nodes with content.
//!
//! Nodes with public addresses start within a minute, each knows the address of a few that started before it, and each puts one
//! block in the minute after; then the world goes on. Printed are, for each part, virtual seconds, processor and wall time,
//! steps per second, what a node costs per virtual second (time, packets and bytes received, wake-ups) and in memory.
//! Several sizes in one command show whether the cost grows linearly.
//!
//! ```sh
//! cargo run --release -p butter-sim --example scale -- --nodes 1000,3000,10000 --seconds 600
//! ```

use std::process::exit;
use std::time::Instant as Wall;

use butter_core::time::Instant;
use butter_sim::{FakeCrypto, Machine, Outcome, Path, SegmentId, Spec, World, WorldConfig};

const USAGE: &str = "\
scale [--nodes N,N,…] [--seconds S] [--meets M] [--seed N]

  --nodes N,N,…   sizes, one world after the other        default 1000,3000,10000
  --seconds S     virtual seconds, at least 120           default 600
  --meets M       earlier nodes that each begins with     default 3
  --seed N                                                default 1";

/// Virtual milliseconds within which the nodes start, and within which they put afterwards.
const START_MS: u64 = 60_000;

fn wrong(message: &str) -> ! {
    eprintln!("scale: {message}\n\n{USAGE}");
    exit(2)
}

fn number(arg: &str, value: Option<&str>) -> u64 {
    let Some(value) = value else { wrong(&format!("{arg} wants a value")) };
    value.trim().parse().unwrap_or_else(|_| wrong(&format!("{arg}: {value} is not such a number")))
}

/// Bytes of memory that this process has now, where the system tells.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// Seconds that this thread has computed, where the system tells: other programs do not count. Else seconds since the start.
fn computed(start: Wall) -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns: Option<f64> = schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok());
    ns.map_or(start.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// Lets virtual time pass and prints what that cost.
fn part(world: &mut World<'_>, name: &str, run: impl FnOnce(&mut World<'_>)) {
    let (steps, packets, wakes, before) = (world.steps(), world.net().counters(), world.wakes_total(), world.now());
    let wall = Wall::now();
    let cpu = computed(wall);
    run(world);
    let (cpu, wall, nodes) = (computed(wall) - cpu, wall.elapsed().as_secs_f64(), world.up().count() as f64);
    let steps = (world.steps() - steps) as f64;
    let seconds = world.now().since(before) as f64 / 1e6;
    let per_node_second = |n: u64| n as f64 / nodes / seconds;
    let counters = world.net().counters();
    println!(
        "{nodes:>7} {name:<6} {seconds:>7.0} {cpu:>8.2} {wall:>8.2} {:>9.0} {:>11.2} {:>8.2} {:>6.0} {:>6.2} {:>8.1}",
        steps / cpu,
        cpu * 1e6 / nodes / seconds,
        per_node_second(counters.delivered - packets.delivered),
        per_node_second(counters.bytes - packets.bytes),
        per_node_second(world.wakes_total() - wakes),
        resident() as f64 / nodes / 1000.0,
    );
}

fn scale(nodes: u32, seconds: u64, meets: u64, seed: u64) {
    let crypto = FakeCrypto::new();
    let mut world = World::new(&crypto, WorldConfig { seed, lan: Path::INTERNET, ..WorldConfig::default() });
    world.net().set_casts(SegmentId(0), false, false);
    let spec = Spec { machine: Machine::desktop(), public: true, ..Spec::default() };
    let mut rng = butter_core::rng::Rng::new([seed as u8; 16]);
    part(&mut world, "start", |world| {
        for i in 0..nodes {
            world.run_to(Instant::from_micros(START_MS * 1000 * u64::from(i) / u64::from(nodes)));
            let who = world.add(&spec);
            for _ in 0..meets.min(i.into()) {
                let other = butter_sim::Who(rng.below(i));
                let _ = world.meet(who, other);
            }
        }
        world.run_to(Instant::from_millis(START_MS));
    });
    let mut puts = Vec::new();
    part(&mut world, "put", |world| {
        for i in 0..nodes {
            world.run_to(Instant::from_micros(START_MS * 1000 * u64::from(nodes + i) / u64::from(nodes)));
            let block = [seed.to_le_bytes(), u64::from(i).to_le_bytes()].concat().repeat(256);
            puts.extend(world.begin_put(butter_sim::Who(i), block).ok());
        }
        world.run_to(Instant::from_millis(2 * START_MS));
    });
    let mut left = seconds.saturating_sub(2 * START_MS / 1000);
    while left > 0 {
        let now = left.min(120);
        part(&mut world, "rest", |world| world.run_for(now * 1000));
        left -= now;
    }
    let acknowledged = puts.iter().filter(|put| world.outcome(**put).and_then(Outcome::key).is_some()).count();
    let groups = world.groups();
    let goldilocks = groups.values().filter(|group| group.is_goldilocks()).count();
    println!(
        "{acknowledged} of {nodes} puts acknowledged, {goldilocks} of {} groups goldilocks, trace {:032x}",
        groups.len(),
        world.trace()
    );
}

fn main() {
    let (mut nodes, mut seconds, mut meets, mut seed) = (vec![1000, 3000, 10_000], 600, 3, 1);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--help" {
            println!("{USAGE}");
            exit(0)
        }
        let value = args.next();
        match arg.as_str() {
            "--nodes" => {
                nodes = value.as_deref().unwrap_or_default().split(',').map(|n| number(&arg, Some(n)) as u32).collect();
            }
            "--seconds" => seconds = number(&arg, value.as_deref()).max(120),
            "--meets" => meets = number(&arg, value.as_deref()),
            "--seed" => seed = number(&arg, value.as_deref()),
            _ => wrong(&format!("what is {arg}?")),
        }
    }
    println!(
        "{:>7} {:<6} {:>7} {:>8} {:>8} {:>9} {:>11} {:>8} {:>6} {:>6} {:>8}",
        "nodes", "part", "virtual", "CPU s", "wall s", "steps/s", "µs/node-s", "packets", "bytes", "wakes", "KB/node"
    );
    for nodes in nodes {
        scale(nodes, seconds, meets, seed);
    }
}

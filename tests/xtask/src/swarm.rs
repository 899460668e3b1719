//! The swarm, and the deliberate bugs that show that it finds what it looks for.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::run::{Done, root, run};

/// Deliberate bugs: features of the core, off everywhere else.
const MUTANTS: &[&str] = &["mutant-trim-early", "mutant-sync-gap", "mutant-old-incarnation"];
/// Seconds within which each must be found.
const FOUND_S: u64 = 60;
/// Seeds to find them with, from 1 on: in these worlds no rule is broken without them, which is tried, too.
const SEEDS: u64 = 60;
/// Seconds of the swarm: with seeds that are always the same, and with seeds that nobody has tried.
const SLICE_S: (u64, u64) = (60, 60);

/// Release builds with all checks of a debug build, so that what the core asserts is checked, too.
const BUILD: &str = "--locked --profile fuzz -p butter-sim --example swarm";

/// Two minutes of swarm. The fresh seed is printed, as is the command that repeats a failure.
pub fn two_minutes() -> Done {
    run(&format!("cargo run {BUILD} -- --seed 1 --seconds {}", SLICE_S.0))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    // Far from all seeds that are used by hand.
    let fresh = 1_000_000_000 + since.as_secs();
    run(&format!("cargo run {BUILD} -- --seed {fresh} --seconds {}", SLICE_S.1))
}

/// Builds each deliberate bug, and demands that the swarm finds it in time.
pub fn mutants() -> Done {
    for mutant in MUTANTS {
        run(&format!("cargo build {BUILD} --features butter-core/{mutant}"))?;
        let began = Instant::now();
        let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
        let output = Command::new(built.join("fuzz/examples/swarm"))
            .args(["--seed", "1", "--runs", &SEEDS.to_string(), "--seconds", &FOUND_S.to_string()])
            .output()
            .map_err(|e| format!("the swarm does not start: {e}"))?;
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&output.stdout);
        let rule = text.lines().find(|line| line.starts_with("rule "));
        match rule {
            Some(rule) if output.status.code() == Some(1) && took <= Duration::from_secs(FOUND_S) => {
                println!("{mutant}: found in {:.1} s: {rule}", took.as_secs_f64());
            }
            _ => return Err(format!("{mutant} was not found within {FOUND_S} s:\n{text}")),
        }
    }
    // What was found was the bug only if nothing is found without it; and the next who runs this example is not to run a mutant.
    run(&format!("cargo run {BUILD} -- --seed 1 --runs {SEEDS}"))
}

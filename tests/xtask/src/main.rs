//! The one door to Butter's checks.

mod ci;
mod panics;
mod run;
mod setup;
mod size;
mod swarm;
mod trace;

use std::process::ExitCode;

const HELP: &str = "\
Butter's checks.

usage: cargo xtask <command>

  ci [STEP…]          everything CI does, or only the steps named; stops at the first that fails
  ci --list           the steps and what they check
  size [--bless]      build the firmware images that measure the core and compare them with tests/size.toml;
                      fails when one grew by more than 2 %; --bless writes what was measured as the new table
  size --panics       functions of the core that could panic, in the image built last
  lab [FILTER]        the tests on networks of namespaces, with what they print; needs root
  fuzz [--seconds N]  throw random, cut and altered datagrams at a node (default: 60 s)
  swarm               two minutes of drawn worlds in trouble, with fixed and fresh seeds
  mutants             build the core with a deliberate bug, one after the other, and demand that the swarm finds each
  setup [--no-debian] install what the checks need: Debian packages (as root; see .ci/packages), rustup targets

Set CARGO_BUILD_JOBS to bound how many processes a build uses.";

fn main() -> ExitCode {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let args = args.iter().map(String::as_str).collect::<Vec<_>>();
    let done = match args.as_slice() {
        ["ci", "--list"] => {
            ci::list();
            Ok(())
        }
        ["swarm"] => swarm::two_minutes(),
        ["mutants"] => swarm::mutants(),
        ["ci", steps @ ..] => ci::ci(steps),
        ["size"] => size::check(false),
        ["size", "--bless"] => size::check(true),
        ["size", "--panics"] => size::print_panics(),
        ["lab"] => ci::lab(None),
        ["lab", filter] => ci::lab(Some(filter)),
        ["setup"] => setup::setup(true),
        ["setup", "--no-debian"] => setup::setup(false),
        ["fuzz"] => ci::fuzz(60),
        ["fuzz", "--seconds", n] if n.parse::<u32>().is_ok() => ci::fuzz(n.parse().unwrap_or(60)),
        [] | ["help" | "-h" | "--help"] => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("no such command: {}\n\n{HELP}", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

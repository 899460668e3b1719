//! `cargo fuzz run datagram` under libFuzzer; without it, storms from seeds for a while or a number of datagrams.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    butter_fuzz::storm(&mut butter_fuzz::Choices::from_bytes(data), u64::MAX);
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    /// Datagrams of one storm: few enough to repeat one quickly.
    const STORM: u64 = 10_000;

    let usage = "usage: datagram [--seconds N] [--datagrams N] [--seed N]
  storms from the seed on (default: 1), until the seconds (default: 60) are over or the datagrams thrown;
  fails if that many could not be thrown
  datagram --seed N --datagrams 1 repeats the one storm of that seed";
    let (mut seconds, mut datagrams, mut seed) = (60, None, 1);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().and_then(|v| v.parse().ok());
        match (name.as_str(), value) {
            ("--seconds", Some(n)) => seconds = n,
            ("--datagrams", Some(n)) => datagrams = Some(n),
            ("--seed", Some(n)) => seed = n,
            _ => {
                eprintln!("{usage}");
                return ExitCode::FAILURE;
            }
        }
    }
    let start = Instant::now();
    let (first, mut thrown) = (seed, 0);
    while thrown < datagrams.unwrap_or(u64::MAX) && start.elapsed() < Duration::from_secs(seconds) {
        let storm = std::panic::catch_unwind(|| butter_fuzz::storm(&mut butter_fuzz::Choices::from_seed(seed), STORM));
        let Ok(n) = storm else {
            eprintln!(
                "the storm of seed {seed} did harm; again: cargo run -p butter-fuzz -- --seed {seed} --datagrams 1"
            );
            return ExitCode::FAILURE;
        };
        thrown += n;
        seed += 1;
    }
    let secs = start.elapsed().as_secs_f64();
    let rate = thrown as f64 / secs;
    println!(
        "{thrown} datagrams in {} storms (seeds {first} to {}), {secs:.1} s, {rate:.0} per s: no harm",
        seed - first,
        seed - 1
    );
    if datagrams.is_some_and(|wanted| thrown < wanted) {
        eprintln!("the time was too short for all datagrams");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

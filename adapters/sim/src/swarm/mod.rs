//! The swarm: worlds that are drawn from seeds, put in trouble, and healed, one after the other.
//!
//! | file | what it does |
//! |---|---|
//! | `draw` | what a seed draws |
//! | `one` | one run: phase one tries to break what must always hold, phase two heals and demands rest |
//! | `rest` | what a healed world must come to |
//! | `calls` | calls between nodes, and what must hold for them |
//! | `shrink` | a smaller case that still fails |

mod calls;
mod draw;
mod one;
mod rest;
mod shrink;

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant as Clock;

pub use draw::{Draw, Kind, Less};
pub use one::{Ended, run};

use crate::check::Violation;

/// What a swarm is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The first seed; the next run takes the next one.
    pub seed: u64,
    /// At most this many runs.
    pub runs: Option<u64>,
    /// No run begins after so many seconds.
    pub seconds: Option<u64>,
    /// Runs at the same time.
    pub threads: usize,
    /// What is left out of every run.
    pub less: Less,
    /// Whether a failing case is made smaller.
    pub shrink: bool,
    /// A file to which one line is appended that says what was run.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options { seed: 1, runs: None, seconds: None, threads: 1, less: Less::default(), shrink: false, log: None }
    }
}

/// What all runs were together.
#[derive(Clone, Default, Debug)]
pub struct Sum {
    /// The seeds used: the first, and how many.
    pub seeds: (u64, u64),
    /// Seconds that it took.
    pub seconds: f64,
    /// The sum over all runs without a violation.
    pub ended: Ended,
    /// The longest time from healing to rest, in virtual milliseconds, and its seed.
    pub slowest: (u64, u64),
}

/// A run that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was left out of it.
    pub less: Less,
    /// How it broke which rule.
    pub violation: Violation,
}

impl Failure {
    /// The arguments that repeat it.
    pub fn replay(&self) -> String {
        let mut line = format!("--swarm --seed {} --runs 1", self.seed);
        if !self.less.without.is_empty() {
            let names: Vec<&str> = self.less.without.iter().map(|kind| kind.name()).collect();
            let _ = write!(line, " --without {}", names.join(","));
        }
        if let Some(nodes) = self.less.nodes {
            let _ = write!(line, " --nodes {nodes}");
        }
        if let Some(ms) = self.less.for_ms {
            let _ = write!(line, " --for-ms {ms}");
        }
        line
    }

    /// All that is known, for a person.
    pub fn text(&self) -> String {
        let draw = Draw::of(self.seed, &self.less);
        format!("seed {} drew\n{draw}\n{}\nreplay: butter sim {}", self.seed, self.violation, self.replay())
    }
}

impl Sum {
    /// Virtual hours that all nodes ran together.
    pub fn node_hours(&self) -> f64 {
        self.ended.node_us as f64 / 3.6e9
    }

    fn add(&mut self, seed: u64, ended: &Ended) {
        let sum = &mut self.ended;
        sum.node_us += ended.node_us;
        sum.world_us += ended.world_us;
        sum.steps += ended.steps;
        // Any order of runs gives the same.
        sum.trace = sum.trace.wrapping_add(ended.trace);
        sum.actions += ended.actions;
        sum.acknowledged += ended.acknowledged;
        sum.lost += ended.lost;
        sum.found = (sum.found.0 + ended.found.0, sum.found.1 + ended.found.1);
        sum.calls = (sum.calls.0 + ended.calls.0, sum.calls.1 + ended.calls.1);
        sum.rest_ms += ended.rest_ms;
        self.slowest = self.slowest.max((ended.rest_ms, seed));
        self.seeds.1 += 1;
    }

    /// For a person.
    pub fn text(&self) -> String {
        let Ended { world_us, steps, actions, acknowledged, lost, found, calls, rest_ms, .. } = self.ended;
        let runs = self.seeds.1.max(1);
        format!(
            "{} runs without a violation, seeds {} to {}, in {:.1} s\n\
             {:.1} node-hours in {:.1} virtual hours, {steps} steps, {:.0} node-hours per hour of the clock\n\
             {actions} faults and uses; {acknowledged} objects acknowledged, {lost} of them died with all copies\n\
             {} of those held were found by any node, {} not at the first try; {} calls answered, {} failed\n\
             rest after {:.1} s on average, {:.1} s at most (seed {})",
            self.seeds.1,
            self.seeds.0,
            self.seeds.0 + runs - 1,
            self.seconds,
            self.node_hours(),
            world_us as f64 / 3.6e9,
            self.node_hours() * 3600.0 / self.seconds.max(0.001),
            found.0,
            found.1,
            calls.0,
            calls.1,
            rest_ms as f64 / 1000.0 / runs as f64,
            self.slowest.0 as f64 / 1000.0,
            self.slowest.1,
        )
    }

    /// One object, for programs. Times are virtual but for `seconds`.
    pub fn json(&self) -> String {
        let Ended { node_us, world_us, steps, actions, acknowledged, lost, found, calls, trace, .. } = self.ended;
        format!(
            "{{\"first_seed\":{},\"runs\":{},\"seconds\":{:.3},\"node_hours\":{:.3},\"world_hours\":{:.3},\
             \"steps\":{steps},\"actions\":{actions},\"acknowledged\":{acknowledged},\"lost\":{lost},\"found\":{},\
             \"found_late\":{},\"calls_answered\":{},\"calls_failed\":{},\"rest_s_max\":{:.1},\"trace\":\"{trace:032x}\"}}",
            self.seeds.0,
            self.seeds.1,
            self.seconds,
            node_us as f64 / 3.6e9,
            world_us as f64 / 3.6e9,
            found.0,
            found.1,
            calls.0,
            calls.1,
            self.slowest.0 as f64 / 1000.0,
        )
    }
}

/// One run; a panic is a violation, too, where panics unwind.
fn guarded(seed: u64, less: &Less) -> Result<Ended, Violation> {
    let caught = catch_unwind(AssertUnwindSafe(|| run(seed, less)));
    caught.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "panicked".into());
        Err(Violation { rule: "panic", at: butter_core::time::Instant::ZERO, who: None, what, last: Vec::new() })
    })
}

/// Runs seed after seed until one fails, time is up, or `stop` says so. `progress` is told after each run.
///
/// # Errors
/// The failure of the least seed that failed; the sum is of the runs that did not.
pub fn swarm(options: &Options, stop: &AtomicBool, progress: &(dyn Fn(&Sum) + Sync)) -> (Sum, Option<Failure>) {
    let began = Clock::now();
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let state: Mutex<(Sum, Option<Failure>)> = Mutex::new((Sum { seeds: (options.seed, 0), ..Sum::default() }, None));
    let work = || {
        let on_time = || options.seconds.is_none_or(|seconds| began.elapsed().as_secs() < seconds);
        while on_time() && !stop.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if options.runs.is_some_and(|runs| number >= runs) {
                return;
            }
            let seed = options.seed.wrapping_add(number);
            let result = guarded(seed, &options.less);
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(ended) => {
                    state.0.add(seed, &ended);
                    state.0.seconds = began.elapsed().as_secs_f64();
                    progress(&state.0);
                }
                Err(violation) => {
                    failed.store(true, Ordering::Relaxed);
                    let failure = Failure { seed, less: options.less.clone(), violation };
                    if state.1.as_ref().is_none_or(|other| seed < other.seed) {
                        state.1 = Some(failure);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    let (mut sum, mut failure) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.seconds = began.elapsed().as_secs_f64();
    if options.shrink {
        failure = failure.map(|failure| shrink::shrink(failure, &guarded));
    }
    (sum, failure)
}

/// Appends a line to the log that `options` name: what was run, and how it ended.
///
/// # Errors
/// The file cannot be written.
pub fn log(options: &Options, sum: &Sum, failure: Option<&Failure>) -> std::io::Result<()> {
    let Some(path) = &options.log else { return Ok(()) };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    let failed = failure.map_or("null".into(), |failure| format!("\"{}\"", failure.replay()));
    let version = env!("CARGO_PKG_VERSION");
    let sum = sum.json();
    let open = sum.trim_end_matches('}');
    writeln!(file, "{open},\"failed\":{failed},\"version\":\"{version}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_a_kind_out_changes_no_other() {
        let all = Draw::of(3, &Less::default());
        let some = Draw::of(3, &Less { without: vec![Kind::Put, Kind::Kill], ..Less::default() });
        let kept: Vec<_> =
            all.actions.iter().filter(|action| !matches!(action.kind, Kind::Put | Kind::Kill)).copied().collect();
        assert_eq!(kept, some.actions);
        let short = Draw::of(3, &Less { for_ms: Some(5_000), ..Less::default() });
        let early: Vec<_> = all.actions.iter().filter(|action| action.at_ms < 5_000).copied().collect();
        assert_eq!(early, short.actions);
    }

    #[test]
    fn a_run_repeats_itself_in_any_thread() {
        let options = |threads| Options { seed: 40, runs: Some(3), threads, ..Options::default() };
        let trace = |threads| {
            let (sum, failure) = swarm(&options(threads), &AtomicBool::new(false), &|_| {});
            assert!(failure.is_none(), "{}", failure.map_or(String::new(), |failure| failure.text()));
            (sum.ended.trace, sum.ended.steps)
        };
        let once = trace(1);
        assert_eq!(once, trace(2));
        assert_eq!(once, trace(1));
    }
}

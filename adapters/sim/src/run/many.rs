//! Many runs, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::play::{Keep, play};
use super::record::Record;
use crate::scenario::{Case, planned};

/// How far runs are, and whether they are to stop: shared between threads.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    passed_us: AtomicU64,
    done: AtomicUsize,
}

impl Control {
    /// Nothing done, and not to stop.
    pub const fn new() -> Control {
        Control { stop: AtomicBool::new(false), passed_us: AtomicU64::new(0), done: AtomicUsize::new(0) }
    }

    /// Asks all runs to stop: those under way leave nothing behind.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Virtual time passed in all runs together, in microseconds.
    pub fn passed_us(&self) -> u64 {
        self.passed_us.load(Ordering::Relaxed)
    }

    /// Runs that have ended.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn passed(&self, us: u64) {
        self.passed_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// Runs of each case.
    pub runs: u32,
    /// The seed of the first; run i has the seed + i.
    pub seed: u64,
    /// Runs at the same time.
    pub threads: usize,
    /// What is kept of the first runs of each case.
    pub keep: Keep,
    /// Of how many runs of each case series are kept; graphs are kept of the first alone.
    pub series: u32,
}

impl Runs {
    /// Virtual microseconds that all runs together are planned to take at most.
    pub fn planned_us(&self, cases: &[Case]) -> u64 {
        cases.iter().map(|case| planned(&case.scenario).us()).sum::<u64>() * u64::from(self.runs)
    }

    fn keep(&self, run: u32) -> Keep {
        match self.keep {
            Keep::Graphs if run > 0 && run < self.series => Keep::Series,
            keep if run == 0 || run < self.series => keep,
            _ => Keep::Figures,
        }
    }
}

/// Runs all cases. Of each case, what its runs left behind, by seed; fewer when they were stopped.
///
/// What runs leave behind does not depend on how many run at the same time.
pub fn run_all(cases: &[Case], runs: &Runs, control: &Control) -> Vec<Vec<Record>> {
    let all = cases.len() * runs.runs as usize;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Record>>> = Mutex::new(vec![None; all]);
    std::thread::scope(|scope| {
        for _ in 0..runs.threads.clamp(1, all.max(1)) {
            scope.spawn(|| {
                // The first runs of all cases, then their second ones: stopped early, all cases have some.
                while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < all) {
                    if control.stopped() {
                        return;
                    }
                    let (run, case) = ((i / cases.len()) as u32, i % cases.len());
                    let record = play(&cases[case].scenario, runs.seed + u64::from(run), runs.keep(run), control);
                    if record.is_some() {
                        control.done.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Ok(mut done) = done.lock() {
                        done[i] = record;
                    }
                }
            });
        }
    });
    let mut by_case: Vec<Vec<Record>> = cases.iter().map(|_| Vec::new()).collect();
    for (i, record) in done.into_inner().unwrap_or_default().into_iter().enumerate() {
        by_case[i % cases.len()].extend(record);
    }
    by_case
}

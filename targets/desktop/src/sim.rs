//! `butter sim`: runs scenarios of simulated networks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use butter_sim::report::{self, Page};
use butter_sim::run::{Control, Keep, Runs, run_all, summary, trace};
use butter_sim::scenario::{Case, Problem, Scenario, Source, memory_bytes};
use serde::Serialize;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::swarm::Swarm;
use crate::units::{count, duration, size};
use crate::{output, signals};

/// Of how many runs of each case series are kept for plots.
const SERIES: u32 = 20;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// What is to be run, and how.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sim {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// The seed of the first run; `None`: the scenario's.
    pub seed: Option<u64>,
    /// Runs of each case; `None`: the scenario's.
    pub runs: Option<u32>,
    /// Changes, each `key=value`.
    pub sets: Vec<String>,
    /// The cases to run, by name; none: all.
    pub only: Vec<String>,
    /// Where to write a page with plots.
    pub report: Option<PathBuf>,
    /// Runs at the same time; `None`: as many as there are cores.
    pub threads: Option<usize>,
    /// No scenario, but what seeds draw.
    pub swarm: Option<Swarm>,
}

/// All that is known in the end, as `--json` prints it.
#[derive(Serialize)]
struct Everything<'a> {
    scenario: &'a str,
    wall_s: f64,
    /// Whether it was interrupted: then there are fewer runs than asked for.
    interrupted: bool,
    title: &'a str,
    about: &'a str,
    /// The seed of the first run of each case; run i has the seed + i.
    seed: u64,
    /// Each case: figures over its runs, and what each run left behind.
    cases: &'a [report::Case<'a>],
}

/// Shared with the thread that takes signals.
static CONTROL: Control = Control::new();

fn wrong(problem: &Problem) -> Failure {
    Failure::usage(problem.to_string())
}

/// Bytes of memory that are free for use; `None` where the system does not tell.
fn memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The cases that are wanted.
fn chosen(sim: &Sim, mut cases: Vec<Case>) -> Result<Vec<Case>, Failure> {
    if let Some(name) = sim.only.iter().find(|name| !cases.iter().any(|case| case.name == **name)) {
        let names: Vec<String> = cases.iter().map(|case| format!("{:?}", case.name)).collect();
        let file = sim.scenario.display();
        return Err(Failure::usage(match cases.iter().all(|case| case.name.is_empty()) {
            true => format!("{file} has no cases: leave out --case"),
            false => format!("--case {name}: {file} has the cases {}", names.join(", ")),
        }));
    }
    cases.retain(|case| sim.only.is_empty() || sim.only.contains(&case.name));
    Ok(cases)
}

/// The page in a directory.
fn page_of(dir: &Path) -> PathBuf {
    dir.join("index.html")
}

/// Makes the directory of the page, and finds out whether the page can be written: better now than after hours of runs.
fn can_write(dir: &Path) -> Result<(), Failure> {
    let file = page_of(dir);
    let new = !file.exists();
    let opened = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::OpenOptions::new().append(true).create(true).open(&file).map(drop));
    opened.map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))?;
    if new {
        let _ = std::fs::remove_file(&file);
    }
    Ok(())
}

/// How many runs fit into memory at the same time, up to `threads`.
fn threads_that_fit(sim: &Sim, cases: &[Case], threads: usize) -> Result<usize, Failure> {
    let need = cases.iter().map(|case| memory_bytes(&case.scenario)).max().unwrap_or(0);
    let Some(available) = memory_available() else { return Ok(threads) };
    if need > available {
        return Err(Failure::usage(format!(
            "{}: one run needs about {} of memory, and {} are available: fewer nodes, such as --set nodes.0.count=1000, \
             or smaller tables, such as --set nodes.0.limits.known=64",
            sim.scenario.display(),
            size(need),
            size(available)
        )));
    }
    let fit = usize::try_from(available / need.max(1)).unwrap_or(usize::MAX).min(threads);
    if fit < threads {
        log::warn!("{fit} of {threads} runs at the same time: each needs about {} of memory", size(need));
    }
    Ok(fit)
}

/// Tells how far it is until `ended`.
fn tell(progress: &mut Progress, runs: &Runs, cases: &[Case], ended: &AtomicBool) {
    let (begun, planned, all) = (Instant::now(), runs.planned_us(cases), cases.len() * runs.runs as usize);
    while !ended.load(Ordering::Relaxed) {
        let passed = CONTROL.passed_us().min(planned);
        let mut line = format!("{} of {all} runs  {} %", CONTROL.done(), passed * 100 / planned.max(1));
        if passed > planned / 100 {
            let left = begun.elapsed().as_secs_f64() * (planned - passed) as f64 / passed as f64;
            line.push_str(&format!("  {} left", duration(Duration::from_secs_f64(left))));
        }
        progress.show(&line);
        std::thread::sleep(TELL);
    }
    progress.clear();
}

/// Runs a scenario and prints what it came to.
///
/// # Errors
/// The scenario makes no sense, no run ended before it was interrupted, or a rule of the protocol was broken.
pub fn sim(sim: &Sim, json: bool, verbosity: i8) -> Result<(), Failure> {
    let source = Source::read(&sim.scenario, &sim.sets).map_err(|problem| wrong(&problem))?;
    let cases = chosen(sim, source.cases().map_err(|problem| wrong(&problem))?)?;
    let first = &cases[0].scenario;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = Runs {
        runs: sim.runs.unwrap_or(first.runs),
        seed: sim.seed.unwrap_or(first.seed),
        threads: threads_that_fit(sim, &cases, sim.threads.unwrap_or(cores))?,
        keep: match (&sim.report, json) {
            (Some(_), _) => Keep::Graphs,
            (None, true) => Keep::Series,
            (None, false) => Keep::Figures,
        },
        series: SERIES,
    };
    if let Some(dir) = &sim.report {
        can_write(dir)?;
    }
    let mut interrupts = 0;
    signals::on_stop(move || {
        interrupts += 1;
        if interrupts > 1 {
            std::process::exit(130);
        }
        CONTROL.stop();
    });
    let (begun, ended) = (Instant::now(), AtomicBool::new(false));
    let mut progress = Progress::new(verbosity < 0);
    let records = std::thread::scope(|scope| {
        scope.spawn(|| tell(&mut progress, &runs, &cases, &ended));
        let records = run_all(&cases, &runs, &CONTROL);
        ended.store(true, Ordering::Relaxed);
        records
    });
    if records.iter().all(Vec::is_empty) {
        return Err(Failure::failed("interrupted before the first run had ended"));
    }
    if CONTROL.stopped() {
        log::warn!("interrupted: this is what was done until then");
    }
    let found = summary(&cases, &records, runs.seed);
    let wall_s = begun.elapsed().as_secs_f64();
    let told = Told { sim, source: &source, runs: &runs, cases: &found, scenario: first, wall_s };
    if let Some(dir) = &sim.report {
        told.page(dir)?;
    }
    if json {
        told.json()?
    } else {
        output::text(&told.text(verbosity > 0))?
    }
    let broken = records.iter().flatten().any(|record| record.violation.is_some());
    if broken { Err(Failure::failed("a rule of the protocol was broken: see above")) } else { Ok(()) }
}

/// What there is to tell in the end.
struct Told<'a> {
    sim: &'a Sim,
    source: &'a Source,
    runs: &'a Runs,
    cases: &'a [report::Case<'a>],
    scenario: &'a Scenario,
    wall_s: f64,
}

impl Told<'_> {
    fn json(&self) -> Result<(), Failure> {
        output::json(&Everything {
            scenario: self.source.name(),
            wall_s: self.wall_s,
            interrupted: CONTROL.stopped(),
            title: &self.scenario.title,
            about: &self.scenario.about,
            seed: self.runs.seed,
            cases: self.cases,
        })
    }

    /// The table, with what it is over.
    fn text(&self, all: bool) -> String {
        let shown = all || !self.cases.iter().any(|case| case.figures.iter().any(report::Figure::leads));
        let table = report::table(self.cases, shown);
        format!("{}\n{}\n\n{table}", self.scenario.title.trim(), self.over())
    }

    /// How many runs of what: `2 cases, 200 runs each, seeds 1 to 200; 3 min 2 s`.
    fn over(&self) -> String {
        let counts: Vec<usize> = self.cases.iter().map(|case| case.records.len()).collect();
        let (fewest, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        let runs = if fewest == most { count(most as u64, "run") } else { format!("{fewest} to {most} runs") };
        let each = if counts.len() > 1 { " of each case" } else { "" };
        let last = self.runs.seed + (most as u64).saturating_sub(1);
        let seeds = if most > 1 { format!("seeds {} to {last}", self.runs.seed) } else { format!("seed {last}") };
        let changed = self.sim.only.iter().chain(&self.sim.sets);
        let sets: String = changed.map(|change| format!(", {change}")).collect();
        format!("{runs}{each}, {seeds}{sets}; {}", duration(Duration::from_secs_f64(self.wall_s)))
    }

    /// The command that gives the same figures.
    fn command(&self) -> String {
        let mut sets: String = self.sim.only.iter().map(|case| format!(" --case '{case}'")).collect();
        sets.extend(self.sim.sets.iter().map(|set| format!(" --set '{set}'")));
        format!("butter sim {} --seed {} --runs {}{sets}", self.source.name(), self.runs.seed, self.runs.runs)
    }

    fn page(&self, dir: &Path) -> Result<(), Failure> {
        let command = self.command();
        let scenario = self.source.with_changes();
        let mut facts = vec![("runs", self.over()), ("version", env!("CARGO_PKG_VERSION").to_owned())];
        facts.extend(self.cases.iter().map(|case| ("trace", format!("{} {}", trace(case.records), case.name))));
        let page = Page {
            title: &self.scenario.title,
            about: &self.scenario.about,
            command: &command,
            scenario: &scenario,
            facts,
            cases: self.cases.to_vec(),
        };
        let file = page_of(dir);
        std::fs::write(&file, page.html())
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))?;
        log::info!("wrote {}", file.display());
        Ok(())
    }
}

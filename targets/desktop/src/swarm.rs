//! `butter sim --swarm`: worlds drawn from seeds, in trouble, then healed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use butter_sim::swarm::{Kind, Less, Options, log, swarm};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::sim::Sim;
use crate::{output, signals};

/// What only the swarm is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swarm {
    /// No run begins after so many seconds.
    pub seconds: Option<u64>,
    /// What is left out of every run.
    pub less: Less,
    /// Whether a failing case is made smaller.
    pub shrink: bool,
    /// A file to which a line is appended that says what was run.
    pub log: Option<std::path::PathBuf>,
}

/// Kinds of things that are left out, as `--without kill,pause` names them.
///
/// # Errors
/// There is no such kind.
pub fn kinds(names: &str) -> Result<Vec<Kind>, Failure> {
    let all = || Kind::ALL.map(Kind::name).join(", ");
    let kind =
        |name: &str| Kind::named(name).ok_or_else(|| Failure::usage(format!("--without {name}: there are {}", all())));
    names.split(',').map(kind).collect()
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Runs until a rule is broken, time is up, or somebody stops it.
///
/// # Errors
/// A rule was broken, or the log cannot be written.
pub fn run(sim: &Sim, json: bool, verbosity: i8) -> Result<(), Failure> {
    let Swarm { seconds, less, shrink, log: file } = sim.swarm.clone().unwrap_or_default();
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = sim.runs.map(u64::from);
    let options = Options {
        seed: sim.seed.unwrap_or_else(fresh),
        runs,
        // Without any bound, a minute.
        seconds: seconds.or(runs.is_none().then_some(60)),
        threads: sim.threads.unwrap_or(cores),
        less,
        shrink,
        log: file,
    };
    signals::on_stop(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
    let progress = std::sync::Mutex::new(Progress::new(json || verbosity < 0));
    let tell = |sum: &butter_sim::swarm::Sum| {
        if let Ok(mut progress) = progress.lock() {
            progress.show(&format!("{} runs  {:.1} node-hours", sum.seeds.1, sum.node_hours()));
        }
    };
    let (sum, failure) = swarm(&options, &STOP, &tell);
    if let Ok(mut progress) = progress.into_inner() {
        progress.clear();
    }
    log(&options, &sum, failure.as_ref()).map_err(|error| {
        let path = options.log.clone().unwrap_or_default();
        Failure::failed(format!("{}: cannot be written: {error}", path.display()))
    })?;
    output::text(&format!("{}\n", if json { sum.json() } else { sum.text() }))?;
    failure.map_or(Ok(()), |failure| Err(Failure::failed(failure.text())))
}

#![forbid(unsafe_code)]
#![cfg_attr(not(unix), allow(dead_code, reason = "what the control socket needs is of no use without one"))]
//! `butter`: the standard node, and the commands that use it. See `butter help`.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`], [`help`] | the command line, checked as a whole before anything is done, and explained |
//! | [`run`] | `butter run`: the node |
//! | [`control`] | the socket by which the other commands reach it: the protocol, both sides |
//! | [`put`], [`get`] | the commands that carry bytes |
//! | [`objects`], [`spool`] | the node's side of them |
//! | [`sim`] | `butter sim`: simulated networks |
//! | [`swarm`] | `butter sim --swarm`: simulated networks that seeds draw |
//! | [`report`], [`view`], [`table`], [`output`] | results: as data, from the core, for people, on standard output |
//! | [`secret`], [`units`], [`paths`] | what people write and read |
//! | [`logger`], [`progress`], [`signals`], [`failure`] | messages, Ctrl-C, and how it all ends |

mod args;
#[cfg(unix)]
mod control;
mod failure;
#[cfg(unix)]
mod get;
mod help;
mod logger;
#[cfg(unix)]
mod objects;
mod output;
mod paths;
mod progress;
#[cfg(unix)]
mod put;
mod report;
mod run;
mod secret;
mod signals;
mod sim;
#[cfg(unix)]
mod spool;
mod swarm;
#[cfg(unix)]
mod table;
mod units;
mod view;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use args::{Args, Command};
use failure::Failure;

/// Shows the id of the node in a data directory, which becomes one if it is none yet.
fn id(dir: &std::path::Path, json: bool) -> Result<(), Failure> {
    let fail = |error: butter_async_std::Error| Failure::failed(error.to_string());
    let id = match butter_async_std::identity(dir).map_err(fail)? {
        Some(id) => id,
        None => {
            paths::make_data_dir(dir)?;
            let id = butter_async_std::make_identity(dir).map_err(fail)?;
            log::info!("made a new identity in {}", dir.display());
            id
        }
    };
    let id = id.to_string();
    if json { output::json(&serde_json::json!({ "id": id })) } else { output::text(&format!("{id}\n")) }
}

/// Asks the running node for something that is one answer, and prints it.
#[cfg(unix)]
fn show(dir: &std::path::Path, ask: control::Ask, json: bool) -> Result<(), Failure> {
    use control::{Answer, client};

    let mut client = client::Client::connect(dir)?;
    client.ask(ask)?;
    match client.answer()? {
        Answer::Peers(peers) if json => output::json(&peers),
        Answer::Peers(peers) => output::text(&table::peers(&peers)),
        Answer::Groups(groups) if json => output::json(&groups),
        Answer::Groups(groups) => output::text(&table::groups(&groups)),
        Answer::Status(status) if json => output::json(&status),
        Answer::Status(status) => output::text(&table::status(&status)),
        other => Err(client::unexpected(&format!("{other:?}"))),
    }
}

fn perform(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Help(topic) => return output::text(help::text(*topic)),
        Command::Sim(sim) if sim.swarm.is_some() => return swarm::run(sim, args.json, args.verbosity),
        Command::Sim(sim) => return sim::sim(sim, args.json, args.verbosity),
        Command::Version => return output::text(concat!("butter ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => {}
    }
    let dir: PathBuf = match &args.data {
        Some(dir) => dir.clone(),
        None => paths::default_data_dir()?,
    };
    match &args.command {
        Command::Run(run) => run::run(&dir, run, args.json),
        Command::Id => id(&dir, args.json),
        #[cfg(unix)]
        command => {
            let quiet = args.verbosity < 0;
            match command {
                Command::Put { files, min_replicas } => put::put(&dir, files, *min_replicas, args.json, quiet),
                Command::Get { id, output } => get::get(&dir, id, output.as_deref(), args.json, quiet),
                Command::Peers => show(&dir, control::Ask::Peers, args.json),
                Command::Groups => show(&dir, control::Ask::Groups, args.json),
                _ => show(&dir, control::Ask::Status, args.json),
            }
        }
        #[cfg(not(unix))]
        _ => {
            Err(Failure::failed("on this system a running node cannot be reached by commands: it has no Unix sockets"))
        }
    }
}

fn main() -> ExitCode {
    let outcome = args::parse(std::env::args_os().skip(1)).and_then(|args| {
        logger::init(args.verbosity);
        perform(&args)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be listening any more; the exit code remains.
            let _ = writeln!(std::io::stderr().lock(), "butter: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

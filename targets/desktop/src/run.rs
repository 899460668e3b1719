//! `butter run`: a node, until it is stopped.

use std::path::Path;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_std::task;
use butter_async_std::{Error, Event, Node};
use butter_core::config::Config;
use butter_core::group::GroupState;
use futures_lite::StreamExt;
use futures_lite::future::or;

use crate::args::{Join, Run};
use crate::failure::Failure;
use crate::report::Started;
use crate::view::{self, About};
use crate::{output, paths, secret, signals};

/// How long others may take to be given what this node keeps.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a node that is told to stop at once may take to say farewell and save its hosts.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the node was not started.
fn explain(error: Error, dir: &Path) -> Failure {
    match error {
        Error::InUse { .. } => {
            let shown = dir.display();
            let process = process_of(dir).map_or(String::new(), |pid| format!(" (pid {pid})"));
            Failure::failed(format!(
                "another node is running in {shown}{process}: use it, stop it, or give this one a directory of its own with --data DIR"
            ))
        }
        other => Failure::failed(other.to_string()),
    }
}

/// The process of the node that runs in a data directory, as it says itself.
fn process_of(dir: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use crate::control::{Answer, Ask, client::Client};

        let mut client = Client::connect(dir).ok()?;
        client.ask(Ask::Status).ok()?;
        match client.answer() {
            Ok(Answer::Status(status)) => Some(status.pid),
            _ => None,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = dir;
        None
    }
}

/// Starts a node with these settings.
async fn start(dir: &Path, run: &Run) -> Result<(Node, About), Failure> {
    let network = run.network.clone().unwrap_or_else(|| "butter".to_owned());
    let config = Config { place: run.place, ..Config::default() };
    let mut builder = Node::builder().network(&network).config(config).storage(run.storage).data_dir(dir).lan(run.lan);
    if let Some(file) = &run.secret_file {
        builder = builder.secret(secret::read(file)?);
    }
    if let Some(at) = run.listen {
        builder = builder.listen(at);
    }
    for join in &run.join {
        builder = builder.join(match join {
            Join::Addr(addr) => addr.clone(),
            Join::Ticket(ticket) => ticket.to_string(),
        });
    }
    let node = builder.spawn().await.map_err(|error| explain(error, dir))?;
    let about = About { network, closed: run.secret_file.is_some(), storage: run.storage, since: Instant::now() };
    Ok((node, about))
}

fn print(started: &Started, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(started);
    }
    let kind = if started.closed { "closed" } else { "open" };
    let mut text = format!("id         {}\nnetwork    {} ({kind})\n", started.id, started.network);
    for (at, address) in started.addresses.iter().enumerate() {
        text.push_str(&format!("{:9}  {address}\n", if at == 0 { "addresses" } else { "" }));
    }
    text.push_str(&format!("ticket     {}\n", started.ticket));
    text.push_str("\nOthers join with: butter run --join TICKET      Stop with Ctrl-C.\n\n");
    output::text(&text)
}

/// How many groups are in which state, in words.
async fn groups(node: &Node) -> Result<String, Error> {
    let groups = node.groups().await?;
    let count = |state| groups.iter().filter(|group| group.state == state).count();
    let (goldilocks, cold, hot) = (count(GroupState::Goldilocks), count(GroupState::Cold), count(GroupState::Hot));
    Ok(format!("groups: {goldilocks} goldilocks, {cold} cold, {hot} hot"))
}

/// Tells what happens, until the node stops.
async fn narrate(node: &Node) {
    let Ok(mut events) = node.events().await else { return };
    let mut told = String::new();
    while let Some(event) = events.next().await {
        match event {
            Event::PeerUp(id) => log::info!("connected with {id}"),
            Event::PeerDown(id) => log::info!("connection with {id} ended"),
            Event::GroupChanged => match groups(node).await {
                // Members may change while as many groups are well as before.
                Ok(groups) if groups != told => {
                    log::info!("{groups}");
                    told = groups;
                }
                _ => {}
            },
            other => log::debug!("{other:?}"),
        }
    }
}

/// Leaves the network: what this node keeps is given to others first, unless there are none, or it takes too long.
async fn leave(node: &Node) {
    if node.peers().await.is_ok_and(|peers| peers.is_empty()) {
        return;
    }
    log::info!("giving what is kept here to others; Ctrl-C again stops at once");
    if node.leave(LEAVE).await.is_ok_and(|all| !all) {
        log::warn!("not everything was given in time to as many others as should have it");
    }
}

/// Waits until the user or the system wants the node to stop.
async fn stop(signals: &Receiver<()>) {
    if signals.recv().await.is_err() {
        // Signals are not known here.
        std::future::pending::<()>().await;
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// Everything that can be wrong with the settings or the machine, before anything runs.
pub fn run(dir: &Path, run: &Run, json: bool) -> Result<(), Failure> {
    paths::make_data_dir(dir)?;
    #[cfg(unix)]
    crate::control::server::check_path(dir)?;
    let (stopper, signals) = async_channel::bounded(4);
    signals::on_stop(move || {
        // Four that nobody has seen yet say it clearly enough.
        let _ = stopper.try_send(());
    });
    task::block_on(async {
        let (node, about) = start(dir, run).await?;
        let outcome = serve(&node, about, dir, json, &signals).await;
        if outcome.is_ok() {
            or(leave(&node), stop(&signals)).await;
        }
        or(node.shutdown(), async {
            task::sleep(FAREWELL).await;
        })
        .await;
        log::info!("stopped");
        outcome
    })
}

/// Serves commands and tells what happens, until told to stop, or the node ends by itself.
async fn serve(node: &Node, about: About, dir: &Path, json: bool, signals: &Receiver<()>) -> Result<(), Failure> {
    let mut started = view::started(node, &about);
    let ended = async {
        node.stopped().await;
        Err(Failure::failed("the node has ended unexpectedly"))
    };
    let stopped = async {
        stop(signals).await;
        Ok(())
    };
    let narrated = async {
        narrate(node).await;
        std::future::pending().await
    };
    #[cfg(unix)]
    {
        let server = crate::control::server::Server::bind(dir).await?;
        started.control = Some(server.path().display().to_string());
        print(&started, json)?;
        let serving = async {
            server.serve(node.clone(), about, dir).await;
            std::future::pending().await
        };
        or(stopped, or(ended, or(serving, narrated))).await
    }
    #[cfg(not(unix))]
    {
        let _ = (about, dir, &mut started);
        print(&started, json)?;
        or(stopped, or(ended, narrated)).await
    }
}

//! `butter put`: from files to the running node.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use serde::Serialize;

use crate::control::client::{Client, unexpected};
use crate::control::{Answer, Ask, CHUNK_MAX};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use crate::report::Stored;

/// Files under way at once; fewer than the connections that a node serves.
const PARALLEL: usize = 32;

/// A file that was not stored, as JSON.
#[derive(Serialize)]
struct NotStored<'a> {
    file: &'a str,
    error: &'a str,
}

/// How far all files together are.
#[derive(Debug)]
struct Tally {
    progress: Mutex<Progress>,
    /// Bytes sent to the node and stored by it: each byte counts in both.
    done: AtomicU64,
    total: Option<u64>,
}

impl Tally {
    fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Whoever is drawing already draws for all.
        if let Ok(mut progress) = self.progress.try_lock() {
            progress.tell("storing", done / 2, self.total);
        }
    }

    /// Wipes the line, so that something can be said.
    fn clear(&self) {
        if let Ok(mut progress) = self.progress.lock() {
            progress.clear();
        }
    }
}

/// Bytes of all files; `None` when one is standard input or cannot be told.
fn total(files: &[PathBuf]) -> Option<u64> {
    files.iter().try_fold(0_u64, |sum, file| {
        let meta = file.metadata().ok().filter(|meta| meta.is_file())?;
        sum.checked_add(meta.len())
    })
}

/// Opens a file; its length, if that is known before it is read.
fn open(file: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    let shown = file.display();
    if file.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let fail = |error| Failure::failed(format!("cannot read {shown}: {error}"));
    let opened = File::open(file).map_err(fail)?;
    let meta = opened.metadata().map_err(fail)?;
    if meta.is_dir() {
        return Err(Failure::failed(format!(
            "{shown} is a directory; store it as one file: tar c {shown} | butter put -"
        )));
    }
    // Files of the system's own, such as those in /proc, say that they are empty, and are not.
    let length = Some(meta.len()).filter(|length| meta.is_file() && *length > 0);
    Ok((Box::new(opened), length))
}

/// Sends a file to the node.
fn send(client: &mut Client, file: &Path, source: (Box<dyn Read>, Option<u64>), tally: &Tally) -> Result<(), Failure> {
    let (mut reader, length) = source;
    client.ask(Ask::Put { bytes: length })?;
    let mut chunk = vec![0; CHUNK_MAX];
    let mut left = length;
    loop {
        let most = left.map_or(CHUNK_MAX, |left| left.min(CHUNK_MAX as u64) as usize);
        let n = match reader.read(chunk.get_mut(..most).unwrap_or_default()) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::failed(format!("cannot read {}: {error}", file.display()))),
        };
        let bytes = chunk.get(..n).unwrap_or_default();
        match &mut left {
            None => client.send_chunk(bytes)?,
            Some(0) => return Ok(()),
            Some(_) if n == 0 => {
                return Err(Failure::failed(format!("{} became shorter while it was read: try again", file.display())));
            }
            Some(left) => {
                client.send(bytes)?;
                *left -= n as u64;
            }
        }
        if n == 0 {
            return Ok(());
        }
        // What is streamed is stored nearly as it is sent; what is spooled is stored afterwards.
        tally.add(if length.is_some() { 2 * n as u64 } else { n as u64 });
    }
}

/// Stores one file over a connection, which can be used again if that was well.
fn put_one(client: &mut Option<Client>, dir: &Path, file: &Path, tally: &Tally) -> Result<Stored, Failure> {
    let source = open(file)?;
    let mut connection = match client.take() {
        Some(connection) => connection,
        None => Client::connect(dir)?,
    };
    send(&mut connection, file, source, tally)?;
    let mut told = 0;
    loop {
        match connection.answer()? {
            Answer::Progress { done, .. } => {
                tally.add(done.saturating_sub(told));
                told = told.max(done);
            }
            Answer::Stored(stored) => {
                *client = Some(connection);
                return Ok(Stored { file: Some(file.display().to_string()), ..stored });
            }
            other => return Err(unexpected(&format!("{other:?}"))),
        }
    }
}

/// Prints what became of a file.
fn report(file: &Path, outcome: Result<Stored, Failure>, min_replicas: u8, json: bool) -> Result<(), Failure> {
    let shown = file.display().to_string();
    match outcome {
        Ok(stored) if stored.replicas < min_replicas => {
            let message = format!(
                "{shown} is held by {} of the {min_replicas} nodes asked for, as {}; it is not lost, and more will take it when they come",
                stored.replicas, stored.id
            );
            if json {
                output::json(&NotStored { file: &shown, error: &message })?;
            }
            Err(Failure::new(Exit::FewReplicas, message))
        }
        Ok(stored) => {
            if stored.replicas <= 1 && stored.wanted.is_some_and(|wanted| wanted > 1) {
                log::warn!("only this node holds {shown}: it is lost with the node until others join");
            }
            if json { output::json(&stored) } else { output::text(&format!("{}\n", stored.id)) }
        }
        Err(failure) => {
            if json {
                output::json(&NotStored { file: &shown, error: &failure.message })?;
            }
            Err(Failure { message: format!("{shown} is not stored: {failure}"), ..failure })
        }
    }
}

/// Stores files, several at once, and prints their ids in the order given.
///
/// # Errors
/// The first failure; all others are shown as they happen, and all files are tried.
pub fn put(dir: &Path, files: &[PathBuf], min_replicas: u8, json: bool, quiet: bool) -> Result<(), Failure> {
    // Without a node nothing is read, so that a pipe is not emptied for nothing.
    let first = Client::connect(dir)?;
    let tally = Tally { progress: Mutex::new(Progress::new(quiet)), done: AtomicU64::new(0), total: total(files) };
    let next = AtomicUsize::new(0);
    let (outcomes, ended) = mpsc::sync_channel(PARALLEL);
    let mut clients: Vec<Option<Client>> = vec![Some(first)];
    clients.resize_with(PARALLEL.min(files.len()), || None);
    thread::scope(|scope| {
        for mut client in clients {
            let (outcomes, tally, next) = (outcomes.clone(), &tally, &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(at) else { break };
                    let outcome = put_one(&mut client, dir, file, tally);
                    if outcomes.send((at, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(outcomes);
        in_order(files, &ended, &tally, min_replicas, json)
    })
}

/// Prints outcomes in the order of the files, whatever the order they come in.
fn in_order(
    files: &[PathBuf],
    ended: &mpsc::Receiver<(usize, Result<Stored, Failure>)>,
    tally: &Tally,
    min_replicas: u8,
    json: bool,
) -> Result<(), Failure> {
    let mut waiting = BTreeMap::new();
    let mut at = 0;
    let mut first: Option<Failure> = None;
    for (index, outcome) in ended {
        waiting.insert(index, outcome);
        while let Some(outcome) = waiting.remove(&at) {
            let Some(file) = files.get(at) else { break };
            tally.clear();
            if let Err(failure) = report(file, outcome, min_replicas, json) {
                match &first {
                    None if files.len() == 1 => {}
                    _ => log::error!("{failure}"),
                }
                first.get_or_insert(failure);
            }
            at += 1;
        }
    }
    match first {
        None => Ok(()),
        Some(failure) if files.len() == 1 => Err(failure),
        Some(failure) => Err(Failure { message: "not all files are stored as asked: see above".to_owned(), ..failure }),
    }
}

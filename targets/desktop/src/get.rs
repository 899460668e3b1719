//! `butter get`: from the running node to a file or to standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use butter_core::id::Key;

use crate::control::client::{Client, unexpected};
use crate::control::{Answer, Ask};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use crate::report::Fetched;
use crate::units::size;

/// Bytes after which what was written is made to reach the disk.
const SYNC_EVERY: u64 = 64 << 20;
/// Bytes of a block: what a get can begin at.
const BLOCK: u64 = butter_core::wire::BLOCK as u64;

/// Where an object goes.
trait Sink {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

/// Standard output.
struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        output::bytes(bytes)
    }
}

/// The part of a file that is here so far. Its name has the object's id, so that it is never mistaken for another's.
struct Part {
    path: PathBuf,
    file: File,
    /// Bytes written, shared with whoever tells of them when interrupted.
    written: Arc<AtomicU64>,
    unsynced: u64,
}

impl Part {
    /// Opens or makes the part beside `output`, ready to be gone on with.
    fn open(output: &Path, id: &Key) -> Result<Part, Failure> {
        let mut name = output
            .file_name()
            .ok_or_else(|| Failure::usage(format!("{} is not the name of a file", output.display())))?
            .to_owned();
        if output.is_dir() {
            return Err(Failure::failed(format!("{} is a directory: name a file in it", output.display())));
        }
        name.push(format!(".{id}.part"));
        let path = output.with_file_name(name);
        let fail = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Failure::failed(format!("another `butter get` is writing {}", path.display())));
            }
            // A file system without locks is no reason not to write there.
            Err(fs::TryLockError::Error(_)) => {}
        }
        // Bytes are written in order and checked before; a block cut short is fetched again.
        let length = file.metadata().map_err(fail)?.len();
        let whole = length - length % BLOCK;
        file.set_len(whole).and_then(|()| file.seek(SeekFrom::Start(whole))).map_err(fail)?;
        Ok(Part { path, file, written: Arc::new(AtomicU64::new(whole)), unsynced: 0 })
    }

    fn begin(&mut self, from: u64) -> Result<(), Failure> {
        let fail = |error| Failure::failed(format!("cannot write {}: {error}", self.path.display()));
        self.file.set_len(from).and_then(|()| self.file.seek(SeekFrom::Start(from))).map_err(fail)?;
        self.written.store(from, Ordering::Relaxed);
        Ok(())
    }

    /// All is here: gives it its name.
    fn finish(self, output: &Path) -> Result<(), Failure> {
        let fail = |error| {
            Failure::failed(format!(
                "{} is complete but cannot become {}: {error}",
                self.path.display(),
                output.display()
            ))
        };
        self.file.sync_all().map_err(fail)?;
        fs::rename(&self.path, output).map_err(fail)?;
        #[cfg(unix)]
        if let Some(parent) = output.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            // The bytes are safe already; this makes the name so, where the system can.
            let _ = File::open(parent).and_then(|dir| dir.sync_all());
        }
        Ok(())
    }
}

impl Sink for Part {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let fail = |error| Failure::failed(format!("cannot write {}: {error}", self.path.display()));
        self.file.write_all(bytes).map_err(fail)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            self.file.sync_data().map_err(fail)?;
            self.unsynced = 0;
        }
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Says what is kept, and ends, when somebody interrupts.
fn tell_when_interrupted(path: PathBuf, written: Arc<AtomicU64>) {
    crate::signals::on_stop(move || {
        let kept = written.load(Ordering::Relaxed);
        log::error!("interrupted: {} kept in {}; the same command goes on from there", size(kept), path.display());
        std::process::exit(130);
    });
}

/// Takes what the node sends.
fn receive(
    client: &mut Client,
    sink: &mut dyn Sink,
    progress: &mut Progress,
    from: u64,
    total: u64,
) -> Result<(), Failure> {
    let mut chunk = Vec::new();
    let mut done = from;
    progress.begin(from);
    loop {
        client.chunk(&mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        sink.write(&chunk)?;
        done += chunk.len() as u64;
        progress.tell("fetching", done, Some(total));
    }
    progress.clear();
    match client.answer()? {
        Answer::Done {} if done == total => Ok(()),
        other => Err(unexpected(&format!("{other:?} after {done} of {total} bytes"))),
    }
}

fn ask(client: &mut Client, id: &Key, from: u64) -> Result<(u64, u64), Failure> {
    client.ask(Ask::Get { id: id.to_string(), from })?;
    match client.answer()? {
        Answer::Object { bytes, from: begins } if begins <= from.min(bytes) => Ok((bytes, begins)),
        other => Err(unexpected(&format!("{other:?}"))),
    }
}

/// Fetches an object to standard output, or to a file by way of a part that a later call goes on with.
///
/// # Errors
/// [`Exit::NotFound`] when nobody has it; then no part remains that was not there before.
pub fn get(dir: &Path, id: &Key, output: Option<&Path>, json: bool, quiet: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut client = Client::connect(dir)?;
    let mut progress = Progress::new(quiet);
    let Some(output) = output else {
        let (total, from) = ask(&mut client, id, 0)?;
        return receive(&mut client, &mut Stdout, &mut progress, from, total);
    };
    let mut part = Part::open(output, id)?;
    let before = part.written.load(Ordering::Relaxed);
    let forget = |part: &Part| {
        if part.written.load(Ordering::Relaxed) == 0 {
            // Nothing is in it.
            let _ = fs::remove_file(&part.path);
        }
    };
    let (total, from) = ask(&mut client, id, before).inspect_err(|_| forget(&part))?;
    part.begin(from)?;
    if from > 0 {
        log::info!("going on after {} of {}", size(from), size(total));
    }
    tell_when_interrupted(part.path.clone(), part.written.clone());
    if let Err(failure) = receive(&mut client, &mut part, &mut progress, from, total) {
        let kept = part.written.load(Ordering::Relaxed);
        forget(&part);
        if kept == 0 || failure.exit == Exit::Usage {
            return Err(failure);
        }
        let kept = format!(
            "{} of {} are kept in {}; the same command goes on from there",
            size(kept),
            size(total),
            part.path.display()
        );
        return Err(Failure { message: format!("{failure}. {kept}"), ..failure });
    }
    part.finish(output)?;
    let file = output.display().to_string();
    if json {
        output::json(&Fetched { id: id.to_string(), bytes: total, seconds: begun.elapsed().as_secs_f64(), file })
    } else {
        log::info!("{file}: {}", size(total));
        Ok(())
    }
}

//! The node's side: one task per connection.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_std::os::unix::net::{UnixListener, UnixStream};
use async_std::task;
use butter_async_std::{Node, Progress};
use butter_core::id::Key;
use futures_lite::future::or;
use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Answer, Ask, CHUNK_MAX, CONNECTIONS_MAX, Kind, REQUEST_MAX, line, read_request};
use crate::failure::Failure;
use crate::objects::{self, Bytes, Lent};
use crate::paths::SOCKET;
use crate::report::Stored;
use crate::spool::{Spool, Spooled};
use crate::view::{self, About};

/// How long a connection may take to send a request.
const REQUEST_WAIT: Duration = Duration::from_secs(60);
/// How long to wait when a connection cannot be accepted, as when there are too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How often the progress of a put is told.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// The longest path of a Unix socket, on the system that allows least.
pub const PATH_MAX: usize = 103;

/// The socket, bound.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
}

/// What all connections share.
struct Shared {
    node: Node,
    about: About,
    dir: PathBuf,
}

/// A connection, from here on.
type Stream = BufReader<UnixStream>;

/// Says whether the socket's path is short enough to be bound.
///
/// # Errors
/// Names the length and the way out.
pub fn check_path(dir: &Path) -> Result<(), Failure> {
    let length = dir.join(SOCKET).as_os_str().len();
    if length <= PATH_MAX {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the path of the control socket, {}, has {length} bytes, and a socket's at most {PATH_MAX}: choose a shorter --data DIR",
        dir.join(SOCKET).display()
    )))
}

impl Server {
    /// Binds the socket of a data directory. The caller runs the one node of that directory, so a socket that is there
    /// already is a dead node's, and is replaced.
    ///
    /// # Errors
    /// Names the socket and the cause.
    pub async fn bind(dir: &Path) -> Result<Server, Failure> {
        let path = dir.join(SOCKET);
        let fail =
            |error: io::Error| Failure::failed(format!("cannot make the control socket {}: {error}", path.display()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).await.map_err(fail)?;
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, owner_only).map_err(fail)?;
        Ok(Server { path, listener })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves connections until it is dropped.
    pub async fn serve(&self, node: Node, about: About, dir: &Path) {
        let shared = Arc::new(Shared { node, about, dir: dir.to_owned() });
        // Each connection holds a clone until it ends.
        let count = Arc::new(());
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::debug!("cannot accept a control connection: {error}");
                    task::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            if Arc::strong_count(&count) > CONNECTIONS_MAX {
                task::spawn(refuse(stream));
                continue;
            }
            let (shared, counted) = (shared.clone(), count.clone());
            task::spawn(async move {
                if let Err(error) = connection(&shared, BufReader::with_capacity(CHUNK_MAX, stream)).await {
                    log::debug!("a control connection has ended: {error}");
                }
                drop(counted);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Who connects now is told that no node runs, rather than that one does not answer.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Says that there are too many connections. Nobody waits long for a client that does not read this: it fits the socket's buffer.
async fn refuse(mut stream: UnixStream) {
    let message = format!("{CONNECTIONS_MAX} commands are under way at this node: try again when one has ended");
    if let Ok(bytes) = line(&Answer::Error { kind: Kind::Busy, message }) {
        let _ = within(REQUEST_WAIT, async { stream.write_all(&bytes).await }).await;
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    or(work, async {
        task::sleep(time).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

async fn say(stream: &mut Stream, answer: &Answer) -> io::Result<()> {
    stream.get_mut().write_all(&line(answer)?).await
}

/// Serves requests, one after the other, until the client goes, or one fails.
async fn connection(shared: &Shared, mut stream: Stream) -> io::Result<()> {
    loop {
        let mut request = Vec::new();
        let mut bounded = (&mut stream).take(REQUEST_MAX as u64);
        if within(REQUEST_WAIT, bounded.read_until(b'\n', &mut request)).await? == 0 {
            return Ok(());
        }
        let answer;
        (stream, answer) = match read_request(&request) {
            Ok(ask) => act(shared, stream, ask).await?,
            Err(refused) => (stream, refused),
        };
        say(&mut stream, &answer).await?;
        if matches!(answer, Answer::Error { .. }) {
            return Ok(());
        }
    }
}

/// Does what is asked; what is returned beside the connection is the last thing to be said.
async fn act(shared: &Shared, mut stream: Stream, ask: Ask) -> io::Result<(Stream, Answer)> {
    let node = &shared.node;
    let answer = match ask {
        Ask::Status => view::status(node, &shared.about).await.map(|status| Answer::Status(Box::new(status))),
        Ask::Peers => view::peers(node).await.map(Answer::Peers),
        Ask::Groups => view::groups(node).await.map(Answer::Groups),
        Ask::Put { bytes: Some(bytes) } => return put(shared, stream, bytes).await,
        Ask::Put { bytes: None } => return put_chunks(shared, stream).await,
        Ask::Get { id, from } => {
            let answer = get(shared, &mut stream, &id, from).await?;
            return Ok((stream, answer));
        }
    };
    Ok((stream, answer.unwrap_or_else(|error| Failure::failed(error.to_string()).into())))
}

/// Reads chunks until the end into a spool.
async fn collect(shared: &Shared, stream: &mut Stream) -> io::Result<Result<Spool, Failure>> {
    let mut spool = Spool::new(&shared.dir);
    let mut chunk = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return Ok(Ok(spool));
        }
        if length > CHUNK_MAX {
            return Ok(Err(Failure::usage(format!("a chunk has at most {CHUNK_MAX} bytes, not {length}"))));
        }
        if spool.bytes() + length as u64 > objects::LENGTH_MAX {
            return Ok(Err(too_long()));
        }
        chunk.resize(length, 0);
        stream.read_exact(&mut chunk).await?;
        let added = if spool.fits(length) {
            spool.add(&chunk)
        } else {
            let added;
            (spool, chunk, added) = task::spawn_blocking(move || {
                let added = spool.add(&chunk);
                (spool, chunk, added)
            })
            .await;
            added
        };
        if let Err(error) = added {
            let dir = shared.dir.display();
            return Ok(Err(Failure::failed(format!(
                "the node cannot keep the bytes in {dir} until they are stored: {error}"
            ))));
        }
    }
}

fn too_long() -> Failure {
    Failure::failed(format!("an object has at most {}", crate::units::size(objects::LENGTH_MAX)))
}

fn stored(outcome: Result<Stored, Failure>) -> Answer {
    outcome.map_or_else(Answer::from, Answer::Stored)
}

/// Stores so many bytes that follow. Many are stored as they come, and make the client wait rather than be kept.
async fn put(shared: &Shared, mut stream: Stream, bytes: u64) -> io::Result<(Stream, Answer)> {
    if bytes > objects::LENGTH_MAX {
        return Ok((stream, too_long().into()));
    }
    // A client that sends does not listen, so nothing is told meanwhile.
    let silent = |_| std::future::pending();
    if bytes <= objects::SMALL {
        let small = Spooled::Memory(objects::read_small(&mut stream, bytes).await?);
        let outcome = objects::put(&shared.node, &Bytes::<Stream>::Spooled(small, bytes), silent).await?;
        return Ok((stream, stored(outcome)));
    }
    let lent = Lent::new(stream);
    let coming = Bytes::Coming(lent.clone(), bytes);
    let outcome = objects::put(&shared.node, &coming, silent).await?;
    drop(coming);
    let stream = lent.back().ok_or_else(|| io::Error::other("the connection is still being read"))?;
    Ok((stream, stored(outcome)))
}

/// Tells how far a put is, until the client is gone. To be dropped between lines only: a line is so short that the socket
/// takes all of it or nothing.
async fn tell(progress: Progress, mut writer: UnixStream) -> io::Error {
    loop {
        task::sleep(TELL_EVERY).await;
        let (done, total) = (progress.bytes_done(), progress.bytes_total().unwrap_or_default());
        let told = match line(&Answer::Progress { done, total }) {
            Ok(bytes) => writer.write_all(&bytes).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            return error;
        }
    }
}

/// Stores chunks that follow, once their end is known.
async fn put_chunks(shared: &Shared, mut stream: Stream) -> io::Result<(Stream, Answer)> {
    let spool = match collect(shared, &mut stream).await? {
        Ok(spool) => spool,
        Err(failure) => return Ok((stream, failure.into())),
    };
    let bytes = spool.bytes();
    let all = Bytes::<Stream>::Spooled(spool.finish()?, bytes);
    let writer = stream.get_ref().clone();
    let outcome = objects::put(&shared.node, &all, |progress| tell(progress, writer.clone())).await?;
    Ok((stream, stored(outcome)))
}

async fn get(shared: &Shared, stream: &mut Stream, id: &str, from: u64) -> io::Result<Answer> {
    let id: Key = match id.parse() {
        Ok(id) => id,
        Err(error) => return Ok(Failure::usage(format!("{id:?} is not the id of an object: {error}")).into()),
    };
    let mut got = match objects::Got::begin(&shared.node, id, from).await {
        Ok(got) => got,
        Err(failure) => return Ok(failure.into()),
    };
    say(stream, &Answer::Object { bytes: got.bytes(), from: got.from() }).await?;
    // Each chunk behind its length, so that both are one write.
    let mut framed = Vec::with_capacity(4 + CHUNK_MAX);
    loop {
        framed.clear();
        framed.extend([0; 4]);
        let read = got.read(&mut framed, 4 + CHUNK_MAX).await;
        let length = framed.len() - 4;
        if let Some(place) = framed.first_chunk_mut() {
            *place = (length as u32).to_le_bytes();
        }
        stream.get_mut().write_all(&framed).await?;
        match read {
            Ok(()) if length > 0 => {}
            Ok(()) => return Ok(Answer::Done {}),
            Err(failure) => {
                if length > 0 {
                    stream.get_mut().write_all(&0_u32.to_le_bytes()).await?;
                }
                return Ok(failure.into());
            }
        }
    }
}

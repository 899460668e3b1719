//! Objects into the network and out of it, as the control socket needs it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_std::task;
use butter_async_std::{Error, Get, Node, Progress, Source};
use butter_core::id::Key;
use butter_core::node::Refused;
use butter_core::wire::BLOCK;
use futures_lite::future::{or, poll_once};
use futures_lite::io::{AsyncRead, AsyncReadExt};

use crate::failure::{Exit, Failure};
use crate::report::Stored;
use crate::spool::Spooled;

/// The longest object, in bytes.
pub const LENGTH_MAX: u64 = butter_core::retrieve::LENGTH_MAX;
/// How long to wait when the node has too much under way.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest object that is taken into memory rather than read as it is stored.
pub const SMALL: u64 = 64 << 10;

fn explain(error: Error) -> Failure {
    let exit = if matches!(error, Error::NotFound) { Exit::NotFound } else { Exit::Failed };
    Failure::new(exit, error.to_string())
}

/// A reader that is lent to a put and had back afterwards.
#[derive(Debug)]
pub struct Lent<R>(Arc<Mutex<R>>);

impl<R> Clone for Lent<R> {
    fn clone(&self) -> Lent<R> {
        Lent(self.0.clone())
    }
}

impl<R> Lent<R> {
    /// Lends a reader.
    pub fn new(reader: R) -> Lent<R> {
        Lent(Arc::new(Mutex::new(reader)))
    }

    /// The reader, when nobody else has it any more.
    pub fn back(self) -> Option<R> {
        Arc::into_inner(self.0).map(|reader| reader.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lent<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *reader).poll_read(cx, buf)
    }
}

/// Where the bytes of a put are.
#[derive(Debug)]
pub enum Bytes<R> {
    /// In memory or in a file.
    Spooled(Spooled, u64),
    /// On their way: so many.
    Coming(Lent<R>, u64),
}

impl<R: AsyncRead + Send + Unpin + 'static> Bytes<R> {
    /// A source of these bytes. Of one that was not read yet, another can be made.
    fn source(&self) -> io::Result<Source> {
        Ok(match self {
            Bytes::Spooled(Spooled::Memory(bytes), _) => Source::from(bytes.as_slice()),
            Bytes::Spooled(Spooled::File(file), bytes) => {
                Source::reader(async_std::fs::File::from(file.try_clone()?), *bytes)
            }
            Bytes::Coming(reader, bytes) => Source::reader(reader.clone(), *bytes),
        })
    }
}

/// Stores an object. `telling` gets to know how far it is, and is run meanwhile; it ends only when nobody listens any more.
///
/// # Errors
/// Outside: what `telling` ended with, then the put is given up. Inside: the object is not stored.
pub async fn put<R: AsyncRead + Send + Unpin + 'static, F: Future<Output = io::Error>>(
    node: &Node,
    bytes: &Bytes<R>,
    telling: impl Fn(Progress) -> F,
) -> io::Result<Result<Stored, Failure>> {
    let begun = Instant::now();
    let stored = loop {
        let put = node.put(bytes.source()?);
        let telling = telling(put.progress());
        match or(async { Ok(put.await) }, async { Err(telling.await) }).await? {
            Ok(stored) => break stored,
            // Too much is under way: nothing was read, so it can begin again.
            Err(Error::Refused(Refused::Full | Refused::NoBuffer)) => task::sleep(AGAIN).await,
            Err(error) => return Ok(Err(explain(error))),
        }
    };
    Ok(Ok(Stored {
        id: stored.key.to_string(),
        bytes: stored.bytes,
        blocks: stored.blocks,
        replicas: stored.replicas,
        wanted: Some(stored.wanted),
        seconds: begun.elapsed().as_secs_f64(),
        file: None,
    }))
}

/// An object being fetched.
#[derive(Debug)]
pub struct Got {
    get: Get,
    bytes: u64,
    from: u64,
    /// A block that was fetched and did not fit.
    rest: Option<Vec<u8>>,
    ended: bool,
}

impl Got {
    /// Begins to fetch an object, at the block that byte `from` is in, and waits until it is known to exist.
    ///
    /// # Errors
    /// [`Exit::NotFound`] when no node asked knows of it.
    pub async fn begin(node: &Node, id: Key, from: u64) -> Result<Got, Failure> {
        let block = u32::try_from(from / BLOCK as u64).unwrap_or(u32::MAX);
        loop {
            let mut get = node.get_from(id, block);
            match get.next().await {
                Err(Error::Refused(Refused::Full | Refused::NoBuffer)) => task::sleep(AGAIN).await,
                Err(error) => return Err(explain(error)),
                Ok(first) => {
                    let bytes =
                        get.progress().bytes_total().ok_or_else(|| Failure::failed("the object has no length"))?;
                    let from = (u64::from(block) * BLOCK as u64).min(bytes);
                    return Ok(Got { get, bytes, from, ended: first.is_none(), rest: first });
                }
            }
        }
    }

    /// Bytes of the object.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The byte that it begins at.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Adds what is here to `chunk`, until it has about `most` bytes; waits for one block, unless the end was reached.
    ///
    /// # Errors
    /// The rest cannot be had.
    pub async fn read(&mut self, chunk: &mut Vec<u8>, most: usize) -> Result<(), Failure> {
        let before = chunk.len();
        chunk.extend(self.rest.take().unwrap_or_default());
        while !self.ended && chunk.len() + BLOCK <= most {
            let next = if chunk.len() == before {
                self.get.next().await
            } else {
                match poll_once(self.get.next()).await {
                    Some(next) => next,
                    // Better to give what is here than to wait for more.
                    None => break,
                }
            };
            match next.map_err(explain)? {
                Some(block) => chunk.extend(block),
                None => self.ended = true,
            }
        }
        Ok(())
    }
}

/// Reads so few bytes that they fit in memory.
///
/// # Errors
/// The client has gone.
pub async fn read_small(reader: &mut (impl AsyncRead + Unpin), bytes: u64) -> io::Result<Vec<u8>> {
    let mut all = vec![0; bytes.min(SMALL) as usize];
    reader.read_exact(&mut all).await?;
    Ok(all)
}

//! Putting and getting objects through a handle.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_channel::{Receiver, Sender};
use butter_core::Node as Core;
use butter_core::id::Key;
use butter_core::node::{GetId, PutId};
use butter_core::retrieve::{Progress as Outcome, PutStatus};
use butter_core::time::Instant;
use butter_core::wire::BLOCK;
use futures_lite::{AsyncWrite, AsyncWriteExt, FutureExt, Stream};

use crate::error::Error;
use crate::node::{Node, Sweep};
use crate::source::Source;

/// Blocks given to the node, or taken from it, in one piece of work.
const BATCH: usize = 32;
/// Questions for blocks that may wait: those of one extent, and as many reminders.
const WANTS: usize = 256;

/// How far a put or get is: readable at any time, from anywhere.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    /// One more than the bytes of the object; 0 is not known.
    total: AtomicU64,
}

impl Progress {
    /// Bytes of the object that are done.
    pub fn bytes_done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Bytes of the object, once known.
    pub fn bytes_total(&self) -> Option<u64> {
        self.0.total.load(Ordering::Relaxed).checked_sub(1)
    }

    fn set(&self, done: u64, total: Option<u64>) {
        self.0.done.store(done, Ordering::Relaxed);
        if let Some(total) = total {
            self.0.total.store(total.saturating_add(1), Ordering::Relaxed);
        }
    }
}

/// An object that was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its id: what [`Node::get`] asks for.
    pub key: Key,
    /// Its length.
    pub bytes: u64,
    /// Its blocks.
    pub blocks: u32,
    /// Nodes that hold it: the fewest over its parts.
    pub replicas: u8,
    /// Nodes that should; repair goes on until so many do.
    pub wanted: u8,
}

/// A put of an engine.
#[derive(Debug)]
pub(crate) struct PutWait {
    wants: Sender<u32>,
    ended: Sender<Result<Stored, Error>>,
    progress: Progress,
}

impl PutWait {
    /// The node asks for a block. When too many wait, this one is asked for again later.
    pub fn wants(&self, block: u32) {
        let _ = self.wants.try_send(block);
    }

    pub fn abandoned(&self) -> bool {
        self.ended.is_closed()
    }

    pub fn end(self, status: Option<PutStatus>) {
        let outcome = match status {
            None => Err(Error::Stopped),
            Some(status) => match (status.progress, status.key) {
                (Outcome::Done, Some(key)) => {
                    self.progress.set(status.bytes_total, Some(status.bytes_total));
                    Ok(Stored {
                        key,
                        bytes: status.bytes_total,
                        blocks: status.blocks,
                        replicas: status.replicas,
                        wanted: status.wanted,
                    })
                }
                (Outcome::Failed(reason), _) => Err(Error::Failed(reason)),
                _ => Err(Error::Stopped),
            },
        };
        let _ = self.ended.try_send(outcome);
    }
}

/// A put to be awaited.
#[derive(Debug)]
#[must_use = "a put begins when it is awaited"]
pub struct Put {
    node: Node,
    source: Source,
    min_replicas: u8,
    progress: Progress,
}

impl Put {
    pub(crate) fn new(node: Node, source: Source) -> Put {
        let progress = Progress::default();
        progress.set(0, Some(source.length()));
        Put { node, source, min_replicas: 1, progress }
    }

    /// Fails when fewer nodes hold the object at the end. Default: 1, which a lone node can reach by itself.
    pub fn min_replicas(mut self, nodes: u8) -> Put {
        self.min_replicas = nodes;
        self
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    async fn run(mut self) -> Result<Stored, Error> {
        let mut sweep = self.node.sweep();
        let (wants, wanted) = async_channel::bounded(WANTS);
        let (ended, end) = async_channel::bounded(1);
        let (length, min_replicas) = (self.source.length(), self.min_replicas);
        let wait = PutWait { wants, ended, progress: self.progress.clone() };
        let id = self
            .node
            .with_engine(move |core, engine, now| {
                let id = core.put(now, length, min_replicas)?;
                engine.add_put(core, now, id, wait);
                Ok::<PutId, Error>(id)
            })
            .await??;
        let outcome = loop {
            let next = async { end.recv().await.map_err(|_| Error::Stopped).map(Err) };
            let block = async {
                match wanted.recv().await {
                    Ok(block) => Ok(Ok(block)),
                    // The end is on its way.
                    Err(_) => std::future::pending().await,
                }
            };
            let block: u32 = match next.or(block).await? {
                Ok(block) => block,
                Err(outcome) => break outcome,
            };
            let mut asked = BTreeSet::from([block]);
            while asked.len() < BATCH
                && let Ok(block) = wanted.try_recv()
            {
                asked.insert(block);
            }
            let mut blocks = Vec::with_capacity(asked.len());
            for block in asked {
                blocks.push((block, self.source.block(block).await?.to_vec()));
            }
            let progress = self.progress.clone();
            self.node
                .command(move |core, _, now| {
                    for (block, bytes) in &blocks {
                        // What cannot be taken now is asked for again.
                        let _ = core.put_block(now, id, *block, bytes);
                    }
                    if let Some(status) = core.put_status(id) {
                        progress.set(status.bytes_done, None);
                    }
                })
                .await?;
        };
        sweep.disarm();
        outcome
    }
}

impl IntoFuture for Put {
    type Output = Result<Stored, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Blocks with their numbers; `None`: there are no more.
type Batch = Option<Vec<(u32, Vec<u8>)>>;

/// A get of an engine.
#[derive(Debug)]
pub(crate) struct GetWait {
    /// To the handle: one batch at a time.
    batches: Sender<Result<Batch, Error>>,
    /// Whether the handle waits for the next.
    wanted: bool,
    /// Blocks that the node has and nobody has taken.
    ready: BTreeSet<u32>,
    ended: bool,
    progress: Progress,
}

impl GetWait {
    pub fn abandoned(&self) -> bool {
        self.batches.is_closed()
    }

    /// The node has a block.
    pub fn has(&mut self, core: &mut Core<'_>, now: Instant, id: GetId, block: u32) {
        self.ready.insert(block);
        self.give(core, now, id);
    }

    /// The get has ended.
    pub fn end(&mut self, core: &mut Core<'_>, now: Instant, id: GetId) {
        self.ended = true;
        self.give(core, now, id);
    }

    /// Gives what is there to the handle, if it waits.
    fn give(&mut self, core: &mut Core<'_>, now: Instant, id: GetId) {
        if !self.wanted || self.batches.is_full() {
            return;
        }
        let mut blocks = Vec::new();
        while blocks.len() < BATCH
            && let Some(block) = self.ready.pop_first()
        {
            let mut bytes = vec![0; BLOCK];
            if let Some(len) = core.got_block(now, id, block, &mut bytes) {
                bytes.truncate(len);
                blocks.push((block, bytes));
            }
        }
        let status = core.get_status(id);
        if let Some(status) = &status {
            self.progress.set(status.bytes_done, status.bytes_total);
        }
        let batch = match status.map(|status| status.progress) {
            _ if !blocks.is_empty() => Ok(Some(blocks)),
            _ if !self.ended => return,
            Some(Outcome::Done) => Ok(None),
            Some(Outcome::NotFound) => Err(Error::NotFound),
            Some(Outcome::Failed(reason)) => Err(Error::Failed(reason)),
            Some(Outcome::Working) | None => Err(Error::Stopped),
        };
        self.wanted = false;
        let _ = self.batches.try_send(batch);
    }
}

/// A get under way: the object's bytes in order, as they come. Nothing runs ahead of who reads them but a window.
pub struct Get {
    node: Node,
    key: Key,
    begun: Option<Begun>,
    /// Blocks that came before their turn.
    early: BTreeMap<u32, Vec<u8>>,
    next: u32,
    /// Whether the next batch was asked for.
    asked: bool,
    ended: bool,
    progress: Progress,
}

/// A get that the node knows of. The order of the fields matters: the sweep finds the receiver gone.
struct Begun {
    id: GetId,
    /// A batch that nobody waited for to its end stays in here.
    batches: Receiver<Result<Batch, Error>>,
    _sweep: Sweep,
}

impl Get {
    pub(crate) fn new(node: Node, key: Key, from_block: u32) -> Get {
        let progress = Progress::default();
        let early = BTreeMap::new();
        Get { node, key, begun: None, early, next: from_block, asked: false, ended: false, progress }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The block that [`Get::next`] returns next: where to resume by [`Node::get_from`].
    pub fn position(&self) -> u32 {
        self.next
    }

    async fn begin(&mut self) -> Result<(GetId, Receiver<Result<Batch, Error>>), Error> {
        if let Some(begun) = &self.begun {
            return Ok((begun.id, begun.batches.clone()));
        }
        // Declared first, so that it is dropped last: it finds the receiver gone.
        let sweep = self.node.sweep();
        let (batches, receiver) = async_channel::bounded(1);
        let (key, from, progress) = (self.key, self.next, self.progress.clone());
        let begin = self.node.with_engine(move |core, engine, now| {
            let id = core.get(now, key, from)?;
            let wait = GetWait { batches, wanted: false, ready: BTreeSet::new(), ended: false, progress };
            engine.add_get(core, now, id, wait);
            Ok::<GetId, Error>(id)
        });
        let id = begin.await??;
        self.begun = Some(Begun { id, batches: receiver.clone(), _sweep: sweep });
        Ok((id, receiver))
    }

    /// The object's next bytes, up to a block; `None` at its end. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no node asked knows of the object, [`Error::Failed`] when a part of it cannot be had.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(bytes) = self.early.remove(&self.next) {
                self.next += 1;
                return Ok(Some(bytes));
            }
            if self.ended {
                return Ok(None);
            }
            let (id, batches) = self.begin().await?;
            if !self.asked {
                self.node
                    .command(move |core, engine, now| {
                        if let Some(wait) = engine.gets.get_mut(&id) {
                            wait.wanted = true;
                            wait.give(core, now, id);
                        }
                    })
                    .await?;
                self.asked = true;
            }
            let batch = batches.recv().await.unwrap_or(Err(Error::Stopped));
            self.asked = false;
            match batch? {
                Some(blocks) => self.early.extend(blocks),
                None => self.ended = true,
            }
        }
    }

    /// Writes all that is left to `sink`; how many bytes that was.
    ///
    /// # Errors
    /// As [`Get::next`], and [`Error::Io`] of the sink.
    pub async fn write_to(&mut self, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let mut written = 0;
        while let Some(bytes) = self.next().await? {
            sink.write_all(&bytes).await?;
            written += bytes.len() as u64;
        }
        sink.flush().await?;
        Ok(written)
    }

    /// All that is left, in memory.
    ///
    /// # Errors
    /// As [`Get::next`].
    pub async fn to_vec(&mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// The object's bytes as a stream of blocks, which ends after the first error.
    pub fn stream(self) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send + Unpin {
        Box::pin(futures_lite::stream::unfold(Some(self), |get| async {
            let mut get = get?;
            match get.next().await {
                Ok(None) => None,
                Ok(Some(bytes)) => Some((Ok(bytes), Some(get))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl std::fmt::Debug for Get {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Get({:?} from block {})", self.key, self.next)
    }
}

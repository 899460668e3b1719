//! Puts and gets that the world does for tests: it gives the blocks, takes the blocks, and remembers how each ended.

use std::collections::BTreeMap;

use butter_core::Node;
use butter_core::id::Key;
use butter_core::node::{Event, GetId, PutId, Refused};
use butter_core::retrieve::{GetStatus, Progress, PutStatus};
use butter_core::storage::BlockRef;
use butter_core::time::Instant;
use butter_core::wire::BLOCK;

use super::{Who, World};

/// The longest that a job is waited for, in virtual milliseconds; the node's own limits end it long before.
const JOB_MS_MAX: u64 = 600_000;

/// A put or get: the number of those begun before it in this world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Job(usize);

/// How a put or get ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The put ended, one way or the other.
    Put(PutStatus),
    /// The get gave all bytes.
    Got(Vec<u8>, GetStatus),
    /// The get ended without them.
    NotGot(GetStatus),
    /// The node died first.
    Died,
}

impl Outcome {
    /// The key of an object that was put with success.
    pub fn key(&self) -> Option<Key> {
        match self {
            Outcome::Put(status) if status.progress == Progress::Done => status.key,
            _ => None,
        }
    }

    /// The bytes of an object that was got.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Outcome::Got(bytes, _) => Some(bytes),
            _ => None,
        }
    }
}

struct Work {
    who: Who,
    began: Instant,
    ended: Instant,
    bytes: Vec<u8>,
    outcome: Option<Outcome>,
}

#[derive(Default)]
pub struct Jobs {
    all: Vec<Work>,
    puts: BTreeMap<(Who, PutId), usize>,
    gets: BTreeMap<(Who, GetId), usize>,
}

impl Jobs {
    fn begin(&mut self, who: Who, bytes: Vec<u8>, now: Instant) -> usize {
        self.all.push(Work { who, began: now, ended: now, bytes, outcome: None });
        self.all.len() - 1
    }

    fn end(&mut self, job: usize, now: Instant, outcome: Outcome) {
        self.all[job].ended = now;
        self.all[job].outcome = Some(outcome);
    }

    /// Whether an event belonged to a job; then it has been dealt with. `now` is the world's time, `clock` the node's.
    pub fn event(&mut self, now: Instant, clock: Instant, who: Who, event: Event, node: &mut Node<'_>) -> bool {
        match event {
            Event::PutWants { put, block } => {
                let Some(&job) = self.puts.get(&(who, put)) else { return false };
                let bytes = &self.all[job].bytes;
                let from = (block as usize * BLOCK).min(bytes.len());
                let data = &bytes[from..bytes.len().min(from + BLOCK)];
                // `NoBuffer` will be asked again, and a put that is over will say so.
                let taken = node.put_block(clock, put, block, data);
                assert!(taken != Err(Refused::Invalid), "{who:?} asked for block {block} of {} bytes", bytes.len());
            }
            Event::PutDone(put) => {
                let Some(job) = self.puts.remove(&(who, put)) else { return false };
                if let Some(status) = node.put_status(put) {
                    self.end(job, now, Outcome::Put(status));
                    self.all[job].bytes = Vec::new();
                }
                node.put_free(clock, put);
            }
            Event::GetHas { get, block } => {
                let Some(&job) = self.gets.get(&(who, get)) else { return false };
                let mut data = [0; BLOCK];
                if let Some(len) = node.got_block(clock, get, block, &mut data) {
                    let (bytes, from) = (&mut self.all[job].bytes, block as usize * BLOCK);
                    bytes.resize(bytes.len().max(from + len), 0);
                    bytes[from..from + len].copy_from_slice(&data[..len]);
                }
            }
            Event::GetDone(get) => {
                let Some(job) = self.gets.remove(&(who, get)) else { return false };
                if let Some(status) = node.get_status(get) {
                    let bytes = std::mem::take(&mut self.all[job].bytes);
                    let whole = status.progress == Progress::Done;
                    self.end(job, now, if whole { Outcome::Got(bytes, status) } else { Outcome::NotGot(status) });
                }
                node.get_free(clock, get);
            }
            _ => return false,
        }
        true
    }

    /// Those under way: where, and since when.
    pub fn open(&self) -> impl Iterator<Item = (Who, Instant)> {
        self.puts.values().chain(self.gets.values()).map(|job| (self.all[*job].who, self.all[*job].began))
    }

    /// What a node had under way ends with it.
    pub fn died(&mut self, who: Who, now: Instant) {
        let puts = self.puts.extract_if(.., |(of, _), _| *of == who).map(|(_, job)| job);
        let gets = self.gets.extract_if(.., |(of, _), _| *of == who).map(|(_, job)| job);
        for job in puts.chain(gets) {
            self.all[job].ended = now;
            self.all[job].bytes = Vec::new();
            self.all[job].outcome = Some(Outcome::Died);
        }
    }
}

impl World<'_> {
    /// Begins to put an object at a node; blocks are given as the node asks for them.
    ///
    /// # Errors
    /// The node refused, or does not run ([`Refused::Unknown`]); nothing was begun.
    pub fn begin_put(&mut self, who: Who, bytes: Vec<u8>) -> Result<Job, Refused> {
        let (now, length) = (self.now, bytes.len() as u64);
        let put = self.call_quietly(who, |clock, node| node.put(clock, length, 1)).ok_or(Refused::Unknown)??;
        let job = self.jobs.begin(who, bytes, now);
        self.jobs.puts.insert((who, put), job);
        self.pump(who);
        Ok(Job(job))
    }

    /// Begins to get an object at a node.
    ///
    /// # Errors
    /// The node refused, or does not run ([`Refused::Unknown`]); nothing was begun.
    pub fn begin_get(&mut self, who: Who, key: Key) -> Result<Job, Refused> {
        let now = self.now;
        let get = self.call_quietly(who, |clock, node| node.get(clock, key, 0)).ok_or(Refused::Unknown)??;
        let job = self.jobs.begin(who, Vec::new(), now);
        self.jobs.gets.insert((who, get), job);
        self.pump(who);
        Ok(Job(job))
    }

    /// How a job ended; `None` while it is under way.
    pub fn outcome(&self, job: Job) -> Option<&Outcome> {
        self.jobs.all[job.0].outcome.as_ref()
    }

    /// Virtual microseconds from a job's begin to its end, or until now.
    pub fn took_us(&self, job: Job) -> u64 {
        let work = &self.jobs.all[job.0];
        if work.outcome.is_some() { work.ended.since(work.began) } else { self.now.since(work.began) }
    }

    /// Where a job was begun.
    pub fn place(&self, job: Job) -> Who {
        self.jobs.all[job.0].who
    }

    /// Lets the world go on until these jobs have ended; false if one has not after 10 virtual minutes.
    pub fn finish(&mut self, jobs: &[Job]) -> bool {
        let until = self.now.plus_us(JOB_MS_MAX * 1000);
        jobs.iter().all(|job| {
            while self.outcome(*job).is_none() {
                if !self.step(until) {
                    return false;
                }
            }
            true
        })
    }

    /// Running nodes that have the first block of an item on their disk.
    pub fn holders(&self, key: Key) -> impl Iterator<Item = Who> {
        self.up().filter(move |who| self.slots[who.index()].disk.get(BlockRef { key, index: 0 }).is_some())
    }

    /// Puts an object at a node and waits for the end: its key, if it was acknowledged.
    pub fn put(&mut self, who: Who, bytes: Vec<u8>) -> Option<Key> {
        let job = self.begin_put(who, bytes).ok()?;
        self.finish(&[job]);
        self.outcome(job)?.key()
    }

    /// Gets an object at a node and waits for the end: its bytes, if it was found.
    pub fn get(&mut self, who: Who, key: Key) -> Option<Vec<u8>> {
        let job = self.begin_get(who, key).ok()?;
        self.finish(&[job]);
        self.outcome(job)?.bytes().map(<[u8]>::to_vec)
    }
}

//! Puts, gets and calls that the world does for tests and loads: it gives the blocks, takes the blocks, answers, and
//! remembers how each ended.

use std::collections::BTreeMap;

use butter_core::Node;
use butter_core::exchange::Status;
use butter_core::id::{Key, RouteId, route};
use butter_core::node::{CallId, Event, GetId, PutId, Refused};
use butter_core::retrieve::{GetStatus, Progress, PutStatus};
use butter_core::storage::BlockRef;
use butter_core::time::Instant;
use butter_core::wire::BLOCK;

use super::{Who, World};

/// The longest that a job is waited for, in virtual milliseconds; the node's own limits end it long before.
const JOB_MS_MAX: u64 = 600_000;

/// A put, get or call: the number of those begun before it in this world.
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
    /// The call was answered, or not.
    Called(bool),
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
    of_load: bool,
}

/// The route that calls of loads go to: it answers with the request's body.
pub(crate) const LOAD_ROUTE: RouteId = route("sim-load/1");
/// The longest that such a call waits for its answer.
const CALL_MS_MAX: u32 = 30_000;

#[derive(Default)]
pub struct Jobs {
    begun: usize,
    all: BTreeMap<usize, Work>,
    puts: BTreeMap<(Who, PutId), usize>,
    gets: BTreeMap<(Who, GetId), usize>,
    calls: BTreeMap<(Who, CallId), usize>,
    /// Those that have ended and that a load waits for.
    pub(crate) ended: Vec<Job>,
}

impl Jobs {
    fn begin(&mut self, who: Who, bytes: Vec<u8>, now: Instant) -> usize {
        let work = Work { who, began: now, ended: now, bytes, outcome: None, of_load: false };
        self.all.insert(self.begun, work);
        self.begun += 1;
        self.begun - 1
    }

    fn end(&mut self, job: usize, now: Instant, outcome: Outcome) {
        let Some(work) = self.all.get_mut(&job) else { return };
        (work.ended, work.outcome, work.bytes) = (now, Some(outcome), Vec::new());
        if work.of_load {
            self.ended.push(Job(job));
        }
    }

    /// A load wants to be told when it ends.
    pub(crate) fn watch(&mut self, job: Job) {
        if let Some(work) = self.all.get_mut(&job.0) {
            work.of_load = true;
            if work.outcome.is_some() {
                self.ended.push(job);
            }
        }
    }

    /// Forgets a job, and says when it ended and how, if it has.
    pub(crate) fn take(&mut self, job: Job) -> Option<(Instant, Outcome)> {
        let work = self.all.remove(&job.0)?;
        Some((work.ended, work.outcome?))
    }

    /// Whether an event belonged to a job; then it has been dealt with. `now` is the world's time, `clock` the node's.
    pub fn event(&mut self, now: Instant, clock: Instant, who: Who, event: Event, node: &mut Node<'_>) -> bool {
        match event {
            Event::PutWants { put, block } => {
                let Some(&job) = self.puts.get(&(who, put)) else { return false };
                let Some(Work { bytes, .. }) = self.all.get(&job) else { return false };
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
                }
                node.put_free(clock, put);
            }
            Event::GetHas { get, block } => {
                let Some(&job) = self.gets.get(&(who, get)) else { return false };
                let Some(Work { bytes, .. }) = self.all.get_mut(&job) else { return false };
                let mut data = [0; BLOCK];
                if let Some(len) = node.got_block(clock, get, block, &mut data) {
                    let from = block as usize * BLOCK;
                    bytes.resize(bytes.len().max(from + len), 0);
                    bytes[from..from + len].copy_from_slice(&data[..len]);
                }
            }
            Event::GetDone(get) => {
                let Some(job) = self.gets.remove(&(who, get)) else { return false };
                if let Some(status) = node.get_status(get) {
                    let bytes = self.all.get_mut(&job).map(|work| std::mem::take(&mut work.bytes)).unwrap_or_default();
                    let whole = status.progress == Progress::Done;
                    self.end(job, now, if whole { Outcome::Got(bytes, status) } else { Outcome::NotGot(status) });
                }
                node.get_free(clock, get);
            }
            Event::Answered(call) => {
                let Some(job) = self.calls.remove(&(who, call)) else { return false };
                let well = node.answer(call).is_some_and(|answer| answer.is_ok());
                self.end(job, now, Outcome::Called(well));
                node.cancel(clock, call);
            }
            Event::Request(serve) if node.request(serve).is_some_and(|request| request.route == LOAD_ROUTE) => {
                let body = node.request(serve).map(|request| request.body.to_vec()).unwrap_or_default();
                // Without a buffer the caller asks again, as it would a server that is busy.
                if node.respond(clock, serve, Status::Ok, &body).is_err() {
                    let _ = node.respond(clock, serve, Status::Busy, &[]);
                }
            }
            _ => return false,
        }
        true
    }

    /// Those under way: where, and since when.
    pub fn open(&self) -> impl Iterator<Item = (Who, Instant)> {
        let all = self.puts.values().chain(self.gets.values()).chain(self.calls.values());
        all.filter_map(|job| self.all.get(job)).map(|work| (work.who, work.began))
    }

    /// What a node had under way ends with it.
    pub fn died(&mut self, who: Who, now: Instant) {
        let puts = self.puts.extract_if(.., |(of, _), _| *of == who).map(|(_, job)| job);
        let gets = self.gets.extract_if(.., |(of, _), _| *of == who).map(|(_, job)| job);
        let calls = self.calls.extract_if(.., |(of, _), _| *of == who).map(|(_, job)| job);
        for job in puts.chain(gets).chain(calls).collect::<Vec<_>>() {
            self.end(job, now, Outcome::Died);
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

    /// Begins to call another node, which sends back `bytes`.
    ///
    /// # Errors
    /// The node refused, or one of the two does not run ([`Refused::Unknown`]); nothing was begun.
    pub fn begin_call(&mut self, who: Who, to: Who, bytes: &[u8]) -> Result<Job, Refused> {
        let (now, id) = (self.now, self.id(to));
        self.call_quietly(to, |_, node| node.serve_route(LOAD_ROUTE)).ok_or(Refused::Unknown)??;
        let call = |clock, node: &mut Node<'_>| node.call(clock, id, LOAD_ROUTE, bytes, CALL_MS_MAX);
        let call = self.call_quietly(who, call).ok_or(Refused::Unknown)??;
        let job = self.jobs.begin(who, Vec::new(), now);
        self.jobs.calls.insert((who, call), job);
        self.pump(who);
        Ok(Job(job))
    }

    /// How a job ended; `None` while it is under way.
    pub fn outcome(&self, job: Job) -> Option<&Outcome> {
        self.jobs.all.get(&job.0)?.outcome.as_ref()
    }

    /// Virtual microseconds from a job's begin to its end, or until now.
    pub fn took_us(&self, job: Job) -> u64 {
        let Some(work) = self.jobs.all.get(&job.0) else { return 0 };
        if work.outcome.is_some() { work.ended.since(work.began) } else { self.now.since(work.began) }
    }

    /// Where a job was begun; nowhere if it is forgotten.
    pub fn place(&self, job: Job) -> Who {
        self.jobs.all.get(&job.0).map_or(Who(u32::MAX), |work| work.who)
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

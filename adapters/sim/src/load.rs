//! Loads: what users do. Puts, gets, calls, and gets of what nobody has put, at random times at random nodes.

use std::collections::BTreeMap;

use butter_core::id::Key;
use butter_core::node::Refused;
use butter_core::retrieve::Progress;
use butter_core::rng::Rng;
use butter_core::time::Instant;
use serde::Deserialize;

use crate::scenario::units::{Rate, Share, Size, Time};
use crate::world::{Job, Outcome, What, Who, World};
use crate::{chance, fixed};

/// Operations under way at the same time, at most; those that would be more are not begun, and counted.
pub const OPEN_MAX: usize = 100_000;
/// Objects that gets choose from, at most; what is put beyond is never got.
pub const ITEMS_MAX: usize = 1_000_000;

/// What is done, and how often. Everything has a default; the shares need not add up to the whole, but one must be above 0.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, try_from = "Written")]
pub struct Load {
    /// Operations begun in the whole world per time, at exponential intervals. Default: 1 per s.
    pub rate: Rate,
    /// Of the operations, how many put a new object. Default: 10 %.
    pub put: Share,
    /// How many get one that was put. Default: 90 %.
    pub get: Share,
    /// How many get one that nobody put. Default: 0 %.
    pub absent: Share,
    /// How many call another node that the caller knows. Default: 0 %.
    pub call: Share,
    /// How large an object, or a call's body, is; bodies are cut off at 1 KiB. Default: 1 block.
    pub size: Size,
    /// Which objects are got. Default: each as often.
    pub popularity: Popularity,
    /// Operations of which everything is remembered; of those that come later, only sums. Default: 100,000.
    pub records: u32,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            rate: Rate::every(Time::from_s(1)),
            put: Share::from_ppm(100_000),
            get: Share::from_ppm(900_000),
            absent: Share::default(),
            call: Share::default(),
            size: Size::from_blocks(1),
            popularity: Popularity::Uniform,
            records: 100_000,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    rate: Rate,
    put: Share,
    get: Share,
    absent: Share,
    call: Share,
    size: Size,
    popularity: Popularity,
    records: u32,
}

impl Default for Written {
    fn default() -> Self {
        let Load { rate, put, get, absent, call, size, popularity, records } = Load::default();
        Written { rate, put, get, absent, call, size, popularity, records }
    }
}

impl TryFrom<Written> for Load {
    type Error = String;

    fn try_from(written: Written) -> Result<Load, String> {
        let Written { rate, put, get, absent, call, size, popularity, records } = written;
        if [put, get, absent, call].iter().all(|share| share.ppm() == 0) {
            return Err("a load of nothing: one of put, get, absent and call must be above 0".into());
        }
        if rate.mean().is_none() {
            return Err("a load with rate 0 is no load: leave it out".into());
        }
        Ok(Load { rate, put, get, absent, call, size, popularity, records })
    }
}

/// Which objects are got. In a scenario `"uniform"` or `{ zipf = 0.8 }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Popularity {
    /// Each as often.
    #[default]
    Uniform,
    /// The n-th that was put, 1 / n^s times as often as the first. In millionths.
    #[serde(deserialize_with = "exponent")]
    Zipf(u32),
}

fn exponent<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let exponent = f64::deserialize(deserializer)?;
    if !(0.0..=10.0).contains(&exponent) {
        return Err(serde::de::Error::custom(format!("{exponent} is no exponent of Zipf's law: it must be 0 to 10")));
    }
    Ok((exponent * 1e6).round() as u32)
}

/// Objects to get, and how popular each is.
#[derive(Default)]
struct Items {
    keys: Vec<(Key, u64)>,
    /// The sum of the weights up to each.
    sums: Vec<u64>,
}

impl Items {
    fn add(&mut self, key: Key, hash: u64, popularity: Popularity) {
        if self.keys.len() >= ITEMS_MAX {
            return;
        }
        self.keys.push((key, hash));
        let weight = match popularity {
            Popularity::Uniform => 1 << 32,
            Popularity::Zipf(ppm) => {
                let power = i128::from(fixed::log2(self.keys.len() as u64)) * i128::from(ppm) / 1_000_000;
                fixed::scaled(1 << 32, -(power as i64))
            }
        };
        self.sums.push(self.sums.last().unwrap_or(&0) + weight.max(1));
    }

    fn draw(&self, rng: &mut Rng) -> Option<(Key, u64)> {
        let at = (u128::from(rng.next_u64()) * u128::from(*self.sums.last()?)) >> 64;
        self.keys.get(self.sums.partition_point(|sum| u128::from(*sum) <= at)).copied()
    }
}

/// What an operation is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Doing {
    /// Puts a new object.
    Put,
    /// Gets an object that was put.
    Get,
    /// Gets an object that nobody put.
    Absent,
    /// Calls another node.
    Call,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// As it should: stored, got, answered; or not found what is not there.
    Well,
    /// A get: not found, though it was put and acknowledged.
    NotFound,
    /// With other bytes than were put, or with bytes that nobody put. This must never be.
    Wrong,
    /// In failure.
    Failed,
    /// Its node refused to begin it.
    Refused,
    /// Its node died.
    Died,
}

/// An operation that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What it was.
    pub doing: Doing,
    /// At which node.
    pub who: Who,
    /// When it began.
    pub began: Instant,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// How it ended.
    pub ended: Ended,
    /// A get: contacts that were asked where the object is.
    pub contacts: u32,
}

/// Sums over operations of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Begun, and not refused.
    pub begun: u64,
    /// By how they ended, in the order of [`Ended`].
    pub ended: [u64; 6],
    /// Microseconds that those took that ended well.
    pub took_us: u64,
    /// Contacts that those asked.
    pub contacts: u64,
}

impl Tally {
    /// How many ended so.
    pub fn of(&self, ended: Ended) -> u64 {
        self.ended[ended as usize]
    }
}

/// What came of a load.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Operations that have ended, in the order in which they did; the first so many ([`Load::records`]).
    pub operations: Vec<Operation>,
    /// Sums, by kind.
    pub tallies: BTreeMap<Doing, Tally>,
    /// Operations that were due and not begun: too many were under way, no node ran, or there was nothing to get yet.
    pub skipped: u64,
}

pub(crate) struct Loading {
    rng: Rng,
    load: Load,
    until: Instant,
    items: Items,
    open: BTreeMap<Job, (Doing, Who, Instant, u64)>,
    done: Done,
}

impl World<'_> {
    /// Begins a load that lasts so long; ends one that is under way. `keys` are objects to get, put before, each with what
    /// its bytes hash to ([`World::hash`]).
    pub fn load(&mut self, load: Load, lasts: Time, keys: &[(Key, u64)]) {
        self.loads += 1;
        let rng = chance::stream(self.config.seed, "load", self.loads.into());
        let mut items = Items::default();
        keys.iter().for_each(|(key, hash)| items.add(*key, *hash, load.popularity));
        let until = self.now.plus_us(lasts.us());
        self.loading = Some(Loading { rng, load, until, items, open: BTreeMap::new(), done: Done::default() });
        self.load_next();
    }

    /// What bytes hash to, to know them again.
    pub fn hash(bytes: &[u8]) -> u64 {
        twox_hash::XxHash3_128::oneshot(bytes) as u64
    }

    /// What came of the last load so far.
    pub fn loaded(&mut self) -> Done {
        self.load_collect();
        self.loading.as_ref().map(|loading| loading.done.clone()).unwrap_or_default()
    }

    /// Operations of the last load that are under way.
    pub fn loading(&mut self) -> usize {
        self.load_collect();
        self.loading.as_ref().map_or(0, |loading| loading.open.len())
    }

    fn load_next(&mut self) {
        let Some(Loading { rng, load, until, .. }) = &mut self.loading else { return };
        let Some(mean) = load.rate.mean() else { return };
        let at = self.now.plus_us(chance::exponential_us(rng, mean.us()));
        if at <= *until {
            self.queue.push(at, What::Load(self.loads));
        }
    }

    /// An operation is due.
    pub(crate) fn load_due(&mut self, load: u32) {
        if load != self.loads {
            return;
        }
        self.load_collect();
        let begun = self.load_begin();
        if let Some(loading) = &mut self.loading {
            loading.done.skipped += u64::from(begun.is_none());
        }
        self.load_next();
    }

    /// A running node, drawn; `None` when 64 draws met none.
    fn any_up(&self, rng: &mut Rng) -> Option<Who> {
        (0..64).map(|_| Who(rng.below(self.slots.len() as u32))).find(|who| self.is_up(*who))
    }

    fn load_begin(&mut self) -> Option<()> {
        let mut loading = self.loading.take()?;
        let begun = self.load_one(&mut loading);
        self.loading = Some(loading);
        begun
    }

    fn load_one(&mut self, loading: &mut Loading) -> Option<()> {
        let Loading { rng, load, items, open, done, .. } = loading;
        if open.len() >= OPEN_MAX {
            return None;
        }
        let shares =
            [(Doing::Put, load.put), (Doing::Get, load.get), (Doing::Absent, load.absent), (Doing::Call, load.call)];
        let mut at = rng.below(shares.iter().map(|(_, share)| share.ppm()).sum());
        let (doing, _) = shares.into_iter().find(|(_, share)| {
            let here = at < share.ppm();
            at = at.wrapping_sub(share.ppm());
            here
        })?;
        let who = self.any_up(rng)?;
        let mut hash = 0;
        let job = match doing {
            Doing::Put => {
                let mut bytes = vec![0; load.size.bytes() as usize];
                rng.fill(&mut bytes);
                hash = World::hash(&bytes);
                self.begin_put(who, bytes)
            }
            Doing::Get => {
                let (key, known) = items.draw(rng)?;
                hash = known;
                self.begin_get(who, key)
            }
            Doing::Absent => {
                let mut key = [0; 32];
                rng.fill(&mut key);
                self.begin_get(who, Key(key))
            }
            Doing::Call => {
                let known: Vec<_> = self.node(who)?.hosts().map(|host| host.addr).collect();
                let to = (0..8).find_map(|_| {
                    let addr = known.get(rng.below(known.len() as u32) as usize)?;
                    self.net_who(addr).filter(|to| self.is_up(*to))
                })?;
                let body = vec![7; (load.size.bytes() as usize).min(1_024)];
                self.begin_call(who, to, &body)
            }
        };
        let tally = done.tallies.entry(doing).or_default();
        match job {
            Ok(job) => {
                tally.begun += 1;
                open.insert(job, (doing, who, self.now, hash));
                self.jobs.watch(job);
            }
            Err(Refused::Unknown) => return None,
            Err(_) => {
                let operation =
                    Operation { doing, who, began: self.now, took_us: 0, ended: Ended::Refused, contacts: 0 };
                done.take(operation, load.records);
            }
        }
        Some(())
    }

    /// Takes what has ended since the last look.
    fn load_collect(&mut self) {
        let Some(loading) = &mut self.loading else { return };
        for job in std::mem::take(&mut self.jobs.ended) {
            let Some((at, outcome)) = self.jobs.take(job) else { continue };
            // Of a load before this one.
            let Some((doing, who, began, hash)) = loading.open.remove(&job) else { continue };
            if let (Doing::Put, Some(key)) = (doing, outcome.key()) {
                loading.items.add(key, hash, loading.load.popularity);
            }
            let (ended, contacts) = ended(doing, &outcome, hash);
            let operation = Operation { doing, who, began, took_us: at.since(began), ended, contacts };
            loading.done.take(operation, loading.load.records);
        }
    }
}

impl Done {
    fn take(&mut self, operation: Operation, records: u32) {
        let tally = self.tallies.entry(operation.doing).or_default();
        tally.ended[operation.ended as usize] += 1;
        if operation.ended == Ended::Well {
            tally.took_us += operation.took_us;
            tally.contacts += u64::from(operation.contacts);
        }
        if self.operations.len() < records as usize {
            self.operations.push(operation);
        }
    }
}

/// How an operation ended, and how many contacts it asked.
fn ended(doing: Doing, outcome: &Outcome, hash: u64) -> (Ended, u32) {
    match outcome {
        Outcome::Died => (Ended::Died, 0),
        Outcome::Put(status) if status.progress == Progress::Done => (Ended::Well, 0),
        Outcome::Put(_) | Outcome::Called(false) => (Ended::Failed, 0),
        Outcome::Called(true) => (Ended::Well, 0),
        Outcome::Got(bytes, status) => {
            let well = doing == Doing::Get && World::hash(bytes) == hash;
            (if well { Ended::Well } else { Ended::Wrong }, status.contacts)
        }
        Outcome::NotGot(status) => {
            let ended = match (status.progress, doing) {
                (Progress::NotFound, Doing::Absent) => Ended::Well,
                (Progress::NotFound, _) => Ended::NotFound,
                _ => Ended::Failed,
            };
            (ended, status.contacts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Load, String> {
        toml::from_str::<Load>(text).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn loads_are_read_as_they_are_written() {
        let load = read("rate = \"20 per s\"\nput = 0\nabsent = \"10 %\"\npopularity = { zipf = 0.8 }").unwrap();
        assert_eq!(load.popularity, Popularity::Zipf(800_000));
        assert_eq!((load.put.ppm(), load.get.ppm(), load.absent.ppm()), (0, 900_000, 100_000));
        assert_eq!(read("popularity = \"uniform\"").unwrap(), Load::default());
        assert!(read("put = 0\nget = 0").unwrap_err().contains("a load of nothing"));
        assert!(read("rate = \"0 per s\"").unwrap_err().contains("leave it out"));
        assert!(read("popularity = { zipf = -1.0 }").unwrap_err().contains("0 to 10"));
        assert!(read("puts = 1").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn popular_objects_are_got_as_often_as_zipf_says() {
        let mut rng = chance::stream(1, "test", 0);
        let mut items = Items::default();
        for n in 0..1_000u32 {
            items.add(Key([0; 32]), n.into(), Popularity::Zipf(1_000_000));
        }
        let mut got = vec![0u32; 1_000];
        (0..100_000).filter_map(|_| items.draw(&mut rng)).for_each(|(_, n)| got[n as usize] += 1);
        // The harmonic number of 1,000 is 7.4855.
        for n in [1, 2, 10] {
            let expected = 100_000.0 / 7.4855 / f64::from(n);
            let error = f64::from(got[n as usize - 1]) / expected - 1.0;
            assert!(error.abs() < 0.08, "{n}: {} {expected}", got[n as usize - 1]);
        }
        let mut even = Items::default();
        assert_eq!(even.draw(&mut rng), None);
        (0..4).for_each(|n| even.add(Key([0; 32]), n, Popularity::Uniform));
        let mut got = [0u32; 4];
        (0..4_000).filter_map(|_| even.draw(&mut rng)).for_each(|(_, n)| got[n as usize] += 1);
        assert!(got.iter().all(|n| (900..1_100).contains(n)), "{got:?}");
    }
}

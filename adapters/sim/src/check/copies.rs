//! Which nodes hold what was acknowledged, as their disks tell.

use std::collections::{BTreeSet, HashMap};

use butter_core::id::Key;
use butter_core::retrieve::{Progress, PutStatus};
use butter_core::storage::BlockRef;
use butter_core::time::Instant;
use butter_core::wire::BLOCK;

use crate::world::Who;

/// Virtual milliseconds by which the end of a lease may differ between nodes: it is told in whole seconds, and what
/// was under way then may still end.
const LEASE_SLACK_MS: u32 = 60_000;
/// The longest object that is one item: a block, or an extent with 127 data blocks.
pub const ITEM_MAX: u64 = 127 * BLOCK as u64;
/// Nodes that held an item before it was acknowledged and are gone, kept for the acknowledgement.
const GONE_MAX: usize = 16;

struct Holder {
    who: Who,
    /// Bit i: block i is on its disk.
    blocks: u128,
    gone: bool,
}

#[derive(Clone, Copy)]
struct Promise {
    /// Which blocks make a whole copy.
    whole: u128,
    /// Until when it is surely to be kept.
    until: Instant,
    /// When the last of its leases is over.
    over: Instant,
}

#[derive(Default)]
struct Copied {
    holders: Vec<Holder>,
    promise: Option<Promise>,
    /// When a node with a whole copy died last.
    died: Option<Instant>,
}

impl Copied {
    fn whole(&self, promise: Promise) -> usize {
        self.holders.iter().filter(|holder| holder.blocks & promise.whole == promise.whole && !holder.gone).count()
    }
}

/// All items on the disks of running nodes, and all that were acknowledged.
#[derive(Default)]
pub struct Copies {
    items: HashMap<Key, Copied>,
    held: BTreeSet<(Who, Key)>,
    promised: BTreeSet<Key>,
    acknowledged: u64,
    lost: u64,
}

impl Copies {
    /// A block is on a node's disk.
    pub fn stored(&mut self, who: Who, at: BlockRef) {
        let copied = self.items.entry(at.key).or_default();
        let bit = 1 << at.index.min(127);
        match copied.holders.iter_mut().find(|holder| holder.who == who) {
            Some(holder) if !holder.gone => holder.blocks |= bit,
            // What it held in an earlier life is not there any more.
            Some(holder) => *holder = Holder { who, blocks: bit, gone: false },
            None => copied.holders.push(Holder { who, blocks: bit, gone: false }),
        }
        self.held.insert((who, at.key));
    }

    /// An item was deleted from a node's disk. Whether that was the last whole live copy of an item that was owed, when no
    /// other one died in the `unseen_ms` before: nobody could know of that yet.
    pub fn deleted(&mut self, now: Instant, who: Who, key: &Key, unseen_ms: u32) -> bool {
        self.held.remove(&(who, *key));
        let Some(copied) = self.items.get_mut(key) else { return false };
        let before = copied.promise.map_or(0, |promise| copied.whole(promise));
        Copies::leave(copied, who);
        let last =
            copied.promise.is_some_and(|promise| before > 0 && copied.whole(promise) == 0 && now < promise.until);
        let unseen = copied.died.is_some_and(|died| now <= died.plus_ms(unseen_ms));
        self.lost += u64::from(last && unseen);
        self.tidy(key);
        last && !unseen
    }

    /// A node died, and its copies with it.
    pub fn died(&mut self, now: Instant, who: Who) {
        let keys: Vec<Key> =
            self.held.range((who, Key::default())..).take_while(|(of, _)| *of == who).map(|x| x.1).collect();
        for key in keys {
            self.held.remove(&(who, key));
            let Some(copied) = self.items.get_mut(&key) else { continue };
            let before = copied.promise.map(|promise| copied.whole(promise));
            Copies::leave(copied, who);
            let after = copied.promise.map(|promise| copied.whole(promise));
            self.lost += u64::from(before.is_some_and(|n| n > 0) && after == Some(0));
            if before > after {
                copied.died = Some(now);
            }
            self.tidy(&key);
        }
    }

    fn leave(copied: &mut Copied, who: Who) {
        if copied.promise.is_some() {
            copied.holders.retain(|holder| holder.who != who);
        } else {
            copied.holders.iter_mut().filter(|holder| holder.who == who).for_each(|holder| holder.gone = true);
            let gone = copied.holders.iter().filter(|holder| holder.gone).count();
            if gone > GONE_MAX
                && let Some(at) = copied.holders.iter().position(|holder| holder.gone)
            {
                copied.holders.remove(at);
            }
        }
    }

    /// Forgets an item that nobody holds and nobody was promised.
    fn tidy(&mut self, key: &Key) {
        if self.items.get(key).is_some_and(|copied| copied.holders.is_empty() && copied.promise.is_none()) {
            self.items.remove(key);
        }
    }

    /// A put has ended.
    ///
    /// # Errors
    /// It was acknowledged, and fewer copies were ever made than it says.
    pub fn put_ended(&mut self, now: Instant, status: &PutStatus, lease_s: u32) -> Result<(), String> {
        let (Progress::Done, Some(key)) = (status.progress, status.key) else { return Ok(()) };
        let blocks = match status.bytes_total {
            0..=4096 => 1,
            // Its list and its data.
            extent @ ..=ITEM_MAX => 1 + extent.div_ceil(BLOCK as u64),
            // A tree: its own bytes.
            _ => 1,
        };
        let whole = if blocks == 128 { u128::MAX } else { (1 << blocks) - 1 };
        // The lease began when the first member took it, some time before the acknowledgement.
        let until = now.plus_us(u64::from(lease_s) * 750_000);
        let over = now.plus_us(u64::from(lease_s) * 1_000_000);
        let copied = self.items.entry(key).or_default();
        let made = copied.holders.iter().filter(|holder| holder.blocks & whole == whole).count();
        let fresh = copied.promise.is_none();
        // An item that was there already keeps its lease.
        let until = copied.promise.map_or(until, |before| before.until.min(until));
        let promise = Promise { whole, until, over };
        copied.promise = Some(promise);
        copied.holders.retain(|holder| !holder.gone);
        let there = copied.whole(promise);
        self.promised.insert(key);
        if fresh {
            self.acknowledged += 1;
            self.lost += u64::from(there == 0);
        }
        if made < usize::from(status.replicas) {
            return Err(format!("{key:?} was acknowledged with {} copies, and {made} were made", status.replicas));
        }
        Ok(())
    }

    /// Whether the lease of an acknowledged item is over for so long that it must be nowhere any more.
    pub fn is_over(&self, key: &Key, now: Instant) -> bool {
        let promise = self.items.get(key).and_then(|copied| copied.promise);
        promise.is_some_and(|promise| now > promise.over.plus_ms(LEASE_SLACK_MS))
    }

    /// See [`crate::World::owed`].
    pub fn owed(&self, now: Instant) -> Vec<Key> {
        let owed = |key: &&Key| {
            let copied = self.items.get(*key);
            copied
                .and_then(|copied| Some((copied, copied.promise?)))
                .is_some_and(|(copied, promise)| copied.whole(promise) > 0 && now < promise.until)
        };
        self.promised.iter().filter(owed).copied().collect()
    }

    /// How many items were acknowledged, and how many died with their last copy.
    pub fn acknowledged(&self) -> (u64, u64) {
        (self.acknowledged, self.lost)
    }

    /// Copies of items whose lease is over for long: (who holds it, what).
    pub fn overdue(&self, now: Instant) -> Option<(Who, Key)> {
        let over = |key: &&Key| self.is_over(key, now);
        let key = self
            .promised
            .iter()
            .find(|key| over(key) && self.items.get(*key).is_some_and(|c| !c.holders.is_empty()))?;
        Some((self.items.get(key)?.holders.first()?.who, *key))
    }
}

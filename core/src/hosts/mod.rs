//! Known hosts: who is worth remembering (PROTOCOL §4).
//!
//! One table. A host is *met* (a session with it was had), *heard-of* (somebody told of it) or *vanished* (met, well
//! known, and found dead since). Every change of an entry goes through three functions, `put`,
//! `change` and `drop_host`, which keep the indices, the class counts and the sums true.

mod choose;
mod class;
mod exchange;
mod graves;
mod info;
mod refresh;
mod room;
mod shuffle;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use class::{CLASSES, HostClass};
pub use graves::Grave;
pub use info::{Diversity, HostInfo};

use crate::addr::{Addr, LinkId};
use crate::counters::Counters;
use crate::id::NodeId;
use crate::node::Env;
use crate::rng::Rng;
use crate::table::{Handle, Index, Slot, Slots, Store};
use crate::time::Instant;
use crate::wire::{Facts, HostRecord};
use class::Census;
use exchange::Pace;
use graves::Graves;
use refresh::Refresh;
use room::{Room, WIDE};

/// Seconds for which a host must have been known to be remembered when it vanishes.
const VANISH_AFTER_S: u32 = 300;
/// Hosts whose class is compared with the means again at every change.
const REVISED: usize = 8;

/// How well we know a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Standing {
    /// Somebody told of it.
    Heard,
    /// We had a session with it.
    Met,
    /// We knew it well and found it dead; dialled now and then.
    Vanished,
}

/// A host that we remember. 84 bytes.
#[derive(Clone, Debug)]
pub struct Host {
    /// Who.
    pub id: NodeId,
    /// Where it was last reached or said to be.
    pub addr: Addr,
    /// What it said of itself.
    pub facts: Facts,
    /// Over which link.
    pub link: LinkId,
    standing: Standing,
    class: HostClass,
    /// Whether there is a session with it.
    up: bool,
    /// Who told of it: its place in this table.
    told_by: Option<Handle>,
    /// When it was last heard, by us or, of a heard-of host, by whoever told; see [`seconds`].
    heard_s: u32,
    /// Since when we know it.
    since_s: u32,
    /// When we last tried to reach it in vain; 0 for never.
    tried_s: u32,
    /// Round trip in milliseconds; 0 is not known.
    rtt_ms: u16,
    /// Contacts that went well: +1 for each, halved by each failure.
    good: u8,
    /// Contacts in vain since the last one that went well.
    missed: u8,
}

const _: () = assert!(size_of::<Slot<Host>>() <= 104, "16 hosts of a microcontroller take less than 1.7 KB");

impl Host {
    /// Seconds that it has lived, at the least: by what it said, and by how long we have known it.
    pub(crate) fn lived_s(&self, now_s: u32) -> u32 {
        let said_s = 60 << self.facts.uptime.saturating_sub(1).min(25);
        let known_s = if self.standing == Standing::Met { now_s.saturating_sub(self.since_s) } else { 0 };
        if self.facts.uptime == 0 { known_s } else { known_s.max(said_s) }
    }

    fn new(record: &HostRecord, link: LinkId, standing: Standing, now_s: u32) -> Self {
        Host {
            id: record.id,
            addr: record.addr,
            facts: record.facts,
            link,
            standing,
            class: HostClass(0),
            up: false,
            told_by: None,
            heard_s: now_s.saturating_sub(record.age_s.into()),
            since_s: now_s,
            tried_s: 0,
            rtt_ms: 0,
            good: 0,
            missed: 0,
        }
    }

    /// Whether it is not held for dead.
    pub(crate) fn is_living(&self) -> bool {
        self.standing != Standing::Vanished
    }

    /// Seconds since it was heard.
    fn age_s(&self, now_s: u32) -> u32 {
        if self.up { 0 } else { now_s.saturating_sub(self.heard_s) }
    }

    /// Known for long enough to be remembered when it vanishes.
    fn well_known(&self) -> bool {
        self.heard_s.saturating_sub(self.since_s) >= VANISH_AFTER_S
    }

    /// How useful it is to know, among hosts of one class: larger is more. Being alive counts most, then proven
    /// reliability, then what it offers.
    fn worth(&self, now_s: u32) -> i32 {
        let age = 8 * bits(self.age_s(now_s));
        let contacts = i32::from(self.good.min(8)) * 4 - i32::from(self.missed.min(8)) * 16;
        let known = bits(self.heard_s.saturating_sub(self.since_s)) * 2;
        let offers = class::values(&self.facts).iter().sum::<u32>() as i32;
        let ambassador = if self.facts.flags & Facts::AMBASSADOR != 0 { 16 } else { 0 };
        let near = if self.rtt_ms == 0 { 0 } else { 8 - bits(self.rtt_ms.into()).min(8) };
        let up = if self.up { 64 } else { 0 };
        contacts + known + offers + ambassador + near + up - age
    }
}

/// Bits that a number has: 0 for 0, else 1 + its logarithm to base 2, rounded down.
pub(crate) fn bits(n: u32) -> i32 {
    (u32::BITS - n.leading_zeros()) as i32
}

/// The node's clock in seconds, shifted so that what was heard before the node began has a time, too.
fn seconds(now: Instant) -> u32 {
    (now.as_micros() / 1_000_000).saturating_add(1 << 17).min(u32::MAX.into()) as u32
}

/// What a change of the table needs of the node.
struct Turn<'a> {
    now_s: u32,
    rng: &'a mut Rng,
    counters: &'a mut Counters,
}

impl<'a> Turn<'a> {
    fn of(env: &'a mut Env<'_>) -> Self {
        Turn { now_s: seconds(env.now), rng: &mut env.rng, counters: &mut env.counters }
    }
}

/// All known hosts. Policy when full: the least useful of the most crowded class makes room, or the newcomer is refused.
#[derive(Debug)]
pub(crate) struct Hosts<'m> {
    hosts: Slots<'m, Host>,
    /// By id.
    index: Index<'m>,
    /// Heard-of hosts on public addresses, by prefix.
    prefixes: Index<'m>,
    /// The same, counted by wider prefix.
    wide: [u16; WIDE],
    graves: Graves<'m>,
    census: Census,
    secret: u64,
    /// Whose class is compared next.
    revise: u16,
    pace: Pace,
    refresh: Refresh,
}

impl<'m> Hosts<'m> {
    pub fn new(
        hosts: Store<'m, Slot<Host>>,
        index: Store<'m, u32>,
        prefixes: Store<'m, u32>,
        graves: Store<'m, Grave>,
        index_secret: u64,
    ) -> Self {
        Hosts {
            hosts: Slots::new(hosts),
            index: Index::new(index),
            prefixes: Index::new(prefixes),
            wide: [0; WIDE],
            graves: Graves::new(graves),
            census: Census::default(),
            secret: index_secret,
            revise: 0,
            pace: Pace::default(),
            refresh: Refresh::default(),
        }
    }

    /// Hosts known and not found dead.
    pub fn len(&self) -> usize {
        self.census.living()
    }

    /// What is known of a host.
    pub fn get(&self, _env: &Env<'_>, id: &NodeId) -> Option<&Host> {
        self.hosts.get(self.find(id)?)
    }

    /// Takes what somebody told of a host.
    pub fn learn(&mut self, env: &mut Env<'_>, record: &HostRecord, link: LinkId, from: Option<NodeId>) {
        if record.id == env.me || !record.addr.is_unicast() {
            return;
        }
        let teller = from.and_then(|id| self.find(&id));
        if self.hear(&mut Turn::of(env), record, link, teller) {
            self.pace.news();
        }
    }

    /// Who told us of a host, and may introduce us, while it is known itself and not found dead.
    pub fn introducer(&self, _env: &Env<'_>, id: &NodeId) -> Option<NodeId> {
        self.teller(id)
    }

    fn teller(&self, id: &NodeId) -> Option<NodeId> {
        let host = self.hosts.get(self.find(id)?)?;
        self.hosts.get(host.told_by?).filter(|teller| teller.standing != Standing::Vanished).map(|teller| teller.id)
    }

    fn find(&self, id: &NodeId) -> Option<Handle> {
        let slot =
            self.index.find(Index::mix(self.secret, &id.0), |slot| self.at(slot).is_some_and(|h| h.id == *id))?;
        self.hosts.handle_at(slot as u16)
    }

    fn at(&self, slot: u32) -> Option<&Host> {
        self.hosts.at(slot as u16)
    }

    /// Hearsay. True when a host was new to us and taken.
    fn hear(&mut self, turn: &mut Turn<'_>, record: &HostRecord, link: LinkId, teller: Option<Handle>) -> bool {
        let mut told = Host::new(record, link, Standing::Heard, turn.now_s);
        told.told_by = teller;
        // Old news of somebody found dead since. Without this, those who have not noticed yet would revive it in turn.
        if self.graves.died_s(Index::mix(self.secret, &record.id.0)).is_some_and(|died_s| told.heard_s <= died_s) {
            turn.counters.hosts_refused += 1;
            return false;
        }
        let Some(handle) = self.find(&record.id) else {
            if self.prefix_full(&record.addr) {
                turn.counters.hosts_crowded += 1;
                return false;
            }
            let room = self.room_for_heard(turn, &told);
            return self.take(turn, room, told).is_some();
        };
        let Some(known) = self.hosts.get(handle) else { return false };
        let moved = known.addr.prefix() != record.addr.prefix();
        match known.standing {
            Standing::Heard if told.heard_s <= known.heard_s || (moved && self.prefix_full(&record.addr)) => {}
            Standing::Heard => self.change(handle, |host| {
                (host.addr, host.link, host.facts) = (told.addr, told.link, told.facts);
                (host.heard_s, host.told_by) = (told.heard_s, told.told_by.or(host.told_by));
            }),
            // What we saw ourselves counts more than hearsay, until it is of no use.
            Standing::Met if known.up || known.missed == 0 => {}
            Standing::Met => self.change(handle, |host| {
                (host.addr, host.link, host.told_by) = (told.addr, told.link, told.told_by.or(host.told_by));
            }),
            Standing::Vanished if told.heard_s <= known.heard_s => {}
            // Somebody heard it since: dialled soon.
            Standing::Vanished => self.change(handle, |host| {
                (host.addr, host.link, host.told_by) = (told.addr, told.link, told.told_by.or(host.told_by));
                host.tried_s = 0;
            }),
        }
        false
    }

    /// A host that we have a session with, as it is now. `facts`: what it said, if it did. True when it was not met before.
    fn meet(
        &mut self,
        turn: &mut Turn<'_>,
        id: NodeId,
        at: Option<(Addr, LinkId)>,
        rtt_us: u32,
        facts: Option<Facts>,
    ) -> bool {
        let now_s = turn.now_s;
        let rtt_ms = rtt_us.div_ceil(1000).min(u16::MAX.into()) as u16;
        let update = |host: &mut Host| {
            if let Some((addr, link)) = at {
                (host.addr, host.link) = (addr, link);
            }
            if let Some(facts) = facts {
                host.facts = facts;
            }
            if rtt_ms != 0 {
                host.rtt_ms = rtt_ms;
            }
            (host.heard_s, host.tried_s, host.up) = (now_s, 0, true);
            (host.good, host.missed) = (host.good.saturating_add(1), 0);
        };
        let Some(handle) = self.find(&id) else {
            let Some((addr, link)) = at else { return false };
            // While its facts have not come, a newcomer is taken only where nobody has to make room for it.
            if facts.is_none() && self.hosts.is_full() {
                return false;
            }
            let record = HostRecord { id, addr, facts: facts.unwrap_or_default(), age_s: 0 };
            let mut host = Host::new(&record, link, Standing::Met, now_s);
            update(&mut host);
            let room = self.room_for_met(turn, &host, false);
            return self.take(turn, room, host).is_some();
        };
        let Some(known) = self.hosts.get(handle) else { return false };
        let was = known.standing;
        let mut standing = Standing::Met;
        if was == Standing::Heard {
            let mut host = known.clone();
            update(&mut host);
            match self.room_for_met(turn, &host, true) {
                Room::Free => {}
                Room::Replacing(victim) => self.evict(turn, victim),
                Room::None => standing = Standing::Heard,
            }
        }
        self.change(handle, |host| {
            update(host);
            host.standing = standing;
        });
        was != Standing::Met && standing == Standing::Met
    }

    /// A host was not reached. It stays, as vanished, if it was known well or is the last one we have, or if it was met
    /// and one of the few safe places for vanished hosts is free or held by one dialled in vain thrice: when a network
    /// splits, those that vanish last are the way back together.
    ///
    /// True when it was held for alive until now: several sub-protocols may find the same death.
    fn dead(&mut self, turn: &mut Turn<'_>, id: &NodeId) -> bool {
        let now_s = turn.now_s;
        let Some(handle) = self.find(id) else { return false };
        let Some(host) = self.hosts.get(handle) else { return false };
        let (standing, well_known) = (host.standing, host.well_known());
        let living = standing != Standing::Vanished;
        let met = standing == Standing::Met;
        let worth_it = self.len() == 1 || (met && (well_known || self.vanished_room(turn)));
        turn.counters.hosts_dead += u32::from(living);
        self.graves.bury(Index::mix(self.secret, &id.0), now_s);
        if living && !worth_it {
            self.drop_host(handle);
        } else {
            self.change(handle, |host| {
                (host.good, host.missed) = (host.good / 2, if living { 0 } else { host.missed.saturating_add(1) });
                (host.standing, host.up, host.tried_s) = (Standing::Vanished, false, now_s);
            });
        }
        living
    }

    /// A host that declined a seat has none, whatever was heard of it: others are asked until it says anew that it has.
    pub(crate) fn has_no_room(&mut self, id: &NodeId) {
        if let Some(handle) = self.find(id) {
            self.change(handle, |host| host.facts.free = 0);
        }
    }

    fn evict(&mut self, turn: &mut Turn<'_>, victim: Handle) {
        turn.counters.hosts_evicted += 1;
        self.drop_host(victim);
    }

    fn take(&mut self, turn: &mut Turn<'_>, room: Room, host: Host) -> Option<Handle> {
        match room {
            Room::Free => {}
            Room::Replacing(victim) => self.evict(turn, victim),
            Room::None => {
                turn.counters.hosts_refused += 1;
                return None;
            }
        }
        let taken = self.put(host);
        turn.counters.hosts_refused += u32::from(taken.is_none());
        taken
    }

    /// Adds an entry that is not in yet.
    fn put(&mut self, host: Host) -> Option<Handle> {
        let id = host.id;
        let handle = self.hosts.insert(host).ok()?;
        let (hosts, secret) = (&self.hosts, self.secret);
        let hash_of = |slot: u32| hash_at(hosts, slot, |host| Index::mix(secret, &host.id.0));
        if !self.index.insert(Index::mix(secret, &id.0), handle.index.into(), hash_of) {
            debug_assert!(false, "the index has room for every host");
            self.hosts.remove(handle);
            return None;
        }
        self.count_in(handle);
        self.revise();
        Some(handle)
    }

    /// Changes an entry, but not whose it is.
    fn change(&mut self, handle: Handle, f: impl FnOnce(&mut Host)) {
        self.count_out(handle);
        if let Some(host) = self.hosts.get_mut(handle) {
            f(host);
        }
        self.count_in(handle);
        self.revise();
    }

    fn drop_host(&mut self, handle: Handle) {
        let Some(id) = self.hosts.get(handle).map(|host| host.id) else { return };
        self.count_out(handle);
        let (hosts, secret) = (&self.hosts, self.secret);
        let hash_of = |slot: u32| hash_at(hosts, slot, |host| Index::mix(secret, &host.id.0));
        self.index.remove(Index::mix(secret, &id.0), handle.index.into(), hash_of);
        self.hosts.remove(handle);
        self.revise();
    }

    /// Counts an entry in its class, and as one of its prefix.
    fn count_in(&mut self, handle: Handle) {
        let Some(host) = self.hosts.get(handle) else { return };
        let (standing, addr, facts) = (host.standing, host.addr, host.facts);
        let class = self.census.class_of(&facts);
        self.census.add(standing, class, &facts);
        if let Some(host) = self.hosts.get_mut(handle) {
            host.class = class;
        }
        if standing == Standing::Heard && addr.is_public() {
            let (hash, bucket) = (self.narrow_hash(&addr), self.wide_bucket(&addr));
            let (hosts, secret) = (&self.hosts, self.secret);
            let hash_of = |slot: u32| hash_at(hosts, slot, |host| Index::mix(secret, &host.addr.prefix()));
            self.wide[bucket] += 1;
            let placed = self.prefixes.insert(hash, handle.index.into(), hash_of);
            debug_assert!(placed, "the index has room for every host");
        }
    }

    fn count_out(&mut self, handle: Handle) {
        let Some(host) = self.hosts.get(handle) else { return };
        self.census.sub(host.standing, host.class, &host.facts);
        if host.standing == Standing::Heard && host.addr.is_public() {
            let (hash, bucket) = (self.narrow_hash(&host.addr), self.wide_bucket(&host.addr));
            let (hosts, secret) = (&self.hosts, self.secret);
            let hash_of = |slot: u32| hash_at(hosts, slot, |host| Index::mix(secret, &host.addr.prefix()));
            self.wide[bucket] -= 1;
            self.prefixes.remove(hash, handle.index.into(), hash_of);
        }
    }

    /// Compares some hosts with the means again. A change moves the means of n hosts by at most 1/n of a fact's range,
    /// so classes a few changes old are as good as new, and no change costs a scan.
    fn revise(&mut self) {
        let used = self.hosts.used();
        for _ in 0..REVISED.min(used.into()) {
            self.revise = if self.revise >= used { 0 } else { self.revise };
            let handle = self.hosts.handle_at(self.revise);
            self.revise += 1;
            let Some(host) = handle.and_then(|handle| self.hosts.get_mut(handle)) else { continue };
            let class = self.census.class_of(&host.facts);
            if class != host.class {
                self.census.sub(host.standing, host.class, &host.facts);
                host.class = class;
                self.census.add(host.standing, class, &host.facts);
            }
        }
    }
}

fn hash_at(hosts: &Slots<'_, Host>, slot: u32, hash: impl Fn(&Host) -> u32) -> u32 {
    hosts.at(slot as u16).map_or(0, hash)
}

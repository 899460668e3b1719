//! Pointers: a group that ranks better for a key than the one that holds the item tells where it is (PROTOCOL §6.5).
//!
//! An item lies in the group that ranked best among those known, and with room, when it was put. Whoever knows of better ones
//! asks those first, and whoever does not know that group asks others. So, for each of our groups, one member tells the best-ranked
//! others about its items, in the background: in rounds over all items, a few at a time. A round begins when something has changed (an item came, a
//! group became known, a membership changed) and tells only what was not told before; or when it is time to refresh, and
//! tells everything again. Nothing wakes a node up in between.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::addr::Addr;
use crate::content::TOLD;
use crate::exchange::{Body, Failure, Owner, Served, Status};
use crate::id::{GroupId, Key, NodeId};
use crate::node::{Node, PeerId, Timer};
use crate::rng::Rng;
use crate::route::internal;
use crate::table::{Index, Store};
use crate::time::Instant;
use crate::wire::{GroupHint, Writer};

/// Keys told in one request.
const KEYS: usize = 20;
/// Keys told in one step of a round, each to one group.
const TELL: usize = 32;
/// Places of the table of items looked at in one step.
const LOOK: u32 = 256;
/// Milliseconds between a change and the round that it causes, so that one round serves many changes.
const SOON_MS: u32 = 1_000;
/// Doublings of that while groups come to be known without end: 512 s.
const WAITS_MAX: u8 = 9;
/// Milliseconds to answer.
const POINT_MS: u32 = 3_000;
/// Better-ranked groups told in one answer.
const HINTS: usize = 4;
/// Groups that could not be told, kept in mind. When there are more, the rest waits for the next refresh.
const FAILED: usize = 4;
/// Batches handed over to a new member.
const HAND_OVER: usize = 8;
/// Pointers of which the soonest to expire makes room.
const SAMPLE: u32 = 16;
/// Said to be the age of a hint of which only a pointer is known.
const UNKNOWN_AGE_S: u16 = 600;
/// The longest that a pointer is kept without a refresh.
const KEPT_MAX_S: u32 = 24 * 3600;

const _: () = assert!(TELL >= TOLD, "one item's pointers fit a step");

/// What an item is called in pointers: the first 16 bytes of its key, all that ranking takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Short(#[serde(with = "crate::wire::bytes")] pub [u8; 16]);

impl Short {
    fn of(key: &Key) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&key.0[..16]);
        Short(short)
    }

    /// A key that ranks groups as the item's does.
    fn key(&self) -> Key {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&self.0);
        Key(key)
    }
}

/// POINT's request: items that rank better in a group of the receiver's than in the one that holds them. A postcard value, in
/// this order. The answer: up to 4 hints of groups that the receiver knows to rank still better for one of them, best for the
/// first key first; refused with `NotFound` by who is not in the group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    /// A group of the receiver's.
    pub group: GroupId,
    /// Whether the receiver is to tell the other members.
    pub pass_on: bool,
    /// Seconds until they expire.
    pub lease_s: u32,
    /// The group that holds the items, and first of its contacts who tells.
    pub source: GroupHint,
    pub keys: Vec<Short, KEYS>,
}

/// Says that an item is held by a group that its key does not rank best, and by which member. It names one because there may be
/// more such groups than the table of known ones holds. 92 bytes. Policy when the table is full: of a few random ones, the
/// soonest to expire makes room.
#[derive(Clone, Copy, Debug)]
pub struct Pointer {
    /// Seconds since the node's start.
    expires_s: u32,
    key: Short,
    group: GroupId,
    holder: (NodeId, Addr),
    /// The group's seat size.
    seat: u8,
}

impl Pointer {
    /// A place never used.
    pub const EMPTY: Self = Pointer {
        expires_s: 0,
        key: Short([0; 16]),
        group: GroupId([0; 16]),
        holder: (NodeId([0; 32]), Addr { ip: [0; 16], port: 0, slot: 0 }),
        seat: 0,
    };
}

const _: () = assert!(size_of::<Pointer>() <= 92);

/// The pointers kept here, and how far our telling of others is.
#[derive(Debug)]
pub(crate) struct Pointers<'m> {
    table: Store<'m, Pointer>,
    index: Index<'m>,
    /// Places below this one are in use, expired ones included: they are the first to make room.
    used: u32,
    /// Where the present round goes on; `None` between rounds.
    at: Option<u32>,
    /// Whether the present round tells everything.
    refreshing: bool,
    /// Something has changed since the present round began.
    changed: bool,
    /// Rounds since our items or groups changed, while the table of known groups is full: each waits twice as long.
    waits: u8,
    /// When everything is told again.
    refresh_at: Instant,
    /// Where handing over goes on.
    hand_at: u32,
    /// First bytes of groups that could not be told, and whether a round has begun since.
    failed: Vec<([u8; 4], bool), FAILED>,
}

impl<'m> Pointers<'m> {
    pub fn new(table: Store<'m, Pointer>, index: Store<'m, u32>) -> Self {
        Pointers {
            table,
            index: Index::new(index),
            used: 0,
            at: None,
            refreshing: false,
            changed: false,
            waits: 0,
            refresh_at: Instant::ZERO,
            hand_at: 0,
            failed: Vec::new(),
        }
    }

    fn find(&self, secret: u64, key: &Short) -> Option<u32> {
        let is = |at: u32| self.table.items().get(at as usize).is_some_and(|pointer| pointer.key == *key);
        self.index.find(Index::mix(secret, &key.0), is)
    }

    /// Who is said to hold an item.
    fn get(&self, secret: u64, now_s: u32, key: &Short) -> Option<Pointer> {
        let pointer = self.table.items().get(self.find(secret, key)? as usize)?;
        (pointer.expires_s > now_s).then_some(*pointer)
    }

    /// Keeps a pointer. There is one per key: the last told. True when another one had to go before its time.
    fn keep(&mut self, secret: u64, now_s: u32, rng: &mut Rng, new: Pointer) -> bool {
        if let Some(at) = self.find(secret, &new.key) {
            if let Some(old) = self.table.items_mut().get_mut(at as usize) {
                *old = new;
            }
            return false;
        }
        if self.used as usize >= self.table.items().len() {
            self.table.grow(|| Pointer::EMPTY);
        }
        let mut evicted = false;
        let at = if (self.used as usize) < self.table.items().len() {
            self.used += 1;
            self.used - 1
        } else {
            let places = (0..SAMPLE.min(self.used)).map(|_| rng.below(self.used));
            let soonest = places.min_by_key(|at| self.table.items().get(*at as usize).map(|old| old.expires_s));
            let Some(at) = soonest else { return false };
            let items = self.table.items();
            evicted = items.get(at as usize).is_some_and(|old| old.expires_s > now_s);
            let hash_of = |at: u32| items.get(at as usize).map_or(0, |old| Index::mix(secret, &old.key.0));
            self.index.remove(hash_of(at), at, hash_of);
            at
        };
        let Some(place) = self.table.items_mut().get_mut(at as usize) else { return false };
        *place = new;
        let items = self.table.items();
        let hash_of = |at: u32| items.get(at as usize).map_or(0, |old| Index::mix(secret, &old.key.0));
        // The index is half again as long as the table: there is room.
        self.index.insert(hash_of(at), at, hash_of);
        evicted
    }

    /// Milliseconds between a change and the round that it causes.
    fn soon_ms(&self) -> u32 {
        SOON_MS << self.waits.min(WAITS_MAX)
    }

    /// A group could not be told: its items are told again in the next round.
    fn fail(&mut self, prefix: [u8; 4]) {
        match self.failed.iter_mut().find(|failed| failed.0 == prefix) {
            Some(failed) => failed.1 = false,
            None => {
                let _ = self.failed.push((prefix, false));
            }
        }
    }
}

fn prefix(group: &GroupId) -> [u8; 4] {
    [group.0[0], group.0[1], group.0[2], group.0[3]]
}

/// One key that a group is to be told.
struct Telling {
    group: GroupId,
    source: GroupId,
    key: Key,
}

impl Node<'_> {
    /// Groups that each item is told to. Who knows all groups there are finds an item by few of them; where there are more than the
    /// table holds, whoever looks may know others of the best-ranked ones than we do.
    fn pointers_wanted(&self) -> u8 {
        let most = self.env.config.pointers.min(TOLD as u8);
        if self.groups.known_is_full() { most } else { most.div_ceil(3) }
    }

    /// Our items or our groups have changed: there will be a round soon.
    pub(crate) fn pointers_consider(&mut self) {
        self.pointers.waits = 0;
        self.pointers_heard();
    }

    /// A group became known. Where there are more than the table holds that never ends: each such round waits twice as long as the
    /// one before.
    pub(crate) fn pointers_heard(&mut self) {
        if self.env.config.pointers == 0 || self.content.len() == 0 {
            return;
        }
        self.pointers.changed = true;
        if self.pointers.at.is_none() {
            self.env.timers.set_earlier(Timer::Point, self.env.now.plus_ms(self.pointers.soon_ms()));
        }
    }

    pub(crate) fn pointers_timeout(&mut self) {
        let now = self.env.now;
        let pointers = &mut self.pointers;
        let from = match pointers.at {
            Some(at) => at,
            None => {
                pointers.changed = false;
                pointers.waits = if self.groups.known_is_full() { (pointers.waits + 1).min(WAITS_MAX) } else { 0 };
                pointers.refreshing = now >= pointers.refresh_at;
                if pointers.refreshing {
                    let interval = self.env.config.pointer_refresh_ms;
                    pointers.refresh_at = now.plus_ms(self.env.rng.jitter_ms(interval));
                }
                pointers.failed.iter_mut().for_each(|failed| failed.1 = true);
                0
            }
        };
        let (next, items) = self.pointers_tell(from);
        self.pointers.at = next;
        let at = match next {
            Some(_) => now.plus_ms(1 + items * 1000 / u32::from(self.env.config.pointer_rate)),
            None => {
                let pointers = &mut self.pointers;
                pointers.failed.retain(|failed| !failed.1);
                if pointers.changed || !pointers.failed.is_empty() {
                    now.plus_ms(pointers.soon_ms())
                } else if self.content.len() > 0 {
                    pointers.refresh_at
                } else {
                    return;
                }
            }
        };
        self.env.timers.set(Timer::Point, at);
    }

    /// One step of a round: where the next one begins, and how many items were looked at closely.
    fn pointers_tell(&mut self, from: u32) -> (Option<u32>, u32) {
        let most = self.pointers_wanted();
        // Whoever does not know the item's group asks those after it, too.
        let crowded = self.groups.known_is_full();
        let mut telling: Vec<Telling, TELL> = Vec::new();
        let (mut at, mut items) = (from, 0);
        while at < from + LOOK && telling.len() + usize::from(most) <= TELL {
            let Some(item) = self.content.at(at) else { break };
            at += 1;
            let source = if item.complete() { self.groups.points_for(&self.env.me, item.seat) } else { None };
            let Some((source, seat)) = source else { continue };
            items += 1;
            let key = *item.key();
            let own = crate::group::Groups::score(&key, &source, seat);
            let told_before = item.told;
            let mut told = [0; TOLD];
            let best = self.groups.candidates(&key, 0, false, &mut |group| *group == source);
            let asked_before = best.iter().filter(|group| crowded || group.score > own).take(usize::from(most));
            for (group, told) in asked_before.zip(&mut told) {
                *told = tag(&source, &group.group);
                let failed = self.pointers.failed.iter().any(|failed| failed.0 == prefix(&group.group));
                if self.pointers.refreshing || failed || !told_before.contains(told) {
                    let _ = telling.push(Telling { group: group.group, source, key });
                }
            }
            self.content.set_told(at - 1, told);
        }
        let next = self.content.at(at).is_some().then_some(at);
        while let Some(first) = telling.last() {
            let (group, source) = (first.group, first.source);
            let mut keys = Vec::new();
            telling.retain(|one| {
                let taken = one.group == group && one.source == source && keys.push(Short::of(&one.key)).is_ok();
                !taken
            });
            self.point(&group, &source, keys);
        }
        (next, items)
    }

    /// Tells one group which of its better-ranked items another one holds.
    fn point(&mut self, group: &GroupId, source: &GroupId, keys: Vec<Short, KEYS>) {
        let Some(source) = self.hint(source) else { return };
        // Three refreshes may be missed. With many items they take longer than the interval.
        let round_s = self.content.len() as u32 / u32::from(self.env.config.pointer_rate);
        let lease_s = (self.env.config.pointer_refresh_ms / 1000).max(round_s).saturating_mul(3).min(KEPT_MAX_S);
        let mut point = Point { group: *group, pass_on: true, lease_s, source, keys };
        if self.groups.seat_of(group).is_some() {
            self.keep_pointers(&point);
            self.pass_on(&mut point);
            return;
        }
        for (id, addr) in self.group_contacts(group) {
            if self.ask_point(&id, Some(addr), &point) {
                return;
            }
        }
        self.pointers.fail(prefix(group));
    }

    fn ask_point(&mut self, id: &NodeId, addr: Option<crate::addr::Addr>, point: &Point) -> bool {
        let Some(peer) = self.dial(id, addr) else { return false };
        let asked = self.ask(peer, internal::POINT, Owner::Point(prefix(&point.group)), POINT_MS, |w| w.value(point));
        self.env.counters.pointer_batches += u32::from(asked.is_some());
        asked.is_some()
    }

    /// Tells the other members of a group of ours, so that each of them can answer. Whom this does not reach waits for the
    /// next refresh.
    fn pass_on(&mut self, point: &mut Point) {
        if core::mem::take(&mut point.pass_on) {
            for (id, addr) in self.group_contacts(&point.group) {
                self.ask_point(&id, Some(addr), point);
            }
        }
    }

    /// Gives a new member of a group of ours the pointers kept here, so that it can answer as we do: at most 8 batches from
    /// the next 256 places; with more than that, what is missing comes with the refreshes.
    pub(crate) fn pointers_hand_over(&mut self, to: &NodeId, group: &GroupId) {
        let now_s = self.env.seconds();
        let used = self.pointers.used;
        let from = if self.pointers.hand_at >= used { 0 } else { self.pointers.hand_at };
        let upto = (from + LOOK).min(used);
        self.pointers.hand_at = upto;
        let mut given: Vec<GroupId, HAND_OVER> = Vec::new();
        for at in from..upto {
            let Some(first) = self.pointers.table.items().get(at as usize).copied() else { return };
            if first.expires_s <= now_s || first.group == *group || given.contains(&first.group) {
                continue;
            }
            let source = self.pointer_hint(&first);
            let window = self.pointers.table.items().get(at as usize..upto as usize).unwrap_or_default();
            let same = window.iter().filter(|other| other.group == first.group && other.expires_s > now_s);
            let keys = same.take(KEYS).map(|other| other.key).collect();
            let lease_s = first.expires_s - now_s;
            let point = Point { group: *group, pass_on: false, lease_s, source, keys };
            if given.push(first.group).is_err() || !self.ask_point(to, None, &point) {
                return;
            }
        }
    }

    fn keep_pointers(&mut self, point: &Point) {
        let Node { pointers, env, .. } = self;
        let now_s = env.seconds();
        let expires_s = now_s.saturating_add(point.lease_s.min(KEPT_MAX_S));
        // What was told says who holds them; a member that we know better may be told of as well.
        let Some(holder) = point.source.contacts.first().copied() else { return };
        let (group, seat) = (point.source.id, point.source.seat);
        for key in &point.keys {
            let pointer = Pointer { expires_s, key: *key, group, holder, seat };
            let evicted = pointers.keep(env.index_secret, now_s, &mut env.rng, pointer);
            env.counters.pointers_evicted += u32::from(evicted);
        }
    }

    /// Pointers to keep for one of our groups.
    pub(crate) fn serve_point(&mut self, _peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let point = crate::wire::value::<Point>(self.body_bytes(&body));
        self.free_body(Ok(body));
        let Some(mut point) = point else { return Served::Refuse(Status::Bad) };
        if self.groups.seat_of(&point.group).is_none() {
            return Served::Refuse(Status::NotFound);
        }
        for contact in &mut point.source.contacts {
            contact.1 = self.address_of(&contact.0, contact.1);
        }
        self.learn_hint(&point.source);
        self.keep_pointers(&point);
        if point.pass_on {
            // Whoever tells may not know of the groups that are asked first: it tells these, too, when it hears of them.
            reply.value(&self.pointers_better(&point));
        }
        self.pass_on(&mut point);
        Served::Reply
    }

    /// A group has been told, or not: then another of its contacts is told in the next round. Of groups that we are in
    /// nothing follows.
    pub(crate) fn pointed(&mut self, group: [u8; 4], from: NodeId, result: Result<Body<'_>, Failure>) {
        let failure = match result {
            Ok(body) => {
                let better: Option<Vec<GroupHint, HINTS>> = self.decode(body);
                for hint in better.iter().flatten().rev() {
                    self.learn_hint(hint);
                }
                return;
            }
            Err(failure) => failure,
        };
        let Some(id) = self.groups.known_by_prefix(group) else { return };
        if !matches!(failure, Failure::Refused(Status::Busy)) {
            self.group_contact_lost(&id, &from);
        }
        self.pointers.fail(group);
        if self.pointers.at.is_none() {
            self.env.timers.set_earlier(Timer::Point, self.env.now.plus_ms(SOON_MS));
        }
    }

    /// Known groups that rank better for the items told than the group told of them.
    fn pointers_better(&self, point: &Point) -> Vec<GroupHint, HINTS> {
        let mut better: Vec<GroupId, HINTS> = Vec::new();
        let size = self.groups.seat_of(&point.group).and_then(|seat| self.groups.size_of(seat)).unwrap_or(0);
        for key in &point.keys {
            let key = key.key();
            let own = crate::group::Groups::score(&key, &point.group, size);
            let candidates = self.groups.candidates(&key, 0, false, &mut |group| *group == point.source.id);
            let each = if point.keys.len() == 1 { HINTS } else { 1 };
            for candidate in candidates.iter().filter(|group| group.score > own).take(each) {
                if !better.contains(&candidate.group) {
                    let _ = better.push(candidate.group);
                }
            }
        }
        better.iter().filter_map(|group| self.hint(group)).collect()
    }

    /// The group that a pointer names, first of its contacts the member named.
    fn pointer_hint(&self, pointer: &Pointer) -> GroupHint {
        let known = self.hint(&pointer.group);
        let mut hint = known.unwrap_or_else(|| GroupHint {
            id: pointer.group,
            seat: pointer.seat,
            wanted: 1,
            live: 1,
            free: 0,
            age_s: UNKNOWN_AGE_S,
            contacts: Vec::new(),
        });
        hint.contacts.retain(|contact| contact.0 != pointer.holder.0);
        if hint.contacts.is_full() {
            hint.contacts.pop();
        }
        let _ = hint.contacts.insert(0, pointer.holder);
        hint
    }

    /// The group that is said to hold an item.
    pub(super) fn pointer_to(&self, key: &Key) -> Option<GroupHint> {
        let pointer = self.pointers.get(self.env.index_secret, self.env.seconds(), &Short::of(key))?;
        Some(self.pointer_hint(&pointer))
    }
}

/// Tells apart what was told: 16 bits of whom, and of which group's items. 0 is nobody.
fn tag(source: &GroupId, group: &GroupId) -> u16 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&source.0);
    both[16..].copy_from_slice(&group.0);
    (Index::mix(0, &both) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(i: u32, group: u8, expires_s: u32) -> Pointer {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&i.to_le_bytes());
        Pointer { key: Short(key), group: GroupId([group; 16]), expires_s, ..Pointer::EMPTY }
    }

    /// 32 pointers in lent memory, at some second.
    struct Kept<'m> {
        pointers: Pointers<'m>,
        rng: Rng,
        now_s: u32,
        evicted: u32,
    }

    const ROOM: u32 = 32;

    impl Kept<'_> {
        fn with(test: impl FnOnce(&mut Kept<'_>)) {
            let (mut table, mut index) = ([Pointer::EMPTY; ROOM as usize], [0; 50]);
            let pointers = Pointers::new(Store::Lent(&mut table), Store::Lent(&mut index));
            test(&mut Kept { pointers, rng: Rng::new([1; 16]), now_s: 0, evicted: 0 });
        }

        fn keep(&mut self, i: u32, group: u8, expires_s: u32) {
            let new = pointer(i, group, expires_s);
            self.evicted += u32::from(self.pointers.keep(7, self.now_s, &mut self.rng, new));
        }

        fn get(&self, i: u32) -> Option<u8> {
            self.pointers.get(7, self.now_s, &pointer(i, 0, 0).key).map(|pointer| pointer.group.0[0])
        }

        fn count(&self, range: core::ops::Range<u32>) -> u32 {
            range.filter(|i| self.get(*i).is_some()).count() as u32
        }
    }

    #[test]
    fn s6_5_the_largest_batch_fits_one_fragment() {
        let addr = crate::addr::Addr { ip: [0x2a; 16], port: u16::MAX, slot: u16::MAX };
        let contacts = core::iter::repeat_n((NodeId([7; 32]), addr), crate::wire::CONTACTS_MAX).collect();
        let source =
            GroupHint { id: GroupId([1; 16]), seat: 9, wanted: 8, live: 8, free: 99, age_s: u16::MAX, contacts };
        let keys = core::iter::repeat_n(Short([9; 16]), KEYS).collect();
        let point = Point { group: GroupId([2; 16]), pass_on: true, lease_s: u32::MAX, source, keys };
        let mut buf = [0; crate::exchange::FRAGMENT];
        let mut writer = crate::wire::Writer::new(&mut buf);
        assert!(writer.value(&point));
        assert_eq!(crate::wire::value(writer.written()), Some(point));
    }

    #[test]
    fn s6_5_a_pointer_is_found_until_it_expires_and_the_last_told_counts() {
        Kept::with(|kept| {
            kept.keep(1, 5, 10);
            kept.keep(2, 6, 20);
            assert_eq!((kept.get(1), kept.get(2), kept.get(3)), (Some(5), Some(6), None));
            kept.keep(1, 7, 10);
            assert_eq!((kept.get(1), kept.get(2)), (Some(7), Some(6)));
            kept.now_s = 10;
            assert_eq!((kept.get(1), kept.get(2)), (None, Some(6)));
            kept.keep(1, 8, 20);
            assert_eq!((kept.get(1), kept.evicted), (Some(8), 0));
        });
    }

    #[test]
    fn s6_5_a_full_table_drops_expired_pointers_first() {
        Kept::with(|kept| {
            // Half of them have expired.
            (0..ROOM).for_each(|i| kept.keep(i, 1, 10 + 1000 * (i % 2)));
            kept.now_s = 10;
            (1000..1000 + ROOM / 4).for_each(|i| kept.keep(i, 2, 2000));
            assert_eq!(kept.count(1000..1000 + ROOM / 4), ROOM / 4);
            assert_eq!(kept.count(0..ROOM) + kept.evicted, ROOM / 2);
            assert!(kept.evicted <= 2);
            // However many come, the table and its index hold.
            (5000..5000 + 50 * ROOM).for_each(|i| kept.keep(i, 3, 3000));
            assert_eq!((kept.pointers.used, kept.count(0..5000 + 50 * ROOM)), (ROOM, ROOM));
        });
    }

    #[test]
    fn s6_5_a_group_that_failed_is_told_again_in_the_next_round_only() {
        let mut pointers = Pointers::new(Store::default(), Store::default());
        pointers.fail([1; 4]);
        pointers.failed.iter_mut().for_each(|failed| failed.1 = true);
        pointers.fail([2; 4]);
        pointers.failed.retain(|failed| !failed.1);
        assert_eq!(pointers.failed.as_slice(), [([2; 4], false)]);
    }
}

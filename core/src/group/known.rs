//! Groups we are not in, and the ranking of all groups for a key (PROTOCOL §5.4, §6.2).

use heapless::Vec;

use super::{Groups, SIZES, Seat, mix, seat_blocks, word};
use crate::addr::Addr;
use crate::id::{GroupId, Key, NodeId};
use crate::node::{Env, Node};
use crate::table::{Handle, Index};
use crate::time::Instant;
use crate::wire::{BLOCK, CONTACTS_MAX, GroupHint, MEMBERS_MAX};

/// A group that we know of but are not in. Policy when the table is full: of 16 random ones, the one unheard of for longest
/// makes room.
#[derive(Clone, Debug)]
pub struct Known {
    pub(super) hint: GroupHint,
    /// When a member told it, as far as we know.
    pub(super) heard: Instant,
}

/// Which seats an item goes to first (PROTOCOL §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Items of at most one block: seats of at most 64 blocks, unweighted.
    Small,
    /// Extents: seats of at least 512 blocks, weighted by size.
    Large,
}

impl Class {
    /// The class of an item: its key tells (PROTOCOL §6.1).
    pub fn of(key: &Key) -> Class {
        if key.0[0] & 0x80 != 0 { Class::Large } else { Class::Small }
    }
}

/// A group that may hold, or take, an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub group: GroupId,
    /// Rendezvous score for the key asked: the larger comes first.
    pub score: u64,
    /// Our seat in it, if we are a member.
    pub seat: Option<Handle>,
    /// Whether it is said to have room for the item.
    pub room: bool,
}

/// log2 of `x` with 16 fractional bits, linear between powers of two: off by at most 0.09.
pub(super) fn log2_fixed(x: u64) -> u64 {
    let whole = u64::from(x.max(1).ilog2());
    let fraction = if whole >= 16 { (x >> (whole - 16)) & 0xffff } else { (x << (16 - whole)) & 0xffff };
    whole << 16 | fraction
}

/// The score by which groups are ranked for a key: larger is better. Highest random weight (Thaler, Ravishankar 1998); for
/// large items weighted by the seat's size as weight / −log2(u) (Schindelhauer, Schomaker 2005), in fixed point.
/// Groups of the other class come after all of the item's own.
fn score(key: &Key, group: &GroupId, seat: u8) -> u64 {
    let hash =
        mix(word(&key.0) ^ word(&key.0[8..]).rotate_left(32), word(&group.0) ^ word(&group.0[8..]).rotate_left(17));
    let small = seat <= 1;
    let (own_class, score) = match Class::of(key) {
        Class::Small => (small, hash),
        Class::Large => {
            // −log2(u) for u = hash / 2^64, with 16 fractional bits, never 0.
            let cost = (64 << 16) - log2_fixed(hash).min((64 << 16) - 1);
            (!small, ((1u64 << (3 * seat.min(SIZES as u8) as u64)) << 40) / cost)
        }
    };
    score >> 1 | u64::from(own_class) << 63
}

fn add_best(best: &mut Vec<Candidate, 8>, candidate: Candidate, excluded: &mut dyn FnMut(&GroupId) -> bool) {
    let at = best.partition_point(|b| (b.score, b.group) > (candidate.score, candidate.group));
    if at < 8 && !excluded(&candidate.group) {
        if best.is_full() {
            best.pop();
        }
        let _ = best.insert(at, candidate);
    }
}

/// Whether `free` (log2 of blocks, rounded down; 0 is none or one) leaves room for `bytes`.
pub(super) fn said_room(free: u8, bytes: u32) -> bool {
    (1u64 << free.min(40)) * BLOCK as u64 >= u64::from(bytes) && (free > 0 || bytes <= BLOCK as u32 / 2)
}

impl Groups<'_> {
    /// The score by which groups are ranked for a key: larger is better.
    pub fn score(key: &Key, group: &GroupId, seat: u8) -> u64 {
        score(key, group, seat)
    }

    /// The best groups for a key, ours and known ones, best first, without those `excluded`. Groups too small ever to take
    /// `bytes` are left out. Cost: one mix of 64 bits per known group, and `excluded` for each that is among the best so far.
    pub fn candidates(
        &self,
        key: &Key,
        bytes: u32,
        room_only: bool,
        excluded: &mut dyn FnMut(&GroupId) -> bool,
    ) -> Vec<Candidate, 8> {
        let mut best = Vec::new();
        let fits = |seat: u8| u64::from(seat_blocks(seat)) * BLOCK as u64 >= u64::from(bytes);
        for (handle, seat) in self.seats.iter().filter(|(_, s)| s.phase == super::Phase::Member && fits(s.size)) {
            let score = score(key, &seat.id, seat.size);
            let room = seat.put_bytes() >= crate::content::room_of(bytes);
            if room || !room_only {
                add_best(&mut best, Candidate { group: seat.id, score, seat: Some(handle), room }, excluded);
            }
        }
        for (_, known) in self.known.iter().filter(|(_, k)| fits(k.hint.seat) && !k.hint.contacts.is_empty()) {
            let score = score(key, &known.hint.id, known.hint.seat);
            let room = said_room(known.hint.free, bytes);
            if room || !room_only {
                add_best(&mut best, Candidate { group: known.hint.id, score, seat: None, room }, excluded);
            }
        }
        best
    }

    /// The group in a seat and the seat's size, if we are the member that tells others of its items. Always the same member,
    /// as long as it lives: what it has told need not be told again when others come and go.
    pub(crate) fn points_for(&self, me: &NodeId, seat: Handle) -> Option<(GroupId, u8)> {
        let seat = self.seats.get(seat).filter(|seat| seat.phase == super::Phase::Member)?;
        (seat.standing(me) == 0).then_some((seat.id, seat.size))
    }

    /// The known group whose id begins like this.
    pub(crate) fn known_by_prefix(&self, prefix: [u8; 4]) -> Option<GroupId> {
        self.known_hints().map(|hint| hint.id).find(|id| id.0.starts_with(&prefix))
    }

    /// The groups that we are not in.
    pub(super) fn known_hints(&self) -> impl Iterator<Item = &GroupHint> {
        self.known.iter().map(|(_, known)| &known.hint)
    }

    /// The groups that we are not in and that were heard of within so many seconds.
    pub(super) fn known_heard(&self, now: Instant, seconds: u32) -> impl Iterator<Item = &GroupHint> {
        let fresh = move |known: &&Known| now.ms_since(known.heard) <= 1000 * seconds;
        self.known.iter().map(|(_, known)| known).filter(fresh).map(|known| &known.hint)
    }

    /// Groups known with this seat size, ours included.
    pub fn count(&self, size: u8) -> usize {
        let ours = self.seats.iter().filter(|(_, seat)| seat.size == size).count();
        ours + self.known_hints().filter(|hint| hint.seat == size).count()
    }

    /// Whether there are more groups than we can remember.
    pub(crate) fn known_is_full(&self) -> bool {
        self.known.is_full()
    }

    /// The seat size of a group of ours.
    pub(crate) fn size_of(&self, seat: Handle) -> Option<u8> {
        self.seats.get(seat).map(|seat| seat.size)
    }

    /// Groups known, ours included.
    pub fn len(&self) -> usize {
        self.seats.len() + self.known.len()
    }

    fn find(&self, env: &Env<'_>, group: &GroupId) -> Option<Handle> {
        let is = |at: u32| self.known.at(at as u16).is_some_and(|k| k.hint.id == *group);
        let at = self.index.find(Index::mix(env.index_secret, &group.0), is)?;
        self.known.handle_at(at as u16)
    }

    /// Forgets a group that we know, because we joined it or it is gone.
    pub(super) fn forget(&mut self, env: &Env<'_>, group: &GroupId) {
        let Some(handle) = self.find(env, group) else { return };
        let Groups { known, index, .. } = self;
        let hash_of = |at: u32| {
            let known = known.at(at as u16);
            known.map_or(0, |k| Index::mix(env.index_secret, &k.hint.id.0))
        };
        index.remove(hash_of(handle.index.into()), handle.index.into(), hash_of);
        self.known.remove(handle);
    }

    /// The leader of a known group has no room for an item: nothing is put there until we hear of it again.
    pub(crate) fn is_full(&mut self, env: &Env<'_>, group: &GroupId) {
        if let Some(known) = self.find(env, group).and_then(|handle| self.known.get_mut(handle)) {
            known.hint.free = 0;
        }
    }

    /// Takes a hint, unless a newer one is known; true when the group was not known.
    fn learn(&mut self, env: &mut Env<'_>, hint: &GroupHint) -> bool {
        let age_us = u64::from(hint.age_s) * 1_000_000;
        let heard = Instant::from_micros(env.now.as_micros().saturating_sub(age_us));
        if let Some(handle) = self.find(env, &hint.id) {
            if let Some(known) = self.known.get_mut(handle).filter(|known| known.heard <= heard) {
                let mut contacts = hint.contacts.clone();
                for old in &known.hint.contacts {
                    if !contacts.iter().any(|(id, _)| *id == old.0) {
                        let _ = contacts.push(*old);
                    }
                }
                known.hint = GroupHint { contacts, ..hint.clone() };
                known.heard = heard;
            }
            return false;
        }
        if self.known.is_full() {
            let mut oldest: Option<(Instant, GroupId)> = None;
            for _ in 0..16 {
                let at = env.rng.below(u32::from(self.known.used())) as u16;
                if let Some(known) = self.known.at(at)
                    && oldest.is_none_or(|(heard, _)| known.heard < heard)
                {
                    oldest = Some((known.heard, known.hint.id));
                }
            }
            let Some((_, group)) = oldest else { return false };
            self.forget(env, &group);
            env.counters.known_evicted += 1;
        }
        let Ok(handle) = self.known.insert(Known { hint: hint.clone(), heard }) else { return false };
        let Groups { known, index, .. } = self;
        let hash_of = |at: u32| {
            let known = known.at(at as u16);
            known.map_or(0, |k| Index::mix(env.index_secret, &k.hint.id.0))
        };
        let indexed = index.insert(hash_of(handle.index.into()), handle.index.into(), hash_of);
        if !indexed {
            self.known.remove(handle);
        }
        indexed
    }
}

impl Seat {
    /// How many live members are before this one in an order that stays the same while others come and go: the first is the
    /// last to leave, so that it can be told to others for long.
    pub(super) fn standing(&self, id: &NodeId) -> usize {
        super::descriptor::rank(&self.id, [0; 4], &self.members, id)
    }

    fn hint(&self, address_of: impl Fn(&NodeId, Addr) -> Addr) -> GroupHint {
        let mut contacts = Vec::new();
        for standing in 0..CONTACTS_MAX {
            let mut live = super::descriptor::live(&self.members);
            let member = live.find(|member| self.standing(&member.id) == standing);
            contacts.extend(member.map(|member| (member.id, address_of(&member.id, member.addr))));
        }
        let free = self.free_log2();
        GroupHint {
            id: self.id,
            seat: self.size,
            wanted: self.wanted,
            live: self.live() as u8,
            free,
            age_s: 0,
            contacts,
        }
    }
}

impl Node<'_> {
    /// A group as told to others: ours or a known one. Our own address is left unspecified: the receiver sees it.
    pub(crate) fn hint(&self, group: &GroupId) -> Option<GroupHint> {
        let me = self.env.me;
        if let Some(seat) = self.groups.seat_of(group).and_then(|handle| self.groups.seats.get(handle)) {
            let mut hint = seat.hint(|id, told| if *id == me { Addr::default() } else { self.address_of(id, told) });
            // We answer for the group ourselves: nobody is a better contact, unless we are surplus and about to leave.
            if !hint.contacts.iter().any(|(id, _)| *id == me) && seat.standing(&me) < usize::from(seat.wanted) {
                hint.contacts.pop();
                let _ = hint.contacts.insert(0, (me, Addr::default()));
            }
            return Some(hint);
        }
        let known = self.groups.known.get(self.groups.find(&self.env, group)?)?;
        let age_s = (self.env.now.ms_since(known.heard) / 1000).saturating_add(1).min(u32::from(u16::MAX)) as u16;
        Some(GroupHint { age_s, ..known.hint.clone() })
    }

    /// Takes what somebody told of a group; true when it was not known. Contacts without an address are kept only if we know
    /// their address.
    pub(crate) fn learn_hint(&mut self, hint: &GroupHint) -> bool {
        let sane = hint.seat < SIZES as u8 && (1..=8).contains(&hint.wanted) && usize::from(hint.live) <= MEMBERS_MAX;
        if !sane {
            return false;
        }
        if let Some(seat) = self.groups.seat_of(&hint.id) {
            self.hint_of_ours(seat, hint);
            return false;
        }
        let mut hint = hint.clone();
        for contact in &mut hint.contacts {
            contact.1 = self.address_of(&contact.0, contact.1);
        }
        let me = self.env.me;
        hint.contacts.retain(|(id, addr)| *id != me && addr.is_unicast());
        let news = !hint.contacts.is_empty() && self.groups.learn(&mut self.env, &hint);
        if news {
            self.founding_news(&hint);
            self.pointers_heard();
        }
        news
    }

    /// Whether we are the leader of a group: the senior of its live members (§5.3).
    pub(crate) fn leads(&self, group: &GroupId) -> bool {
        let seat = self.groups.seat_of(group).and_then(|handle| self.groups.seats.get(handle));
        seat.is_some_and(|seat| super::descriptor::leader(&seat.members) == Some(self.env.me))
    }

    /// Live members of a group other than us, and where they are: all of ours, the leader first; or the contacts of a known one.
    pub(crate) fn group_contacts(&self, group: &GroupId) -> Vec<(NodeId, Addr), MEMBERS_MAX> {
        if let Some(seat) = self.groups.seat_of(group).and_then(|handle| self.groups.seats.get(handle)) {
            let leader = super::descriptor::leader(&seat.members);
            let others = super::descriptor::live(&seat.members).filter(|m| m.id != self.env.me);
            let mut contacts: Vec<_, MEMBERS_MAX> = others.map(|m| (m.id, self.address_of(&m.id, m.addr))).collect();
            if let Some(at) = contacts.iter().position(|(id, _)| Some(*id) == leader) {
                contacts.swap(0, at);
            }
            return contacts;
        }
        let known = self.groups.find(&self.env, group).and_then(|handle| self.groups.known.get(handle));
        known.map(|known| known.hint.contacts.iter().copied().collect()).unwrap_or_default()
    }

    /// A contact was found dead or not to be a member: it is not asked again for this group. A group without contacts
    /// is forgotten: it is told again by whoever is in it.
    pub(crate) fn group_contact_lost(&mut self, group: &GroupId, id: &NodeId) {
        let Some(handle) = self.groups.find(&self.env, group) else { return };
        let Some(known) = self.groups.known.get_mut(handle) else { return };
        known.hint.contacts.retain(|contact| contact.0 != *id);
        if known.hint.contacts.is_empty() {
            self.groups.forget(&self.env, group);
        }
    }

    /// Whether more groups of a size may be founded: seats for repair must stay free (PROTOCOL §5.5). Every host with room
    /// for such a seat counts as one seat; a network's first group is always allowed.
    pub(super) fn may_found(&self, seat: u8) -> bool {
        if self.groups.len() == 0 {
            return true;
        }
        let room = super::log2(seat_blocks(seat).into());
        let (mut hosts, mut with_room) = (0usize, 0usize);
        for facts in self.hosts.facts_heard() {
            hosts += 1;
            with_room += usize::from(facts.free >= room);
        }
        hosts == 0 || with_room >= (hosts / 10).max(1)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::rng::Rng;
    use crate::table::{Slot, Store};

    fn extent(mut key: [u8; 32]) -> Key {
        key[0] |= 0x80;
        Key(key)
    }

    #[test]
    fn s6_2_full_groups_do_not_hide_one_with_room() {
        // A put of 1 GiB filled eight groups; the ninth was never looked at, and founding never ended.
        let mut node = crate::vectors::node(1);
        let (mut known, mut index) = ([const { Slot::EMPTY }; 40], [0; 62]);
        let (known, index) = (Store::Lent(&mut known), Store::Lent(&mut index));
        let mut groups = Groups::new(Store::default(), Store::default(), known, index);
        let contact = (NodeId([7; 32]), Addr::from(std::net::SocketAddr::from(([10, 0, 0, 7], 7))));
        for i in 0..40u8 {
            let contacts = core::iter::once(contact).collect();
            let free = if i == 20 { 9 } else { 0 };
            let id = GroupId([i + 1; 16]);
            let hint = GroupHint { id, seat: 2, wanted: 3, live: 3, free, age_s: 0, contacts };
            assert!(groups.learn(&mut node.env, &hint));
        }
        for i in 0..50u8 {
            let key = extent([i; 32]);
            let found = groups.candidates(&key, 500_000, true, &mut |_| false);
            assert_eq!(found.iter().map(|c| c.group).collect::<Vec<_, 8>>(), [GroupId([21; 16])], "key {i}");
            // A get looks at full groups, too: they hold what they are full of.
            assert_eq!(groups.candidates(&key, 500_000, false, &mut |_| false).len(), 8);
        }
    }

    #[test]
    fn s6_2_small_items_spread_evenly_and_large_ones_by_size() {
        let mut rng = Rng::new([1; 16]);
        let groups: Vec<(GroupId, u8), 8> = (0..8u8)
            .map(|i| {
                let mut id = [0; 16];
                rng.fill(&mut id);
                (GroupId(id), if i < 4 { 2 } else { 3 })
            })
            .collect();
        let mut wins = [0u32; 8];
        for _ in 0..20_000 {
            let mut key = [0; 32];
            rng.fill(&mut key);
            let best = (0..8).max_by_key(|i| score(&extent(key), &groups[*i].0, groups[*i].1)).unwrap();
            wins[best] += 1;
        }
        let (light, heavy): (u32, u32) = (wins[..4].iter().sum(), wins[4..].iter().sum());
        // Weights 1 to 8: the heavy ones should win 8/9 of the keys.
        assert!((16_800..18_700).contains(&heavy), "{light} {heavy}");
        assert!(wins[4..].iter().all(|w| (3_700..5_200).contains(w)), "{wins:?}");
    }

    #[test]
    fn s6_2_an_items_own_class_comes_first() {
        let (block, extent) = (Key([3; 32]), extent([3; 32]));
        for i in 0..100u8 {
            let (a, b) = (GroupId([i; 16]), GroupId([i ^ 0x55; 16]));
            assert!(score(&block, &a, 1) > score(&block, &b, 2));
            assert!(score(&extent, &a, 2) > score(&extent, &b, 1));
        }
    }
}

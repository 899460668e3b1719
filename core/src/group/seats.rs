//! Our seats: how storage is split, joining, and what follows when a membership changes (PROTOCOL §5.1–5.3).

use heapless::Vec;

use super::descriptor::{self, Members, live, live_entry, merge_entry};
use super::{Groups, Notice, Phase, SIZES, Seat, seat_blocks};
use crate::addr::Addr;
use crate::content::{Content, ITEMS_PER_BLOCK, ItemInfo, ItemSet, room_of};
use crate::id::{GroupId, Key, NodeId};
use crate::node::{Event, Node, PeerId, Refused, SeatId, Timer};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::{Descriptor, Facts, MemberEntry, MemberState};

/// Milliseconds for which a seat is kept for a group that may admit us.
const PROMISE_MS: u32 = 3_000;
/// Milliseconds between looks at leases.
const UPKEEP_MS: u32 = 10_000;
/// Items looked at per upkeep.
const UPKEEP_ITEMS: u32 = 1024;

/// A seat promised to a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub group: GroupId,
    pub size: u8,
    pub until: Instant,
}

/// Whether a group has as many live members as wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum GroupState {
    /// Fewer: the group recruits.
    Cold,
    /// Just as many.
    Goldilocks,
    /// More: the surplus leaves once the others proved that they hold everything.
    Hot,
}

/// A group that we are in, for people and programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupInfo {
    /// Our seat in it.
    pub seat: SeatId,
    /// The group.
    pub id: GroupId,
    /// Cold, goldilocks or hot.
    pub state: GroupState,
    /// Its live members, we included.
    pub members: Vec<NodeId, { crate::wire::MEMBERS_MAX }>,
    /// Live members wanted.
    pub wanted: u8,
    /// Complete items held here.
    pub items: u32,
    /// Bytes of the seat that the items here take: 1,365 at least each.
    pub bytes: u64,
    /// Bytes that still fit.
    pub free: u64,
    /// Other live members whose item set was the same as ours at their last beat.
    pub agreeing: u8,
}

/// Splits blocks of storage into at most `seats` seats: some small ones for small items, the rest in few large ones.
pub(crate) fn plan(blocks: u32, seats: usize) -> [u8; SIZES] {
    let mut plan = [0u8; SIZES];
    let (mut blocks, mut left) = (blocks, seats.min(64) as u32);
    let (most, total) = ((left / 4).max(1), blocks);
    let mut take = |plan: &mut [u8; SIZES], size: usize, most: u32, share: u32, blocks: &mut u32| {
        let n = most.min(share / seat_blocks(size as u8)).min(left);
        plan[size] += n as u8;
        left -= n;
        *blocks -= n * seat_blocks(size as u8);
    };
    // Small seats get up to a quarter of the seats each, and an eighth of the blocks: but one of them, if it fits at all.
    take(&mut plan, 0, most, (total / 8).max(8).min(total), &mut blocks);
    take(&mut plan, 1, most, total / 8, &mut blocks);
    take(&mut plan, 2, most / 2, total / 4, &mut blocks);
    for size in (0..SIZES).rev() {
        // At least four seats of a size, so that one group is not all a node has; the smallest sizes take what is left.
        let share = if size > 0 && blocks / seat_blocks(size as u8) < 4 && size > 2 { 0 } else { blocks };
        take(&mut plan, size, 64, share, &mut blocks);
    }
    plan
}

impl Groups<'_> {
    fn seats_taken(&self, size: u8, now: Instant) -> usize {
        let taken = self.seats.iter().filter(|(_, seat)| seat.size == size).count();
        taken + self.promises.iter().filter(|p| p.size == size && p.until > now).count()
    }

    /// Seats of this size that are free.
    pub(super) fn seats_free(&self, size: u8, now: Instant) -> usize {
        let planned = self.plan.get(size as usize).map_or(0, |n| usize::from(*n));
        planned.saturating_sub(self.seats_taken(size, now)).min(self.seats.limit() - self.seats.len())
    }

    /// Keeps a seat for a group for a moment. False when none is free, or too many are promised.
    /// `surplus`: for a group that has the members that it needs. A quarter of the seats is kept for those that have not.
    pub(super) fn promise(&mut self, group: &GroupId, size: u8, surplus: bool, now: Instant) -> bool {
        self.promises.retain(|p| p.until > now && p.group != *group);
        let until = now.plus_ms(PROMISE_MS);
        let planned = self.plan.get(size as usize).map_or(0, |n| usize::from(*n));
        let reserved = if surplus { planned.div_ceil(4) } else { 0 };
        self.seats_free(size, now) > reserved && self.promises.push(Promise { group: *group, size, until }).is_ok()
    }
}

impl Node<'_> {
    pub(crate) fn groups_begin(&mut self) {
        // No more blocks than the index has places for their items.
        let indexed = self.env.limits.items as u32 / ITEMS_PER_BLOCK;
        self.groups.plan = plan(self.env.config.storage_blocks.min(indexed), self.env.limits.seats);
        self.env.timers.set(Timer::Upkeep, self.env.now.plus_ms(UPKEEP_MS));
    }

    /// Blocks of the largest free seat.
    pub(crate) fn free_blocks(&self) -> u32 {
        let free = (0..SIZES as u8).rev().find(|size| self.groups.seats_free(*size, self.env.now) > 0);
        free.map_or(0, seat_blocks)
    }

    /// Whether we have nothing but seats of the smallest size.
    pub(crate) fn only_small_seats(&self) -> bool {
        self.groups.plan[0] > 0 && self.groups.plan[1..].iter().all(|n| *n == 0)
    }

    /// What our seats make us: bits of [`crate::wire::Facts`].
    pub(crate) fn seat_flags(&self) -> u8 {
        match self.groups.plan {
            [0, 0, 0, 0, 0, 0] => Facts::NO_STORAGE,
            _ if self.only_small_seats() => Facts::TINY,
            _ => 0,
        }
    }

    /// The groups that we are in.
    pub fn groups(&self) -> impl Iterator<Item = GroupInfo> {
        let seats = self.groups.seats.iter().filter(|(_, seat)| seat.phase == Phase::Member);
        seats.map(|(handle, seat)| GroupInfo {
            seat: SeatId(handle),
            id: seat.id,
            state: seat.state(),
            members: live(&seat.members).map(|m| m.id).collect(),
            wanted: seat.wanted,
            items: seat.set.complete,
            bytes: seat.set.bytes,
            free: seat.put_bytes(),
            agreeing: seat.agreeing() as u8,
        })
    }

    /// Groups known, ours included.
    pub fn groups_known(&self) -> usize {
        self.groups.len()
    }

    /// Items held here, incomplete ones included.
    pub fn items_held(&self) -> usize {
        self.content.len()
    }

    /// Takes a seat in a group. The descriptor must list us as live.
    pub(super) fn sit(&mut self, descriptor: Descriptor) -> Option<Handle> {
        let group = descriptor.id;
        self.groups.promises.retain(|p| p.group != group);
        let seat = Seat {
            id: group,
            size: descriptor.seat,
            wanted: descriptor.wanted,
            version: descriptor.version,
            writer: descriptor.writer,
            phase: Phase::Member,
            epoch: [0; 4],
            members: descriptor.members,
            digests: Vec::new(),
            told: 0,
            news: self.env.now,
            set: ItemSet::default(),
            cold_since: None,
            hot_since: None,
            saved: Default::default(),
            recruit: Default::default(),
            sync: Default::default(),
        };
        let handle = self.groups.seats.insert(seat).ok()?;
        self.groups.forget(&self.env, &group);
        self.env.counters.groups_joined += 1;
        self.seat_changed(handle, true);
        Some(handle)
    }

    /// What follows when the members of a seat's group have changed: partners, epoch, state, and telling others.
    pub(super) fn seat_changed(&mut self, handle: Handle, tell: bool) {
        let now = self.env.now;
        let me = self.env.me;
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        seat.epoch = descriptor::epoch(self.env.crypto, &seat.id, &seat.members);
        let members = seat.members.clone();
        seat.digests.retain(|digest| live_entry(&members, &digest.id).is_some());
        let (count, wanted) = (seat.live(), usize::from(seat.wanted));
        seat.cold_since = (count < wanted).then(|| seat.cold_since.unwrap_or(now));
        seat.hot_since = (count > wanted).then(|| seat.hot_since.unwrap_or(now));
        seat.recruit.settled(&members);
        let group = seat.id;
        for member in live(&members).filter(|m| m.id != me) {
            self.partner_add(&member.id, member.addr);
        }
        for member in members.iter().filter(|m| m.state != MemberState::Live) {
            self.partner_drop_unless_needed(&member.id);
        }
        self.seat_news(handle);
        if tell {
            self.tell_members(handle, Notice::Group(handle));
            self.tell_around(&group);
            self.exchange_soon();
        }
        self.pointers_consider();
        self.env.timers.set(Timer::Seat(handle.index), now);
        self.env.event(Event::GroupChanged(SeatId(handle)));
    }

    /// Up to 4 random peers with a session.
    pub(super) fn random_peers(&mut self) -> Vec<PeerId, 4> {
        let mut chosen = Vec::new();
        // Reservoir sampling (Vitter 1985, algorithm R).
        for (seen, (peer, _)) in self.peers.iter().filter(|(_, peer)| peer.up).enumerate() {
            if chosen.push(peer).is_err() {
                let at = self.env.rng.below(seen as u32 + 1) as usize;
                if let Some(place) = chosen.get_mut(at) {
                    *place = peer;
                }
            }
        }
        chosen
    }

    /// Tells a few hosts that are not in it of a group of ours.
    fn tell_around(&mut self, group: &GroupId) {
        let members = self.group_contacts(group);
        let mut told = 0;
        for peer in self.random_peers() {
            let outside = self.peers.get(peer).is_some_and(|p| !members.iter().any(|(id, _)| *id == p.id));
            if outside && told < 2 && self.tell(peer, Notice::Hint(*group)) {
                told += 1;
            }
        }
    }

    /// Changes one member's entry, and what follows. Nothing happens when it is overruled.
    pub(super) fn member_becomes(&mut self, handle: Handle, id: &NodeId, state: MemberState) {
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        let Some(old) = live_entry(&seat.members, id).copied() else { return };
        if merge_entry(&mut seat.members, &MemberEntry { state, ..old }) {
            self.seat_changed(handle, true);
        }
    }

    /// A descriptor that another node tells.
    pub(super) fn descriptor(&mut self, peer: PeerId, from: NodeId, addr: Option<Addr>, mut told: Descriptor) {
        if !descriptor::plausible(&told) {
            self.env.counters.messages_unexpected += 1;
            return;
        }
        if let (Some(own), Some(addr)) = (told.members.iter_mut().find(|m| m.id == from), addr) {
            own.addr = addr;
        }
        let Some(handle) = self.groups.seat_of(&told.id) else {
            if live_entry(&told.members, &self.env.me).is_some() {
                self.deny_membership(peer, [told.id.0[0], told.id.0[1], told.id.0[2], told.id.0[3]]);
            }
            return;
        };
        let me = self.env.me;
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        let is_listed = |members: &[MemberEntry]| members.iter().any(|m| m.id == from);
        if !is_listed(&seat.members) && !is_listed(&told.members) {
            self.env.counters.messages_unexpected += 1;
            return;
        }
        let ours = |members: &Members| members.iter().find(|m| m.id == me).copied();
        let before = ours(&seat.members);
        let mut changed = false;
        for entry in &told.members {
            changed |= merge_entry(&mut seat.members, entry);
        }
        if (told.version, told.writer) > (seat.version, seat.writer) {
            (seat.version, seat.writer, seat.wanted) = (told.version, told.writer, told.wanted);
            changed = true;
        }
        // We were taken for dead, wrongly, and perhaps gave our place to a later death: we are back (§5.3).
        let after = ours(&seat.members);
        let back = after.is_none_or(|own| own.state != MemberState::Live);
        if back {
            let incarnation = after.or(before).map_or(1, |own| own.incarnation + 1);
            let own = MemberEntry { id: me, incarnation, state: MemberState::Live, addr: Addr::default() };
            merge_entry(&mut seat.members, &own);
        }
        let outdated = seat.members.iter().any(|m| !told.members.iter().any(|t| same(t, m)));
        if changed || back {
            // Whoever told it has told the others, too; only news of our own goes on.
            self.seat_changed(handle, back);
        }
        if outdated && !back {
            self.tell(peer, Notice::Group(handle));
        }
    }

    /// Tells a peer that we are not in a group that it takes us for a member of, unless we keep a seat for it: then we are about
    /// to be admitted, and others have heard of it before us.
    pub(super) fn deny_membership(&mut self, peer: PeerId, group: [u8; 4]) {
        let now = self.env.now;
        if !self.groups.promises.iter().any(|p| p.group.0[..4] == group && p.until > now) {
            self.tell(peer, Notice::NotMember(group));
        }
    }

    pub(super) fn not_member(&mut self, from: NodeId, group: [u8; 4]) {
        if let Some(handle) = self.groups.seat_by_prefix(group) {
            self.member_becomes(handle, &from, MemberState::Left);
        }
    }

    pub(crate) fn seat_timeout(&mut self, index: u16) {
        let Some(handle) = self.groups.seats.handle_at(index) else { return };
        if self.groups.seats.get(handle).is_some_and(|seat| seat.phase == Phase::Emptying) {
            return self.empty(handle);
        }
        self.adapt_step(handle, false);
        self.recruit_step(handle);
        self.trim_step(handle);
        self.sync_step(handle);
    }

    /// Makes an index entry in one of our seats for an item, which is then filled block by block with `item_stored`.
    /// An item already held is kept as it is.
    ///
    /// # Errors
    /// `Full`: the seat has no room. `Unknown`: there is no such seat. `Invalid`: no item can be like that.
    pub(crate) fn item_begin(&mut self, seat: Handle, info: &ItemInfo) -> Result<(), Refused> {
        self.item_admit(seat, info, Seat::put_bytes)
    }

    /// The same for an item that another member holds: it may also use what is kept for synchronisation.
    pub(super) fn item_begin_synced(&mut self, seat: Handle, info: &ItemInfo) -> Result<(), Refused> {
        self.item_admit(seat, info, Seat::free_bytes)
    }

    fn item_admit(&mut self, seat: Handle, info: &ItemInfo, room: fn(&Seat) -> u64) -> Result<(), Refused> {
        if !info.plausible() {
            return Err(Refused::Invalid);
        }
        let member = self.groups.seats.get_mut(seat).filter(|seat| seat.phase == Phase::Member);
        let Some(member) = member else { return Err(Refused::Unknown) };
        if self.content.get_in(&self.env, &info.key, seat).is_some() {
            return Ok(());
        }
        if room(member) < room_of(info.bytes) || !self.content.insert(&self.env, &mut member.set, seat, info) {
            self.env.counters.items_refused += 1;
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// Whether we lead a group without having seen yet what it holds: then we cannot say what fits.
    pub(crate) fn leads_blindly(&self, seat: Handle) -> bool {
        let member = self.groups.seats.get(seat).filter(|seat| seat.phase == Phase::Member);
        member.is_some_and(|seat| seat.sync.learning() && self.leads(&seat.id))
    }

    /// A block of an item is stored now. Complete items count in the seat's fingerprint.
    pub(crate) fn item_stored(&mut self, key: &Key, index: u8) {
        while let Some(handle) = self.content.stored(&self.env, key, index) {
            if let Some(seat) = self.groups.seats.get_mut(handle) {
                Content::count(&mut seat.set, key);
            }
            self.pointers_consider();
        }
    }

    /// Forgets an item of a seat, and its bytes unless another seat holds it, too. False when the storage cannot take the
    /// order now: then nothing was changed.
    pub(crate) fn item_remove(&mut self, handle: Handle, key: &Key) -> bool {
        if self.storage.room() == 0 {
            return false;
        }
        let Some(seat) = self.groups.seats.get_mut(handle) else { return false };
        if !self.content.remove(&self.env, &mut seat.set, key, handle) {
            return false;
        }
        self.content.get(&self.env, key).is_some() || self.storage.delete(&mut self.env, *key)
    }

    pub(crate) fn upkeep_timeout(&mut self) {
        let now = self.env.now;
        for size in 0..SIZES as u8 {
            self.founding_due(size);
        }
        for index in 0..self.groups.seats.used() {
            if let Some(handle) = self.groups.seats.handle_at(index) {
                self.adapt_step(handle, true);
                self.recruit_step(handle);
                self.seat_save(handle);
            }
        }
        let (expired, next) = self.content.expired(self.env.seconds(), self.groups.expiry_at, UPKEEP_ITEMS);
        self.groups.expiry_at = next;
        if let Some((key, seat)) = expired {
            self.item_remove(seat, &key);
        }
        self.groups.promises.retain(|p| p.until > now);
        // An expired item may be followed by many more: then look again soon.
        let at = now.plus_ms(if expired.is_some() { UPKEEP_MS / 500 } else { UPKEEP_MS });
        let founding = self.groups.founding_next();
        self.env.timers.set(Timer::Upkeep, founding.map_or(at, |f| f.min(at)));
    }
}

fn same(a: &MemberEntry, b: &MemberEntry) -> bool {
    (a.id, a.incarnation, a.state) == (b.id, b.incarnation, b.state)
}

impl Seat {
    pub(super) fn state(&self) -> GroupState {
        match self.live().cmp(&usize::from(self.wanted)) {
            core::cmp::Ordering::Less => GroupState::Cold,
            core::cmp::Ordering::Equal => GroupState::Goldilocks,
            core::cmp::Ordering::Greater => GroupState::Hot,
        }
    }

    /// Other live members that told of the same item set as ours, in this epoch.
    pub(super) fn agreeing(&self) -> usize {
        let same = |d: &&super::Digest| {
            d.count == self.set.complete && d.fingerprint == self.set.fingerprint && d.epoch == self.epoch
        };
        self.digests.iter().filter(same).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(plan: &[u8; SIZES]) -> u32 {
        plan.iter().enumerate().map(|(size, n)| u32::from(*n) * seat_blocks(size as u8)).sum()
    }

    #[test]
    fn s5_3_whoever_was_taken_for_dead_and_forgotten_is_back() {
        // Under churn later deaths took the place of our own entry: the seat stayed, its node no member of it.
        let mut node = crate::vectors::node(1);
        let id = node.found_now(0).expect("a seat is free");
        let handle = node.groups.seat_of(&id).expect("it is ours");
        let mut told = node.describe(handle).expect("it can be told");
        let me = node.env.me;
        let dead = |byte: u8, incarnation| MemberEntry {
            id: NodeId([byte; 32]),
            incarnation,
            state: MemberState::Dead,
            addr: Addr::default(),
        };
        let from = NodeId([99; 32]);
        told.members.iter_mut().for_each(|own| own.state = MemberState::Dead);
        merge_entry(&mut told.members, &MemberEntry { state: MemberState::Live, ..dead(99, 1) });
        node.descriptor(PeerId(handle), from, None, told.clone());
        assert_eq!(
            live_entry(&node.groups.seats.get(handle).expect("kept").members, &me).map(|m| m.incarnation),
            Some(2)
        );
        // Our death again, and so many later ones that there is no place for all.
        told.members.clear();
        merge_entry(&mut told.members, &MemberEntry { id: me, ..dead(0, 2) });
        for byte in 245..=255 {
            merge_entry(&mut told.members, &dead(byte, 9));
        }
        node.descriptor(PeerId(handle), from, None, told);
        assert!(live_entry(&node.groups.seats.get(handle).expect("kept").members, &me).is_some());
    }

    #[test]
    fn s5_1_a_tiny_node_has_one_small_seat() {
        assert_eq!(plan(8, 1), [1, 0, 0, 0, 0, 0]);
        assert_eq!(plan(7, 1), [0; SIZES]);
    }

    #[test]
    fn s5_1_storage_is_split_within_bounds() {
        for total in [0, 8, 64, 100, 512, 1000, 4096, 65_536, 262_144, 10_000_000] {
            for seats in [1, 4, 64] {
                let plan = plan(total, seats);
                assert!(blocks(&plan) <= total, "{total} {plan:?}");
                assert!(plan.iter().map(|n| usize::from(*n)).sum::<usize>() <= seats, "{total} {plan:?}");
            }
        }
        let gib = plan(262_144, 64);
        assert!(blocks(&gib) > 262_144 * 9 / 10, "most of it is used: {gib:?}");
        assert!(gib[0] >= 8 && gib[1] >= 8 && gib[2] >= 4, "{gib:?}");
    }
}

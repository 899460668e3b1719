//! Repair: a cold group looks for new members (PROTOCOL §5.6).
//!
//! No election: live members are ranked by a hash of group, epoch and member, and rank i waits i × `rank_step_ms` for
//! somebody better ranked to act. Whoever acts says so, offers the seat to more hosts than it needs, and admits who accepts first.

use heapless::Vec;

use super::descriptor::{self, live, live_entry, merge_entry};
use super::{Notice, Phase, part};
use crate::exchange::{Body, Failure, Owner, Served, Status};
use crate::id::NodeId;
use crate::node::{Node, PeerId, Timer};
use crate::route::internal;
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::{Descriptor, Facts, MemberEntry, MemberState, Writer};

/// Milliseconds until an offer without an answer is not counted on: others are asked, too.
const HEDGE_MS: u32 = 300;
/// Milliseconds for an offer to be answered.
const OFFER_MS: u32 = 2_000;
/// Milliseconds to be admitted.
const ADMIT_MS: u32 = 3_000;
/// Milliseconds for which somebody else's acting keeps us from it.
const OTHERS_MS: u32 = 1_200;
/// Milliseconds until hosts that refused, or did not answer, are asked again: doubles up to 8 times this.
const AGAIN_MS: u32 = 1_000;
/// A group that wanted more than there are tries that again after `AGAIN_MS`, doubled so many times at most.
const GROW_SHIFT_MAX: u8 = 6;

/// An offer that we made.
#[derive(Clone, Copy, Debug)]
struct Offer {
    id: NodeId,
    since: Instant,
}

/// How the search for members of a cold group goes.
#[derive(Debug, Default)]
pub(crate) struct Recruit {
    offers: Vec<Offer, 6>,
    /// Short names of hosts asked in this round.
    tried: Vec<u32, 16>,
    /// Until when somebody else acts.
    others: Instant,
    /// When the next round begins, after one that found too few.
    again: Instant,
    /// Rounds that found nobody, in a row.
    failures: u8,
    /// When somebody last joined.
    joined: Instant,
    /// When more members than there are may be wanted again, and how often that was in vain since somebody joined.
    grow: Instant,
    given_up: u8,
}

fn short(id: &NodeId) -> u32 {
    u32::from_le_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])
}

impl Recruit {
    /// A new host has come: it is worth trying again at once.
    pub fn hope(&mut self) {
        self.again = Instant::ZERO;
        self.failures = 0;
    }

    /// Whether nobody was found when last looked for.
    pub fn in_vain(&self) -> bool {
        self.failures > 0
    }

    /// Whether more members may be wanted than there are: not soon after that was in vain.
    pub fn may_grow(&self, now: Instant) -> bool {
        now >= self.grow
    }

    /// More members are wanted than were looked for so far: that nobody was found before says nothing.
    pub fn begin_anew(&mut self) {
        self.failures = 0;
    }

    /// More were wanted in vain: each time it takes longer until that is tried again, until somebody joins.
    pub fn give_up(&mut self, now: Instant) {
        self.grow = now.plus_ms(AGAIN_MS << self.given_up.min(GROW_SHIFT_MAX));
        self.given_up = self.given_up.saturating_add(1);
    }

    /// The membership has changed: whoever is a member needs no offer.
    pub fn settled(&mut self, members: &[MemberEntry]) {
        self.offers.retain(|offer| live_entry(members, &offer.id).is_none());
        self.others = Instant::ZERO;
    }
}

impl Node<'_> {
    /// Whether a recruit may still come for a group: false when it is not cold, or nobody accepted for
    /// `recruit_wait_ms`. Of groups that are not ours we know nothing.
    pub(crate) fn recruiting(&self, group: &crate::id::GroupId) -> bool {
        let Some(seat) = self.groups.seat_of(group).and_then(|handle| self.groups.seats.get(handle)) else {
            return false;
        };
        let wait = self.env.config.recruit_wait_ms;
        seat.cold_since.is_some_and(|cold| self.env.now.ms_since(cold.max(seat.recruit.joined)) < wait)
    }

    pub(super) fn acting(&mut self, from: NodeId, group: [u8; 4]) {
        let now = self.env.now;
        if let Some(handle) = self.groups.seat_by_prefix(group)
            && let Some(seat) = self.groups.seats.get_mut(handle)
            && live_entry(&seat.members, &from).is_some()
        {
            seat.recruit.others = now.plus_ms(OTHERS_MS);
        }
    }

    /// Recruits if the group is cold and it is our turn.
    pub(super) fn recruit_step(&mut self, handle: Handle) {
        let now = self.env.now;
        let leaving = self.groups.leaving.is_some();
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        // Who leaves gracefully counts as gone, and acts first: it knows, and it goes.
        let (cold, staying) = (seat.cold_since, seat.live() - usize::from(leaving));
        let enough = staying >= usize::from(seat.wanted);
        let tiny = enough && staying == usize::from(seat.wanted) && self.lacks_tiny(handle);
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        if enough && !tiny {
            seat.recruit.offers.clear();
            seat.recruit.tried.clear();
            seat.recruit.failures = 0;
            return;
        }
        let need = if tiny { 1 } else { usize::from(seat.wanted) - staying };
        let rank = if leaving { 0 } else { descriptor::rank(&seat.id, seat.epoch, &seat.members, &self.env.me) };
        let turn = cold.unwrap_or(now).plus_ms(self.env.config.rank_step_ms * rank as u32);
        let start = turn.max(seat.recruit.again).max(seat.recruit.others);
        if now < start {
            self.env.timers.set_earlier(Timer::Seat(handle.index), start);
            return;
        }
        seat.recruit.offers.retain(|offer| now.ms_since(offer.since) < OFFER_MS);
        let fresh = seat.recruit.offers.iter().filter(|offer| now.ms_since(offer.since) < HEDGE_MS).count();
        // One more than needed: some will be dead or full.
        let want = (need + usize::from(!tiny)).saturating_sub(fresh).min(6 - seat.recruit.offers.len());
        if want > 0 {
            self.offer_to(handle, want);
        }
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        let recruit = &mut seat.recruit;
        if recruit.offers.is_empty() {
            // Nobody is left to ask: begin anew later.
            recruit.tried.clear();
            recruit.again = now.plus_ms(AGAIN_MS << recruit.failures.min(3));
            recruit.failures = recruit.failures.saturating_add(1);
            let (again, in_vain) = (recruit.again, recruit.failures);
            self.env.timers.set_earlier(Timer::Seat(handle.index), again);
            let few = staying < usize::from(self.env.config.replicas);
            if in_vain > 1 && !leaving && few {
                self.merge_step(handle, in_vain > 3);
            }
        } else {
            self.env.timers.set_earlier(Timer::Seat(handle.index), now.plus_ms(HEDGE_MS));
        }
    }

    /// Whether we lead a group of the smallest seats in which nobody has nothing else, and know somebody who could be: small
    /// things are to outlive all large nodes (§5.2).
    fn lacks_tiny(&self, handle: Handle) -> bool {
        let Some(seat) = self.groups.seats.get(handle).filter(|seat| seat.size == 0) else { return false };
        let free = |facts: Facts| facts.flags & Facts::TINY != 0 && facts.free > 0;
        descriptor::leader(&seat.members) == Some(self.env.me)
            && self.groups.leaving.is_none()
            && !live(&seat.members).any(|member| self.is_tiny(&member.id))
            && self.hosts.facts_heard().any(free)
    }

    /// Whether a node has nothing but the smallest seats, as far as we know.
    pub(super) fn is_tiny(&self, id: &NodeId) -> bool {
        match *id == self.env.me {
            true => self.only_small_seats(),
            false => self.hosts.get(&self.env, id).is_some_and(|host| host.facts.flags & Facts::TINY != 0),
        }
    }

    fn offer_to(&mut self, handle: Handle, want: usize) {
        let now = self.env.now;
        let Some(seat) = self.groups.seats.get(handle) else { return };
        let (tried, members, size) = (seat.recruit.tried.clone(), seat.members.clone(), seat.size);
        let acted = !seat.recruit.offers.is_empty();
        let prefix = seat.prefix();
        let me = self.env.me;
        let mut placed: Vec<_, { crate::wire::MEMBERS_MAX }> = Vec::new();
        let mut tiny = false;
        for member in live(&members) {
            let (addr, facts) = if member.id == me {
                (Default::default(), self.facts())
            } else {
                let facts = self.hosts.get(&self.env, &member.id).map_or(Facts::default(), |host| host.facts);
                (self.address_of(&member.id, member.addr), facts)
            };
            tiny |= facts.flags & Facts::TINY != 0;
            let _ = placed.push((addr, facts));
        }
        let unfit = |id: &NodeId| *id == me || live_entry(&members, id).is_some() || tried.contains(&short(id));
        // Present partners first when we have many, so that few distinct pairs exist (§5.2); else the most diverse.
        let mut candidates: Vec<NodeId, 24> = Vec::new();
        let partners = self.partners_alive();
        let tiny_first = size == 0 && !tiny;
        let many = if self.only_small_seats() { 4 } else { 16 };
        let (hosts, env) = (&self.hosts, &mut self.env);
        let recruits = hosts.recruits(env, &placed, tiny_first, &mut |id| unfit(id));
        let room = super::log2(super::seat_blocks(size).into());
        let fit_partners =
            partners.iter().filter(|id| !unfit(id) && hosts.get(env, id).is_none_or(|host| host.facts.free >= room));
        let partners_first = partners.len() >= many && !tiny_first;
        let (first, second): (Vec<NodeId, 16>, Vec<NodeId, 16>) = if partners_first {
            (fit_partners.copied().collect(), recruits.iter().copied().collect())
        } else {
            (recruits.iter().copied().collect(), fit_partners.copied().collect())
        };
        for id in first.into_iter().chain(second) {
            if !candidates.contains(&id) {
                let _ = candidates.push(id);
            }
        }
        let Some(descriptor) = self.describe(handle) else { return };
        if live(&members).count() >= usize::from(descriptor.wanted) && self.groups.leaving.is_none() {
            candidates.retain(|id| self.is_tiny(id));
        }
        let mut asked = 0;
        for id in candidates {
            if asked == want {
                break;
            }
            let Some(peer) = self.dial(&id, None) else { continue };
            let owner = Owner::Seat(handle, part::OFFER);
            if self.ask(peer, internal::OFFER, owner, OFFER_MS, |w| w.value(&descriptor)).is_none() {
                continue;
            }
            asked += 1;
            let Some(seat) = self.groups.seats.get_mut(handle) else { return };
            let _ = seat.recruit.offers.push(Offer { id, since: now });
            if seat.recruit.tried.is_full() {
                seat.recruit.tried.remove(0);
            }
            let _ = seat.recruit.tried.push(short(&id));
        }
        if asked > 0 && !acted {
            self.tell_members(handle, Notice::Acting(prefix));
        }
    }

    /// An offer of a seat: the group's descriptor. The answer is one byte: 1 when a seat is kept for the group.
    pub(crate) fn serve_offer(&mut self, _peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let Some(descriptor) = self.decode::<Descriptor>(body).filter(descriptor::plausible) else {
            return Served::Refuse(Status::Bad);
        };
        let now = self.env.now;
        let member = self.groups.seat_of(&descriptor.id).is_some();
        // A group that has all that it wants and offers all the same lacks a node like us (§5.2).
        let (count, wanted) = (live(&descriptor.members).count() as u8, descriptor.wanted);
        let surplus = count >= self.env.config.replicas && !(count == wanted && self.only_small_seats());
        let willing = self.groups.leaving.is_none()
            && !member
            && self.groups.promise(&descriptor.id, descriptor.seat, surplus, now);
        if !willing {
            self.env.counters.seats_refused += 1;
            return Served::Refuse(Status::Busy);
        }
        if reply.value(&1u8) { Served::Reply } else { Served::Refuse(Status::Failed) }
    }

    pub(super) fn offer_answered(&mut self, handle: Handle, from: NodeId, result: Result<Body<'_>, Failure>) {
        let accepted = result.is_ok();
        self.free_body(result);
        let leaving = usize::from(self.groups.leaving.is_some());
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        seat.recruit.offers.retain(|offer| offer.id != from);
        let cold = seat.live() - leaving < usize::from(seat.wanted);
        let wanted = cold || self.lacks_tiny(handle) && self.is_tiny(&from);
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        if !accepted || !wanted || live_entry(&seat.members, &from).is_some() {
            self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now);
            return;
        }
        // It is a member from now on: everybody counts on it, and it fetches what the group holds.
        let incarnation = descriptor::next_incarnation(&seat.members, &from);
        let entry = MemberEntry { id: from, incarnation, state: MemberState::Live, addr: Default::default() };
        merge_entry(&mut seat.members, &entry);
        seat.recruit.joined = self.env.now;
        seat.recruit.given_up = 0;
        seat.recruit.failures = 0;
        self.env.counters.recruits += 1;
        let asked = self.describe(handle).zip(self.dial(&from, None)).and_then(|(descriptor, peer)| {
            let owner = Owner::Seat(handle, part::ADMIT);
            self.ask(peer, internal::ADMIT, owner, ADMIT_MS, |w| w.value(&descriptor))
        });
        self.seat_changed(handle, true);
        if asked.is_none() {
            self.member_becomes(handle, &from, MemberState::Dead);
        }
    }

    /// An admission: the group's descriptor, in which we are live. The answer is one byte: 1 when we are in.
    pub(crate) fn serve_admit(&mut self, peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let Some(mut descriptor) = self.decode::<Descriptor>(body).filter(descriptor::plausible) else {
            return Served::Refuse(Status::Bad);
        };
        let Some((from, addr)) = self.peers.get(peer).map(|p| (p.id, p.addr)) else {
            return Served::Refuse(Status::Failed);
        };
        let me = self.env.me;
        if live_entry(&descriptor.members, &me).is_none() || live_entry(&descriptor.members, &from).is_none() {
            return Served::Refuse(Status::Bad);
        }
        for member in &mut descriptor.members {
            if member.id == from {
                member.addr = addr.unwrap_or_default();
            }
        }
        let now = self.env.now;
        let admitted = match self.groups.seat_of(&descriptor.id) {
            Some(_) => true,
            None => {
                // A promise may have run out while we waited: then there must be another free seat.
                let promised = self.groups.promises.iter().any(|p| p.group == descriptor.id);
                let (size, id) = (descriptor.seat, descriptor.id);
                let room = (promised || self.groups.seats_free(size, now) > 0) && self.groups.leaving.is_none();
                for member in descriptor.members.iter().filter(|m| m.addr.is_unicast()) {
                    let record =
                        crate::wire::HostRecord { id: member.id, addr: member.addr, facts: Facts::default(), age_s: 0 };
                    let link = self.peers.get(peer).map_or_else(Default::default, |p| p.link);
                    if self.hosts.get(&self.env, &member.id).is_none() {
                        self.hosts.learn(&mut self.env, &record, link, Some(from));
                    }
                }
                let seat = room.then(|| self.sit(descriptor)).flatten();
                if let Some(handle) = seat {
                    // Whoever admitted us is at it: it may be admitting others right now.
                    if let Some(seat) = self.groups.seats.get_mut(handle) {
                        seat.recruit.others = now.plus_ms(OTHERS_MS);
                    }
                    self.sync_from(handle, from);
                }
                crate::log::debug!("admitted to {:?}: {}", id, seat.is_some());
                seat.is_some()
            }
        };
        if admitted && reply.value(&1u8) { Served::Reply } else { Served::Refuse(Status::Busy) }
    }

    pub(super) fn admit_answered(&mut self, handle: Handle, from: NodeId, result: Result<Body<'_>, Failure>) {
        let admitted = result.is_ok();
        self.free_body(result);
        let Some(group) = self.groups.seats.get(handle).map(|seat| seat.id) else { return };
        if admitted {
            self.pointers_hand_over(&from, &group);
        } else {
            // Its offer of a moment ago is void: without this it would be asked again at once, without end.
            self.hosts.has_no_room(&from);
            self.member_becomes(handle, &from, MemberState::Left);
        }
    }
}

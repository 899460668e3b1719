//! Founding: a put that found no group with room begins one, and as few others as possible do so, too (PROTOCOL §5.5).

use super::descriptor::{Members, merge_entry};
use super::known::{log2_fixed, said_room};
use super::{Groups, Notice, Phase, SIZES, Seat, log2, seat_blocks};
use crate::addr::Addr;
use crate::exchange::{Body, Served, Status};
use crate::id::{GroupId, NodeId};
use crate::node::{Node, PeerId, Timer};
use crate::retrieve::OpOwner;
use crate::time::Instant;
use crate::wire::{Descriptor, Facts, GroupHint, MemberEntry, MemberState, Writer};

/// The longest random wait before founding, in milliseconds: time to hear of somebody else's group.
const FOUNDING_WAIT_MS: u32 = 1_000;
/// Groups known up to which a new one is passed on.
const PASS_ON: usize = 8;
/// Seat sizes that small items go to: the first ones.
const SMALL_SIZES: u8 = 2;
/// A group that is to be founded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Founding {
    due: Instant,
    /// A group with room that was heard of meanwhile.
    news: Option<GroupId>,
}

/// A put that waits for a founding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Founder {
    size: u8,
    op: OpOwner,
}

impl Node<'_> {
    /// Founds a group with seats of size `seat` (8 · 8^seat blocks), by ourselves or, if we have no such seat free, by a
    /// capable host. Several puts may wait for the same founding. Ends in `op_founded`; false when too
    /// many wait already: try again soon, since there may be a group by then.
    pub(crate) fn found(&mut self, seat: u8, op: OpOwner) -> bool {
        let wait = self.founding_wait_ms();
        let now = self.env.now;
        let Some(founding) = self.groups.founding.get_mut(seat as usize) else {
            return false;
        };
        if self.groups.founders.push(Founder { size: seat, op }).is_err() {
            return false;
        }
        let due = founding.get_or_insert(Founding { due: now.plus_ms(wait), news: None }).due;
        self.env.timers.set_earlier(Timer::Upkeep, due);
        true
    }

    /// Milliseconds to wait before founding. All hosts known may be about to found one: with waits of which exponentially
    /// few are short, about one host acts before the others have heard of it, whatever their number (Nonnenmacher and
    /// Biersack, Scalable feedback for large groups, 1999).
    fn founding_wait_ms(&mut self) -> u32 {
        const ONE: u32 = 256;
        let hosts = self.hosts.len().min(1 << 16) as u32;
        let whole = log2_fixed(u64::from(hosts + 1));
        let drawn = log2_fixed((ONE + self.env.rng.below(hosts.max(1) * ONE)).into()) - log2_fixed(ONE.into());
        (u64::from(FOUNDING_WAIT_MS) * drawn).checked_div(whole).unwrap_or(0) as u32
    }

    /// Somebody told of a group that we did not know: whoever waits for one with room need not wait any longer.
    pub(super) fn founding_news(&mut self, hint: &GroupHint) {
        let now = self.env.now;
        for size in 0..SIZES as u8 {
            let fits = (size < SMALL_SIZES || hint.seat >= SMALL_SIZES) && said_room(hint.free, largest_item(size));
            if let Some(founding) = self.groups.founding.get_mut(usize::from(size)).and_then(Option::as_mut)
                && fits
            {
                *founding = Founding { due: now, news: Some(hint.id) };
                self.env.timers.set_earlier(Timer::Upkeep, now);
            }
        }
    }

    /// A peer tells of a group. While few are known, what is new is passed on: else all would found groups of their own.
    pub(super) fn hinted(&mut self, from: PeerId, hint: &GroupHint) {
        if !self.learn_hint(hint) {
            return;
        }
        self.groups_pull(from);
        if self.groups.len() > PASS_ON {
            return;
        }
        let peers = self.random_peers();
        for peer in peers.into_iter().filter(|peer| *peer != from).take(2) {
            self.tell(peer, Notice::Hint(hint.id));
        }
    }

    /// Tells the puts that wait for a group of this size.
    fn founding_ended(&mut self, size: u8, group: Option<GroupId>) {
        // Taken out first: who is told may wait again.
        let founders = self.groups.founders.clone();
        self.groups.founders.retain(|founder| founder.size != size);
        for founder in founders.iter().filter(|founder| founder.size == size) {
            self.op_founded(founder.op, group, false);
        }
    }

    pub(super) fn founding_due(&mut self, size: u8) {
        let now = self.env.now;
        let Some(due) = self.groups.founding.get_mut(size as usize) else { return };
        let Some(Founding { news, .. }) = due.take_if(|founding| founding.due <= now) else { return };
        // Somebody else may have founded one meanwhile.
        let other = self.groups.with_room(size).or(news);
        let group = other.or_else(|| self.may_found(size).then(|| self.found_now(size)).flatten());
        if group.is_some() {
            return self.founding_ended(size, group);
        }
        // We have no seat for it: ask a host that has one.
        let room = log2(seat_blocks(size).into());
        let me = self.env.me;
        let Node { hosts, env, .. } = self;
        let willing = hosts.recruits(env, &[], false, &mut |id| *id == me);
        // Those that said that they have room first, then those that have said nothing yet.
        let facts = |id: &&NodeId| hosts.get(env, id).map_or(Facts::default(), |host| host.facts);
        let able = willing.iter().find(|id| facts(id).free >= room);
        let able = able.or_else(|| willing.iter().find(|id| facts(id) == Facts::default())).copied();
        let mut asked = false;
        if let Some(peer) = able.and_then(|id| self.dial(&id, None)) {
            for founder in self.groups.founders.clone().iter().filter(|founder| founder.size == size) {
                let owner = crate::exchange::Owner::Op(founder.op);
                asked |= self.ask(peer, crate::route::internal::FOUND, owner, 5_000, |w| w.value(&size)).is_some();
            }
        }
        if asked {
            // Their answers tell them.
            self.groups.founders.retain(|founder| founder.size != size);
        } else {
            self.founding_ended(size, None);
        }
    }

    pub(super) fn found_now(&mut self, size: u8) -> Option<GroupId> {
        if self.groups.leaving.is_some() || self.groups.seats_free(size, self.env.now) == 0 {
            return None;
        }
        let random = self.env.secrets.next(self.env.crypto);
        let mut id = GroupId::default();
        id.0.copy_from_slice(&random[..16]);
        let me = MemberEntry { id: self.env.me, incarnation: 1, state: MemberState::Live, addr: Addr::default() };
        let mut members = Members::new();
        merge_entry(&mut members, &me);
        let writer = u32::from_le_bytes([random[16], random[17], random[18], random[19]]);
        let wanted = self.env.config.replicas;
        let handle = self.sit(Descriptor { id, seat: size, wanted, free: 0, version: 1, writer, members })?;
        if let Some(seat) = self.groups.seats.get_mut(handle) {
            seat.sync.nothing_to_learn();
        }
        self.env.counters.groups_founded += 1;
        Some(id)
    }

    /// A request to found a group: `size u8`; the answer is the group's hint.
    pub(crate) fn serve_found(&mut self, _peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let Some(size) = self.decode::<u8>(body).filter(|size| *size < SIZES as u8) else {
            return Served::Refuse(Status::Bad);
        };
        let group =
            self.groups.with_room(size).or_else(|| self.may_found(size).then(|| self.found_now(size)).flatten());
        let hint = group.and_then(|group| self.hint(&group));
        if hint.is_some_and(|hint| reply.value(&hint)) { Served::Reply } else { Served::Refuse(Status::Busy) }
    }

    /// The answer to a request to found a group: learnt, then told to the put that waits.
    pub(crate) fn founded_elsewhere(&mut self, op: OpOwner, hint: Option<GroupHint>) {
        if let Some(hint) = &hint {
            self.learn_hint(hint);
        }
        self.op_founded(op, hint.map(|hint| hint.id), true);
    }
}

impl Groups<'_> {
    /// When the next group is to be founded.
    pub(super) fn founding_next(&self) -> Option<Instant> {
        self.founding.iter().flatten().map(|founding| founding.due).min()
    }

    /// A group of ours with this seat size that has room for the largest item that goes there: a block, or an extent.
    fn with_room(&self, size: u8) -> Option<GroupId> {
        let most = u64::from(largest_item(size));
        let fits = |seat: &Seat| seat.phase == Phase::Member && seat.size == size && seat.put_bytes() >= most;
        let ours = self.seats.iter().find(|(_, seat)| fits(seat));
        ours.map(|(_, seat)| seat.id)
    }
}

/// Bytes of the largest item that goes to seats of a size: a block, or an extent.
fn largest_item(size: u8) -> u32 {
    crate::wire::BLOCK as u32 * if size < SMALL_SIZES { 1 } else { 128 }
}

//! Leaving: a hot group sheds its surplus late, and a node that stops hands its seats over (PROTOCOL §5.9, §5.10).

use super::{Notice, Phase, descriptor};
use crate::id::NodeId;
use crate::node::{Event, Node, SeatId, Timer};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::MemberState;

/// Items forgotten in one step.
const EMPTY_STEP: usize = 16;

impl Node<'_> {
    /// Leaves all groups gracefully: for each, others are recruited and given everything first. Ends when
    /// [`Node::left`] says so, or after `deadline_ms`, when what is not handed over is simply left. New seats are refused from now on.
    pub fn leave(&mut self, now: Instant, deadline_ms: u32) {
        self.env.advance(now);
        self.groups.leaving = Some(self.env.now.plus_ms(deadline_ms));
        for index in 0..self.groups.seats.used() {
            if self.groups.seats.handle_at(index).is_some() {
                self.env.timers.set(Timer::Seat(index), self.env.now);
            }
        }
    }

    /// Whether [`Node::leave`] was asked for and no group counts on us any more.
    pub fn left(&self) -> bool {
        self.groups.leaving.is_some() && self.groups.seats.iter().all(|(_, seat)| seat.phase == Phase::Emptying)
    }

    /// Looks at leaving when a beat has told something new.
    pub(super) fn trim_consider(&mut self, handle: Handle) {
        let leaving = self.groups.leaving.is_some();
        if self.groups.seats.get(handle).is_some_and(|seat| leaving || seat.hot_since.is_some()) {
            self.env.timers.set_earlier(Timer::Seat(handle.index), self.env.now);
        }
    }

    pub(super) fn trim_step(&mut self, handle: Handle) {
        let now = self.env.now;
        let leaving = self.groups.leaving;
        let beat_ms = self.env.config.beat_ms;
        let Some(seat) = self.groups.seats.get(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        let wanted = usize::from(seat.wanted);
        let proved = if cfg!(feature = "mutant-trim-early") { wanted } else { seat.agreeing() };
        if let Some(until) = leaving {
            // As many as wanted hold the same; or all that there are do, and nobody was found to be recruited; or time is up.
            let all = proved + 1 >= seat.live() && seat.recruit.in_vain();
            if proved >= wanted || all || seat.set.items == 0 || now >= until {
                self.quit(handle);
            } else {
                self.env.timers.set_earlier(Timer::Seat(handle.index), until);
            }
            return;
        }
        let Some(hot) = seat.hot_since else { return };
        // Who stands last leaves, one at a time, when the membership has been the same for two beats.
        let settled = hot.plus_ms(2 * beat_ms);
        if now < settled {
            self.env.timers.set_earlier(Timer::Seat(handle.index), settled);
            return;
        }
        if proved >= wanted && !seat.sync.busy() && self.is_last(handle) {
            self.quit(handle);
        }
    }

    /// Whether we stand last of a group's live members. In a group of the smallest seats the first of those that have nothing
    /// else does not count: one is kept, so that small things outlive all large nodes (§5.2).
    fn is_last(&self, handle: Handle) -> bool {
        let me = self.env.me;
        let Some(seat) = self.groups.seats.get(handle) else { return false };
        let rank = |id: &NodeId| seat.standing(id);
        let tiny = descriptor::live(&seat.members).map(|m| m.id).filter(|id| seat.size == 0 && self.is_tiny(id));
        let kept = tiny.min_by_key(rank);
        let others = descriptor::live(&seat.members).map(|m| m.id).filter(|id| Some(*id) != kept);
        others.max_by_key(rank) == Some(me)
    }

    /// Leaves a group: says so, and forgets its items.
    fn quit(&mut self, handle: Handle) {
        let me = self.env.me;
        self.env.counters.groups_left += 1;
        self.member_becomes(handle, &me, MemberState::Left);
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        seat.phase = Phase::Emptying;
        let members = seat.members.clone();
        let prefix = seat.prefix();
        self.sync_stop(handle);
        // The message names our leaving, since the seat itself is no more when it would be encoded.
        for member in descriptor::live(&members).filter(|m| m.id != me) {
            if let Some(peer) = self.peer_of(&member.id) {
                self.tell(peer, Notice::NotMember(prefix));
            }
            self.partner_drop_unless_needed(&member.id);
        }
        self.empty(handle);
    }

    /// Forgets a few items of a seat that is not a member any more; frees the seat when none is left.
    pub(super) fn empty(&mut self, handle: Handle) {
        for _ in 0..EMPTY_STEP {
            let Some(seat) = self.groups.seats.get(handle) else { return };
            let group = seat.id;
            let Some(key) = self.content.first(&seat.set) else {
                if !self.seat_forget(group) {
                    break;
                }
                self.groups.seats.remove(handle);
                self.env.timers.clear(Timer::Seat(handle.index));
                self.env.event(Event::GroupChanged(SeatId(handle)));
                return;
            };
            if !self.item_remove(handle, &key) {
                break;
            }
        }
        self.env.timers.set(Timer::Seat(handle.index), self.env.now.plus_ms(5));
    }
}

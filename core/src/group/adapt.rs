//! How many members a group wants (PROTOCOL §5.12): more where they have not lived long, or die often.
//!
//! The leader decides, from how long the live members have lived and how many died of late. One more copy is cheaper than
//! faster beats: with a death rate λ and a time L to find and repair a death, a group of r is lost at a rate of r λ (λ L)^(r − 1).

use super::descriptor::{self, live};
use super::{Phase, Seat};
use crate::node::Node;
use crate::table::Handle;
use crate::wire::MemberState;

/// Milliseconds from a death that was found to a new member that holds everything.
const REPAIR_MS: u32 = 500;
/// The least age that a member is taken to have, in seconds: its first moments tell nothing.
const AGE_MIN_S: u32 = 10;
/// Seconds for which a group that is cold is taken into account.
const COLD_S: u32 = 2;

/// The least number of members, within `least` and `most`, with which a group is lost with a chance of less than
/// 10^−`durability` in an hour. `exposure_ms`: the ages of the live members together; `deaths` among them of late. The rate of
/// deaths is taken to be (deaths + 1) / exposure (Laplace's rule of succession): who has lived for long lives on.
fn wanted(exposure_ms: u64, deaths: u32, repair_ms: u32, durability: u8, least: u8, most: u8) -> u8 {
    let repair_ms = u64::from(repair_ms.max(1));
    // 1 / (λ L), and what r / (λ L)^r must reach: r · 10^durability · 1 h / L.
    let margin = exposure_ms / (u64::from(deaths + 1) * repair_ms);
    let asked = (3_600_000 / repair_ms + 1).saturating_mul(10u64.saturating_pow(durability.into()));
    let enough = |r: &u8| margin.saturating_pow(u32::from(*r)) >= asked.saturating_mul(u64::from(*r));
    (least..most).find(enough).unwrap_or(most)
}

impl Node<'_> {
    /// Decides anew how many members a group of ours wants, if we lead it. `calm`: from time to time, when fewer may do.
    pub(super) fn adapt_step(&mut self, handle: Handle, calm: bool) {
        let (least, most) = (self.env.config.replicas, self.env.config.replicas_max);
        let me = self.env.me;
        let leaving = self.groups.leaving.is_some();
        let Some(seat) = self.groups.seats.get(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        if most <= least || leaving || descriptor::leader(&seat.members) != Some(me) {
            return;
        }
        let (now_wanted, count) = (seat.wanted, seat.live() as u8);
        let deaths = seat.members.iter().filter(|m| m.state == MemberState::Dead).count() as u32;
        let in_vain = count < now_wanted && seat.recruit.in_vain();
        let may_grow = count == now_wanted && seat.recruit.may_grow(self.env.now);
        let size = seat.size;
        let exposure_ms = self.exposure_ms(seat);
        let repair_ms = self.env.config.beat_ms + REPAIR_MS;
        let durability = self.env.config.durability;
        let needed = |exposure_ms| wanted(exposure_ms, deaths, repair_ms, durability, least, most);
        let new = if in_vain && now_wanted > least {
            // There is nobody with a seat to spare: what there is must do.
            count.max(least)
        } else if may_grow && needed(exposure_ms) > now_wanted && !self.cold_group(size) {
            now_wanted + 1
        } else if calm && needed(exposure_ms / 2) < now_wanted && now_wanted > least {
            now_wanted - 1
        } else {
            return;
        };
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        if new > now_wanted {
            // Else what failed before would make us want fewer at once, and more again, without end.
            seat.recruit.begin_anew();
        } else if in_vain {
            seat.recruit.give_up(self.env.now);
        }
        seat.wanted = new;
        seat.version += 1;
        seat.writer = self.env.rng.next_u32();
        self.seat_changed(handle, true);
    }

    /// The ages of a group's live members together, in milliseconds.
    fn exposure_ms(&self, seat: &Seat) -> u64 {
        let own_s = self.env.now.ms_since(self.env.start) / 1000;
        let now_s = self.env.now.as_millis() / 1000;
        let age_s = |m: &crate::wire::MemberEntry| match m.id == self.env.me {
            true => own_s,
            false => self.hosts.get(&self.env, &m.id).map_or(0, |host| host.lived_s(now_s as u32)),
        };
        live(&seat.members).map(|m| 1000 * u64::from(age_s(m).max(AGE_MIN_S))).sum()
    }

    /// Whether a group with seats of this size was just said to have fewer members than are wanted at the least: it needs the
    /// free seats more.
    fn cold_group(&self, size: u8) -> bool {
        let least = self.env.config.replicas;
        self.groups
            .known_heard(self.env.now, COLD_S)
            .any(|hint| hint.seat == size && hint.live < hint.wanted.min(least))
    }
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn s5_12_young_and_mortal_members_want_company() {
        // Beats of 1 s, 10^-4 an hour.
        let wanted = |ages_s: u64, deaths| wanted(1000 * ages_s, deaths, 1_500, 4, 2, 8);
        assert_eq!(wanted(30, 0), 7, "three of ten seconds");
        assert_eq!(wanted(3 * 60, 0), 4);
        assert_eq!(wanted(3 * 60, 3), 6);
        assert_eq!(wanted(3 * 300, 0), 3);
        assert_eq!(wanted(2 * 86_400, 0), 2);
        assert_eq!(wanted(2 * 86_400, 40), 3);
        assert_eq!(wanted(0, 0), 8);
        assert_eq!(wanted(u64::MAX / 1000, u32::MAX - 1), 2);
    }

    #[test]
    fn s5_12_more_is_wanted_for_slower_beats_and_for_more_durability() {
        let by_beat = [250, 1_000, 5_000, 30_000].map(|ms| wanted(600_000, 0, ms, 4, 2, 8));
        assert!(by_beat.is_sorted() && by_beat[0] < by_beat[3], "{by_beat:?}");
        let by_durability = [0, 2, 4, 8].map(|n| wanted(600_000, 0, 1_500, n, 2, 8));
        assert!(by_durability.is_sorted() && by_durability[0] < by_durability[3], "{by_durability:?}");
    }
}

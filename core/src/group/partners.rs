//! Who is alive: beats, doubt, probes, verdicts (PROTOCOL §5.7).

use heapless::Vec;

use super::descriptor::{live, live_entry};
use super::{Digest, Notice, Phase};
use crate::addr::Addr;
use crate::id::NodeId;
use crate::node::{Node, PeerId, Timer, Wrote};
use crate::table::Handle;
use crate::time::Instant;
use crate::wire::{BEAT_GROUPS_MAX, BeatGroup, MemberState, Message, Writer};

/// Milliseconds by which a beat may be late, besides what the path's jitter explains.
const SLACK_MS: u32 = 60;
/// Milliseconds between two rounds of probes, at the least.
const PROBE_STEP_MS: u32 = 40;
/// Milliseconds that a doubt lasts at the least, however fast the path: programs stand still for moments.
const DOUBT_MS: u32 = 200;
/// Milliseconds for a partner with which there is no session yet to get one.
const CONNECT_MS: u32 = 2_500;
/// The part of an interval for which a partner whose beat is late must have been silent.
const QUIET: u32 = 4;
/// The least interval that a partner is taken to beat at, in milliseconds: who tells of less makes us doubt no more often.
const INTERVAL_MIN_MS: u16 = 50;
/// So many beats to each partner tell of a group after it changed; at other times it is told of in its turn.
const NEWS_BEATS: u32 = 4;
/// Groups of ours that a newcomer is told of.
const HINTS_OWN: usize = 3;
/// Fellow members asked to probe for us.
const HELPERS: usize = 2;

/// A node with which we share a group.
#[derive(Debug)]
pub struct Partner {
    id: NodeId,
    peer: Option<PeerId>,
    addr: Addr,
    /// The last sign of life.
    heard: Instant,
    /// When its next beat is to come, if it keeps time.
    due: Instant,
    next_beat: Instant,
    /// Its beat interval, as it said.
    interval_ms: u16,
    /// Which shared group the next beat starts with.
    turn: u8,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Instant,
    rounds: u8,
    next: Instant,
}

/// Rounds of probes by loss: the first entry that is above the loss in 1/1000. More rounds than one doubt needs: a partner is
/// doubted for every beat that is lost, 1,440 times an hour where a fifth is, and the loss is an estimate. So that three
/// nodes with beats of 1 s make less than one mistake in 10,000 hours.
const ROUNDS: [(u16, u8); 12] = [
    (2, 3),
    (10, 5),
    (20, 6),
    (40, 7),
    (70, 9),
    (100, 11),
    (150, 14),
    (200, 17),
    (280, 22),
    (360, 30),
    (440, 40),
    (u16::MAX, 50),
];
/// Rounds for a partner with which there is no session: a handshake has time to lose a packet.
const ROUNDS_APART: u8 = 12;
/// Fellow members are asked in one round of so many.
const HELP_ROUNDS: u8 = 8;

/// Rounds of probes without a sign of life that make a verdict.
fn rounds(loss: Option<u16>, least: u8) -> u8 {
    let needed = match loss {
        Some(loss) => ROUNDS.iter().find(|(below, _)| loss < *below).map_or(0, |(_, rounds)| *rounds),
        None => ROUNDS_APART,
    };
    least.max(needed)
}

impl Partner {
    /// When silence raises a doubt: a beat is late, and nothing else was heard for a while either. Counted from when the beat
    /// was to come: who dies soon after it has said something else is missed no later for that.
    fn silent_at(&self, jitter_ms: u32) -> Instant {
        let late = SLACK_MS + jitter_ms;
        self.due.plus_ms(late).max(self.heard.plus_ms(late + u32::from(self.interval_ms) / QUIET))
    }

    /// A beat has come, which tells when the next one will. One that is sent out of turn, because something has changed,
    /// tells of a short time: the interval is forgotten slowly.
    fn beaten(&mut self, now: Instant, next_ms: u16) {
        self.interval_ms = next_ms.max(self.interval_ms - self.interval_ms / 8).max(INTERVAL_MIN_MS);
        self.due = now.plus_ms(next_ms.into());
        self.heard = self.heard.max(now);
    }

    /// The beat that was due is lost, since the partner lives: the next one is waited for.
    fn lost_one(&mut self, now: Instant) {
        self.due = self.due.plus_ms(self.interval_ms.into());
        if self.due <= now {
            self.due = now.plus_ms(self.interval_ms.into());
        }
    }
}

impl Node<'_> {
    fn partner(&self, id: &NodeId) -> Option<Handle> {
        self.groups.partners.iter().find(|(_, p)| p.id == *id).map(|(handle, _)| handle)
    }

    /// Partners that are believed alive, without a doubt.
    pub(super) fn partners_alive(&self) -> Vec<NodeId, 16> {
        let sure = self.groups.partners.iter().filter(|(_, p)| p.doubt.is_none() && p.peer.is_some());
        sure.take(16).map(|(_, p)| p.id).collect()
    }

    /// Begins to exchange beats with a node, unless we do already.
    pub(super) fn partner_add(&mut self, id: &NodeId, addr: Addr) {
        if self.partner(id).is_some() {
            return;
        }
        let now = self.env.now;
        let interval_ms = self.env.config.beat_ms.min(u32::from(u16::MAX)) as u16;
        let next_beat = self.spread_beat(u32::from(interval_ms));
        let partner = Partner {
            id: *id,
            peer: None,
            addr,
            heard: now.plus_ms(CONNECT_MS.saturating_sub(u32::from(interval_ms))),
            due: now.plus_ms(CONNECT_MS),
            next_beat,
            interval_ms,
            turn: 0,
            doubt: None,
        };
        if self.groups.partners.insert(partner).is_ok() {
            self.partner_connect(id);
            self.beat_soon(next_beat);
        } else {
            self.env.counters.peers_refused += 1;
        }
    }

    /// When a new partner gets its first beat: in the middle of the longest pause between beats to others. So the partners that
    /// we share a group with miss us one soon after the other, and whoever does so first tells the others.
    fn spread_beat(&mut self, interval_ms: u32) -> Instant {
        let now = self.env.now;
        let phase = |at: Instant| at.ms_since(now) % interval_ms;
        let phases = || self.groups.partners.iter().map(|(_, p)| phase(p.next_beat));
        let mut longest = None;
        for from in phases() {
            let pause = phases().map(|to| (to + interval_ms - from) % interval_ms).filter(|pause| *pause > 0).min();
            longest = longest.max(Some((pause.unwrap_or(interval_ms), from)));
        }
        let at = match longest {
            Some((pause, from)) => (from + pause / 2) % interval_ms,
            None => self.env.rng.below(interval_ms),
        };
        now.plus_ms(at)
    }

    fn partner_connect(&mut self, id: &NodeId) {
        let Some(handle) = self.partner(id) else { return };
        let Some((held, addr)) = self.groups.partners.get(handle).map(|p| (p.peer, p.addr)) else { return };
        if held.is_some() {
            return;
        }
        let peer = self.dial(id, addr.is_unicast().then_some(addr));
        if let Some(peer) = peer {
            self.hold(peer);
        }
        if let Some(partner) = self.groups.partners.get_mut(handle) {
            partner.peer = peer;
        }
    }

    /// Ends the beats with a node that is in none of our groups any more.
    pub(super) fn partner_drop_unless_needed(&mut self, id: &NodeId) {
        let shared = |seat: &super::Seat| seat.phase == Phase::Member && live_entry(&seat.members, id).is_some();
        if self.groups.seats.iter().any(|(_, seat)| shared(seat)) {
            return;
        }
        if let Some(partner) = self.partner(id).and_then(|handle| self.groups.partners.remove(handle))
            && let Some(peer) = partner.peer
        {
            self.release(peer);
        }
    }

    fn beat_soon(&mut self, at: Instant) {
        if at < self.groups.beat_at || self.env.timers.get(Timer::Beat).is_none() {
            self.groups.beat_at = at;
            self.env.timers.set(Timer::Beat, at);
        }
    }

    /// What the path to a peer explains of a beat's lateness, and the least time between two probes, in ms.
    fn path_times(&self, peer: Option<PeerId>) -> (u32, u32) {
        match peer.and_then(|peer| self.peers.get(peer)).filter(|peer| peer.rtt_us > 0) {
            Some(peer) => {
                let late_ms = (peer.rtt_us + 4 * peer.rtt_var_us) / 1000;
                (late_ms, (late_ms + 5).max(PROBE_STEP_MS))
            }
            None => (0, 2 * PROBE_STEP_MS),
        }
    }

    pub(crate) fn beat_timeout(&mut self) {
        let now = self.env.now;
        let beat_ms = self.env.config.beat_ms;
        // Our own slowness is nobody else's silence (§5.7).
        let stalled = now.ms_since(self.groups.beat_at) > (beat_ms / 2).max(200);
        self.groups.beat_at = Instant::NEVER;
        let mut first = Instant::NEVER;
        for index in 0..self.groups.partners.used() {
            let Some(handle) = self.groups.partners.handle_at(index) else { continue };
            let Some(partner) = self.groups.partners.get_mut(handle) else { continue };
            let peer = partner.peer.and_then(|peer| self.peers.get(peer)).filter(|peer| peer.up);
            if let Some(peer) = peer {
                partner.heard = partner.heard.max(peer.last_heard);
            }
            if stalled {
                let interval = u64::from(partner.interval_ms) * 1000;
                partner.heard = partner.heard.max(Instant::from_micros(now.as_micros().saturating_sub(interval)));
                partner.due = partner.due.max(now);
            }
            let up = peer.is_some();
            let (id, peer) = (partner.id, partner.peer);
            if now >= partner.next_beat {
                partner.next_beat = partner.next_beat.plus_ms(beat_ms).max(now.plus_ms(beat_ms / 2));
                if let (true, Some(peer)) = (up, peer) {
                    self.tell(peer, Notice::Beat);
                }
                if peer.is_none() {
                    self.partner_connect(&id);
                }
            }
            if let Some(next) = self.doubt_step(handle) {
                first = first.min(next);
            }
        }
        // A verdict may have brought new partners meanwhile, which have set the timer, too.
        if first < Instant::NEVER {
            self.beat_soon(first);
        }
    }

    /// Doubts, probes or judges a partner as its silence demands; returns when to look again, `None` when it is gone.
    fn doubt_step(&mut self, handle: Handle) -> Option<Instant> {
        let now = self.env.now;
        let peer = self.groups.partners.get(handle)?.peer;
        let (jitter_ms, step_ms) = self.path_times(peer);
        let loss = peer.and_then(|peer| self.peers.get(peer)).filter(|peer| peer.up).map(|peer| peer.loss());
        let least = self.env.config.probes;
        let partner = self.groups.partners.get_mut(handle)?;
        let silent_at = partner.silent_at(jitter_ms);
        let Some(doubt) = partner.doubt else {
            if now < silent_at {
                return Some(silent_at.min(partner.next_beat));
            }
            return self.doubt(handle);
        };
        if partner.heard > doubt.since {
            partner.doubt = None;
            self.env.counters.doubts_cleared += 1;
            if partner.due <= now {
                partner.lost_one(now);
            }
            return Some(partner.silent_at(jitter_ms).min(partner.next_beat).max(now));
        }
        if now < doubt.next {
            return Some(doubt.next);
        }
        if doubt.rounds >= rounds(loss, least) && now.ms_since(doubt.since) >= DOUBT_MS {
            let id = partner.id;
            self.verdict(&id);
            return None;
        }
        let next = now.plus_ms(step_ms);
        partner.doubt = Some(Doubt { rounds: doubt.rounds + 1, next, ..doubt });
        self.probe(handle, doubt.rounds % HELP_ROUNDS == 0);
        Some(next)
    }

    /// Begins to doubt a partner. Returns when to look again.
    fn doubt(&mut self, handle: Handle) -> Option<Instant> {
        let now = self.env.now;
        let (_, step_ms) = self.path_times(self.groups.partners.get(handle)?.peer);
        let partner = self.groups.partners.get_mut(handle)?;
        let next = now.plus_ms(step_ms);
        partner.doubt = Some(Doubt { since: now, rounds: 1, next });
        self.env.counters.doubts += 1;
        self.probe(handle, true);
        self.beat_soon(next);
        Some(next)
    }

    /// Asks a partner whether it lives; now and then also through others.
    fn probe(&mut self, handle: Handle, help: bool) {
        let Some((id, peer)) = self.groups.partners.get(handle).map(|p| (p.id, p.peer)) else { return };
        let token = self.env.rng.next_u32();
        match peer {
            Some(peer) => {
                if self.tell(peer, Notice::Probe(token)) {
                    self.env.counters.probes_out += 1;
                }
            }
            None => self.partner_connect(&id),
        }
        if !help {
            return;
        }
        let mut helpers: Vec<PeerId, HELPERS> = Vec::new();
        for (_, seat) in self.groups.seats.iter().filter(|(_, seat)| live_entry(&seat.members, &id).is_some()) {
            for member in live(&seat.members).filter(|m| m.id != id && m.id != self.env.me) {
                if let Some(peer) = self.peer_of(&member.id).filter(|peer| !helpers.contains(peer)) {
                    let _ = helpers.push(peer);
                }
            }
        }
        for helper in helpers {
            if self.tell(helper, Notice::ProbeFor(id)) {
                self.env.counters.probes_out += 1;
            }
        }
    }

    /// A partner is dead, as far as we can tell: its groups go on without it.
    fn verdict(&mut self, id: &NodeId) {
        crate::log::debug!("{:?} is dead", id);
        self.env.counters.deaths += 1;
        if let Some(partner) = self.partner(id).and_then(|handle| self.groups.partners.remove(handle))
            && let Some(peer) = partner.peer
        {
            self.release(peer);
            self.end_peer(peer, true);
        }
        self.hosts_peer_dead(id);
        for index in 0..self.groups.seats.used() {
            let Some(handle) = self.groups.seats.handle_at(index) else { continue };
            let Some(seat) = self.groups.seats.get(handle).filter(|seat| seat.phase == Phase::Member) else { continue };
            if live_entry(&seat.members, id).is_none() {
                continue;
            }
            let others: Vec<NodeId, 12> = live(&seat.members).filter(|m| m.id != *id).map(|m| m.id).collect();
            self.member_becomes(handle, id, MemberState::Dead);
            // What killed one may have killed others: look now, not at the next beat (§5.7).
            for other in others {
                if let Some(partner) = self.partner(&other)
                    && self
                        .groups
                        .partners
                        .get(partner)
                        .is_some_and(|p| p.doubt.is_none() && self.env.now.ms_since(p.heard) > SLACK_MS + PROBE_STEP_MS)
                {
                    self.doubt(partner);
                }
            }
        }
    }

    pub(super) fn beat(&mut self, peer: PeerId, id: NodeId, interval_ms: u16, groups: &[BeatGroup]) {
        let now = self.env.now;
        if let Some(handle) = self.partner(&id)
            && let Some(partner) = self.groups.partners.get_mut(handle)
        {
            partner.beaten(now, interval_ms.min(60_000));
            if partner.peer != Some(peer) {
                let old = partner.peer.replace(peer);
                self.hold(peer);
                if let Some(old) = old {
                    self.release(old);
                }
            }
        }
        for told in groups {
            let Some(handle) = self.groups.seat_by_prefix(told.group) else {
                self.deny_membership(peer, told.group);
                continue;
            };
            let Some(seat) = self.groups.seats.get_mut(handle) else { continue };
            let member = live_entry(&seat.members, &id).is_some();
            if member {
                let BeatGroup { epoch, count, fingerprint, .. } = *told;
                if (epoch, count, fingerprint) != (seat.epoch, seat.set.complete, seat.set.fingerprint) {
                    // As long as we differ we talk about it.
                    seat.news = now;
                }
                let digest = Digest { id, epoch, count, fingerprint, differs: false };
                match seat.digests.iter_mut().find(|d| d.id == id) {
                    Some(old) => *old = Digest { differs: old.differs, ..digest },
                    None => drop(seat.digests.push(digest)),
                }
            }
            if !member || seat.epoch != told.epoch {
                self.tell(peer, Notice::Group(handle));
            }
            if member {
                self.sync_consider(handle, id);
                self.trim_consider(handle);
            }
        }
    }

    pub(super) fn write_beat(&mut self, peer: PeerId, writer: &mut Writer<'_>) -> Wrote {
        let now = self.env.now;
        let Some(id) = self.peers.get(peer).map(|p| p.id) else { return Wrote::Done };
        let Some(partner) = self.partner(&id) else { return Wrote::Done };
        let turn = self.groups.partners.get(partner).map_or(0, |p| usize::from(p.turn));
        let news_ms = NEWS_BEATS * self.env.config.beat_ms + SLACK_MS;
        for index in 0..self.groups.seats.used() {
            if let Some(seat) = self.groups.seats.handle_at(index).and_then(|handle| self.groups.seats.get_mut(handle))
            {
                let told = seat.digest_word();
                if told != seat.told {
                    (seat.told, seat.news) = (told, now);
                }
            }
        }
        let shared = || {
            let member = |seat: &super::Seat| seat.phase == Phase::Member && live_entry(&seat.members, &id).is_some();
            self.groups.seats.iter().map(|(_, seat)| seat).filter(move |seat| member(seat))
        };
        let all = shared().count();
        let from = turn % all.max(1);
        let in_turn = shared().skip(from).chain(shared().take(from));
        // Where nothing is new one group is enough, each in its turn: beats cost the same, however many groups two nodes share.
        let groups: Vec<BeatGroup, BEAT_GROUPS_MAX> = in_turn
            .enumerate()
            .filter(|(i, seat)| *i == 0 || now.ms_since(seat.news) <= news_ms)
            .take(BEAT_GROUPS_MAX)
            .map(|(_, seat)| BeatGroup {
                group: seat.prefix(),
                epoch: seat.epoch,
                count: seat.set.complete,
                fingerprint: seat.set.fingerprint,
            })
            .collect();
        let next = self.groups.partners.get(partner).map_or(now, |p| p.next_beat);
        let interval_ms = next.ms_since(now).min(u32::from(u16::MAX)) as u16;
        if !writer.message(&Message::Beat { interval_ms, groups }) {
            return Wrote::NoRoom;
        }
        if let Some(partner) = self.groups.partners.get_mut(partner) {
            partner.turn = ((from + 1) % all.max(1)) as u8;
        }
        self.env.counters.beats_out += 1;
        Wrote::Done
    }

    /// Somebody answered a probe, of ours or on behalf of somebody else.
    pub(super) fn probe_acked(&mut self, peer: PeerId, id: NodeId) {
        let now = self.env.now;
        if let Some(handle) = self.partner(&id)
            && let Some(partner) = self.groups.partners.get_mut(handle)
        {
            partner.heard = partner.heard.max(now);
            // Of several probes nobody knows which one was answered.
            if let Some(doubt) = partner.doubt.filter(|doubt| doubt.rounds == 1) {
                self.rtt_sample(peer, now.since(doubt.since));
            }
        }
        for at in (0..self.groups.asked.len()).rev() {
            let (asker, whom, until) = self.groups.asked[at];
            if whom == id || until < now {
                self.groups.asked.swap_remove(at);
            }
            if whom == id {
                self.tell(asker, Notice::Alive(id));
            }
        }
    }

    /// A fellow member doubts somebody and asks us to look.
    pub(super) fn probe_for(&mut self, asker: PeerId, whom: NodeId) {
        let now = self.env.now;
        // Only about fellow members: nobody makes us probe others.
        let Some(partner) = self.partner(&whom) else { return };
        let Some(peer) = self.peer_of(&whom) else { return };
        if self.peers.get(peer).is_some_and(|p| p.up && now.ms_since(p.last_heard) < PROBE_STEP_MS) {
            self.tell(asker, Notice::Alive(whom));
            return;
        }
        self.groups.asked.retain(|(other, of, until)| *until > now && (*other, *of) != (asker, whom));
        if self.groups.asked.push((asker, whom, now.plus_ms(1_000))).is_ok() {
            // Doubt is catching: what a fellow misses, we look for at once.
            if self.groups.partners.get(partner).is_some_and(|p| p.doubt.is_none()) {
                self.doubt(partner);
            } else {
                self.probe(partner, false);
            }
        }
    }

    /// A fellow member tells that somebody we doubt is alive.
    pub(super) fn alive(&mut self, from: NodeId, whom: NodeId) {
        let fellow = self.partner(&from).is_some();
        if let Some(handle) = self.partner(&whom).filter(|_| fellow)
            && let Some(partner) = self.groups.partners.get_mut(handle)
            && partner.doubt.is_some()
        {
            partner.heard = self.env.now;
        }
    }

    /// A session has begun; `new`: with a host that we had not met.
    pub(crate) fn groups_peer_up(&mut self, peer: PeerId, new: bool) {
        let Some(id) = self.peers.get(peer).map(|p| p.id) else { return };
        let now = self.env.now;
        if let Some(handle) = self.partner(&id) {
            if let Some(partner) = self.groups.partners.get_mut(handle) {
                partner.heard = now;
                if partner.peer.is_none() {
                    partner.peer = Some(peer);
                    self.hold(peer);
                }
            }
            self.tell(peer, Notice::Beat);
            self.beat_soon(now.plus_ms(self.env.config.beat_ms));
        }
        // Whoever is new may be the recruit that a cold group waits for.
        for index in 0..self.groups.seats.used() {
            let Some(handle) = self.groups.seats.handle_at(index) else { continue };
            let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.phase == Phase::Member) else {
                continue;
            };
            if seat.cold_since.is_some() && live_entry(&seat.members, &id).is_none() {
                seat.recruit.hope();
                self.env.timers.set_earlier(Timer::Seat(index), now.plus_ms(100));
            }
        }
        if new {
            self.groups_tell(peer);
        }
    }

    /// Tells a newcomer of groups: a few of ours, and a few that we know. Once in a session.
    pub(crate) fn groups_tell(&mut self, peer: PeerId) {
        let Some(id) = self.peers.get(peer).map(|p| p.id).filter(|_| self.peers.first_told(peer)) else { return };
        let own = |(_, seat): &(Handle, &super::Seat)| {
            seat.phase == Phase::Member && live_entry(&seat.members, &id).is_none()
        };
        let own: Vec<_, HINTS_OWN> =
            self.groups.seats.iter().filter(own).take(HINTS_OWN).map(|(_, seat)| seat.id).collect();
        for group in self.known_to_tell().into_iter().chain(own) {
            self.tell(peer, Notice::Hint(group));
        }
    }

    pub(crate) fn groups_peer_down(&mut self, peer: PeerId, id: &NodeId) {
        self.groups.asked.retain(|(asker, _, _)| *asker != peer);
        let Some(handle) = self.partner(id) else { return };
        if let Some(partner) = self.groups.partners.get_mut(handle) {
            partner.peer = None;
            if partner.doubt.is_none() {
                self.doubt(handle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_7_more_loss_takes_more_probes() {
        for permille in [10u16, 50, 100, 200, 300, 400] {
            let l = f64::from(permille) / 1000.0;
            // The chance that all rounds fail though the partner lives, times the doubts of an hour about two partners.
            let wrong = (1.0 - (1.0 - l) * (1.0 - l)).powi(rounds(Some(permille), 1).into()) * 2.0 * 3600.0 * l;
            assert!(wrong <= 1e-4, "{wrong} at {permille}");
        }
        assert_eq!([rounds(Some(0), 1), rounds(Some(0), 6), rounds(Some(999), 1), rounds(None, 1)], [3, 6, 50, 12]);
    }
}

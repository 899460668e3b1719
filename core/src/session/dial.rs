//! Dialling: from an id, and perhaps an address, to a session; and what a peer's timer does (PROTOCOL §2.3, §9.1).
//!
//! ```text
//! Ping ──Pong──▶ Hello ──Welcome──▶ Confirm ──first packet──▶ Idle
//!  └─ no answer: the next address, then Introduce, then down ─┘
//! ```

use super::{GRACE_MS, KEEP_MS, Notice, Peer, REKEY_PACKETS, Step, want};
use crate::addr::{Addr, LinkId};
use crate::id::NodeId;
use crate::node::{Node, Out, PeerId, Timer};
use crate::time::Instant;
use crate::wire::Facts;

/// Pings to an introduced address before the relay is tried as well.
const DIRECT_TRIES: u8 = 2;
/// Milliseconds that an introduction is waited for.
const INTRODUCE_MS: u32 = 700;
/// How often the host that told of another is looked at before others are asked.
const TELLER_TRIES: u8 = 3;
/// Other introducers asked.
const OTHERS_ASKED: u8 = 4;
/// Milliseconds until keys are tried to be renewed again after that failed.
const RENEW_AGAIN_MS: u32 = 30_000;
/// The longest first wait for a Welcome: a host that takes longer is not reached at all.
const WELCOME_MS_MAX: u32 = 4_000;
/// How often a new session's first packet is sent again before the session is in doubt: 1.75 s in all.
const CONFIRM_TRIES: u8 = 2;
/// Dials in vain that end a session in doubt: where many packets are lost, one is not enough.
const DOUBT_DIALS: u8 = 2;
/// The longest time between tries of the direct path of a relayed peer: 2^n seconds.
const DIRECT_SHIFT_MAX: u8 = 9;

impl Node<'_> {
    /// The peer with this id, made and dialled if need be: by `hint`, by the address known of it, or through whoever
    /// told of it. `None` when no way is known or no room is left. Ends in `peer_up` or `peer_down`.
    pub(crate) fn dial(&mut self, id: &NodeId, hint: Option<Addr>) -> Option<PeerId> {
        self.dial_on(id, hint, None)
    }

    pub(crate) fn dial_on(&mut self, id: &NodeId, hint: Option<Addr>, link: Option<LinkId>) -> Option<PeerId> {
        if *id == self.env.me || self.discover.is_stopped() {
            return None;
        }
        if let Some(known) = self.peer_of(id) {
            let peer = self.peers.peers.get_mut(known.0)?;
            peer.wanted = true;
            peer.closing = false;
            return Some(known);
        }
        let known = self.hosts.get(&self.env, id).map(|host| (host.addr, host.link));
        let link = self.peers.working_link(link.or(known.map(|(_, link)| link)))?;
        let known = known.map(|(addr, _)| addr).filter(Addr::is_unicast);
        let addr = hint.filter(Addr::is_unicast).or(known);
        if addr.is_none() && self.hosts.introducer(&self.env, id).is_none() {
            return None;
        }
        let peer = self.peer_new(*id, link, 0)?;
        let slot = peer.0.index;
        let made = self.peers.at_mut(slot)?;
        made.wanted = true;
        made.alternate = known.filter(|known| addr != Some(*known));
        match addr {
            Some(addr) => {
                made.dial.0 = addr;
                self.begin_step(slot, Step::Ping, want::PING);
            }
            None => self.begin_step(slot, Step::Introduce, 0),
        }
        Some(peer)
    }

    /// Begins a step. What it wants to send is sent when polled; its time-out starts then.
    pub(super) fn begin_step(&mut self, slot: u16, step: Step, want: u8) {
        let (now, retry_ms) = (self.env.now, self.env.config.handshake_retry_ms);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.step = step;
        peer.tries = 0;
        peer.want = peer.want & want::WELCOME | want;
        peer.due = if step == Step::Introduce { now } else { now.plus_ms(retry_ms) };
        self.peers.list(slot);
        self.schedule(slot);
    }

    /// A Ping or Hello of the dial was encoded: its time-out starts.
    pub(super) fn tried(&mut self, slot: u16) {
        let (now, mut retry_ms) = (self.env.now, self.env.config.handshake_retry_ms);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.step == Step::Hello {
            // Another Hello voids the one before: over a way that takes longer than the time-out, no Welcome would count.
            retry_ms = retry_ms.max(2 * u32::from(peer.pong_ms)).min(retry_ms.max(WELCOME_MS_MAX));
        }
        peer.due = now.plus_ms(backoff(retry_ms, peer.tries));
        peer.tries = peer.tries.saturating_add(1);
        self.schedule(slot);
    }

    /// The step found no room: it is tried again soon.
    pub(super) fn retry_after(&mut self, slot: u16, ms: u32) {
        let at = self.env.now.plus_ms(ms);
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.due = at;
            self.schedule(slot);
        }
    }

    /// The other side uses the new keys.
    pub(super) fn confirmed(&mut self, slot: u16) {
        let rekey_ms = self.env.config.rekey_ms;
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.step = Step::Idle;
            peer.want &= want::WELCOME;
            peer.tries = 0;
            peer.due = peer.current.as_ref().map_or(Instant::NEVER, |epoch| epoch.since.plus_ms(rekey_ms));
            self.settle_path(slot);
            self.schedule(slot);
        }
    }

    /// Sets the peer's timer to what comes first.
    pub(super) fn schedule(&mut self, slot: u16) {
        let Some(peer) = self.peers.at(slot) else { return };
        let mut at = Instant::NEVER;
        // A step that has something to send waits for the link, not for time.
        if peer.want == 0 {
            at = peer.due;
        }
        if peer.other.is_some() {
            at = at.min(peer.other_until);
        }
        if peer.up && peer.step == Step::Idle && peer.holds == 0 && !peer.closing {
            at = at.min(peer.last_heard.plus_ms(self.env.config.session_idle_ms));
        }
        if peer.up && peer.keeps > 0 && peer.urgent.is_empty() {
            at = at.min(peer.last_sent.plus_ms(KEEP_MS));
        }
        match at {
            Instant::NEVER => self.env.timers.clear(Timer::Peer(slot)),
            at => self.env.timers.set(Timer::Peer(slot), at),
        }
    }

    pub(crate) fn peer_timeout(&mut self, slot: u16) {
        let now = self.env.now;
        let Some(peer) = self.peers.at(slot) else { return };
        if peer.other.is_some() && peer.other_until <= now {
            self.peers.drop_other(slot);
        }
        let Some(peer) = self.peers.at(slot) else { return };
        if peer.want == 0 && peer.due <= now {
            match peer.step {
                Step::Idle => self.idle_due(slot),
                Step::Ping | Step::Hello => self.retry(slot),
                Step::Confirm => self.confirm_again(slot),
                Step::Introduce => self.introduce_again(slot),
            }
        }
        let Some(id) = self.peers.handle_at(slot) else { return };
        let Some(peer) = self.peers.get(id) else { return };
        let idle = peer.up && peer.step == Step::Idle && peer.holds == 0 && !peer.closing;
        let keep = peer.up && peer.keeps > 0 && peer.urgent.is_empty() && now.ms_since(peer.last_sent) >= KEEP_MS;
        if idle && now.ms_since(peer.last_heard) >= self.env.config.session_idle_ms {
            self.close(slot);
        } else if keep && !self.send(id, Out::Path(Notice::Facts)) {
            return self.env.timers.set(Timer::Peer(slot), now.plus_ms(super::handshake::NO_ROOM_MS));
        }
        self.schedule(slot);
    }

    /// Says Bye, and ends the session when that is encoded.
    pub(super) fn close(&mut self, slot: u16) {
        let Some(id) = self.peers.handle_at(slot) else { return };
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.closing = true;
        }
        if !self.send(id, Out::Path(Notice::Bye)) {
            self.end_peer(id, false);
        }
    }

    /// No step is under way, and it is time to renew keys, to try the direct path, or to forget who never came up.
    fn idle_due(&mut self, slot: u16) {
        let (now, rekey_ms) = (self.env.now, self.env.config.rekey_ms);
        let Some(id) = self.peers.handle_at(slot) else { return };
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let (Some(addr), Some(epoch)) = (peer.addr, peer.current.as_ref().filter(|_| peer.up)) else {
            if peer.other.is_some() {
                peer.due = peer.other_until.max(now.plus_ms(1));
            } else if peer.wanted && peer.addr.is_some() {
                peer.dial.0 = peer.addr.unwrap_or_default();
                peer.dial.1 = peer.link;
                self.begin_step(slot, Step::Ping, want::PING);
            } else {
                self.end_peer(id, false);
            }
            return;
        };
        let slack_ms = if epoch.ours { 0 } else { rekey_ms / 8 };
        let renew = epoch.since.plus_ms(rekey_ms.saturating_add(slack_ms));
        if renew <= now || epoch.counter >= REKEY_PACKETS {
            (peer.dial.0, peer.dial.1) = (addr, peer.link);
            self.begin_step(slot, Step::Ping, want::PING);
        } else if let Some(direct) = peer.alternate.filter(|_| addr.slot != 0) {
            let wait_ms = 1_000 << peer.tries.min(DIRECT_SHIFT_MAX);
            peer.tries = peer.tries.saturating_add(1);
            peer.due = now.plus_ms(wait_ms).min(renew);
            let link = peer.link;
            self.challenge(id, link, direct);
        } else {
            peer.due = renew;
        }
    }

    /// Nothing answered a Ping or Hello in time.
    fn retry(&mut self, slot: u16) {
        let tries_max = self.env.config.handshake_tries;
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let up = peer.up;
        if peer.tries < tries_max {
            peer.want |= if peer.step == Step::Hello { want::HELLO } else { want::PING };
            if peer.step == Step::Ping
                && peer.tries >= DIRECT_TRIES
                && peer.alternate.is_some_and(|relay| relay.slot != 0)
            {
                peer.want |= want::PING_ALTERNATE;
            }
            let ask = !up && peer.step == Step::Ping && peer.tries >= DIRECT_TRIES && peer.asked == 0;
            self.peers.list(slot);
            if ask {
                // In parallel: waiting for the last try would only cost time.
                self.ask_teller(slot);
            }
            return;
        }
        self.peers.drop_handshake(slot);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if up {
            self.dial_failed(slot);
        } else if let Some(next) = peer.alternate.take().filter(|next| *next != peer.dial.0) {
            peer.dial.0 = next;
            self.begin_step(slot, Step::Ping, want::PING);
        } else {
            self.begin_step(slot, Step::Introduce, 0);
        }
    }

    /// No packet under the new keys has come: ours may be lost.
    fn confirm_again(&mut self, slot: u16) {
        let (now, retry_ms) = (self.env.now, self.env.config.handshake_retry_ms);
        let Some(id) = self.peers.handle_at(slot) else { return };
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.tries >= CONFIRM_TRIES {
            // Too many may have been lost, or another Hello of ours came after the one that was answered, or it had no room
            // for us after all: a last dial tells.
            peer.step = Step::Idle;
            self.doubt_peer(id);
            if let Some(peer) = self.peers.at_mut(slot) {
                peer.doubted = peer.doubted.min(1);
            }
            return;
        }
        peer.tries += 1;
        peer.due = now.plus_ms(backoff(retry_ms, peer.tries));
        if peer.urgent.is_empty() {
            self.send(id, Out::Path(Notice::Facts));
        }
    }

    /// Asks the next host that may know the one we look for.
    fn introduce_again(&mut self, slot: u16) {
        let now = self.env.now;
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.due = now.plus_ms(INTRODUCE_MS);
        let (id, asked) = (peer.id, peer.asked);
        if asked < TELLER_TRIES && self.ask_teller(slot) {
            return;
        }
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.asked = peer.asked.max(TELLER_TRIES) + 1;
        let nth = usize::from(peer.asked - TELLER_TRIES - 1);
        let teller = self.hosts.introducer(&self.env, &id);
        let direct = |(_, other): &(PeerId, &Peer)| {
            other.up && other.addr.is_some_and(|addr| addr.slot == 0) && Some(other.id) != teller && other.id != id
        };
        let likely = |other: &Peer| other.facts.flags & Facts::AMBASSADOR != 0 || other.keeps > 0;
        let first = self.peers.iter().filter(direct).filter(|(_, other)| likely(other));
        let then = self.peers.iter().filter(direct).filter(|(_, other)| !likely(other));
        let next = first.chain(then).nth(nth).map(|(id, _)| id);
        match next.filter(|_| nth < usize::from(OTHERS_ASKED)) {
            Some(introducer) => {
                self.send(introducer, Out::Path(Notice::Introduce(id)));
            }
            None => self.dial_failed(slot),
        }
    }

    /// Asks whoever told of the host, or dials it to be asked next time; false when there is nobody.
    fn ask_teller(&mut self, slot: u16) -> bool {
        let Some(id) = self.peers.at(slot).map(|peer| peer.id) else { return false };
        let Some(teller) = self.hosts.introducer(&self.env, &id).filter(|teller| *teller != self.env.me) else {
            return false;
        };
        let Some(via) = self.peer_of(&teller).or_else(|| self.dial(&teller, None)) else { return false };
        let up = self.peers.get(via).is_some_and(|peer| peer.up);
        if up {
            self.send(via, Out::Path(Notice::Introduce(id)));
        }
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.asked = if up { TELLER_TRIES } else { peer.asked + 1 };
        }
        true
    }

    /// Somebody introduces a host to us (§9.1): ping it at once, and through the relay a little later.
    pub(super) fn introduced(&mut self, by: PeerId, id: NodeId, addr: Addr, relay_slot: u16) {
        let Some(introducer) = self.peers.get(by).filter(|_| id != self.env.me) else { return };
        let link = introducer.link;
        let relay = introducer.addr.filter(|addr| addr.slot == 0 && relay_slot != 0);
        let relay = relay.map(|addr| addr.with_slot(relay_slot));
        let direct = Some(addr).filter(|addr| addr.is_unicast() && addr.slot == 0);
        let Some(first) = direct.or(relay) else { return };
        let known = self.peer_of(&id);
        if known.is_none() && self.peers.peers.is_full() {
            // What others ask for evicts nobody.
            self.env.counters.peers_refused += 1;
            return;
        }
        let Some(peer) = known.or_else(|| self.peer_new(id, link, 0)) else { return };
        let slot = peer.0.index;
        let soon = self.env.now.plus_ms(1);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.up {
            if peer.step == Step::Idle && peer.addr.is_some_and(|addr| addr.slot != 0) && direct.is_some() {
                peer.alternate = direct;
                peer.due = peer.due.min(soon);
                self.schedule(slot);
            }
        } else if matches!(peer.step, Step::Idle | Step::Ping | Step::Introduce) {
            (peer.dial.0, peer.dial.1) = (first, link);
            peer.alternate = relay.filter(|relay| *relay != first);
            self.begin_step(slot, Step::Ping, want::PING);
        }
    }

    /// All ways were tried. A session that is up goes on under its old keys, unless it was in doubt. Whoever answered a
    /// Ping is not dead: it may have had no room.
    pub(super) fn dial_failed(&mut self, slot: u16) {
        let Some(id) = self.peers.handle_at(slot) else { return };
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.up && peer.doubted > 1 && !peer.answered {
            peer.doubted -= 1;
            self.begin_step(slot, Step::Ping, want::PING);
            return;
        }
        if !peer.up || peer.doubted > 0 && !peer.answered {
            let dead = !peer.answered && (peer.wanted || peer.doubted > 0);
            self.end_peer(id, dead);
            return;
        }
        self.dial_given_up(slot);
    }

    /// A peer that is up does not answer what it was asked. It may have forgotten the session, as a small node does that
    /// needs room for others and whose Bye was lost: a new handshake tells, and so does silence.
    pub(crate) fn doubt_peer(&mut self, id: PeerId) {
        let Some(peer) = self.peers.peers.get_mut(id.0) else { return };
        if let Some(addr) = peer.addr.filter(|_| peer.up && peer.step == Step::Idle && !peer.closing) {
            (peer.dial.0, peer.dial.1) = (addr, peer.link);
            (peer.doubted, peer.answered) = (DOUBT_DIALS, false);
            self.env.counters.sessions_doubted += 1;
            self.begin_step(id.0.index, Step::Ping, want::PING);
        }
    }

    /// Goes on with the session as it is.
    pub(super) fn dial_given_up(&mut self, slot: u16) {
        let later = self.env.now.plus_ms(RENEW_AGAIN_MS);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.doubted = 0;
        peer.step = Step::Idle;
        peer.want &= want::WELCOME;
        peer.tries = 0;
        peer.due = later;
        self.peers.list(slot);
        self.schedule(slot);
    }

    /// Gives a peer that came to us time to prove itself.
    pub(super) fn await_proof(&mut self, slot: u16) {
        let until = self.env.now.plus_ms(GRACE_MS);
        if let Some(peer) = self.peers.at_mut(slot)
            && !peer.up
            && peer.step == Step::Idle
        {
            peer.due = until;
        }
    }

    /// Ends all sessions with a Bye, stops discovery and dials nobody any more. Poll until nothing is sent.
    pub fn shutdown(&mut self, now: Instant) {
        self.env.advance(now);
        self.discover_stop();
        for slot in 0..self.peers.peers.used() {
            match self.peers.handle_at(slot) {
                Some(peer) if self.peers.get(peer).is_some_and(|peer| peer.up) => self.close(slot),
                Some(peer) => self.end_peer(peer, false),
                None => {}
            }
        }
    }
}

/// Doubles with every try, at most to 64 times.
fn backoff(ms: u32, tries: u8) -> u32 {
    ms.saturating_mul(1 << tries.min(6))
}

//! Keeping the table true: the host unheard for longest is dialled now and then (PROTOCOL §4.6).

use super::{Host, Hosts, Standing, seconds};
use crate::id::NodeId;
use crate::node::{Node, Timer};
use crate::rng::Rng;
use crate::table::Handle;

/// Bounds of the interval between two dials, in milliseconds. Each death found halves it, four living hosts in a row
/// double it: it settles where about one dial in five finds a dead host.
const INTERVAL_MIN_MS: u32 = 1_000;
const INTERVAL_MAX_MS: u32 = 240_000;
const INTERVAL_BEGIN_MS: u32 = 8_000;
const LIVING_IN_A_ROW: u8 = 4;
/// Hosts among which the one unheard for longest is looked for.
const CANDIDATES: usize = 64;
/// A host heard within so many intervals is left alone.
const FRESH_INTERVALS: u32 = 2;
/// Seconds until a vanished host is dialled again: doubles with every dial in vain up to 5 minutes.
const AGAIN_MIN_S: u32 = 15;
const AGAIN_MAX_S: u32 = 300;

/// How often hosts are looked at.
#[derive(Debug)]
pub(super) struct Refresh {
    interval_ms: u32,
    living: u8,
    /// Every other look is for a vanished host, if one is due.
    vanished: bool,
}

impl Default for Refresh {
    fn default() -> Self {
        Refresh { interval_ms: INTERVAL_BEGIN_MS, living: 0, vanished: false }
    }
}

impl Refresh {
    fn dead(&mut self) {
        self.living = 0;
        self.interval_ms = (self.interval_ms / 2).max(INTERVAL_MIN_MS);
    }

    fn alive(&mut self) {
        self.living += 1;
        if self.living >= LIVING_IN_A_ROW {
            self.living = 0;
            self.interval_ms = (self.interval_ms * 2).min(INTERVAL_MAX_MS);
        }
    }
}

impl Host {
    /// Whether we had a session with it and do not take it for dead.
    pub(crate) fn is_met(&self) -> bool {
        self.standing == Standing::Met
    }

    /// Whether a vanished host is to be dialled.
    fn due(&self, now_s: u32) -> bool {
        let wait = AGAIN_MIN_S.saturating_mul(1 << self.missed.min(8)).min(AGAIN_MAX_S);
        self.tried_s == 0 || now_s.saturating_sub(self.tried_s) >= wait
    }
}

impl Hosts<'_> {
    /// Whom to dial next: out of a sample the living host without a session that was not heard for longest, or a
    /// vanished one whose time has come.
    pub(super) fn next_to_refresh(&mut self, now_s: u32, rng: &mut Rng) -> Option<NodeId> {
        self.refresh.vanished ^= true;
        let fresh_s = FRESH_INTERVALS * self.refresh.interval_ms / 1000;
        let mut vanished = || -> Option<Handle> {
            let due = |host: &Host| host.standing == Standing::Vanished && host.due(now_s);
            self.sample::<1>(rng, 1, due).first().copied()
        };
        let any = self.census.count(Standing::Vanished) > 0;
        let first = if any && (self.refresh.vanished || self.len() == 0) { vanished() } else { None };
        let chosen = first.or_else(|| {
            let stale = |host: &Host| {
                host.standing != Standing::Vanished && !host.up && host.age_s(now_s) >= fresh_s && host.tried_s < now_s
            };
            let sampled = self.sample::<CANDIDATES>(rng, CANDIDATES, stale);
            sampled.iter().copied().max_by_key(|handle| self.hosts.get(*handle).map(|host| host.age_s(now_s)))
        })?;
        let host = self.hosts.get_mut(chosen)?;
        host.tried_s = now_s;
        Some(host.id)
    }
}

impl Node<'_> {
    pub(super) fn refresh_again(&mut self) {
        let next = self.env.rng.jitter_ms(self.hosts.refresh.interval_ms);
        self.env.timers.set(Timer::Refresh, self.env.now.plus_ms(next));
    }

    /// Dials one host: the session that begins, or does not, tells whether it lives.
    pub(crate) fn refresh_timeout(&mut self) {
        self.refresh_again();
        if let Some(id) = self.hosts.next_to_refresh(seconds(self.env.now), &mut self.env.rng) {
            self.dial(&id, None);
        }
    }

    /// A session with a host begins: counts as a dial that found it alive, if we had dialled.
    pub(super) fn refresh_alive(&mut self, id: &NodeId) {
        if self.hosts.get(&self.env, id).is_some_and(|host| host.tried_s != 0) {
            self.hosts.refresh.alive();
        }
    }

    pub(super) fn refresh_dead(&mut self) {
        self.hosts.refresh.dead();
    }
}

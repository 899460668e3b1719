//! Choosing among known hosts: whom to recruit, whom to ask first, whom to tell of.

use core::num::NonZeroU32;

use heapless::Vec;

use super::{Host, Hosts, Standing, bits, seconds};
use crate::addr::Addr;
use crate::id::NodeId;
use crate::node::Env;
use crate::rng::Rng;
use crate::table::Handle;
use crate::wire::Facts;

/// Hosts looked at when the best of them are wanted. All of them where the table holds no more.
const SAMPLE: usize = 64;

/// What a recruit counts for being in another failure domain than all members.
const OTHER_PREFIX: i32 = 24;
/// What it loses for each member at the same place that an operator set.
const SAME_PLACE: i32 = 24;
/// What it counts for other power than all members.
const OTHER_POWER: i32 = 8;
/// What it loses while it has not said whether it has room.
const UNKNOWN_ROOM: i32 = 32;
/// What it counts for being small where the small come first: more than all else together.
const TINY_FIRST: i32 = 1 << 12;

/// How surely a host is alive, 0 to 72: a session counts most; every doubling of the silence costs 8, so that a host
/// unheard for a minute has 16 left and one unheard for 4 minutes nothing.
fn alive(host: &Host, now_s: u32) -> i32 {
    if host.up {
        return 72;
    }
    (64 - 8 * bits(host.age_s(now_s))).max(0) - 16 * i32::from(host.missed.min(4))
}

/// How unlike a host is to one already chosen.
fn unlike(host: &Host, addr: &Addr, facts: &Facts) -> (bool, bool, bool) {
    let prefix = host.addr.prefix() != addr.prefix();
    let place = host.facts.place == 0 || host.facts.place != facts.place;
    let power = (host.facts.flags ^ facts.flags) & Facts::MAINS != 0;
    (prefix, place, power)
}

impl Hosts<'_> {
    /// Up to `n` random hosts for which `wanted` holds, no more than one out of each of `n` equal parts of the table.
    /// Cost: where most hosts are wanted `n` slots, and never more than one scan.
    pub(super) fn sample<const N: usize>(
        &self,
        rng: &mut Rng,
        n: usize,
        mut wanted: impl FnMut(&Host) -> bool,
    ) -> Vec<Handle, N> {
        let used = u32::from(self.hosts.used());
        let mut picked = Vec::new();
        let Some(parts) = NonZeroU32::new((n.min(N) as u32).min(used)) else { return picked };
        let turn = rng.below(parts.get());
        for part in (0..parts.get()).map(|part| around(turn + part, parts.get())) {
            let (from, to) = (part * used / parts, (part + 1) * used / parts);
            let start = rng.below(to - from);
            let found = (0..to - from)
                .filter_map(|i| self.hosts.handle_at((from + around(start + i, to - from)) as u16))
                .find(|handle| self.hosts.get(*handle).is_some_and(&mut wanted));
            if let Some(handle) = found {
                let _ = picked.push(handle);
            }
        }
        picked
    }

    /// Up to 8 hosts to be recruited into a group, best first: free room, believed alive, unlike `members` and each other
    /// (prefix, place, power), none of those that `excluded` names. `tiny_first` prefers hosts with nothing but small
    /// seats. Looks at 64 hosts, chosen at random where more are known.
    pub fn recruits(
        &self,
        env: &mut Env<'_>,
        members: &[(Addr, Facts)],
        tiny_first: bool,
        excluded: &mut dyn FnMut(&NodeId) -> bool,
    ) -> Vec<NodeId, 8> {
        self.recruit(seconds(env.now), &mut env.rng, members, tiny_first, excluded)
    }

    pub(super) fn recruit(
        &self,
        now_s: u32,
        rng: &mut Rng,
        members: &[(Addr, Facts)],
        tiny_first: bool,
        excluded: &mut dyn FnMut(&NodeId) -> bool,
    ) -> Vec<NodeId, 8> {
        let sampled: Vec<Handle, SAMPLE> = self.sample(rng, SAMPLE, |host| {
            let room = host.facts.free > 0 || host.facts == Facts::default();
            let gives = host.facts.flags & Facts::NO_STORAGE == 0;
            host.standing != Standing::Vanished && room && gives && !excluded(&host.id)
        });
        // The order of equals is that of a random sample.
        let mut candidates: Vec<(&Host, i32), SAMPLE> = Vec::new();
        for host in sampled.iter().filter_map(|handle| self.hosts.get(*handle)) {
            let mut score =
                alive(host, now_s) + i32::from(host.facts.uptime.min(12)) + i32::from(host.facts.free.min(24)) / 3;
            if tiny_first && host.facts.flags & Facts::TINY != 0 {
                score += TINY_FIRST;
            }
            if host.facts == Facts::default() {
                score -= UNKNOWN_ROOM;
            }
            let _ = candidates.push((host, score));
        }
        let mut chosen: Vec<&Host, 8> = Vec::new();
        while !chosen.is_full() && !candidates.is_empty() {
            let score = |(host, score): &(&Host, i32)| {
                let others = members.iter().map(|(addr, facts)| (addr, facts));
                let others = others.chain(chosen.iter().map(|host| (&host.addr, &host.facts)));
                let (mut prefix, mut power, mut same_place) = (true, true, 0);
                for (addr, facts) in others {
                    let (other_prefix, other_place, other_power) = unlike(host, addr, facts);
                    prefix &= other_prefix;
                    power &= other_power;
                    same_place += i32::from(!other_place);
                }
                score + if prefix { OTHER_PREFIX } else { 0 } + if power { OTHER_POWER } else { 0 }
                    - SAME_PLACE * same_place
            };
            let Some(best) = (0..candidates.len()).max_by_key(|i| candidates.get(*i).map(score)) else { break };
            let Some(last) = candidates.pop() else { break };
            let (host, _) = candidates.get_mut(best).map_or(last, |place| core::mem::replace(place, last));
            let _ = chosen.push(host);
        }
        ids(chosen.into_iter())
    }

    /// Up to `n` (at most 8) hosts that know much, believed alive: the first to ask. Looks at 64 hosts, chosen at random
    /// where more are known.
    pub fn capable(&self, env: &mut Env<'_>, n: usize, excluded: &mut dyn FnMut(&NodeId) -> bool) -> Vec<NodeId, 8> {
        let now_s = seconds(env.now);
        let sampled: Vec<Handle, SAMPLE> =
            self.sample(&mut env.rng, SAMPLE, |host| host.standing != Standing::Vanished && !excluded(&host.id));
        let score = |handle: &Handle| {
            let ability = |host: &Host| 8 * i32::from(host.facts.hosts.min(17)) + i32::from(host.facts.free.min(40));
            self.hosts.get(*handle).map(|host| ability(host) + alive(host, now_s))
        };
        let sorted = in_order(sampled, |handle| core::cmp::Reverse(score(handle)));
        ids(sorted.take(n.min(8)).filter_map(|handle| self.hosts.get(handle)))
    }
}

/// The names of up to 8 hosts.
fn ids<'a>(hosts: impl Iterator<Item = &'a Host>) -> Vec<NodeId, 8> {
    let mut ids = Vec::new();
    for host in hosts {
        let _ = ids.push(host.id);
    }
    ids
}

/// A place below `2 n` on a ring of `n`.
pub(super) fn around(at: u32, n: u32) -> u32 {
    if at < n { at } else { at - n }
}

/// Handles in the order of their keys, smallest first; of equals the lower one. Each step looks at all of them: of a
/// short list's first few, that is less work than a sort, and less code.
pub(super) fn in_order<K: Ord, const N: usize>(
    handles: Vec<Handle, N>,
    key: impl Fn(&Handle) -> K,
) -> impl Iterator<Item = Handle> {
    let mut last = None;
    core::iter::from_fn(move || {
        let keyed = handles.iter().map(|handle| (key(handle), *handle));
        let next = keyed.filter(|next| last.as_ref().is_none_or(|last| next > last)).min()?;
        let handle = next.1;
        last = Some(next);
        Some(handle)
    })
}

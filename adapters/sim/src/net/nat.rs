//! Network address translation: many hosts behind one address, by the rules of RFC 4787.

use std::collections::BTreeMap;

use butter_core::addr::Addr;
use butter_core::time::Instant;
use serde::Deserialize;

use crate::scenario::units::Time;

/// Remote places that one mapping lets in, at most; the one unused for longest makes room.
const REMOTES_MAX: usize = 256;

/// What a NAT maps, and what it lets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// One mapping for all that an inner address sends; everybody may use it to send in.
    FullCone,
    /// The same, for addresses only to which it has sent.
    Restricted,
    /// The same, for addresses and ports only to which it has sent.
    PortRestricted,
    /// A mapping for each address and port it sends to, which only that may use.
    Symmetric,
}

/// A kind of NAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatModel {
    /// What it maps, and what it lets in.
    pub kind: NatKind,
    /// After how long without a packet from inside a mapping, or a permission, ends. Default: 120 s, the least that RFC 4787
    /// allows.
    #[serde(default = "two_minutes")]
    pub timeout: Time,
    /// Mappings at the same time; when full, packets that need a new one are lost. Default: 1,024.
    #[serde(default = "many")]
    pub mappings: u16,
}

fn two_minutes() -> Time {
    Time::from_s(120)
}

fn many() -> u16 {
    1_024
}

impl NatModel {
    /// One of a kind with the usual time-out and size.
    pub fn new(kind: NatKind) -> NatModel {
        NatModel { kind, timeout: two_minutes(), mappings: many() }
    }
}

struct Mapping {
    inner: Addr,
    /// To whom it is bound, if to one.
    to: Option<Addr>,
    used: Instant,
    /// Whom it has sent to, and when last. With port 0, any port.
    remotes: BTreeMap<Addr, Instant>,
}

/// A NAT at work.
pub(super) struct Nat {
    model: NatModel,
    /// Its address to the outside; ports are given out one by one.
    outer: Addr,
    next_port: u16,
    mappings: BTreeMap<u16, Mapping>,
    ports: BTreeMap<(Addr, Option<Addr>), u16>,
}

impl Nat {
    pub fn new(model: NatModel, outer: Addr) -> Nat {
        Nat { model, outer, next_port: 20_000, mappings: BTreeMap::new(), ports: BTreeMap::new() }
    }

    fn is_over(&self, used: Instant, now: Instant) -> bool {
        now.since(used) > self.model.timeout.us()
    }

    /// As which of its places a remote is let in.
    fn remote(&self, addr: Addr) -> Addr {
        match self.model.kind {
            NatKind::FullCone | NatKind::Restricted => Addr { port: 0, ..addr },
            NatKind::PortRestricted | NatKind::Symmetric => addr,
        }
    }

    /// A packet goes out: as which address it is seen. `None`: there is no room for its mapping.
    pub fn go_out(&mut self, now: Instant, inner: Addr, to: Addr) -> Option<Addr> {
        let to = to.with_slot(0);
        let bound = (self.model.kind == NatKind::Symmetric).then_some(to);
        let known = self.ports.get(&(inner, bound)).copied();
        let live = known.filter(|port| self.mappings.get(port).is_some_and(|mapping| !self.is_over(mapping.used, now)));
        let port = match live {
            Some(port) => port,
            None => self.add(now, inner, bound)?,
        };
        let remote = self.remote(to);
        let mapping = self.mappings.get_mut(&port)?;
        mapping.used = now;
        if mapping.remotes.len() >= REMOTES_MAX && !mapping.remotes.contains_key(&remote) {
            let oldest = mapping.remotes.iter().min_by_key(|(_, used)| **used).map(|(remote, _)| *remote);
            oldest.and_then(|remote| mapping.remotes.remove(&remote));
        }
        mapping.remotes.insert(remote, now);
        Some(Addr { port, ..self.outer })
    }

    fn add(&mut self, now: Instant, inner: Addr, to: Option<Addr>) -> Option<u16> {
        if self.mappings.len() >= usize::from(self.model.mappings) {
            let timeout_us = self.model.timeout.us();
            self.mappings.retain(|_, mapping| now.since(mapping.used) <= timeout_us);
            let mappings = &self.mappings;
            self.ports.retain(|_, port| mappings.contains_key(port));
        }
        if self.mappings.len() >= usize::from(self.model.mappings) {
            return None;
        }
        // What was bound before is over: a new mapping has another port.
        if let Some(port) = self.ports.remove(&(inner, to)) {
            self.mappings.remove(&port);
        }
        while self.mappings.contains_key(&self.next_port) {
            self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
        }
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(20_000);
        self.mappings.insert(port, Mapping { inner, to, used: now, remotes: BTreeMap::new() });
        self.ports.insert((inner, to), port);
        Some(port)
    }

    /// A packet comes in at a port: for whom it is. `None`: nobody's, or not let in.
    pub fn come_in(&self, now: Instant, port: u16, from: Addr) -> Option<Addr> {
        let mapping = self.mappings.get(&port).filter(|mapping| !self.is_over(mapping.used, now))?;
        let from = from.with_slot(0);
        let sent = |addr: Addr| mapping.remotes.get(&addr).is_some_and(|used| !self.is_over(*used, now));
        let fine =
            self.model.kind == NatKind::FullCone || sent(self.remote(from)) && mapping.to.is_none_or(|to| to == from);
        fine.then_some(mapping.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn addr(text: &str) -> Addr {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1000)
    }

    #[test]
    fn each_kind_maps_and_filters_by_its_rules() {
        let (inner, a) = (addr("10.0.0.1:7000"), addr("8.8.8.8:1"));
        let (a_other_port, b) = (addr("8.8.8.8:2"), addr("9.9.9.9:1"));
        // Whether b sees the same address as a, and who comes in at it: a from another port, b; then a itself.
        for (kind, same, from_port, from_b) in [
            (NatKind::FullCone, true, true, true),
            (NatKind::Restricted, true, true, false),
            (NatKind::PortRestricted, true, false, false),
            (NatKind::Symmetric, false, false, false),
        ] {
            let mut nat = Nat::new(NatModel::new(kind), addr("7.7.7.7:0"));
            let seen = nat.go_out(at(0), inner, a).unwrap();
            assert_eq!(seen.socket().ip(), addr("7.7.7.7:0").socket().ip());
            let comes_in = |nat: &Nat, from| nat.come_in(at(1), seen.port, from) == Some(inner);
            assert!(comes_in(&nat, a), "{kind:?}");
            assert_eq!(comes_in(&nat, a_other_port), from_port, "{kind:?}");
            assert_eq!(comes_in(&nat, b), from_b, "{kind:?}");
            assert_eq!(nat.go_out(at(1), inner, b).unwrap() == seen, same, "{kind:?}");
            assert_eq!(comes_in(&nat, b), kind != NatKind::Symmetric, "{kind:?}: it has sent to b, too");
            assert_ne!(nat.go_out(at(1), addr("10.0.0.2:7000"), a).unwrap(), seen, "{kind:?}: another host");
            assert_eq!(nat.come_in(at(1), 1, a), None);
        }
    }

    #[test]
    fn mappings_end_and_are_kept_alive_from_inside_only() {
        let (inner, a) = (addr("10.0.0.1:7000"), addr("8.8.8.8:1"));
        let mut nat = Nat::new(NatModel::new(NatKind::PortRestricted), addr("7.7.7.7:0"));
        let seen = nat.go_out(at(0), inner, a).unwrap();
        assert_eq!(nat.go_out(at(100), inner, a), Some(seen));
        assert_eq!(nat.come_in(at(219), seen.port, a), Some(inner));
        assert_eq!(nat.come_in(at(221), seen.port, a), None, "what comes in keeps nothing alive");
        assert_ne!(nat.go_out(at(221), inner, a), Some(seen), "a new mapping has a new port");
    }

    #[test]
    fn a_full_table_maps_no_more_until_something_ends() {
        let mut model = NatModel::new(NatKind::Symmetric);
        model.mappings = 2;
        let (inner, mut nat) = (addr("10.0.0.1:7000"), Nat::new(model, addr("7.7.7.7:0")));
        let to = |n: u16| Addr { port: n, ..addr("8.8.8.8:1") };
        assert!(nat.go_out(at(0), inner, to(1)).is_some() && nat.go_out(at(60), inner, to(2)).is_some());
        assert_eq!(nat.go_out(at(100), inner, to(3)), None);
        assert!(nat.go_out(at(130), inner, to(3)).is_some(), "the first has ended");
    }
}

//! The network: who hears what, and when. Sans-IO: it is told what is sent and says what arrives.
//!
//! ```text
//! host ─ access ─ segment (multicast, its own path) ─ NAT? ─ internet (one path, or a region's to a region's) ─ …
//! ```

mod access;
mod nat;
mod partition;
mod path;
mod region;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use butter_core::addr::Addr;
use butter_core::node::Destination;
use butter_core::rng::Rng;
use butter_core::time::Instant;
use rustc_hash::FxHashMap;

pub use access::Access;
pub use nat::{NatKind, NatModel};
pub use partition::{PARTITIONS_MAX, PartitionId, Way};
pub use path::{Loss, Path};
pub use region::Regions;

use crate::chance;
use crate::world::Who;
use access::Pipe;
use nat::Nat;
use partition::Partitions;
use path::{Channel, Fate, Line};

/// Which local network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct SegmentId(pub u16);

impl SegmentId {
    /// None: a host of its own on the internet, that hears no multicast. It needs a public address.
    pub const NONE: SegmentId = SegmentId(u16::MAX);
}

struct Segment {
    line: Line,
    multicast: bool,
    broadcast: bool,
    hosts: Vec<Who>,
    /// Addresses given out.
    given: u32,
    nat: Option<Nat>,
    /// Where it is, and what comes to its NAT.
    region: u8,
    channel: Channel,
}

struct Host {
    addr: Addr,
    segment: SegmentId,
    region: u8,
    channel: Channel,
    /// Only where something is limited, so that nothing is looked up where nothing is.
    limited: Option<Box<Limited>>,
}

/// A packet that is sent: by whom, from where, and how long it is.
#[derive(Clone, Copy)]
struct Trip {
    now: Instant,
    from: Who,
    own: Addr,
    segment: SegmentId,
    region: u8,
    len: usize,
}

/// A limited access, and what waits in front of it.
struct Limited {
    access: Access,
    up: Pipe,
    down: Pipe,
}

/// How a host is plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plug {
    /// In which segment, or [`SegmentId::NONE`].
    pub segment: SegmentId,
    /// In which region, if there are any.
    pub region: u8,
    /// How much its access carries.
    pub access: Access,
}

/// What became of the packets. A multicast counts once per host that might have heard it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetCounters {
    /// Deliveries made, second copies included.
    pub delivered: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Held back.
    pub held: u64,
    /// Stopped by a partition.
    pub cut: u64,
    /// Longer than the path carries.
    pub too_long: u64,
    /// Dropped by a full queue in front of a host's access, or by a NAT with no room for a mapping.
    pub overflowed: u64,
    /// Not let in by a NAT.
    pub filtered: u64,
    /// Sent to an address that nobody has (any more), or by multicast where there is none.
    pub unreachable: u64,
}

/// Where a packet arrives next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// At a host.
    Host(Who),
    /// At the access of a host, which may have to queue it: see [`Net::enter`].
    Access(Who),
    /// At a port of a segment's NAT.
    Nat(SegmentId, u16),
}

/// A delivery to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Where.
    pub to: Hop,
    /// In how many microseconds.
    pub after_us: u64,
}

/// The network of a world: segments in which everybody hears multicast, joined by an internet in which unicast reaches
/// every address that is not behind a NAT.
pub struct Net {
    rng: Rng,
    /// What makes the length of a way out of two hosts.
    salt: u64,
    regions: Option<Regions>,
    /// From each region to each.
    internet: Vec<Line>,
    segments: Vec<Segment>,
    hosts: Vec<Option<Host>>,
    by_addr: FxHashMap<Addr, Who>,
    /// By address with port 0.
    nats: FxHashMap<Addr, SegmentId>,
    partitions: Partitions,
    public_given: u32,
    prefix_given: BTreeMap<u16, u32>,
    counters: NetCounters,
}

impl Net {
    /// A network without segments.
    pub fn new(seed: u64, internet: &Path) -> Net {
        Net {
            rng: chance::stream(seed, "net", 0),
            salt: chance::stream(seed, "ways", 0).next_u64(),
            regions: None,
            internet: vec![Line::new(internet)],
            segments: Vec::new(),
            hosts: Vec::new(),
            by_addr: FxHashMap::default(),
            nats: FxHashMap::default(),
            partitions: Partitions::default(),
            public_given: 0,
            prefix_given: BTreeMap::new(),
            counters: NetCounters::default(),
        }
    }

    /// Adds a local network, with multicast and broadcast.
    pub fn add_segment(&mut self, path: &Path) -> SegmentId {
        assert!(self.segments.len() < usize::from(u16::MAX), "there are too many segments");
        self.segments.push(Segment {
            line: Line::new(path),
            multicast: true,
            broadcast: true,
            hosts: Vec::new(),
            given: 0,
            nat: None,
            region: 0,
            channel: Channel::default(),
        });
        SegmentId(self.segments.len() as u16 - 1)
    }

    /// Puts a segment behind a NAT with an address of its own: its hosts are seen by that, but those with a public address.
    pub fn set_nat(&mut self, segment: SegmentId, model: NatModel) -> Addr {
        let outer = Addr { port: 0, ..self.next_addr(segment, true, None) };
        self.segments[usize::from(segment.0)].nat = Some(Nat::new(model, outer));
        self.nats.insert(outer, segment);
        outer
    }

    /// Whether a segment carries multicast, and whether broadcast.
    pub fn set_casts(&mut self, segment: SegmentId, multicast: bool, broadcast: bool) {
        let segment = &mut self.segments[usize::from(segment.0)];
        segment.multicast = multicast;
        segment.broadcast = broadcast;
    }

    /// How packets travel within a segment from now on.
    pub fn set_path(&mut self, segment: SegmentId, path: &Path) {
        self.segments[usize::from(segment.0)].line = Line::new(path);
    }

    /// How packets travel between segments from now on, wherever they are.
    pub fn set_internet(&mut self, path: &Path) {
        (self.regions, self.internet) = (None, vec![Line::new(path)]);
    }

    /// From now on, hosts are in regions, and ways between segments as long as those are apart.
    pub fn set_regions(&mut self, regions: Regions) {
        self.internet = regions.lines();
        self.regions = Some(regions);
    }

    /// The regions, if there are any.
    pub fn regions(&self) -> Option<&Regions> {
        self.regions.as_ref()
    }

    /// An address that nobody has had, port 7000: `10.segment.x.y`, or a public one, scattered over 20.0.0.0/6, or of the
    /// /24 with this number, each anywhere in 24.0.0.0/8 and with room for 254; when it is full, of one that goes on for it.
    pub fn next_addr(&mut self, segment: SegmentId, public: bool, prefix: Option<u16>) -> Addr {
        // An odd factor permutes the bits: neighbours in time share no prefix.
        let scatter = |n: u32| n.wrapping_mul(0x009e_3779);
        let ip = match (public, prefix) {
            (true, Some(mut prefix)) => {
                while self.prefix_given.get(&prefix).is_some_and(|given| *given >= 0xfe) {
                    prefix = prefix.wrapping_add(0x1001);
                }
                let given = self.prefix_given.entry(prefix).or_default();
                *given += 1;
                0x1800_0000 | (scatter(prefix.into()) & 0xffff) << 8 | *given
            }
            (true, None) => {
                self.public_given += 1;
                0x1400_0000 | scatter(self.public_given) & 0x03ff_ffff
            }
            (false, _) => {
                let given = &mut self.segments[usize::from(segment.0)].given;
                *given += 1;
                assert!(*given < 0x1_0000 && segment.0 < 0x100, "10.0.0.0/8 is used up");
                0x0a00_0000 | u32::from(segment.0) << 16 | *given
            }
        };
        SocketAddr::new(Ipv4Addr::from(ip).into(), 7000).into()
    }

    /// Plugs a node in.
    pub fn attach(&mut self, who: Who, plug: Plug, addr: Addr) {
        self.detach(who);
        if self.hosts.len() <= who.index() {
            self.hosts.resize_with(who.index() + 1, || None);
        }
        if let Some(segment) = self.segments.get_mut(usize::from(plug.segment.0)) {
            segment.hosts.push(who);
            segment.region = plug.region;
        }
        let before = self.by_addr.insert(addr, who);
        assert!(before.is_none(), "{addr} belongs to {before:?}");
        let access = plug.access;
        let limited = access.up.or(access.down).map(|_| {
            let (up, down) = (Pipe::default(), Pipe::default());
            Box::new(Limited { access, up, down })
        });
        let (segment, region) = (plug.segment, plug.region);
        self.hosts[who.index()] = Some(Host { addr, segment, region, channel: Channel::default(), limited });
    }

    /// Unplugs a node; packets to its address go nowhere.
    pub fn detach(&mut self, who: Who) {
        if let Some(host) = self.hosts.get_mut(who.index()).and_then(Option::take) {
            self.by_addr.remove(&host.addr);
            if let Some(segment) = self.segments.get_mut(usize::from(host.segment.0)) {
                segment.hosts.retain(|other| *other != who);
            }
        }
    }

    /// The address of a node that is plugged in.
    pub fn addr(&self, who: Who) -> Option<Addr> {
        self.host(who).map(|host| host.addr)
    }

    /// Who is plugged in with an address.
    pub fn who(&self, addr: &Addr) -> Option<Who> {
        self.by_addr.get(&addr.with_slot(0)).copied()
    }

    fn host(&self, who: Who) -> Option<&Host> {
        self.hosts.get(who.index())?.as_ref()
    }

    /// A node is new: packets pass between it and all that are not cut off. `stands_for`: the one whose place it takes.
    pub(crate) fn joined(&mut self, who: Who, stands_for: Option<Who>) {
        match stands_for {
            Some(other) => self.partitions.inherit(who, other),
            None => self.partitions.joined(who),
        }
    }

    /// Stops packets between `near` and `far` until it is healed; without `far`, between `near` and everybody else, also
    /// those that come later. `None`: [`PARTITIONS_MAX`] are open. Cost: one look at every node.
    pub fn partition(&mut self, near: &[Who], far: Option<&[Who]>, way: Way) -> Option<PartitionId> {
        self.partitions.begin(near, far, way)
    }

    /// Ends a partition; false when it had ended.
    pub fn heal(&mut self, id: PartitionId) -> bool {
        self.partitions.heal(id)
    }

    /// Ends all partitions.
    pub fn heal_all(&mut self) {
        self.partitions.heal_all();
    }

    /// The nodes that are plugged in to a segment, in the order in which they were.
    pub fn on_segment(&self, segment: SegmentId) -> &[Who] {
        &self.segments[usize::from(segment.0)].hosts
    }

    /// What became of the packets so far.
    pub fn counters(&self) -> NetCounters {
        self.counters
    }

    /// Sends `len` bytes, and appends to `out` what arrives when; returns the address as whose it is seen.
    pub fn send(&mut self, now: Instant, from: Who, to: Destination, len: usize, out: &mut Vec<Sent>) -> Addr {
        let Some(sender) = self.hosts.get_mut(from.index()).and_then(Option::as_mut) else { return Addr::default() };
        let (segment, own) = (sender.segment, sender.addr);
        let trip = Trip { now, from, own, segment, region: sender.region, len };
        let mut seen = own;
        let mut wait_us = 0;
        if let Some(limited) = &mut sender.limited
            && let Some(up) = limited.access.up
        {
            match limited.up.push(now, len, up, limited.access.queue) {
                Some(us) => wait_us = us,
                None => {
                    self.counters.overflowed += 1;
                    return seen;
                }
            }
        }
        let (local, before) = (usize::from(segment.0), out.len());
        match to {
            Destination::Addr(addr) => seen = self.unicast(trip, addr.with_slot(0), out),
            Destination::Multicast | Destination::Broadcast => {
                let carries = |segment: &Segment| match to {
                    Destination::Multicast => segment.multicast,
                    _ => segment.broadcast,
                };
                if !self.segments.get(local).is_some_and(carries) {
                    self.counters.unreachable += 1;
                    return seen;
                }
                for i in 0..self.segments[local].hosts.len() {
                    let to = self.segments[local].hosts[i];
                    if to != from {
                        self.one(trip, to, Some(segment), out);
                    }
                }
            }
        }
        if wait_us > 0 {
            out[before..].iter_mut().for_each(|sent| sent.after_us += wait_us);
        }
        let deliveries = (out.len() - before) as u64;
        self.counters.delivered += deliveries;
        self.counters.bytes += deliveries * len as u64;
        seen
    }

    fn unicast(&mut self, trip: Trip, addr: Addr, out: &mut Vec<Sent>) -> Addr {
        let Trip { own, segment, .. } = trip;
        let receiver = self.by_addr.get(&addr).and_then(|to| Some((*to, self.host(*to)?.segment)));
        if let Some((to, _)) = receiver.filter(|(_, there)| *there == segment && segment != SegmentId::NONE) {
            self.one(trip, to, Some(segment), out);
            return own;
        }
        let mut seen = own;
        if !self.nats.is_empty()
            && !own.is_public()
            && let Some(nat) = self.segments.get_mut(usize::from(segment.0)).and_then(|segment| segment.nat.as_mut())
        {
            match nat.go_out(trip.now, own, addr) {
                Some(outer) => seen = outer,
                None => {
                    self.counters.overflowed += 1;
                    return own;
                }
            }
        }
        let hidden = |there: SegmentId| {
            !self.nats.is_empty()
                && !addr.is_public()
                && self.segments.get(usize::from(there.0)).is_some_and(|segment| segment.nat.is_some())
        };
        match receiver {
            Some((to, there)) if !hidden(there) => self.one(trip, to, None, out),
            Some(_) => self.counters.unreachable += 1,
            None => match self.nats.get(&Addr { port: 0, ..addr }).copied() {
                // No NAT here sends back in what came from inside.
                Some(there) if there == segment => self.counters.filtered += 1,
                Some(there) => self.towards_nat(trip, seen, there, addr.port, out),
                None => self.counters.unreachable += 1,
            },
        }
        seen
    }

    /// One packet to one host, within a segment or across the internet.
    fn one(&mut self, trip: Trip, to: Who, within: Option<SegmentId>, out: &mut Vec<Sent>) {
        let Some(receiver) = self.hosts.get_mut(to.index()).and_then(Option::as_mut) else { return };
        if self.partitions.any() && self.partitions.stop(trip.from, to) {
            self.counters.cut += 1;
            return;
        }
        let line = match within {
            Some(segment) => &self.segments[usize::from(segment.0)].line,
            None => internet(&self.internet, self.regions.as_ref(), trip.region, receiver.region),
        };
        let pair = || way(self.salt, trip.from.0, to.0);
        let fate = line.travel(&mut self.rng, trip.now, trip.len, &mut receiver.channel, pair);
        let queues = receiver.limited.as_ref().is_some_and(|limited| limited.access.down.is_some());
        let hop = if queues { Hop::Access(to) } else { Hop::Host(to) };
        self.counters.fate(fate, hop, out);
    }

    /// One packet to a NAT, which will see for whom it is when it arrives.
    fn towards_nat(&mut self, trip: Trip, seen: Addr, there: SegmentId, port: u16, out: &mut Vec<Sent>) {
        let segment = &mut self.segments[usize::from(there.0)];
        let line = internet(&self.internet, self.regions.as_ref(), trip.region, segment.region);
        let ip = u32::from_be_bytes([seen.ip[12], seen.ip[13], seen.ip[14], seen.ip[15]]);
        let pair = || way(self.salt, ip, there.0.into());
        let fate = line.travel(&mut self.rng, trip.now, trip.len, &mut segment.channel, pair);
        self.counters.fate(fate, Hop::Nat(there, port), out);
    }

    /// A packet from `from`, seen as `seen`, arrives at an access or a NAT: at which host it arrives, and in how many
    /// microseconds. `None`: it is dropped and counted, and not delivered after all.
    pub fn enter(&mut self, now: Instant, hop: Hop, from: Who, seen: Addr, len: usize) -> Option<(Who, u64)> {
        let entered = self.entered(now, hop, from, seen, len);
        if entered.is_none() {
            self.counters.delivered -= 1;
            self.counters.bytes -= len as u64;
        }
        entered
    }

    fn entered(&mut self, now: Instant, hop: Hop, from: Who, seen: Addr, len: usize) -> Option<(Who, u64)> {
        let to = match hop {
            Hop::Host(who) | Hop::Access(who) => who,
            Hop::Nat(segment, port) => {
                let nat = self.segments.get(usize::from(segment.0)).and_then(|segment| segment.nat.as_ref());
                let inner = nat.and_then(|nat| nat.come_in(now, port, seen));
                let Some(inner) = inner else {
                    self.counters.filtered += 1;
                    return None;
                };
                let Some(to) = self.by_addr.get(&inner).copied() else {
                    self.counters.unreachable += 1;
                    return None;
                };
                if self.partitions.any() && self.partitions.stop(from, to) {
                    self.counters.cut += 1;
                    return None;
                }
                to
            }
        };
        let Some(limited) = self.hosts.get_mut(to.index()).and_then(Option::as_mut).and_then(|h| h.limited.as_mut())
        else {
            return Some((to, 0));
        };
        let Some(down) = limited.access.down else { return Some((to, 0)) };
        let through = limited.down.push(now, len, down, limited.access.queue);
        if through.is_none() {
            self.counters.overflowed += 1;
        }
        Some((to, through?))
    }
}

impl NetCounters {
    /// Counts what becomes of a packet, and says when it arrives.
    fn fate(&mut self, fate: Fate, to: Hop, out: &mut Vec<Sent>) {
        match fate {
            Fate::Lost => self.lost += 1,
            Fate::TooLong => self.too_long += 1,
            Fate::Arrives { us, held, again_us } => {
                self.held += u64::from(held);
                out.push(Sent { to, after_us: us });
                if let Some(after_us) = again_us {
                    self.duplicated += 1;
                    out.push(Sent { to, after_us });
                }
            }
        }
    }
}

fn internet<'a>(lines: &'a [Line], regions: Option<&Regions>, from: u8, to: u8) -> &'a Line {
    let regions = regions.map_or(1, |regions| regions.names().len());
    let at = if regions == 1 { 0 } else { usize::from(from) * regions + usize::from(to) };
    lines.get(at).unwrap_or(&lines[0])
}

/// A number for the way between two places, the same there and back (the finaliser of SplitMix64).
fn way(salt: u64, a: u32, b: u32) -> u32 {
    let mut x = salt ^ (u64::from(a.min(b)) << 32 | u64::from(a.max(b)));
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31) as u32
}

#[cfg(test)]
mod tests;

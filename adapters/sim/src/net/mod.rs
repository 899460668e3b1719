//! The network: who hears what, and when. Sans-IO: it is told what is sent and says what arrives.

mod partition;

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};

use butter_core::addr::Addr;
use butter_core::node::Destination;
use butter_core::rng::Rng;

pub use partition::{PARTITIONS_MAX, PartitionId, Way};

use crate::chance;
use crate::world::Who;
use partition::Partitions;

/// How packets travel between two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The least time one packet takes, in microseconds.
    pub latency_us: u32,
    /// The most time it takes longer, in microseconds, drawn uniformly.
    pub jitter_us: u32,
    /// Of 1000 packets, how many are lost, independently of each other.
    pub loss_permille: u16,
    /// Of 1000 packets, how many arrive twice.
    pub duplicate_permille: u16,
    /// Of 1000 packets, how many are held back.
    pub reorder_permille: u16,
    /// For how long those are held back, in microseconds.
    pub reorder_us: u32,
}

impl Path {
    /// A wired local network: 0.2 to 0.5 ms, nothing lost.
    pub const LAN: Path = Path {
        latency_us: 200,
        jitter_us: 300,
        loss_permille: 0,
        duplicate_permille: 0,
        reorder_permille: 0,
        reorder_us: 2_000,
    };
    /// Across a continent: 20 to 40 ms, 1 ‰ lost.
    pub const INTERNET: Path =
        Path { latency_us: 20_000, jitter_us: 20_000, loss_permille: 1, reorder_us: 10_000, ..Path::LAN };
}

/// Which local network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct SegmentId(pub u16);

struct Segment {
    path: Path,
    multicast: bool,
    broadcast: bool,
    hosts: Vec<Who>,
    /// Addresses given out.
    given: u32,
}

struct Host {
    addr: Addr,
    segment: SegmentId,
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
    /// Sent to an address that nobody has (any more), or by multicast where there is none.
    pub unreachable: u64,
}

/// A delivery to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// To whom.
    pub to: Who,
    /// In how many microseconds.
    pub after_us: u64,
}

/// The network of a world: segments in which everybody hears multicast, joined by an internet without NATs in which
/// unicast reaches every address.
pub struct Net {
    rng: Rng,
    internet: Path,
    segments: Vec<Segment>,
    hosts: Vec<Option<Host>>,
    by_addr: HashMap<Addr, Who>,
    partitions: Partitions,
    public_given: u32,
    prefix_given: BTreeMap<u16, u32>,
    counters: NetCounters,
}

impl Net {
    /// A network without segments.
    pub fn new(seed: u64, internet: Path) -> Net {
        Net {
            rng: chance::stream(seed, "net", 0),
            internet,
            segments: Vec::new(),
            hosts: Vec::new(),
            by_addr: HashMap::new(),
            partitions: Partitions::default(),
            public_given: 0,
            prefix_given: BTreeMap::new(),
            counters: NetCounters::default(),
        }
    }

    /// Adds a local network, with multicast and broadcast.
    pub fn add_segment(&mut self, path: Path) -> SegmentId {
        self.segments.push(Segment { path, multicast: true, broadcast: true, hosts: Vec::new(), given: 0 });
        SegmentId(self.segments.len() as u16 - 1)
    }

    /// Whether a segment carries multicast, and whether broadcast.
    pub fn set_casts(&mut self, segment: SegmentId, multicast: bool, broadcast: bool) {
        let segment = &mut self.segments[usize::from(segment.0)];
        segment.multicast = multicast;
        segment.broadcast = broadcast;
    }

    /// How packets travel within a segment from now on.
    pub fn set_path(&mut self, segment: SegmentId, path: Path) {
        self.segments[usize::from(segment.0)].path = path;
    }

    /// How packets travel between segments from now on.
    pub fn set_internet(&mut self, path: Path) {
        self.internet = path;
    }

    /// An address that nobody has had, port 7000: `10.segment.x.y`, or a public one, scattered over 20.0.0.0/6, or of the
    /// /24 with this number, each anywhere in 24.0.0.0/8 and with room for 254.
    pub fn next_addr(&mut self, segment: SegmentId, public: bool, prefix: Option<u16>) -> Addr {
        // An odd factor permutes the bits: neighbours in time share no prefix.
        let scatter = |n: u32| n.wrapping_mul(0x009e_3779);
        let ip = match (public, prefix) {
            (true, Some(prefix)) => {
                let given = self.prefix_given.entry(prefix).or_default();
                *given += 1;
                assert!(*given < 0xff, "prefix {prefix} is used up");
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
    pub fn attach(&mut self, who: Who, segment: SegmentId, addr: Addr) {
        self.detach(who);
        if self.hosts.len() <= who.index() {
            self.hosts.resize_with(who.index() + 1, || None);
        }
        self.segments[usize::from(segment.0)].hosts.push(who);
        let before = self.by_addr.insert(addr, who);
        assert!(before.is_none(), "{addr} belongs to {before:?}");
        self.hosts[who.index()] = Some(Host { addr, segment });
    }

    /// Unplugs a node; packets to its address go nowhere.
    pub fn detach(&mut self, who: Who) {
        if let Some(host) = self.hosts.get_mut(who.index()).and_then(Option::take) {
            self.by_addr.remove(&host.addr);
            self.segments[usize::from(host.segment.0)].hosts.retain(|other| *other != who);
        }
    }

    /// The address of a node that is plugged in.
    pub fn addr(&self, who: Who) -> Option<Addr> {
        self.host(who).map(|host| host.addr)
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

    /// Sends `len` bytes, and appends to `out` what arrives when.
    pub fn send(&mut self, from: Who, to: Destination, len: usize, out: &mut Vec<Sent>) {
        let Some(sender) = self.host(from) else { return };
        let segment = sender.segment;
        let local = &self.segments[usize::from(segment.0)];
        let before = out.len();
        match to {
            Destination::Addr(addr) => match self.by_addr.get(&addr.with_slot(0)).copied() {
                Some(to) => self.one(from, segment, to, out),
                None => self.counters.unreachable += 1,
            },
            Destination::Multicast if !local.multicast => self.counters.unreachable += 1,
            Destination::Broadcast if !local.broadcast => self.counters.unreachable += 1,
            Destination::Multicast | Destination::Broadcast => {
                for i in 0..self.segments[usize::from(segment.0)].hosts.len() {
                    let to = self.segments[usize::from(segment.0)].hosts[i];
                    if to != from {
                        self.one(from, segment, to, out);
                    }
                }
            }
        }
        let deliveries = (out.len() - before) as u64;
        self.counters.delivered += deliveries;
        self.counters.bytes += deliveries * len as u64;
    }

    fn one(&mut self, from: Who, segment: SegmentId, to: Who, out: &mut Vec<Sent>) {
        let Some(receiver) = self.host(to) else { return };
        let path = if receiver.segment == segment { self.segments[usize::from(segment.0)].path } else { self.internet };
        if self.partitions.any() && self.partitions.stop(from, to) {
            self.counters.cut += 1;
            return;
        }
        if chance::permille(&mut self.rng, path.loss_permille) {
            self.counters.lost += 1;
            return;
        }
        let copies = if chance::permille(&mut self.rng, path.duplicate_permille) {
            self.counters.duplicated += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut after_us = u64::from(path.latency_us) + u64::from(chance::up_to(&mut self.rng, path.jitter_us));
            if chance::permille(&mut self.rng, path.reorder_permille) {
                self.counters.held += 1;
                after_us += u64::from(path.reorder_us);
            }
            out.push(Sent { to, after_us });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn net(path: Path) -> (Net, SegmentId, SegmentId) {
        let mut net = Net::new(1, Path::INTERNET);
        let (a, b) = (net.add_segment(path), net.add_segment(path));
        for who in 0..6 {
            let segment = if who < 4 { a } else { b };
            let addr = net.next_addr(segment, who % 2 == 0, None);
            net.joined(Who(who), None);
            net.attach(Who(who), segment, addr);
        }
        (net, a, b)
    }

    fn heard(net: &mut Net, from: Who, to: Destination) -> Vec<u32> {
        let mut out = Vec::new();
        net.send(from, to, 100, &mut out);
        out.iter().map(|sent| sent.to.0).collect()
    }

    #[test]
    fn multicast_stays_in_its_segment_and_unicast_reaches_all() {
        let (mut net, a, _) = net(Path::LAN);
        assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [1, 2, 3]);
        assert_eq!(heard(&mut net, Who(4), Destination::Broadcast), [5]);
        let far = Destination::Addr(net.addr(Who(5)).unwrap().with_slot(3));
        net.set_internet(Path { loss_permille: 0, ..Path::INTERNET });
        assert_eq!(heard(&mut net, Who(0), far), [5]);
        net.set_casts(a, false, true);
        assert!(heard(&mut net, Who(0), Destination::Multicast).is_empty());
        net.detach(Who(5));
        assert!(heard(&mut net, Who(0), far).is_empty());
        assert_eq!(net.counters().unreachable, 2);
    }

    #[test]
    fn partitions_stop_packets_until_they_heal() {
        let (mut net, a, _) = net(Path::LAN);
        let alone = net.partition(&[Who(1)], None, Way::Both).unwrap();
        net.partition(&[Who(0)], Some(&[Who(2)]), Way::Out).unwrap();
        assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [3]);
        assert_eq!(heard(&mut net, Who(2), Destination::Multicast), [0, 3]);
        assert!(net.heal(alone));
        assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [1, 3]);
        net.heal_all();
        let here = net.on_segment(a).to_vec();
        net.partition(&here, None, Way::Both).unwrap();
        assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [1, 2, 3]);
        let far = Destination::Addr(net.addr(Who(5)).unwrap());
        assert!(heard(&mut net, Who(0), far).is_empty());
        assert_eq!(net.counters().cut, 5);
    }

    #[test]
    fn loss_and_duplicates_have_their_rates() {
        let (mut net, ..) = net(Path { loss_permille: 200, duplicate_permille: 100, ..Path::LAN });
        let to = Destination::Addr(net.addr(Who(1)).unwrap());
        let mut out = Vec::new();
        (0..10_000).for_each(|_| net.send(Who(0), to, 100, &mut out));
        let counters = net.counters();
        assert!((1_880..2_120).contains(&counters.lost), "{counters:?}");
        assert!((710..890).contains(&counters.duplicated), "{counters:?}");
        assert_eq!(counters.delivered, 10_000 - counters.lost + counters.duplicated);
        assert!(out.iter().all(|sent| (200..=500).contains(&sent.after_us)));
    }

    #[test]
    fn addresses_are_new_and_public_when_asked() {
        let (mut net, a, b) = net(Path::LAN);
        let mut all = BTreeSet::new();
        for _ in 0..1000 {
            let (public, private) = (net.next_addr(a, true, None), net.next_addr(b, false, None));
            assert!(public.is_public() && !private.is_public());
            assert!(all.insert(public) && all.insert(private));
        }
        let of = |net: &mut Net, prefix| net.next_addr(a, true, Some(prefix));
        let together: Vec<Addr> = (0..254).map(|_| of(&mut net, 9)).collect();
        assert!(together.iter().all(|addr| addr.is_public() && all.insert(*addr)));
        assert!(together.iter().all(|addr| addr.prefix() == together[0].prefix()));
        assert_ne!(of(&mut net, 10).prefix(), together[0].prefix());
    }
}

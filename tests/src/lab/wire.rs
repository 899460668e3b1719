//! A switch in user space whose cables take time and lose packets: kernels without `netem` are common.
//!
//! Each host has a TAP device as its `eth0`. One thread reads the frames of all, decides for each receiver whether and
//! when it gets a frame, and writes it then. The kernel's own neighbour discovery (ARP and ICMPv6) is delayed, never
//! lost: a simulation has none, and a lost ARP packet would hold up a whole second of what follows it. What is neither
//! that nor UDP does not pass.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::{Host, Lab, Namespace, ip};

/// How long the switch waits at most before it looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);
/// Frames read from one host before the others have their turn.
const BURST: usize = 64;
/// Frames under way; more are lost, and counted.
const UNDER_WAY_MAX: usize = 65_536;
/// The longest frame, in bytes.
const FRAME_MAX: usize = 2_048;

/// The types of ICMPv6 messages that solicit and advertise neighbours (RFC 4861).
const NEIGHBOURS: [u8; 2] = [135, 136];

/// What the cables do to each packet.
#[derive(Clone, Copy, Debug)]
pub struct Cable {
    /// The least time from host to host.
    pub latency: Duration,
    /// The most time a packet takes longer, drawn uniformly. Packets may overtake each other.
    pub jitter: Duration,
    /// Of 1000 UDP packets, how many are lost, independently for each receiver.
    pub loss_permille: u32,
}

/// What became of the frames.
#[derive(Default, Debug)]
struct Counters {
    delivered: AtomicU64,
    lost: AtomicU64,
    overflown: AtomicU64,
    /// Microseconds by which the latest of all frames was late.
    late_us: AtomicU64,
}

/// A switch with its hosts' cables. The hosts are cut off when it is dropped.
pub struct Wire {
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    switch: Option<JoinHandle<()>>,
}

impl Lab {
    /// A new local network of `count` hosts whose cables are simulated; `seed` draws losses and times. Its addresses are
    /// those of the next [`Lab::lan`].
    ///
    /// # Panics
    /// When the system refuses, or for more than 250 hosts.
    #[must_use]
    pub fn wire(&self, count: u8, cable: Cable, seed: u64) -> (Wire, Vec<Host>) {
        assert!(count <= 250, "too many hosts in one network");
        let lan = self.lans.fetch_add(1, Ordering::Relaxed) + 1;
        let (hosts, taps): (Vec<_>, Vec<_>) = (1..=count).map(|number| host(lan, number, &self.logs)).unzip();
        let (stop, counters) = (Arc::new(AtomicBool::new(false)), Arc::new(Counters::default()));
        let mut switch = Switch {
            taps,
            addresses: hosts.iter().map(Host::ip4).collect(),
            cable,
            seed,
            counters: counters.clone(),
            places: HashMap::new(),
            under_way: BinaryHeap::new(),
            sent: 0,
        };
        let stopped = stop.clone();
        let switch = std::thread::spawn(move || switch.run(&stopped));
        (Wire { stop, counters, switch: Some(switch) }, hosts)
    }
}

fn host(lan: u8, number: u8, logs: &Path) -> (Host, SyncDevice) {
    let role = format!("wire{lan}-host{number}");
    let namespace = Namespace::try_new(&role).unwrap_or_else(|e| panic!("{e}"));
    namespace.set("ipv6/conf/default/accept_dad", "0");
    let tap = namespace.run(|| {
        let tap = DeviceBuilder::new().name("eth0").layer(Layer::L2).build_sync();
        let tap = tap.unwrap_or_else(|e| panic!("a TAP device: {e} (is there a /dev/net/tun?)"));
        tap.set_nonblocking(true).unwrap_or_else(|e| panic!("eth0: {e}"));
        tap
    });
    let ip4 = Ipv4Addr::new(10, 83, lan, number);
    let ip6 = Ipv6Addr::new(0xfd83, 0, 0, lan.into(), 0, 0, 0, number.into());
    ip(&namespace, &format!("addr add {ip4}/24 brd + dev eth0"));
    ip(&namespace, &format!("addr add {ip6}/64 dev eth0 nodad"));
    ip(&namespace, "link set dev eth0 up");
    (Host::new(role, namespace, ip4, ip6, None, logs.to_path_buf()), tap)
}

impl Wire {
    /// Packets delivered and packets lost so far; a multicast counts once for each receiver.
    #[must_use]
    pub fn packets(&self) -> (u64, u64) {
        (self.counters.delivered.load(Ordering::Relaxed), self.counters.lost.load(Ordering::Relaxed))
    }

    /// By how much the latest of all frames was later than drawn.
    #[must_use]
    pub fn late(&self) -> Duration {
        Duration::from_micros(self.counters.late_us.load(Ordering::Relaxed))
    }

    /// Packets lost because the switch was too slow: what was measured then was not what was asked for.
    #[must_use]
    pub fn overflown(&self) -> u64 {
        self.counters.overflown.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(switch) = self.switch.take() {
            // It panics only when a host is gone before its wire.
            let _ = switch.join();
        }
    }
}

type Mac = [u8; 6];

/// A frame on its way: when it arrives, its number (frames of one moment keep their order), where, and its bytes.
type UnderWay = Reverse<(Instant, u64, usize, Arc<[u8]>)>;

struct Switch {
    taps: Vec<SyncDevice>,
    cable: Cable,
    seed: u64,
    counters: Arc<Counters>,
    /// Where hosts were seen.
    places: HashMap<Mac, usize>,
    addresses: Vec<Ipv4Addr>,
    under_way: BinaryHeap<UnderWay>,
    sent: u64,
}

impl Switch {
    fn run(&mut self, stop: &AtomicBool) {
        let mut frame = [0; FRAME_MAX];
        while !stop.load(Ordering::Relaxed) {
            for from in self.readable() {
                for _ in 0..BURST {
                    let Ok(length) = self.taps[from].recv(&mut frame) else { break };
                    self.take(from, &frame[..length]);
                }
            }
            self.deliver();
        }
    }

    /// Waits until a host has sent something or a frame is due, and says which hosts have.
    fn readable(&self) -> Vec<usize> {
        let due = self.under_way.peek().map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
        let mut fds: Vec<_> = self.taps.iter().map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN)).collect();
        let wait = TimeSpec::from_duration(due.unwrap_or(LOOK).min(LOOK));
        if ppoll(&mut fds, Some(wait), None).is_err() {
            return Vec::new();
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
        fds.iter().enumerate().filter(|(_, fd)| ready(fd)).map(|(at, _)| at).collect()
    }

    /// Sends a frame on its way to all who should get it.
    fn take(&mut self, from: usize, frame: &[u8]) {
        let (Some(to), Some(source)) = (frame.get(..6), frame.get(6..12)) else { return };
        let (to, source): (Mac, Mac) = (to.try_into().unwrap_or_default(), source.try_into().unwrap_or_default());
        self.places.insert(source, from);
        let unicast = self.places.get(&to).copied().filter(|_| to[0] & 1 == 0);
        // A question for an address goes to who has it: a node that probes its subnet asks for all of them, and each would
        // go to all others.
        let asked = asked(frame).and_then(|address| self.addresses.iter().position(|own| *own == address));
        let place = unicast.or(asked);
        let all = 0..self.taps.len();
        let receivers = place.map_or(all, |place| place..place + 1).filter(|to| *to != from);
        let (bytes, what): (Arc<[u8]>, Carries) = (frame.into(), carries(frame));
        if what == Carries::Other {
            return;
        }
        for receiver in receivers {
            if what == Carries::Udp && self.draw(1000) < u64::from(self.cable.loss_permille) {
                self.counters.lost.fetch_add(1, Ordering::Relaxed);
            } else if self.under_way.len() >= UNDER_WAY_MAX {
                self.counters.overflown.fetch_add(1, Ordering::Relaxed);
            } else {
                let jitter_us = self.draw(self.cable.jitter.as_micros() as u64 + 1);
                let at = Instant::now() + self.cable.latency + Duration::from_micros(jitter_us);
                self.sent += 1;
                self.under_way.push(Reverse((at, self.sent, receiver, bytes.clone())));
            }
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, _, to, frame))) = self.under_way.pop() else { return };
            self.counters.late_us.fetch_max(now.duration_since(at).as_micros() as u64, Ordering::Relaxed);
            // A host whose queue is full loses the frame, as a real one does.
            if self.taps[to].send(&frame).is_ok() {
                self.counters.delivered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A number below `n` (splitmix64).
    fn draw(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.seed;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// What a frame carries, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    Udp,
    /// ARP and IPv6 neighbour discovery.
    Neighbours,
    /// Reports of multicast groups and looking for routers: nobody here listens, and a hundred hosts send many.
    Other,
}

/// The address that an ARP frame asks for or answers to.
fn asked(frame: &[u8]) -> Option<Ipv4Addr> {
    let Ok(SlicedPacket { net: Some(NetSlice::Arp(arp)), .. }) = SlicedPacket::from_ethernet(frame) else {
        return None;
    };
    <[u8; 4]>::try_from(arp.target_protocol_addr()).ok().map(Ipv4Addr::from)
}

fn carries(frame: &[u8]) -> Carries {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Carries::Other };
    match (packet.net, packet.transport) {
        (Some(NetSlice::Arp(_)), _) => Carries::Neighbours,
        (_, Some(TransportSlice::Udp(_))) => Carries::Udp,
        (_, Some(TransportSlice::Icmpv6(icmp))) if NEIGHBOURS.contains(&icmp.type_u8()) => Carries::Neighbours,
        _ => Carries::Other,
    }
}

#![no_std]
#![forbid(unsafe_code)]
//! Butter in a superloop or under RTIC: a node over the application's own smoltcp [`Interface`] and [`SocketSet`], without
//! an executor and without a heap.
//!
//! The application makes interface and sockets as it likes, and adds one UDP socket for the node. In its loop it calls
//! [`Butter::poll`], which moves packets, runs the node, polls the whole interface (sockets of others, too), and
//! returns when it is to be called again at the latest:
//!
//! ```
//! # use butter_core::{Event, Node, time::Instant};
//! # use butter_driver::Disk;
//! # use butter_smoltcp::{Butter, Parts};
//! # use smoltcp::{iface::{Interface, SocketHandle, SocketSet}, phy::Device};
//! # fn superloop(mut iface: Interface, mut device: impl Device, mut sockets: SocketSet<'_>, handle: SocketHandle,
//! #     mut node: Node<'_>, mut disk: impl Disk, now: fn() -> Instant, plugged: fn() -> bool, sleep: fn(Option<Instant>)) {
//! let mut butter = Butter::new(handle);
//! loop {
//!     let parts = Parts { iface: &mut iface, device: &mut device, sockets: &mut sockets, node: &mut node, disk: &mut disk };
//!     let next = butter.poll(now(), plugged(), parts, |node, now, event| match event {
//!         Event::Request(serve) => drop(node.respond(now, serve, butter_core::exchange::Status::Ok, b"hello")),
//!         _ => {}
//!     });
//!     // Verbs such as `node.put` or `node.call` may be called here; poll once more before sleeping then.
//!     sleep(next); // Until then, or an interrupt of the network device.
//! }
//! # }
//! ```
//!
//! The node's socket needs room for two packets of [`butter_core::wire::MTU`] bytes to be sent, and four received; the interface needs
//! room for one multicast group. An address that never answers ARP blocks a smoltcp socket: packets that wait for 100 ms are
//! given up here. The crate `butter-neighbour` says more of it, and cures it better, for drivers of embassy-net.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::task::{Context, Poll, Waker};

use butter_core::addr::{Addr, DISCOVERY_PORT, DISCOVERY_V4, LinkId, LinkState};
use butter_core::node::{Destination, Transmit};
use butter_core::time::Instant;
use butter_core::wire::MTU;
use butter_core::{Event, Node};
use butter_driver::Disk;
use smoltcp::iface::{Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::udp::{RecvError, Socket};
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};

/// The one link: UDP over IPv4 and IPv6.
const LINK: LinkId = LinkId(0);
/// Rounds of one call: each takes at most one frame from the device. What is left then is done in the next call.
pub const ROUNDS: usize = 64;
/// Events told, packets sent and storage operations done in one round, at most.
const BURST: usize = 8;
/// Milliseconds after which packets that wait at the socket's head are given up: an address that does not answer ARP would
/// block all others for ever (smoltcp issue 594), and discovery asks addresses that may be nobody's.
const STUCK_MS: u32 = 100;
/// Addresses of the interface that are looked at.
const ADDRESSES: usize = 8;

/// What the application lends for one call.
pub struct Parts<'a, 's, 'm, V: Device + ?Sized, K: Disk> {
    /// Its interface.
    pub iface: &'a mut Interface,
    /// The network device.
    pub device: &'a mut V,
    /// Its sockets, the node's among them.
    pub sockets: &'a mut SocketSet<'s>,
    /// The node.
    pub node: &'a mut Node<'m>,
    /// Where the node's blocks are kept: `butter_driver::Immediate` over a store of `butter-store` will do.
    pub disk: &'a mut K,
}

impl<V: Device + ?Sized, K: Disk> core::fmt::Debug for Parts<'_, '_, '_, V, K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Parts({:?})", self.node)
    }
}

/// What the interface was at the last call.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Seen {
    plugged: bool,
    addresses: [Option<IpCidr>; ADDRESSES],
}

impl Seen {
    fn of(plugged: bool, iface: &Interface) -> Seen {
        let mut addresses = [None; ADDRESSES];
        addresses.iter_mut().zip(iface.ip_addrs()).for_each(|(to, from)| *to = Some(*from));
        Seen { plugged, addresses }
    }

    fn up(&self) -> bool {
        self.plugged && self.addresses.iter().flatten().next().is_some()
    }

    fn all(&self) -> impl Iterator<Item = IpCidr> {
        self.addresses.into_iter().flatten()
    }
}

/// Joins a node and a stack. RAM: two packets, and about 250 bytes.
#[derive(Debug)]
pub struct Butter {
    socket: SocketHandle,
    seen: Option<Seen>,
    incoming: [u8; MTU],
    outgoing: [u8; MTU],
    /// A packet in `outgoing` that the socket had no room for.
    held: Option<Transmit>,
    /// Since when packets wait in the socket.
    waiting: Option<Instant>,
}

impl Butter {
    /// A node on this UDP socket, which is bound when it is first used, to the port of discovery (§3): a board runs one node, so
    /// that it needs no other.
    pub const fn new(socket: SocketHandle) -> Self {
        Butter { socket, seen: None, incoming: [0; MTU], outgoing: [0; MTU], held: None, waiting: None }
    }

    /// Moves packets, runs the node, polls the interface. `plugged`: whether the network device has a link. Events go to
    /// `on_event`, which may call the node's verbs. To be called when a frame has come, when a storage operation has
    /// ended, after verbs, and at the moment returned; `now` itself if there is more to do, `None` if nothing is planned. Calling it
    /// early is harmless.
    ///
    /// Bounded: [`ROUNDS`] frames in, and what follows from them.
    pub fn poll<V: Device + ?Sized, K: Disk>(
        &mut self,
        now: Instant,
        plugged: bool,
        parts: Parts<'_, '_, '_, V, K>,
        mut on_event: impl FnMut(&mut Node<'_>, Instant, Event),
    ) -> Option<Instant> {
        let Parts { iface, device, sockets, node, disk } = parts;
        let at = smoltcp::time::Instant::from_micros(now.as_micros() as i64);
        let mut cx = Context::from_waker(Waker::noop());
        self.look(now, plugged, iface, sockets, node);
        iface.poll_maintenance(at);
        let mut busy = true;
        for _ in 0..ROUNDS {
            if !busy {
                break;
            }
            // One frame at a time: a burst does not overflow the socket.
            busy = iface.poll_ingress_single(at, device, sockets) != PollIngressSingleResult::None;
            busy |= self.receive(now, sockets, node);
            if node.deadline().is_some_and(|deadline| deadline.at <= now) {
                node.handle_timeout(now);
                busy = true;
            }
            busy |= Self::store(&mut cx, now, node, disk);
            for _ in 0..BURST {
                let Some(event) = node.poll_event() else { break };
                on_event(node, now, event);
                busy = true;
            }
            busy |= self.transmit(now, iface, sockets, node);
            busy |= iface.poll_egress(at, device, sockets) != PollResult::None;
        }
        let unstuck = self.unstick(now, sockets);
        if busy {
            return Some(now);
        }
        let stack = iface.poll_at(at, sockets).map(|at| Instant::from_micros(at.total_micros().max(0) as u64));
        let node = node.deadline().map(|deadline| deadline.at);
        // In the past means at once.
        [stack, node, unstuck].into_iter().flatten().min().map(|at| at.max(now))
    }

    /// Tells the node of link and addresses, when they have changed. A link without an address carries nothing: it is down.
    fn look(
        &mut self,
        now: Instant,
        plugged: bool,
        iface: &mut Interface,
        sockets: &mut SocketSet<'_>,
        node: &mut Node<'_>,
    ) {
        let seen = Seen::of(plugged, iface);
        if self.seen == Some(seen) {
            return;
        }
        self.seen = Some(seen);
        let socket = sockets.get_mut::<Socket<'_>>(self.socket);
        if !socket.is_open() {
            // Only port 0 and a socket that is open already are refused.
            let _ = socket.bind(DISCOVERY_PORT);
        }
        if !seen.up() {
            self.held = None;
            return node.handle_link(now, LINK, LinkState::Down);
        }
        // All hosts are members of the IPv6 group without asking for it. Without the other one, broadcast finds hosts, too.
        let _ = iface.join_multicast_group(DISCOVERY_V4);
        node.handle_link(now, LINK, LinkState::Up { mtu: MTU as u16 });
        for cidr in seen.all() {
            let addr = Addr::from(SocketAddr::new(ip(cidr.address()), DISCOVERY_PORT));
            node.handle_local_addr(now, LINK, addr, cidr.prefix_len());
        }
    }

    /// Hands the node what has come. True: something had.
    fn receive(&mut self, now: Instant, sockets: &mut SocketSet<'_>, node: &mut Node<'_>) -> bool {
        let socket = sockets.get_mut::<Socket<'_>>(self.socket);
        let mut some = false;
        for _ in 0..BURST {
            match socket.recv_slice(&mut self.incoming) {
                Ok((len, from)) => {
                    let from = Addr::from(SocketAddr::new(ip(from.endpoint.addr), from.endpoint.port));
                    if let Some(data) = self.incoming.get_mut(..len) {
                        node.handle_datagram(now, LINK, from, data);
                    }
                }
                // Too long to be one of ours.
                Err(RecvError::Truncated) => {}
                Err(RecvError::Exhausted) => return some,
            }
            some = true;
        }
        some
    }

    /// Gives up packets whose host does not answer. Returns when to look again.
    fn unstick(&mut self, now: Instant, sockets: &mut SocketSet<'_>) -> Option<Instant> {
        let socket = sockets.get_mut::<Socket<'_>>(self.socket);
        if socket.send_queue() == 0 {
            self.waiting = None;
            return None;
        }
        let since = *self.waiting.get_or_insert(now);
        if now.ms_since(since) < STUCK_MS {
            return Some(since.plus_ms(STUCK_MS));
        }
        // There is no other way to empty it. What came in was taken before.
        socket.close();
        let _ = socket.bind(DISCOVERY_PORT);
        self.waiting = None;
        Some(now)
    }

    /// Takes what storage has done, and starts what it is to do. True: something was.
    fn store<K: Disk>(cx: &mut Context<'_>, now: Instant, node: &mut Node<'_>, disk: &mut K) -> bool {
        let mut some = false;
        for _ in 0..BURST {
            let mut more = false;
            if let Poll::Ready(done) = disk.poll_done(cx) {
                node.handle_store(now, done);
                more = true;
            }
            if let Some(op) = disk.buffer().and_then(|buffer| node.poll_store(buffer)) {
                disk.start(op);
                more = true;
            }
            if !more {
                break;
            }
            some = true;
        }
        some
    }

    /// Gives the socket what the node wants to send, until it is full. True: something was given.
    fn transmit(&mut self, now: Instant, iface: &Interface, sockets: &mut SocketSet<'_>, node: &mut Node<'_>) -> bool {
        let socket = sockets.get_mut::<Socket<'_>>(self.socket);
        let mut some = false;
        if !self.seen.is_some_and(|seen| seen.up()) {
            return false;
        }
        for _ in 0..BURST {
            if self.held.is_none() {
                self.held = node.poll_transmit(now, LINK, &mut self.outgoing);
            }
            let Some(transmit) = self.held else { break };
            if !socket.can_send() {
                break;
            }
            let packet = self.outgoing.get(..transmit.len).unwrap_or_default();
            if !send(iface, socket, transmit.to, packet) {
                break;
            }
            self.held = None;
            some = true;
        }
        some
    }
}

/// False: the socket is full.
fn send(iface: &Interface, socket: &mut Socket<'_>, to: Destination, packet: &[u8]) -> bool {
    use smoltcp::socket::udp::SendError;
    let mut to_one = |ip: IpAddress, port| {
        // What has no address is lost, as networks lose.
        socket.send_slice(packet, IpEndpoint::new(ip, port)) != Err(SendError::BufferFull)
    };
    let v4 = || iface.ip_addrs().iter().any(|cidr| matches!(cidr, IpCidr::Ipv4(_)));
    // Discovery repeats itself: what a full socket does not take is not worth waiting for.
    match to {
        Destination::Addr(addr) => {
            let to = addr.socket();
            return match to.ip() {
                IpAddr::V4(v4_addr) if v4() => to_one(v4_addr.into(), to.port()),
                #[cfg(feature = "ipv6")]
                IpAddr::V6(v6_addr) if v6(iface) => to_one(v6_addr.into(), to.port()),
                // Nowhere to send it from: it would wait for ever at the socket's head.
                _ => true,
            };
        }
        Destination::Multicast => {
            if v4() {
                to_one(DISCOVERY_V4.into(), DISCOVERY_PORT);
            }
            #[cfg(feature = "ipv6")]
            if v6(iface) {
                to_one(butter_core::addr::DISCOVERY_V6.into(), DISCOVERY_PORT);
            }
        }
        Destination::Broadcast => {
            if v4() {
                to_one(Ipv4Addr::BROADCAST.into(), DISCOVERY_PORT);
            }
        }
    }
    true
}

#[cfg(feature = "ipv6")]
fn v6(iface: &Interface) -> bool {
    iface.ip_addrs().iter().any(|cidr| matches!(cidr, IpCidr::Ipv6(_)))
}

fn ip(addr: IpAddress) -> IpAddr {
    match addr {
        IpAddress::Ipv4(ip) => IpAddr::V4(ip),
        #[cfg(feature = "ipv6")]
        IpAddress::Ipv6(ip) => IpAddr::V6(ip),
    }
}

//! UDP: one own port for unicast, one shared port for discovery.

mod interfaces;
mod socket;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::{Async, Timer};
use butter_core::addr::{Addr, DISCOVERY_PORT, DISCOVERY_V4, DISCOVERY_V6, LinkId, LinkState};
use butter_core::node::Destination;
use butter_core::wire::MTU;
use butter_driver::{Incoming, Net};
use futures_lite::Stream;

use crate::error::Error;
pub(crate) use interfaces::Interfaces;

/// The one link: UDP over IPv4 and IPv6.
pub(crate) const LINK: LinkId = LinkId(0);
/// How often interfaces are looked at. Asking costs microseconds, and needs no privilege and no other crate per system.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Datagrams taken from one socket before the next socket has its turn.
const TURN: u8 = 16;
/// Receive errors in a row after which the loop goes on with other things.
const ERRORS: u8 = 16;

/// A socket to receive from.
#[derive(Debug)]
struct Source {
    socket: Async<UdpSocket>,
    /// Whether there may be a datagram: false once the socket said that there is none.
    ready: bool,
}

/// The node's sockets.
#[derive(Debug)]
pub(crate) struct Udp {
    /// The own sockets first, IPv4 before IPv6, then those shared for discovery.
    sources: Vec<Source>,
    own_v4: Option<usize>,
    own_v6: Option<usize>,
    shared_v4: Option<usize>,
    shared_v6: Option<usize>,
    /// Which source is received from, and how often it still is before the next.
    turn: usize,
    left: u8,
    interfaces: Interfaces,
    look: Timer,
    /// What to tell the node before the next datagram.
    news: VecDeque<Incoming>,
}

/// What the sockets are to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listen {
    /// Where to listen; any free port on all addresses unless given.
    pub at: Option<SocketAddr>,
    /// Whether to take part in discovery on the local network.
    pub lan: bool,
}

impl Udp {
    pub fn open(listen: Listen) -> Result<Udp, Error> {
        let (v4, v6) = socket::own(listen.at)?;
        let (shared_v4, shared_v6) = match listen.lan {
            true => (v4.as_ref().and_then(|_| socket::shared_v4()), v6.as_ref().and_then(|_| socket::shared_v6())),
            false => (None, None),
        };
        let mut sources = Vec::new();
        let mut add = |socket: Option<Async<UdpSocket>>| {
            socket.map(|socket| {
                sources.push(Source { socket, ready: true });
                sources.len() - 1
            })
        };
        let (own_v4, own_v6) = (add(v4), add(v6));
        let (shared_v4, shared_v6) = (add(shared_v4), add(shared_v6));
        let mut udp = Udp {
            sources,
            own_v4,
            own_v6,
            shared_v4,
            shared_v6,
            turn: 0,
            left: TURN,
            interfaces: Interfaces::default(),
            look: Timer::interval(LOOK_EVERY),
            news: VecDeque::new(),
        };
        udp.news.push_back(Incoming::Link { link: LINK, state: LinkState::Up { mtu: MTU as u16 } });
        udp.look();
        udp.news.truncate(1);
        udp.tell_addresses();
        Ok(udp)
    }

    fn socket(&self, index: Option<usize>) -> Option<&Async<UdpSocket>> {
        self.sources.get(index?).map(|source| &source.socket)
    }

    /// The addresses of the own sockets.
    pub fn local(&self) -> Vec<SocketAddr> {
        [self.own_v4, self.own_v6]
            .into_iter()
            .filter_map(|index| self.socket(index)?.get_ref().local_addr().ok())
            .collect()
    }

    /// Looks at the interfaces, and joins the discovery groups on those that are new.
    fn look(&mut self) {
        let Ok(found) = if_addrs::get_if_addrs() else { return };
        let new = Interfaces::new(&found);
        if new == self.interfaces {
            return;
        }
        if let Some(shared) = self.socket(self.shared_v4) {
            socket::follow_v4(shared, &self.interfaces, &new);
        }
        if let Some(shared) = self.socket(self.shared_v6) {
            socket::follow_v6(shared, &self.interfaces, &new);
        }
        self.interfaces = new;
        self.news.push_back(Incoming::Link { link: LINK, state: LinkState::Up { mtu: MTU as u16 } });
        self.tell_addresses();
    }

    /// Sends to one host. `None`: the socket is full.
    fn send(&self, cx: &mut Context<'_>, to: SocketAddr, packet: &[u8]) -> Option<()> {
        let index = if to.is_ipv4() { self.own_v4 } else { self.own_v6 };
        let Some(socket) = self.socket(index) else { return Some(()) };
        loop {
            match socket.get_ref().send_to(packet, to) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if socket.poll_writable(cx).is_pending() {
                        return None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // An unreachable network or a full queue of the interface: lost, as networks lose.
                _ => return Some(()),
            }
        }
    }

    /// Sends to the discovery groups: once per interface and from the own sockets, whose ports the answers are to come to.
    fn multicast(&self, packet: &[u8]) {
        if let Some(socket) = self.socket(self.own_v4) {
            let to = SocketAddr::V4(SocketAddrV4::new(DISCOVERY_V4, DISCOVERY_PORT));
            for interface in &self.interfaces.v4 {
                // An interface must be named: without a default route there is no other way to one (§3).
                if socket2::SockRef::from(socket.get_ref()).set_multicast_if_v4(&interface.ip).is_ok() {
                    let _ = socket.get_ref().send_to(packet, to);
                }
            }
        }
        if let Some(socket) = self.socket(self.own_v6) {
            for index in self.interfaces.indices_v6() {
                let to = SocketAddr::V6(SocketAddrV6::new(DISCOVERY_V6, DISCOVERY_PORT, 0, index));
                let _ = socket.get_ref().send_to(packet, to);
            }
        }
    }

    /// Sends to everyone on every IPv4 network that we are in.
    fn broadcast(&self, packet: &[u8]) {
        let Some(socket) = self.socket(self.own_v4) else { return };
        for broadcast in self.interfaces.v4.iter().filter_map(|interface| interface.broadcast) {
            let _ = socket.get_ref().send_to(packet, (broadcast, DISCOVERY_PORT));
        }
    }

    /// Tells the node its own addresses.
    fn tell_addresses(&mut self) {
        let ports = self.local();
        let port = |v4: bool| ports.iter().find(|addr| addr.is_ipv4() == v4).map(SocketAddr::port);
        let bound: Vec<IpAddr> = ports.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
        let ours = |ip: IpAddr| bound.is_empty() || bound.contains(&ip);
        if let Some(port) = port(true) {
            for interface in self.interfaces.v4.iter().filter(|interface| ours(interface.ip.into())) {
                let addr = Addr::from(SocketAddr::V4(SocketAddrV4::new(interface.ip, port)));
                self.news.push_back(Incoming::Address { link: LINK, addr, prefix_len: interface.prefix_len });
            }
        }
        if let Some(port) = port(false) {
            for interface in self.interfaces.v6.iter().filter(|interface| ours(interface.ip.into())) {
                let addr = Addr::from(SocketAddr::V6(SocketAddrV6::new(interface.ip, port, 0, interface.index)));
                self.news.push_back(Incoming::Address { link: LINK, addr, prefix_len: interface.prefix_len });
            }
        }
    }
}

impl Net for Udp {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: LinkId, to: Destination, packet: &[u8]) -> Poll<()> {
        match to {
            Destination::Addr(addr) => match self.send(cx, addr.socket(), packet) {
                Some(()) => return Poll::Ready(()),
                None => return Poll::Pending,
            },
            // Discovery repeats itself: what a full socket does not take is not worth waiting for.
            Destination::Multicast => self.multicast(packet),
            Destination::Broadcast => self.broadcast(packet),
        }
        Poll::Ready(())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Incoming> {
        if std::pin::Pin::new(&mut self.look).poll_next(cx).is_ready() {
            self.look();
        }
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(news);
        }
        let mut errors = 0;
        let mut quiet = 0;
        while quiet < self.sources.len() {
            let Some(source) = self.sources.get_mut(self.turn) else {
                self.turn = 0;
                continue;
            };
            if !source.ready && source.socket.poll_readable(cx).is_ready() {
                source.ready = true;
            }
            if !source.ready || self.left == 0 {
                // Only when all are quiet one after the other is there nothing to receive.
                quiet = if source.ready { 0 } else { quiet + 1 };
                self.turn += 1;
                self.left = TURN;
                continue;
            }
            match source.socket.get_ref().recv_from(buf) {
                Ok((len, from)) => {
                    self.left -= 1;
                    return Poll::Ready(Incoming::Datagram { link: LINK, from: from.into(), len });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => source.ready = false,
                // Some systems report here that an earlier datagram was refused or too long: nothing is wrong
                // with the socket.
                Err(_) => {
                    errors += 1;
                    if errors == ERRORS {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;

//! UDP on embassy-net.

use core::future::Future as _;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::pin::pin;
use core::task::{Context, Poll};

use butter_core::addr::{Addr, DISCOVERY_PORT, DISCOVERY_V4, LinkId, LinkState};
use butter_core::node::Destination;
use butter_core::wire::MTU;
use butter_driver::{Incoming, Net};
use embassy_net::Stack;
use embassy_net::udp::UdpSocket;
use heapless::Deque;

use crate::log::{info, warning};
use crate::mailbox::Shared;

/// The one link: UDP over IPv4 and IPv6.
pub(crate) const LINK: LinkId = LinkId(0);

/// What the stack is at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Seen {
    plugged: bool,
    v4: Option<(Ipv4Addr, u8)>,
    v4_gateway: bool,
    #[cfg(feature = "ipv6")]
    v6: Option<(core::net::Ipv6Addr, u8)>,
    #[cfg(feature = "ipv6")]
    v6_gateway: bool,
}

impl Seen {
    fn of(stack: &Stack<'_>) -> Seen {
        Seen {
            plugged: stack.is_link_up(),
            v4: stack.config_v4().map(|config| (config.address.address(), config.address.prefix_len())),
            v4_gateway: stack.config_v4().is_some_and(|config| config.gateway.is_some()),
            #[cfg(feature = "ipv6")]
            v6: stack.config_v6().map(|config| (config.address.address(), config.address.prefix_len())),
            #[cfg(feature = "ipv6")]
            v6_gateway: stack.config_v6().is_some_and(|config| config.gateway.is_some()),
        }
    }

    /// Whether the stack has a route to an address: it is of an own network, or there is a gateway. To an own address it has none:
    /// nobody answers its question for the MAC address. Others tell of it when a board that had it before had another identity.
    fn reaches(&self, ip: IpAddr) -> bool {
        match ip {
            _ if self.addresses().any(|(own, _)| own == ip) => false,
            IpAddr::V4(ip) if ip.is_broadcast() || ip.is_multicast() => self.v4.is_some(),
            IpAddr::V4(ip) => self.v4.is_some_and(|(own, len)| {
                let bits = |ip: Ipv4Addr| u128::from(u32::from(ip)) << 96;
                self.v4_gateway || same_network(bits(own), bits(ip), len)
            }),
            #[cfg(feature = "ipv6")]
            IpAddr::V6(ip) => self.v6.is_some_and(|(own, len)| {
                self.v6_gateway || ip.is_multicast() || same_network(own.into(), ip.into(), len)
            }),
            #[cfg(not(feature = "ipv6"))]
            IpAddr::V6(_) => false,
        }
    }

    fn addresses(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        let v4 = self.v4.map(|(ip, len)| (IpAddr::V4(ip), len));
        #[cfg(feature = "ipv6")]
        let v6 = self.v6.map(|(ip, len)| (IpAddr::V6(ip), len));
        #[cfg(not(feature = "ipv6"))]
        let v6 = None;
        [v4, v6].into_iter().flatten()
    }
}

/// Whether two addresses share their first bits.
fn same_network(a: u128, b: u128, bits: u8) -> bool {
    (a ^ b).leading_zeros() >= bits.into()
}

/// The node's socket. One does: a board runs one node, so its own port may be the one of discovery (§3).
pub(crate) struct Udp<'d> {
    stack: Stack<'d>,
    shared: &'d Shared<'d>,
    socket: UdpSocket<'d>,
    seen: Seen,
    /// What to tell the node before the next datagram: its link, and an address per family.
    news: Deque<Incoming, 3>,
}

impl<'d> Udp<'d> {
    pub fn new(stack: Stack<'d>, mut socket: UdpSocket<'d>, shared: &'d Shared<'d>) -> Self {
        if socket.bind(DISCOVERY_PORT).is_err() {
            // Only port 0 and a socket that is open already are refused.
            warning!("the UDP port of discovery cannot be bound");
        }
        let mut udp = Udp { stack, shared, socket, seen: Seen::default(), news: Deque::new() };
        // The node is told once, whatever there is.
        udp.tell(Seen::of(&stack));
        udp
    }

    /// Sees what the stack has come to, and has the task woken when that changes.
    fn look(&mut self, cx: &mut Context<'_>) {
        let now = Seen::of(&self.stack);
        if now != self.seen {
            self.tell(now);
        }
        // These wait for every change of the stack's state, once they have seen that theirs has not come.
        let _ = match now.plugged {
            true => pin!(self.stack.wait_link_down()).poll(cx),
            false => pin!(self.stack.wait_link_up()).poll(cx),
        };
    }

    /// Tells the node of link and addresses. A link without an address carries nothing: it is down.
    fn tell(&mut self, now: Seen) {
        self.seen = now;
        self.news.clear();
        let state = match now.plugged && now.addresses().next().is_some() {
            true => LinkState::Up { mtu: MTU as u16 },
            false => LinkState::Down,
        };
        // There is room for all: three at most since the last clearing.
        let _ = self.news.push_back(Incoming::Link { link: LINK, state });
        self.shared.link.set(state != LinkState::Down);
        self.shared.changed();
        if state == LinkState::Down {
            if now.plugged {
                info!("the link is up, and waits for an address");
            } else {
                info!("the link is down");
            }
            return;
        }
        for (ip, prefix_len) in now.addresses() {
            let addr = Addr::from(SocketAddr::new(ip, DISCOVERY_PORT));
            info!("the link is up, the node listens at {}", addr);
            let _ = self.news.push_back(Incoming::Address { link: LINK, addr, prefix_len });
        }
        // All hosts are members of the IPv6 group without asking for it.
        if !self.stack.has_multicast_group(DISCOVERY_V4) && self.stack.join_multicast_group(DISCOVERY_V4).is_err() {
            warning!("no room for the multicast group of discovery: raise SMOLTCP_IFACE_MAX_MULTICAST_GROUP_COUNT");
        }
    }

    /// Sends to one address. `Pending`: the socket is full.
    fn send(&self, cx: &mut Context<'_>, to: SocketAddr, packet: &[u8]) -> Poll<()> {
        // What has no route is lost, as networks lose. smoltcp would keep it at the head of the socket's queue for ever.
        if !self.seen.reaches(to.ip()) {
            return Poll::Ready(());
        }
        match to {
            SocketAddr::V4(to) => self.socket.poll_send_to(packet, to, cx).map(|_| ()),
            #[cfg(feature = "ipv6")]
            SocketAddr::V6(to) => self.socket.poll_send_to(packet, to, cx).map(|_| ()),
            #[cfg(not(feature = "ipv6"))]
            SocketAddr::V6(_) => Poll::Ready(()),
        }
    }
}

impl Net for Udp<'_> {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: LinkId, to: Destination, packet: &[u8]) -> Poll<()> {
        // Discovery repeats itself: what a full socket does not take is not worth waiting for.
        match to {
            Destination::Addr(addr) => return self.send(cx, addr.socket(), packet),
            Destination::Multicast => {
                if self.seen.v4.is_some() {
                    let _ = self.send(cx, SocketAddr::new(DISCOVERY_V4.into(), DISCOVERY_PORT), packet);
                }
                #[cfg(feature = "ipv6")]
                if self.seen.v6.is_some() {
                    let group = butter_core::addr::DISCOVERY_V6;
                    let _ = self.send(cx, SocketAddr::new(group.into(), DISCOVERY_PORT), packet);
                }
            }
            Destination::Broadcast => {
                if self.seen.v4.is_some() {
                    let _ = self.send(cx, SocketAddr::new(Ipv4Addr::BROADCAST.into(), DISCOVERY_PORT), packet);
                }
            }
        }
        Poll::Ready(())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Incoming> {
        self.look(cx);
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(news);
        }
        loop {
            match self.socket.poll_recv_from(buf, cx) {
                Poll::Ready(Ok((len, from))) => {
                    let from = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port).into();
                    return Poll::Ready(Incoming::Datagram { link: LINK, from, len });
                }
                // Longer than any of ours.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl core::fmt::Debug for Udp<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Udp({:?})", self.seen)
    }
}

//! Where packets go: links and the addresses on them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// A way packets travel: a UDP stack, a serial line, a simulated wire. Numbered by the adapter, below [`LINKS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LinkId(pub u8);

/// The most links that one node serves.
pub const LINKS_MAX: usize = 4;

/// The UDP port of discovery: multicast, broadcast and probes of a subnet go there (§3). All nodes of a machine share it
/// to receive them; everything else goes to and from each node's own port.
pub const DISCOVERY_PORT: u16 = 28883;

/// The IPv4 multicast group of discovery (§3): an unassigned one of the block 224.0.0.0/24, which is never forwarded and
/// which switches that snoop must pass to everyone (RFC 4541 §2.1.2).
pub const DISCOVERY_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 181);

/// The IPv6 multicast group of discovery (§3): all nodes of the link, as switches that snoop drop groups of one's own choosing.
pub const DISCOVERY_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What an adapter tells of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkState {
    /// The link works (again), or its own addresses have changed. Packets of up to `mtu` bytes pass.
    Up {
        /// Bytes of payload that one packet may have; at least [`crate::wire::MTU_MIN`].
        mtu: u16,
    },
    /// The link does not work: nothing is polled for it until it is up again.
    Down,
}

/// A link address of 20 bytes: an IP address (16), a port (2), a slot (2).
///
/// IPv4 is carried as v4-mapped IPv6. A slot other than 0 names a node *behind* that address: a client of the
/// gateway or ambassador there (PROTOCOL §2, `Via`). Links that are not IP fill the bytes as they like.
///
/// Link-local IPv6 addresses need a zone; it is kept in bytes 2 and 3, which are zero in every such address,
/// and never leaves the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(from = "WireAddr", into = "WireAddr")]
pub struct Addr {
    /// The IP address as IPv6; IPv4 is v4-mapped.
    pub ip: [u8; 16],
    /// The UDP port.
    pub port: u16,
    /// 0, or which client of a gateway is meant.
    pub slot: u16,
}

/// The compact form on the wire: 8 to 10 bytes for IPv4.
#[derive(Serialize, Deserialize)]
enum WireAddr {
    V4(#[serde(with = "crate::wire::bytes")] [u8; 4], u16, u16),
    V6(#[serde(with = "crate::wire::bytes")] [u8; 16], u16, u16),
}

impl From<WireAddr> for Addr {
    fn from(wire: WireAddr) -> Addr {
        match wire {
            WireAddr::V4(ip, port, slot) => Addr { ip: Ipv4Addr::from(ip).to_ipv6_mapped().octets(), port, slot },
            WireAddr::V6(ip, port, slot) => Addr { ip, port, slot },
        }
    }
}

impl From<Addr> for WireAddr {
    fn from(addr: Addr) -> WireAddr {
        match addr.ip() {
            IpAddr::V4(ip) => WireAddr::V4(ip.octets(), addr.port, addr.slot),
            IpAddr::V6(ip) => WireAddr::V6(ip.octets(), addr.port, addr.slot),
        }
    }
}

impl Addr {
    /// The IP address, without a zone.
    pub fn ip(&self) -> IpAddr {
        let ip = Ipv6Addr::from(self.ip);
        match ip.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None if self.is_link_local() => {
                let mut bytes = self.ip;
                bytes[2] = 0;
                bytes[3] = 0;
                IpAddr::V6(bytes.into())
            }
            None => IpAddr::V6(ip),
        }
    }

    /// The socket address of the gateway or node; the zone of a link-local address is its scope id.
    pub fn socket(&self) -> SocketAddr {
        match self.ip() {
            IpAddr::V6(ip) if self.is_link_local() => {
                let zone = u16::from_be_bytes([self.ip[2], self.ip[3]]);
                SocketAddr::V6(core::net::SocketAddrV6::new(ip, self.port, 0, zone.into()))
            }
            ip => SocketAddr::new(ip, self.port),
        }
    }

    /// This address with another slot.
    pub const fn with_slot(self, slot: u16) -> Addr {
        Addr { slot, ..self }
    }

    /// Whether this is an IPv6 link-local address, which means nothing to hosts elsewhere.
    pub const fn is_link_local(&self) -> bool {
        self.ip[0] == 0xfe && self.ip[1] & 0xc0 == 0x80
    }

    /// Whether the address is of the public internet: not loopback, private, shared, link-local or unspecified.
    pub fn is_public(&self) -> bool {
        match self.ip() {
            IpAddr::V4(ip) => {
                let o = ip.octets();
                !(ip.is_private()
                    || ip.is_loopback()
                    || ip.is_link_local()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_broadcast()
                    || (o[0] == 100 && o[1] & 0xc0 == 64))
            }
            IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
        }
    }

    /// A node can be reached at this address: it is one host's and has a port.
    pub fn is_unicast(&self) -> bool {
        let ip = self.ip();
        self.port != 0 && !ip.is_multicast() && !ip.is_unspecified() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    }

    /// The address prefix that stands for a failure domain: /24 of IPv4, /48 of IPv6.
    pub fn prefix(&self) -> [u8; 6] {
        let b = &self.ip;
        match self.ip() {
            IpAddr::V4(_) => [0, 0, 4, b[12], b[13], b[14]],
            IpAddr::V6(_) => [b[0], b[1], b[2], b[3], b[4], b[5]],
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(socket: SocketAddr) -> Addr {
        match socket {
            SocketAddr::V4(v4) => Addr { ip: v4.ip().to_ipv6_mapped().octets(), port: v4.port(), slot: 0 },
            SocketAddr::V6(v6) => {
                let mut addr = Addr { ip: v6.ip().octets(), port: v6.port(), slot: 0 };
                if addr.is_link_local() {
                    let zone = (v6.scope_id() as u16).to_be_bytes();
                    addr.ip[2] = zone[0];
                    addr.ip[3] = zone[1];
                }
                addr
            }
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket().fmt(f)?;
        if self.slot != 0 {
            write!(f, "/{}", self.slot)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Addr {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:x}:{}/{}", &self.ip[..], self.port, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_addresses_survive_the_way_there_and_back() {
        for text in ["192.168.1.7:9", "[2001:db8::1]:65535", "[fe80::1%7]:4", "127.0.0.1:1"] {
            let socket: SocketAddr = text.parse().unwrap();
            assert_eq!(Addr::from(socket).socket(), socket);
        }
    }

    #[test]
    fn a_zone_does_not_leave_the_node() {
        let addr = Addr::from("[fe80::1%7]:4".parse::<SocketAddr>().unwrap());
        let mut buf = [0; 32];
        let bytes = postcard::to_slice(&addr, &mut buf).unwrap();
        let back: Addr = postcard::from_bytes(bytes).unwrap();
        assert_eq!(back.ip[2..4], [0, 0]);
    }

    #[test]
    fn only_routable_addresses_are_public() {
        for (text, public) in [
            ("8.8.8.8:1", true),
            ("10.0.0.1:1", false),
            ("100.64.0.1:1", false),
            ("169.254.3.3:1", false),
            ("[2a00::1]:1", true),
            ("[fd00::1]:1", false),
        ] {
            assert_eq!(Addr::from(text.parse::<SocketAddr>().unwrap()).is_public(), public, "{text}");
        }
    }
}

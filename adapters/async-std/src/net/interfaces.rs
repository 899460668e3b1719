//! The network interfaces of this machine, as far as discovery needs them.

use std::net::{Ipv4Addr, Ipv6Addr};

use if_addrs::{IfAddr, Interface};

/// An IPv4 address of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct V4 {
    pub index: u32,
    pub ip: Ipv4Addr,
    pub prefix_len: u8,
    pub broadcast: Option<Ipv4Addr>,
}

/// An IPv6 address of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct V6 {
    pub index: u32,
    pub ip: Ipv6Addr,
    pub prefix_len: u8,
}

/// All addresses, sorted. Loopback counts only where there is nothing else: hosts elsewhere cannot use its addresses, and
/// nodes on this machine hear each other over the other interfaces as well.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Interfaces {
    pub v4: Vec<V4>,
    pub v6: Vec<V6>,
}

impl Interfaces {
    pub fn new(found: &[Interface]) -> Interfaces {
        let usable = |interface: &&Interface| interface.is_oper_up() || interface.is_loopback();
        let up: Vec<&Interface> = found.iter().filter(usable).collect();
        let lonely = up.iter().all(|interface| interface.is_loopback());
        let mut all = Interfaces::default();
        for interface in up.into_iter().filter(|interface| lonely || !interface.is_loopback()) {
            let index = interface.index.unwrap_or(0);
            match &interface.addr {
                IfAddr::V4(v4) => all.v4.push(V4 {
                    index,
                    ip: v4.ip,
                    prefix_len: v4.prefixlen,
                    broadcast: v4.broadcast.filter(|ip| !interface.is_p2p && *ip != v4.ip),
                }),
                IfAddr::V6(v6) => all.v6.push(V6 { index, ip: v6.ip, prefix_len: v6.prefixlen }),
            }
        }
        all.v4.sort();
        all.v6.sort();
        all
    }

    /// The interfaces with an IPv4 address, each once.
    pub fn indices_v4(&self) -> Vec<u32> {
        let mut indices: Vec<u32> = self.v4.iter().map(|v4| v4.index).collect();
        indices.dedup();
        indices
    }

    /// The interfaces with an IPv6 address, each once.
    pub fn indices_v6(&self) -> Vec<u32> {
        let mut indices: Vec<u32> = self.v6.iter().map(|v6| v6.index).collect();
        indices.dedup();
        indices
    }
}

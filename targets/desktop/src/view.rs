//! From what the core knows to what is reported.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use butter_async_std::{Error, Node, NodeId};
use butter_core::group::{GroupInfo, GroupState};
use butter_core::hosts::{HostInfo, Standing};
use butter_core::ticket::{TICKET_HOSTS_MAX, Ticket};
use butter_core::wire::Facts;

use crate::report::{Group, Groups, Peer, Quality, Started, Status};

/// What a node was started with, and since when.
#[derive(Clone, Debug)]
pub struct About {
    /// The network's name.
    pub network: String,
    /// Whether it has a secret.
    pub closed: bool,
    /// Bytes given to the network.
    pub storage: u64,
    /// When it was started.
    pub since: Instant,
}

/// A number of bits, as [`Facts`] has it, as the least number with so many.
fn least(bits: u8) -> u64 {
    match bits {
        0 => 0,
        bits => 1_u64.checked_shl(u32::from(bits) - 1).unwrap_or(u64::MAX),
    }
}

fn quality(facts: &Facts) -> Quality {
    let has = |flag| facts.flags & flag != 0;
    let storage = if has(Facts::NO_STORAGE) {
        "none"
    } else if has(Facts::TINY) {
        "tiny"
    } else {
        "any"
    };
    Quality {
        uptime_min: least(facts.uptime),
        free_bytes: least(facts.free).saturating_mul(butter_core::wire::BLOCK as u64),
        hosts: least(facts.hosts),
        power: if has(Facts::MAINS) { "mains" } else { "battery" }.to_owned(),
        ambassador: has(Facts::AMBASSADOR),
        storage: storage.to_owned(),
        place: facts.place,
    }
}

fn peer(host: &HostInfo, rtt_us: Option<u32>) -> Peer {
    let state = match host.standing {
        _ if host.up => "connected",
        Standing::Met => "met",
        Standing::Heard => "heard",
        Standing::Vanished => "vanished",
    };
    let rtt_ms = match rtt_us {
        Some(us @ 1..) => Some(f64::from(us) / 1000.0),
        _ => Some(f64::from(host.rtt_ms)).filter(|ms| *ms > 0.0),
    };
    Peer {
        id: host.id.to_string(),
        addresses: vec![host.addr.to_string()],
        state: state.to_owned(),
        quality: quality(&host.facts),
        class: host.class.to_string(),
        rtt_ms,
        last_seen_s: host.age_s,
    }
}

/// The known hosts: connected ones first, then those heard of most recently.
///
/// # Errors
/// The node has stopped.
pub async fn peers(node: &Node) -> Result<Vec<Peer>, Error> {
    let (hosts, sessions) = node
        .with(|core, _| {
            let sessions: BTreeMap<NodeId, u32> =
                core.peers().filter(|(_, peer)| peer.up).map(|(_, peer)| (peer.id, peer.rtt_us)).collect();
            (core.hosts().collect::<Vec<_>>(), sessions)
        })
        .await?;
    let mut hosts = hosts;
    hosts.sort_by_key(|host| (!host.up, host.standing == Standing::Vanished, host.age_s, host.id));
    Ok(hosts.iter().map(|host| peer(host, sessions.get(&host.id).copied())).collect())
}

fn state(state: GroupState) -> &'static str {
    match state {
        GroupState::Cold => "cold",
        GroupState::Goldilocks => "goldilocks",
        GroupState::Hot => "hot",
    }
}

/// The groups that the node is in, in order of their ids.
///
/// # Errors
/// The node has stopped.
pub async fn groups(node: &Node) -> Result<Vec<Group>, Error> {
    let mut groups = node.groups().await?;
    groups.sort_by_key(|group| group.id);
    let group = |group: &GroupInfo| Group {
        id: group.id.to_string(),
        state: state(group.state).to_owned(),
        members: group.members.iter().map(NodeId::to_string).collect(),
        wanted: group.wanted,
        agreeing: group.agreeing,
        items: group.items,
        bytes: group.bytes,
        free: group.free,
    };
    Ok(groups.iter().map(group).collect())
}

/// Where a node that listens at `local` is reached from elsewhere: an unspecified address stands for all of the machine.
fn reachable(local: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut all = Vec::new();
    for addr in local {
        if !addr.ip().is_unspecified() {
            all.push(*addr);
            continue;
        }
        let fits = |ip: &IpAddr| {
            // A link-local address means nothing without the zone, which differs from machine to machine.
            let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
            ip.is_ipv4() == addr.is_ipv4() && !ip.is_loopback() && !link_local
        };
        all.extend(
            interfaces.iter().map(if_addrs::Interface::ip).filter(fits).map(|ip| SocketAddr::new(ip, addr.port())),
        );
    }
    all
}

fn ticket(node: &Node, about: &About) -> (Vec<SocketAddr>, Ticket) {
    let addrs = reachable(node.local_addrs());
    let network = about.network.as_str().try_into().unwrap_or_default();
    let hosts = addrs.iter().take(TICKET_HOSTS_MAX).map(|addr| (node.id(), (*addr).into())).collect();
    (addrs, Ticket { network, hosts, object: None })
}

/// What is to be told when the node has started.
pub fn started(node: &Node, about: &About) -> Started {
    let (addrs, ticket) = ticket(node, about);
    Started {
        id: node.id().to_string(),
        network: about.network.clone(),
        closed: about.closed,
        addresses: addrs.iter().map(SocketAddr::to_string).collect(),
        ticket: ticket.to_string(),
        control: None,
    }
}

/// How the node is.
///
/// # Errors
/// The node has stopped.
pub async fn status(node: &Node, about: &About) -> Result<Status, Error> {
    let (addrs, ticket) = ticket(node, about);
    let mut status = Status {
        id: node.id().to_string(),
        network: about.network.clone(),
        closed: about.closed,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        addresses: addrs.iter().map(SocketAddr::to_string).collect(),
        ticket: ticket.to_string(),
        uptime_s: about.since.elapsed().as_secs(),
        peers: 0,
        hosts: 0,
        groups: Groups::default(),
        items: 0,
        bytes: 0,
        free: 0,
        storage: about.storage,
        counters: BTreeMap::new(),
    };
    node.with(move |core, _| {
        status.peers = core.peers().filter(|(_, peer)| peer.up).count();
        status.hosts = core.hosts_known();
        for group in core.groups() {
            match group.state {
                GroupState::Cold => status.groups.cold += 1,
                GroupState::Goldilocks => status.groups.goldilocks += 1,
                GroupState::Hot => status.groups.hot += 1,
            }
            status.bytes += group.bytes;
        }
        status.groups.known = core.groups_known();
        status.items = core.items_held();
        status.free = status.storage.saturating_sub(status.bytes);
        status.counters = core.counters().iter().map(|(name, n)| (name.to_owned(), n)).collect();
        status
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_for_the_least_number_that_has_so_many() {
        assert_eq!([0, 1, 2, 13, 200].map(least), [0, 1, 2, 4096, u64::MAX]);
    }

    #[test]
    fn an_address_that_was_named_is_told_as_it_is() {
        let addr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(reachable(&[addr]), [addr]);
    }
}

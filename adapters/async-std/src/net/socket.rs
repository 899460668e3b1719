//! Sockets, set up as discovery needs them (§3).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use async_io::Async;
use butter_core::addr::{DISCOVERY_PORT, DISCOVERY_V4, DISCOVERY_V6};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::Interfaces;
use crate::error::Error;

/// Bytes asked of the system for each direction of an own socket: many datagrams may come before our task runs. Systems
/// give less where their limit is lower.
const BUFFER: usize = 4 << 20;

type OwnPair = (Option<Async<UdpSocket>>, Option<Async<UdpSocket>>);

/// The own sockets, for IPv4 and IPv6: on all addresses with the same port if possible, or on the one address given.
pub(super) fn own(at: Option<SocketAddr>) -> Result<OwnPair, Error> {
    let port = at.map_or(0, |at| at.port());
    let bind = |ip: IpAddr, port| open(SocketAddr::new(ip, port));
    let refused = |source| Error::Listen { at: at.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into()), source };
    match at {
        Some(at) if !at.ip().is_unspecified() => {
            let socket = Some(open(at).map_err(refused)?);
            Ok(if at.is_ipv4() { (socket, None) } else { (None, socket) })
        }
        _ => {
            let v4 = bind(Ipv4Addr::UNSPECIFIED.into(), port);
            let chosen = v4.as_ref().ok().and_then(|socket| socket.get_ref().local_addr().ok());
            let same = chosen.map_or(port, |addr| addr.port());
            let v6 = bind(Ipv6Addr::UNSPECIFIED.into(), same);
            // Any port will do for IPv6 where none was asked for.
            let v6 = if port == 0 { v6.or_else(|_| bind(Ipv6Addr::UNSPECIFIED.into(), 0)) } else { v6 };
            match (v4, v6) {
                // A machine may have only one of the two; a port that is taken is another matter.
                (Err(v4), _) if v4.kind() == io::ErrorKind::AddrInUse => Err(refused(v4)),
                (_, Err(v6)) if v6.kind() == io::ErrorKind::AddrInUse => Err(refused(v6)),
                (Err(v4), Err(_)) => Err(refused(v4)),
                (v4, v6) => Ok((v4.ok(), v6.ok())),
            }
        }
    }
}

fn socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn open(at: SocketAddr) -> io::Result<Async<UdpSocket>> {
    let socket = socket(at)?;
    // Best effort: a smaller buffer costs speed only.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    // Several nodes of one machine hear each other's discovery; packets to the groups never leave the local network.
    if at.is_ipv4() {
        socket.set_broadcast(true)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(1)?;
    } else {
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(1)?;
    }
    socket.bind(&at.into())?;
    Async::new(socket.into())
}

/// A socket on the port that all nodes of this machine share: each gets a copy of every multicast and broadcast. `None`
/// where it cannot be had (another program holds the port alone): then other nodes find us by our own pings.
fn shared(at: SocketAddr) -> io::Result<Async<UdpSocket>> {
    let socket = socket(at)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())?;
    Async::new(socket.into())
}

/// The shared socket for IPv4, which also hears broadcasts.
pub(super) fn shared_v4() -> Option<Async<UdpSocket>> {
    shared((Ipv4Addr::UNSPECIFIED, DISCOVERY_PORT).into()).ok()
}

/// The shared socket for IPv6.
pub(super) fn shared_v6() -> Option<Async<UdpSocket>> {
    shared((Ipv6Addr::UNSPECIFIED, DISCOVERY_PORT).into()).ok()
}

/// Joins the IPv4 group on new interfaces, and leaves it on those that are gone, as systems limit memberships. An
/// interface that cannot do multicast is passed over.
pub(super) fn follow_v4(socket: &Async<UdpSocket>, old: &Interfaces, new: &Interfaces) {
    let socket = SockRef::from(socket.get_ref());
    let (old, new) = (old.indices_v4(), new.indices_v4());
    for index in old.iter().filter(|index| !new.contains(index)) {
        let _ = socket.leave_multicast_v4_n(&DISCOVERY_V4, &InterfaceIndexOrAddress::Index(*index));
    }
    for index in new.iter().filter(|index| !old.contains(index)) {
        let _ = socket.join_multicast_v4_n(&DISCOVERY_V4, &InterfaceIndexOrAddress::Index(*index));
    }
}

/// The same for IPv6.
pub(super) fn follow_v6(socket: &Async<UdpSocket>, old: &Interfaces, new: &Interfaces) {
    let socket = SockRef::from(socket.get_ref());
    let (old, new) = (old.indices_v6(), new.indices_v6());
    for index in old.iter().filter(|index| !new.contains(index)) {
        let _ = socket.leave_multicast_v6(&DISCOVERY_V6, *index);
    }
    for index in new.iter().filter(|index| !old.contains(index)) {
        let _ = socket.join_multicast_v6(&DISCOVERY_V6, *index);
    }
}

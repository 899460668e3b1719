//! What is read of frames, and the answers that are made: ARP (RFC 826) and Neighbour Advertisements (RFC 4861).

use core::net::{Ipv4Addr, Ipv6Addr};

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// The longest answer made, in bytes: a Neighbour Advertisement.
pub(crate) const LONGEST: usize = 86;

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// The part of an ARP packet that says: Ethernet and IPv4.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// `N` bytes of a frame from `at` on.
fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

fn is_unicast(mac: &Mac) -> bool {
    mac[0] & 1 == 0 && *mac != [0; 6]
}

/// An IPv4 address of one host, v4-mapped.
fn host_v4(ip: [u8; 4]) -> Option<Ipv6Addr> {
    let ip = Ipv4Addr::from(ip);
    let one = !(ip.octets()[0] == 0 || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast());
    one.then(|| ip.to_ipv6_mapped())
}

/// Who sent a received frame: its IP and MAC addresses, and whether this is to be taken only of hosts known already.
/// `None`: nothing to be learned.
pub(crate) fn sender(frame: &[u8], own: Mac) -> Option<(Ipv6Addr, Mac, bool)> {
    let to: Mac = bytes(frame, 0)?;
    let from: Mac = bytes(frame, 6)?;
    // Not what was sent to others and came by, nor what the own MAC address was told for.
    if !is_unicast(&from) || from == own || (is_unicast(&to) && to != own) {
        return None;
    }
    match bytes(frame, 12)? {
        IPV4 => (frame.get(14)? >> 4 == 4).then_some(())?,
        ARP => {
            if bytes(frame, 14) != Some(ARP_ETHERNET_IPV4) {
                return None;
            }
            let mac = bytes(frame, 22).filter(|mac| is_unicast(mac) && *mac != own)?;
            // Of those who ask others only what keeps the known up to date: there may be many.
            return Some((host_v4(bytes(frame, 28)?)?, mac, to != own));
        }
        IPV6 => {
            let source = Ipv6Addr::from(bytes::<16>(frame, 22)?);
            let target = Ipv6Addr::from(bytes::<16>(frame, 38)?);
            let near = source.is_unicast_link_local() || source.octets()[..8] == target.octets()[..8];
            let fine = frame.get(14)? >> 4 == 6 && near && !source.is_multicast() && !source.is_loopback();
            return (fine && !source.is_unspecified() && source.to_ipv4_mapped().is_none())
                .then_some((source, from, false));
        }
        _ => return None,
    }
    Some((host_v4(bytes(frame, 26)?)?, from, false))
}

/// The board's IPv4 address, in a frame that its stack sends.
pub(crate) fn own_v4(frame: &[u8]) -> Option<Ipv4Addr> {
    let ip = match bytes(frame, 12)? {
        IPV4 => bytes(frame, 26)?,
        ARP => bytes(frame, 28)?,
        _ => return None,
    };
    host_v4(ip)?.to_ipv4_mapped()
}

/// Whose MAC address the stack asks for by the frame that it sends.
pub(crate) fn asked(frame: &[u8]) -> Option<Ipv6Addr> {
    match bytes(frame, 12)? {
        ARP if bytes(frame, 20)? == ARP_REQUEST => {
            // Not the announcement of its own address.
            let target: [u8; 4] = bytes(frame, 38)?;
            (bytes(frame, 28)? != target).then(|| host_v4(target))?
        }
        IPV6 if *frame.get(20)? == ICMPV6 && *frame.get(54)? == SOLICITATION => {
            let from = Ipv6Addr::from(bytes::<16>(frame, 22)?);
            let target = Ipv6Addr::from(bytes::<16>(frame, 62)?);
            // From nobody: it looks whether its address is another's already.
            (!from.is_unspecified() && !target.is_multicast() && !target.is_unspecified()).then_some(target)
        }
        _ => None,
    }
}

/// Writes bytes and moves on. What does not fit is left out: all answers fit [`LONGEST`].
struct Writer<'a>(&'a mut [u8; LONGEST], usize);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.1 + bytes.len();
        if let Some(room) = self.0.get_mut(self.1..end) {
            room.copy_from_slice(bytes);
            self.1 = end;
        }
    }
}

/// Tells the stack of a board with addresses `own` and `own_ip` that IPv4 host `host` has MAC address `mac`, by an ARP reply.
pub(crate) fn reply(host: Ipv4Addr, mac: Mac, own: Mac, own_ip: Ipv4Addr, made: &mut [u8; LONGEST]) -> usize {
    let mut writer = Writer(made, 0);
    writer.put(&own);
    writer.put(&mac);
    writer.put(&ARP);
    writer.put(&ARP_ETHERNET_IPV4);
    writer.put(&ARP_REPLY);
    writer.put(&mac);
    writer.put(&host.octets());
    writer.put(&own);
    writer.put(&own_ip.octets());
    writer.1
}

/// The same of an IPv6 host, by a Neighbour Advertisement to all nodes that overrides what was known.
pub(crate) fn advertisement(host: Ipv6Addr, mac: Mac, own: Mac, made: &mut [u8; LONGEST]) -> usize {
    let mut writer = Writer(made, 0);
    writer.put(&own);
    writer.put(&mac);
    writer.put(&IPV6);
    writer.put(&[0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    writer.put(&host.octets());
    writer.put(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    let at = writer.1;
    writer.put(&[ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0]);
    writer.put(&host.octets());
    writer.put(&[2, 1]);
    writer.put(&mac);
    let len = writer.1;
    // Over both addresses, the length, the protocol and the message.
    let words =
        made[22..len].chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum = words.sum::<u32>() + (len - at) as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    made[at + 2..at + 4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    len
}

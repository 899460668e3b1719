//! The link and its addresses.

use core::net::{Ipv4Addr, Ipv6Addr};

use butter_embassy::Node;
use embassy_net::{Config, ConfigV4, Ipv4Cidr, Stack, StaticConfigV4};
use embassy_net_driver::{Driver, HardwareAddress};
use embassy_time::{Duration, Timer};

use crate::log::warning;

/// How long a DHCP server may take to answer.
const DHCP: Duration = Duration::from_secs(10);

/// Where the IPv4 address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ip {
    /// From the network; a link-local one (169.254.0.0/16) where nobody gives one.
    Dhcp,
    /// Given.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// How many bits of it name the network.
        prefix_len: u8,
    },
}

fn mac(address: HardwareAddress) -> [u8; 6] {
    match address {
        HardwareAddress::Ethernet(mac) => mac,
        HardwareAddress::Ieee802154([a, b, c, _, _, d, e, f]) => [a, b, c, d, e, f],
        _ => [2, 0, 0, 0, 0, 1],
    }
}

fn v4(address: Ipv4Addr, prefix_len: u8) -> StaticConfigV4 {
    StaticConfigV4 { address: Ipv4Cidr::new(address, prefix_len), gateway: None, dns_servers: heapless::Vec::new() }
}

/// The link-local IPv4 address that a MAC address stands for (RFC 3927 draws it; whoever has the same would be seen to).
fn link_local_v4([.., a, b]: [u8; 6]) -> Ipv4Addr {
    Ipv4Addr::new(169, 254, a.clamp(1, 254), b)
}

/// The link-local IPv6 address that a MAC address stands for (RFC 4291, appendix A).
fn link_local_v6([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

pub(crate) fn config(driver: &impl Driver, ip: Ip) -> Config {
    let mut config = Config::default();
    config.ipv4 = match ip {
        Ip::Dhcp => ConfigV4::Dhcp(Default::default()),
        Ip::Static { address, prefix_len } => ConfigV4::Static(v4(address, prefix_len)),
    };
    let address = link_local_v6(mac(driver.hardware_address()));
    #[cfg(feature = "ipv6")]
    {
        let address = embassy_net::Ipv6Cidr::new(address, 64);
        let address = embassy_net::StaticConfigV6 { address, gateway: None, dns_servers: heapless::Vec::new() };
        config.ipv6 = embassy_net::ConfigV6::Static(address);
    }
    #[cfg(not(feature = "ipv6"))]
    let _ = address;
    config
}

/// Where there is a link but no DHCP server: takes a link-local address instead, once, and ends. Nodes find each other by it as
/// well.
pub async fn addresses(stack: Stack<'static>, node: Node<'static>) {
    let Ok(mut changes) = node.changes() else { return };
    loop {
        while !stack.is_link_up() || stack.config_v4().is_some() {
            changes.changed().await;
        }
        Timer::after(DHCP).await;
        if stack.is_link_up() && stack.config_v4().is_none() {
            let address = link_local_v4(mac(match stack.hardware_address() {
                embassy_net::HardwareAddress::Ethernet(mac) => HardwareAddress::Ethernet(mac.0),
                #[allow(unreachable_patterns, reason = "other media may be compiled in")]
                _ => HardwareAddress::Ip,
            }));
            warning!("no DHCP server answered within {} s: using link-local {:?}", DHCP.as_secs(), address.octets());
            stack.set_config_v4(ConfigV4::Static(v4(address, 16)));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_of_the_mac_address() {
        let mac = [2, 0x62, 0x75, 0, 0, 9];
        assert_eq!(link_local_v4(mac), Ipv4Addr::new(169, 254, 1, 9));
        assert_eq!(link_local_v6(mac), "fe80::62:75ff:fe00:9".parse::<Ipv6Addr>().unwrap());
    }
}

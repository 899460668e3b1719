//! Bridges, and the routers between them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Host, Namespace, Process, ip, nft};

/// The last byte of a router's address in the network behind it.
const ROUTER: u8 = 254;

/// A local network: a bridge that hosts plug into. Clones are handles to the same one.
#[derive(Clone)]
pub struct Lan(Arc<Inner>);

struct Inner {
    number: u8,
    switch: Arc<Namespace>,
    hosts: AtomicU8,
    routed: Mutex<bool>,
    logs: PathBuf,
}

impl Lan {
    pub(super) fn new(number: u8, logs: PathBuf) -> Lan {
        let switch = Namespace::try_new(&format!("lan{number}")).unwrap_or_else(|e| panic!("{e}"));
        // Without an address of its own the bridge passes packets and sends none.
        switch.set("ipv6/conf/default/disable_ipv6", "1");
        // Multicast goes to every port, as in a switch that does not snoop.
        ip(&switch, "link add name br0 type bridge mcast_snooping 0 stp_state 0 forward_delay 0");
        ip(&switch, "link set dev br0 up");
        Lan(Arc::new(Inner { number, switch, hosts: AtomicU8::new(0), routed: Mutex::new(false), logs }))
    }

    /// The address with this last byte in this network.
    #[must_use]
    pub fn ip4(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 83, self.0.number, last)
    }

    /// The address with this last part in this network.
    #[must_use]
    pub fn ip6(&self, last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd83, 0, 0, self.0.number.into(), 0, 0, 0, last.into())
    }

    /// Plugs in a new host. It has addresses of both families, IPv6 link-local ones too, usable at once, and a
    /// default route only if the network has a router.
    ///
    /// # Panics
    /// When the system refuses, or after 250 hosts.
    #[must_use]
    pub fn host(&self) -> Host {
        let number = self.0.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= 250, "too many hosts in one network");
        let role = format!("lan{}-host{number}", self.0.number);
        let namespace = Namespace::try_new(&role).unwrap_or_else(|e| panic!("{e}"));
        self.plug(&namespace, "eth0", number);
        // The lock makes sure that a host is seen by `route`, or sees what it did.
        if *self.0.routed.lock().unwrap_or_else(PoisonError::into_inner) {
            ip(&namespace, &format!("route add default via {}", self.ip4(ROUTER)));
        }
        Host::new(role, namespace, self.ip4(number), self.ip6(number), Some(self.0.switch.clone()), self.0.logs.clone())
    }

    /// Connects a namespace by an interface of the given name, with this network's addresses.
    fn plug(&self, namespace: &Arc<Namespace>, interface: &str, number: u8) {
        let switch = &self.0.switch;
        // Duplicate address detection would keep addresses unusable for a second.
        namespace.set("ipv6/conf/default/accept_dad", "0");
        let port = format!("port{number}");
        ip(switch, &format!("link add name {port} type veth peer name {interface} netns {}", namespace.name()));
        ip(switch, &format!("link set dev {port} master br0 up"));
        ip(namespace, &format!("addr add {}/24 brd + dev {interface}", self.ip4(number)));
        ip(namespace, &format!("addr add {}/64 dev {interface} nodad", self.ip6(number)));
        ip(namespace, &format!("link set dev {interface} up"));
    }

    /// A socket of the bridge for a machine that is emulated.
    ///
    /// # Panics
    /// When the system refuses, or after 250 hosts.
    #[must_use]
    pub fn tap(&self) -> Tap {
        let number = self.0.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= 250, "too many hosts in one network");
        let (switch, name) = (self.0.switch.clone(), format!("tap{number}"));
        ip(&switch, &format!("tuntap add dev {name} mode tap"));
        ip(&switch, &format!("link set dev {name} master br0 up"));
        Tap { switch, name, ip4: self.ip4(number), logs: self.0.logs.clone(), started: AtomicU32::new(0) }
    }

    /// Drops (`true`) or passes (`false`) UDP to multicast groups of both families between the hosts. Neighbour
    /// discovery is not UDP and goes on.
    pub fn block_multicast(&self, block: bool) {
        self.filter(
            "multicast",
            block,
            "meta protocol ip ip daddr 224.0.0.0/4 meta l4proto udp drop
             meta protocol ip6 ip6 daddr ff00::/8 meta l4proto udp drop",
        );
    }

    /// Drops (`true`) or passes (`false`) UDP in Ethernet broadcasts between the hosts. ARP goes on.
    pub fn block_broadcast(&self, block: bool) {
        self.filter("broadcast", block, "meta protocol ip ether daddr ff:ff:ff:ff:ff:ff meta l4proto udp drop");
    }

    /// Puts rules into, or takes them out of, the path of all that crosses the bridge.
    fn filter(&self, table: &str, on: bool, rules: &str) {
        // Naming the table first makes deleting it harmless when there is none.
        let mut text = format!("table bridge {table} {{}}\ndelete table bridge {table}\n");
        if on {
            text += &format!(
                "table bridge {table} {{\n chain c {{\n type filter hook prerouting priority 0; policy accept;\n {rules}\n }}\n}}\n"
            );
        }
        nft(&self.0.switch, &text);
    }

    /// Puts a router between this network and `outside`, as a home router does it: IPv4 from inside leaves under the
    /// router's own address there, and nothing from outside enters that nobody inside asked for, but for ports
    /// forwarded with [`Router::forward`]. IPv6 is not routed.
    ///
    /// # Panics
    /// When the system refuses, or the network has a router already.
    #[must_use]
    pub fn route(&self, outside: &Lan, hosts: &[&Host]) -> Router {
        let namespace = Namespace::try_new(&format!("router{}", self.0.number)).unwrap_or_else(|e| panic!("{e}"));
        let number = outside.0.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= 250, "too many hosts in one network");
        outside.plug(&namespace, "outside", number);
        let mut routed = self.0.routed.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!*routed, "a network has one router");
        *routed = true;
        self.plug(&namespace, "inside", ROUTER);
        namespace.set("ipv4/ip_forward", "1");
        nft(
            &namespace,
            "table ip nat {
               chain prerouting { type nat hook prerouting priority dstnat; }
               chain postrouting { type nat hook postrouting priority srcnat; oifname outside masquerade; }
             }
             table ip filter {
               chain forward {
                 type filter hook forward priority filter; policy drop;
                 ct state established,related accept
                 iifname inside accept
                 ct status dnat accept
               }
             }",
        );
        for host in hosts {
            host.default_route(self.ip4(ROUTER));
        }
        Router { namespace, ip4: outside.ip4(number) }
    }
}

/// A router with network address translation; see [`Lan::route`].
pub struct Router {
    namespace: Arc<Namespace>,
    ip4: Ipv4Addr,
}

impl Router {
    /// Its address outside, under which everyone inside is seen.
    #[must_use]
    pub fn ip4(&self) -> Ipv4Addr {
        self.ip4
    }

    /// Hands UDP that arrives from outside at `port` to a host inside, at `to_port`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn forward(&self, port: u16, to: &Host, to_port: u16) {
        nft(
            &self.namespace,
            &format!("add rule ip nat prerouting iifname outside udp dport {port} dnat to {}:{to_port}", to.ip4()),
        );
    }
}

/// A TAP device that is plugged into a bridge, for a machine that is emulated; and an address there that no host has.
pub struct Tap {
    switch: Arc<Namespace>,
    name: String,
    ip4: Ipv4Addr,
    logs: PathBuf,
    started: AtomicU32,
}

impl Tap {
    /// The device's name, for programs started by [`Tap::spawn`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that is free for the machine.
    #[must_use]
    pub fn ip4(&self) -> Ipv4Addr {
        self.ip4
    }

    /// Starts a program where the device is, its output going to a file: see [`Process::log`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(&self, command: Command) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.logs.join(format!("{}-{number}.log", self.name));
        self.switch.run(|| Process::start(command, log))
    }
}

//! The hosts remembered.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::frame::{LONGEST, Mac, advertisement, reply};
use crate::{Counters, count};

/// Questions about an address that never spoke, from which on they are answered with the board's own MAC address.
const PATIENCE: u8 = 2;
/// How often the stack is told of a host that it did not ask for, and that says nothing: then its knowledge is left to
/// expire, so that it asks, and the host can say that its MAC address is another.
const RETELL: u8 = 8;

/// A host.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// IPv4 is v4-mapped. Unspecified: the place is free.
    ip: Ipv6Addr,
    /// `None` while it never spoke.
    mac: Option<Mac>,
    /// The stack is to be told.
    news: bool,
    /// Since it was heard: questions of the stack if it never spoke, else answers given.
    unheard: u8,
    /// When it was last heard or asked for, in such moments.
    used: u32,
}

const FREE: Host = Host { ip: Ipv6Addr::UNSPECIFIED, mac: None, news: false, unheard: 0, used: 0 };

/// The table. Policy when full: the longest unused host makes room.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    hosts: [Host; N],
    /// The board's own IPv4 address, without which nothing can be told of others'.
    own_v4: Option<Ipv4Addr>,
    /// Moments so far: each host heard and each question is one.
    moment: u32,
    /// Where to look for news.
    next: usize,
    /// Something may have to be told.
    news: bool,
}

impl<const N: usize> Table<N> {
    pub const NEW: Self = Table { hosts: [FREE; N], own_v4: None, moment: 0, next: 0, news: false };

    pub const fn has_news(&self) -> bool {
        self.news
    }

    /// Takes note of the board's own IPv4 address.
    pub fn set_own_v4(&mut self, own: Ipv4Addr) {
        self.news |= self.own_v4 != Some(own);
        self.own_v4 = Some(own);
    }

    /// A host, which is used now, and its place.
    fn find(&mut self, ip: Ipv6Addr) -> Option<(usize, &mut Host)> {
        self.moment = self.moment.wrapping_add(1);
        let moment = self.moment;
        let (at, host) = self.hosts.iter_mut().enumerate().find(|(_, host)| host.ip == ip)?;
        host.used = moment;
        Some((at, host))
    }

    /// Takes a host that is not there.
    fn add(&mut self, host: Host, counters: &Counters) {
        let moment = self.moment;
        // A free place was never used.
        let age = |host: &Host| if host.ip.is_unspecified() { u32::MAX } else { moment.wrapping_sub(host.used) };
        if let Some(place) = self.hosts.iter_mut().max_by_key(|host| age(host)) {
            if !place.ip.is_unspecified() {
                count(&counters.evicted);
            }
            *place = Host { used: moment, ..host };
        }
    }

    /// A host was heard.
    pub fn heard(&mut self, ip: Ipv6Addr, mac: Mac, known_only: bool, counters: &Counters) {
        match self.find(ip) {
            Some((_, host)) => {
                host.unheard = 0;
                if host.mac == Some(mac) {
                    return;
                }
                host.mac = Some(mac);
                host.news = true;
            }
            None if known_only => return,
            None => self.add(Host { ip, mac: Some(mac), news: true, ..FREE }, counters),
        }
        self.news = true;
        count(&counters.learned);
    }

    /// The stack asked for a host. It may ask only once per second: so it is told all.
    pub fn asked(&mut self, ip: Ipv6Addr, counters: &Counters) {
        count(&counters.asked);
        let Some((at, host)) = self.find(ip) else {
            return self.add(Host { ip, unheard: 1, ..FREE }, counters);
        };
        host.news = true;
        if host.mac.is_none() {
            host.unheard = host.unheard.saturating_add(1);
            host.news = host.unheard >= PATIENCE;
            if host.news {
                count(&counters.given_up);
            }
        }
        self.news = true;
        // It comes last, so that it is not pushed out of a small cache of the stack by the others.
        self.next = at + 1;
        for host in &mut self.hosts {
            host.news |= host.mac.is_some() && host.unheard < RETELL;
        }
    }

    /// Makes the next answer for the stack, of the length returned.
    pub fn tell(&mut self, own: Mac, counters: &Counters, made: &mut [u8; LONGEST]) -> Option<usize> {
        for at in 0..N {
            let at = (self.next + at) % N;
            let Some(host) = self.hosts.get_mut(at).filter(|host| host.news) else { continue };
            let mac = host.mac.unwrap_or(own);
            let len = match (host.ip.to_ipv4_mapped(), self.own_v4) {
                (Some(ip), Some(own_ip)) => reply(ip, mac, own, own_ip, made),
                (Some(_), None) => continue,
                (None, _) => advertisement(host.ip, mac, own, made),
            };
            host.news = false;
            if host.mac.is_some() {
                host.unheard = host.unheard.saturating_add(1);
            }
            self.next = at + 1;
            count(&counters.told);
            return Some(len);
        }
        // What waits for the own address is looked at again when that is known.
        self.news = false;
        None
    }
}

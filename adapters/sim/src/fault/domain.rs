//! Failure domains: what fails together.

use butter_core::addr::Addr;

use crate::world::{Spec, Who, World};

/// What nodes may have in common, and lose at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Domain {
    /// Their addresses' prefix: an /24 of IPv4.
    Prefix([u8; 6]),
    /// The site that they stand at.
    Site(u16),
    /// Their power supply.
    Power(u16),
}

impl Domain {
    /// Whether a node is in it.
    pub fn has(self, spec: &Spec, addr: Addr) -> bool {
        match self {
            Domain::Prefix(prefix) => addr.prefix() == prefix,
            Domain::Site(site) => spec.site == site,
            Domain::Power(power) => spec.power == power,
        }
    }
}

impl World<'_> {
    /// The running nodes of a domain, in the order in which they were added.
    pub fn in_domain(&self, domain: Domain) -> Vec<Who> {
        self.up().filter(|who| domain.has(self.spec(*who), self.addr(*who))).collect()
    }

    /// Kills all nodes of a domain at once, and says which.
    pub fn kill_domain(&mut self, domain: Domain) -> Vec<Who> {
        let all = self.in_domain(domain);
        all.iter().for_each(|who| self.kill(*who));
        all
    }
}

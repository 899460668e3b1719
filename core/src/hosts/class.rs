//! Diversity classes: how a host compares with the means of what this node knows (PROTOCOL §4.2).

use core::fmt;

use super::Standing;
use crate::wire::Facts;

/// Classes there are: one bit for each fact compared.
pub const CLASSES: usize = 8;

/// Which facts of a host are above the means of all living hosts that this node knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HostClass(pub u8);

impl HostClass {
    /// Runs for longer than the mean.
    pub const UPTIME: u8 = 1;
    /// Has more free storage than the mean.
    pub const FREE: u8 = 2;
    /// Knows more hosts than the mean.
    pub const HOSTS: u8 = 4;
}

impl fmt::Display for HostClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |bit| if self.0 & bit != 0 { '+' } else { '-' };
        write!(f, "uptime{} free{} hosts{}", sign(Self::UPTIME), sign(Self::FREE), sign(Self::HOSTS))
    }
}

/// The facts as compared: bounded, so that one host's boast cannot move the means far.
pub(super) fn values(facts: &Facts) -> [u32; 3] {
    [facts.uptime.min(32).into(), facts.free.min(40).into(), facts.hosts.min(17).into()]
}

/// Counts hosts by standing and class, and sums their facts, so that means and crowds are known at any time.
/// Vanished hosts count in their class but not in the means.
#[derive(Debug, Default)]
pub(super) struct Census {
    counts: [[u16; CLASSES]; 3],
    sums: [u32; 3],
}

impl Census {
    pub fn add(&mut self, standing: Standing, class: HostClass, facts: &Facts) {
        self.counts[standing as usize][usize::from(class.0) % CLASSES] += 1;
        if standing != Standing::Vanished {
            for (sum, value) in self.sums.iter_mut().zip(values(facts)) {
                *sum += value;
            }
        }
    }

    pub fn sub(&mut self, standing: Standing, class: HostClass, facts: &Facts) {
        self.counts[standing as usize][usize::from(class.0) % CLASSES] -= 1;
        if standing != Standing::Vanished {
            for (sum, value) in self.sums.iter_mut().zip(values(facts)) {
                *sum -= value;
            }
        }
    }

    pub fn count(&self, standing: Standing) -> usize {
        self.counts[standing as usize].iter().map(|n| usize::from(*n)).sum()
    }

    /// Hosts that are not taken for vanished.
    pub fn living(&self) -> usize {
        self.count(Standing::Met) + self.count(Standing::Heard)
    }

    /// The class of these facts: a bit is set where value × hosts > sum, that is, strictly above the mean.
    pub fn class_of(&self, facts: &Facts) -> HostClass {
        let living = self.living() as u64;
        let above = |(value, sum): (u32, &u32)| u8::from(u64::from(value) * living > u64::from(*sum));
        let bits = values(facts).into_iter().zip(&self.sums).map(above);
        HostClass(bits.enumerate().fold(0, |class, (i, bit)| class | bit << i))
    }

    /// The most crowded class of a standing, the first of several.
    pub fn crowd(&self, standing: Standing) -> HostClass {
        let counts = &self.counts[standing as usize];
        (1..CLASSES).fold(HostClass(0), |crowd, class| {
            if counts[class] > counts[usize::from(crowd.0)] { HostClass(class as u8) } else { crowd }
        })
    }

    /// Whether no class of this standing has more hosts.
    pub fn is_crowd(&self, standing: Standing, class: HostClass) -> bool {
        let counts = &self.counts[standing as usize];
        counts[usize::from(class.0) % CLASSES] >= counts[usize::from(self.crowd(standing).0)]
    }

    pub fn counts(&self, standing: Standing) -> [u16; CLASSES] {
        self.counts[standing as usize]
    }

    /// The means in 256ths: uptime, free storage, hosts known.
    pub fn means(&self) -> [u32; 3] {
        let living = self.living().max(1) as u64;
        self.sums.map(|sum| (u64::from(sum) * 256 / living) as u32)
    }
}

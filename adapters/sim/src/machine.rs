//! What kinds of machines there are.

use butter_core::config::Config;
use butter_core::memory::Limits;
use butter_core::wire::Facts;

use crate::chance;
use crate::disk::DiskModel;
use crate::net::Access;
use crate::scenario::units::{Bandwidth, Share, Size};

/// A kind of machine: what it may hold, and how it behaves.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The most entries of every table.
    pub limits: Limits,
    /// Timings, policies, storage.
    pub config: Config,
    /// How fast its storage is, and how long it lasts.
    pub disk: DiskModel,
    /// How much it can send and receive.
    pub access: Access,
}

impl Machine {
    /// A microcontroller: [`Limits::TINY`], one seat of 8 blocks.
    pub fn tiny() -> Machine {
        let config = Config { flags: Facts::MAINS | Facts::TINY, storage_blocks: 8, ..Config::default() };
        Machine { limits: Limits::TINY, config, disk: DiskModel::default(), access: Access::default() }
    }

    /// A desktop program, with tables small enough that hundreds of them fit a simulation: 256 known hosts and groups,
    /// 64 peers, 4096 blocks of storage.
    pub fn desktop() -> Machine {
        let limits = Limits {
            hosts: 256,
            peers: 64,
            handshakes: 16,
            outbox: 512,
            strays: 64,
            relays: 16,
            calls: 64,
            serves: 64,
            small_buffers: 64,
            large_buffers: 32,
            large_bytes: Limits::DESKTOP.large_bytes,
            seats: 16,
            known: 256,
            items: 3 * 4096,
            pointers: 2048,
            operations: 16,
            jobs: 32,
            events: 256,
        };
        Machine {
            limits,
            config: Config { storage_blocks: 4096, ..Config::default() },
            disk: DiskModel::default(),
            access: Access::default(),
        }
    }

    /// A microcontroller as it is on a wire of its own: [`Machine::tiny`] with flash that takes 2 ms and 200 kB/s, wears out
    /// after 100,000 writes of each block, and 1 Mbit/s of network.
    pub fn microcontroller() -> Machine {
        Machine::tiny().with(|machine| {
            machine.disk = DiskModel { op_us: 2_000, bytes_per_s: 200_000, cycles: 100_000 };
            machine.access = access(1_000_000, 1_000_000, 8_192);
        })
    }

    /// A single-board computer or an old telephone on a home's line: tables of 64, 4 MiB of storage on a memory card, 2 Mbit/s
    /// up and 16 down.
    pub fn board() -> Machine {
        Machine::desktop().with(|machine| {
            machine.limits = Limits { hosts: 64, peers: 24, seats: 8, known: 64, items: 3 * 1024, ..machine.limits };
            machine.config.storage_blocks = 1_024;
            machine.disk = DiskModel { op_us: 1_000, bytes_per_s: 10_000_000, cycles: 3_000 };
            machine.access = access(2_000_000, 16_000_000, 65_536);
        })
    }

    /// A laptop on a home's line: a [`Machine::desktop`] with a good disk, 10 Mbit/s up and 50 down.
    pub fn laptop() -> Machine {
        Machine::desktop().with(|machine| {
            machine.disk = DiskModel { op_us: 100, bytes_per_s: 500_000_000, cycles: 0 };
            machine.access = access(10_000_000, 50_000_000, 262_144);
        })
    }

    /// A server in a data centre: tables of 1,024, 256 MiB of storage, 1 Gbit/s both ways.
    pub fn server() -> Machine {
        Machine::desktop().with(|machine| {
            machine.limits =
                Limits { hosts: 1_024, peers: 256, known: 1_024, seats: 64, items: 65_536, ..machine.limits };
            machine.config.storage_blocks = 65_536;
            machine.disk = DiskModel { op_us: 50, bytes_per_s: 1_000_000_000, cycles: 0 };
            machine.access = access(1_000_000_000, 1_000_000_000, 1 << 20);
        })
    }

    /// The kind with a name, of `tiny`, `microcontroller`, `board`, `laptop`, `desktop` and `server`.
    pub fn named(name: &str) -> Option<Machine> {
        Some(match name {
            "tiny" => Machine::tiny(),
            "microcontroller" => Machine::microcontroller(),
            "board" => Machine::board(),
            "laptop" => Machine::laptop(),
            "desktop" => Machine::desktop(),
            "server" => Machine::server(),
            _ => return None,
        })
    }

    /// This kind, changed.
    pub fn with(mut self, change: impl FnOnce(&mut Machine)) -> Machine {
        change(&mut self);
        self
    }
}

/// Bits per second up and down, and bytes that wait in front of each.
fn access(up: u64, down: u64, queue: u64) -> Access {
    let rate = |bits| Some(Bandwidth::from_bits_per_s(bits));
    Access { up: rate(up), down: rate(down), queue: Size::from_bytes(queue) }
}

/// Which of the kinds each of n nodes is: as many of each as its share of all shares says, in an order drawn from the seed.
pub fn mixed(seed: u64, n: usize, shares: &[Share]) -> Vec<usize> {
    let all: u64 = shares.iter().map(|share| u64::from(share.ppm())).sum::<u64>().max(1);
    // The largest remainders get what rounding down left over.
    let mut parts: Vec<(u64, usize)> = Vec::new();
    let mut kinds = Vec::new();
    for (kind, share) in shares.iter().enumerate() {
        let exact = n as u64 * u64::from(share.ppm());
        kinds.extend(std::iter::repeat_n(kind, (exact / all) as usize));
        parts.push((exact % all, kind));
    }
    parts.sort_by_key(|(rest, kind)| (std::cmp::Reverse(*rest), *kind));
    let left = n - kinds.len().min(n);
    kinds.extend(parts.iter().map(|(_, kind)| *kind).take(left));
    let mut rng = chance::stream(seed, "mix", 0);
    for at in (1..kinds.len()).rev() {
        kinds.swap(at, rng.below(at as u32 + 1) as usize);
    }
    kinds
}

impl Default for Machine {
    fn default() -> Self {
        Machine::desktop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_its_shares_exactly_and_no_order() {
        let shares = [70, 20, 10].map(|percent| Share::from_ppm(percent * 10_000));
        let kinds = mixed(1, 1_001, &shares);
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        assert_eq!([count(0), count(1), count(2)], [701, 200, 100]);
        assert!(kinds[..100].contains(&2) && kinds[900..].contains(&1), "they are mixed");
        assert_eq!(kinds, mixed(1, 1_001, &shares));
        assert_ne!(kinds, mixed(2, 1_001, &shares));
        assert_eq!(mixed(1, 1, &shares), [0]);
    }

    #[test]
    fn every_kind_can_run() {
        for name in ["tiny", "microcontroller", "board", "laptop", "desktop", "server"] {
            let machine = Machine::named(name).unwrap();
            assert_eq!(machine.config.check(), Ok(()), "{name}");
        }
        assert!(Machine::named("abacus").is_none());
    }
}

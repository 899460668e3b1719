//! What kinds of machines there are.

use butter_core::config::Config;
use butter_core::memory::Limits;
use butter_core::wire::Facts;

use crate::disk::DiskModel;
use crate::net::Access;

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

    /// This kind, changed.
    pub fn with(mut self, change: impl FnOnce(&mut Machine)) -> Machine {
        change(&mut self);
        self
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine::desktop()
    }
}

#![no_std]
#![forbid(unsafe_code)]
//! What all of Butter's firmware shares. A board adds its pins, its network device, its flash and its entropy:
//!
//! 1. [`network`] makes the IP stack over the board's Ethernet driver;
//! 2. [`start`] makes the node on it, which joins its network by itself and keeps items for others;
//! 3. a task each runs what these return, and [`addresses`], [`show`], [`ohce`], [`sensor`], [`readings`] and
//!    [`warn_of_strangers`].
//!
//! A board runs one node: all memory is in here, 58 KB of it on a 32-bit machine with [`LIMITS`], the stack and the store of
//! blocks not counted.

mod apps;
mod link;
mod log;
mod ram;
mod settings;

use butter_core::config::{Config, ConfigError};
use butter_core::crypto::SecretKey;
use butter_core::identity::{Identity, Network};
use butter_core::memory::Limits;
use butter_crypto::RustCrypto;
use butter_driver::Disk;
use butter_embassy::{Node, Resources, Runner};
use butter_neighbour::{Counters, Neighbour};
use embassy_net::{Stack, StackResources};
use embassy_net_driver::Driver;
use static_cell::{ConstStaticCell, StaticCell};

pub use apps::{ohce, readings, sensor, show, warn_of_strangers};
pub use link::{Ip, addresses};
pub use ram::Ram;
pub use settings::{Settings, Wrong};

/// What a node on a board may hold.
pub const LIMITS: Limits = Limits::TINY;
/// Blocks of storage that a node on a board gives to the network: as many as [`LIMITS`] has items for, three each.
pub const BLOCKS: usize = LIMITS.items / 3;
/// Bytes that a store needs for them, with a block that is replaced.
pub const STORE_BYTES: usize = (BLOCKS + 1) * butter_core::wire::BLOCK;
/// Hosts of the local network whose MAC addresses are remembered: all that there can be sessions with, and some that ask.
pub const NEIGHBOURS: usize = 32;

butter_core::static_memory!(fn tables in StaticCell, LIMITS);

static CORE: StaticCell<butter_core::Node<'static>> = StaticCell::new();
static RESOURCES: StaticCell<Resources<'static>> = StaticCell::new();
/// Sockets: Butter's, and that of DHCP.
static SOCKETS: ConstStaticCell<StackResources<2>> = ConstStaticCell::new(StackResources::new());
/// What the wrapper of the driver counted.
pub static NEIGHBOUR_COUNTERS: Counters = Counters::new();

/// What [`network`] runs.
pub type NetRunner<D> = embassy_net::Runner<'static, Neighbour<'static, D, NEIGHBOURS>>;

/// The IP stack over an Ethernet driver: IPv4 as `ip` says, and a link-local IPv6 address made of the MAC address. Run what is
/// returned in a task of its own. `seed` need not be secret.
///
/// # Panics
/// When called twice.
#[inline(never)]
pub fn network<D: Driver>(driver: D, ip: Ip, seed: u64) -> (Stack<'static>, NetRunner<D>) {
    let config = link::config(&driver, ip);
    let driver = Neighbour::new(driver, &NEIGHBOUR_COUNTERS);
    embassy_net::new(driver, config, SOCKETS.take(), seed)
}

/// The node. `secret` is its identity: kept over restarts where the board has a place for it. `seed` is 32 secret random bytes,
/// never used before.
///
/// # Errors
/// The settings cannot work.
///
/// # Panics
/// When called twice.
#[inline(never)]
pub fn start<D: Disk>(
    stack: Stack<'static>,
    settings: &Settings<'_>,
    secret: SecretKey,
    seed: [u8; 32],
    disk: D,
) -> Result<(Node<'static>, Runner<'static, D>), ConfigError> {
    let network = match &settings.secret {
        Some(secret) => Network::closed(&RustCrypto, settings.network, secret),
        None => Network::open(&RustCrypto, settings.network),
    };
    let config = Config { storage_blocks: settings.blocks.min(BLOCKS as u32), ..Config::default() };
    let memory = tables();
    let identity = Identity { secret, network };
    let core = butter_core::Node::new(butter_embassy::now(), config, identity, seed, &RustCrypto, memory)?;
    Ok(butter_embassy::new(stack, CORE.init(core), disk, resources()))
}

/// Apart from everything else, so that what passes over the stack meanwhile leaves it again.
#[inline(never)]
fn resources() -> &'static mut Resources<'static> {
    RESOURCES.init_with(Resources::new)
}

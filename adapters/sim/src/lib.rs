#![forbid(unsafe_code)]
//! Butter's simulator: real nodes in one deterministic world on a virtual clock.
//!
//! A [`World`] drives many [`butter_core::Node`]s directly: real wire bytes through a modelled network ([`Net`]), a modelled
//! store per node ([`Disk`]), and by default a cryptography that is fast and checks how it is used ([`FakeCrypto`]). Everything
//! that is drawn comes from one seed, and time is what the world says, so that a run depends on nothing but its inputs:
//! [`World::trace`] is a hash over every packet ever sent, and the same seed gives the same hash on every machine.
//!
//! ```
//! use butter_sim::{FakeCrypto, Spec, World, WorldConfig};
//!
//! let crypto = FakeCrypto::new();
//! let mut world = World::new(&crypto, WorldConfig { seed: 7, ..WorldConfig::default() });
//! let first = world.add(&Spec::default());
//! world.add(&Spec::default());
//! world.run_for(5_000);
//! assert!(world.is_up(first));
//! assert_eq!(world.now().as_millis(), 5_000, "virtual time is exact");
//! ```

mod chance;
mod check;
mod crypto;
mod disk;
mod dist;
mod fault;
mod fixed;
mod lately;
mod load;
mod machine;
mod net;
mod record;
pub mod report;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod swarm;
mod topology;
mod world;

pub use check::Violation;
pub use crypto::{FakeCrypto, Sealed};
pub use disk::{Disk, DiskFaults, DiskModel};
pub use dist::Dist;
pub use fault::{Churn, Domain, TRACE_LINES_MAX, Then, Trace};
pub use load::{Doing, Done, Ended, ITEMS_MAX, Load, OPEN_MAX, Operation, Popularity, Tally};
pub use machine::{Machine, mixed};
pub use net::{
    Access, Hop, Loss, NatKind, NatModel, Net, NetCounters, PARTITIONS_MAX, PartitionId, Path, Plug, Regions,
    SegmentId, Sent, Way,
};
pub use record::Recording;
pub use topology::{Topology, read_edges};
pub use world::{GroupView, Hook, Job, Outcome, Spec, Who, World, WorldConfig};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

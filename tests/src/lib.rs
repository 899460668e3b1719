//! What Butter's tests across crates share: a view of the repository, the network lab, the desktop node as users
//! run it, and emulated boards.
//!
//! Test binaries whose name starts with `lab` build networks from namespaces and need root;
//! `cargo xtask lab` runs exactly those.

#[cfg(target_os = "linux")]
pub mod boards;
#[cfg(target_os = "linux")]
pub mod lab;
#[cfg(unix)]
pub mod node;
#[cfg(unix)]
pub mod process;
pub mod repo;

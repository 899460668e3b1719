//! What Butter's tests across crates share: a view of the repository, and the network lab.
//!
//! Test binaries whose name starts with `lab` build networks from namespaces and need root;
//! `cargo xtask lab` runs exactly those.

#[cfg(target_os = "linux")]
pub mod lab;
pub mod repo;

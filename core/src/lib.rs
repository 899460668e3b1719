#![no_std]
#![forbid(unsafe_code)]
//! Butter's protocol as a sans-IO state machine.
//!
//! [`Node`] never reads a clock, a socket, a disk or the system's randomness. The world reaches it by `handle_*`,
//! the application by plain verbs, and it speaks through `poll_*` and [`Node::deadline`].
//!
//! # The contract
//!
//! - **N1 No order rules.** Any method, any time. The wrong order costs latency, never correctness.
//! - **N2 Bounded.** Each call takes at most one packet, makes a bounded number of events, and does at most one handshake
//!   message (two Diffie-Hellmans) or one signature.
//! - **N3 Output is never a deadline.** [`Node::deadline`] means *time*, never "I have something to send". When a link is
//!   full, do not poll that link until it is writable. Retry timers start when a packet is encoded.
//! - **N4 Idle is O(1).** Every `poll_*` of an idle node is a few loads, however many hosts and blocks it has.
//! - **N5 Reserve first.** A verb checks all the space it may need, then changes things; refused means nothing was changed.
//! - **N6 Every table names its policy when full** ([`memory::Limits`]), and counts it ([`counters::Counters`]).
//! - **N7 Same inputs, same outputs.** No clock, no system randomness, no hash order, no floats.
//! - **N8 Time goes forward.** An earlier `now` is clamped and counted.

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod log;

pub mod addr;
pub mod config;
#[doc(hidden)]
pub mod content;
pub mod counters;
pub mod crypto;
mod discover;
pub mod exchange;
pub mod group;
pub mod hosts;
pub mod id;
pub mod identity;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod memory;
pub mod node;
#[doc(hidden)]
pub mod relay;
pub mod retrieve;
pub mod rng;
pub mod route;
#[doc(hidden)]
pub mod session;
pub mod storage;
pub mod table;
pub mod ticket;
pub mod time;
#[cfg(test)]
mod vectors;
pub mod wire;

pub use node::{Event, Node};

#![forbid(unsafe_code)]
//! Butter on desktop systems: a [`Node`] that runs on a task of its own, over UDP, and is used through a handle.
//!
//! ```no_run
//! use std::time::Duration;
//! use butter_async_std::{Error, Node, route};
//!
//! async fn example() -> Result<(), Error> {
//!     let node = Node::builder().network("home").spawn().await?;
//!     node.serve(route("hello/1"), |request| async move { Ok([b"hello ", &request.body[..]].concat()) }).await?;
//!     for peer in node.peers().await? {
//!         let answer = node.call(peer.id, route("hello/1"), "you", Duration::from_secs(5)).await?;
//!         println!("{}", String::from_utf8_lossy(&answer));
//!     }
//!     node.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # Network
//!
//! Every node has a UDP port of its own for IPv4 and IPv6. All nodes of a machine share port
//! [`DISCOVERY_PORT`](butter_core::addr::DISCOVERY_PORT), on which they hear discovery: by multicast to `224.0.0.181` and
//! `ff02::1`, and by IPv4 broadcast, sent once over every interface. Interfaces that come and go are followed
//! within 3 seconds.
//!
//! # Runtime
//!
//! The node's task runs on async-std. `default-features = false, features = ["smol"]` runs it on smol instead. Its
//! futures can be awaited on any runtime.

mod builder;
mod clock;
mod content;
mod data_dir;
mod engine;
mod error;
mod event;
mod hosts;
mod net;
mod node;
mod rt;
mod source;

pub use builder::Builder;
pub use content::{Get, Progress, Put, Stored};
pub use data_dir::{identity, make_identity};
pub use error::Error;
pub use event::{Event, Request};
pub use node::Node;
pub use source::Source;

pub use butter_core as core;
pub use butter_core::id::{Key, NodeId, route};

//! What a recording is made of.

use butter_core::addr::Addr;
use butter_core::id::{Key, NodeId};
use butter_core::storage::StoreError;
use butter_core::wire::{BLOCK, HostRecord};
use serde::{Deserialize, Serialize};

/// Bytes that one frame may have: a block, and what is around it.
pub const FRAME_MAX: usize = BLOCK + 64;

/// How a node begins, at [`butter_core::time::Instant::ZERO`] and on one link, number 0.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Start<'a> {
    /// The secret that it has its id from.
    pub secret: [u8; 32],
    /// Its randomness.
    pub seed: [u8; 32],
    /// The name of the open network that it is a member of.
    pub network: &'a str,
}

/// One call of a node, and when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step<'a> {
    /// Microseconds since the call before, by the node's clock, which may jump.
    pub after_us: i64,
    /// The call.
    #[serde(borrow)]
    pub call: Call<'a>,
}

/// A call of a node. What it returns is an output, and so is what it changes in the end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Call<'a> {
    /// [`butter_core::Node::handle_link`]: the link is up, with the full MTU.
    Link,
    /// [`butter_core::Node::remember`].
    Remember(HostRecord),
    /// [`butter_core::Node::handle_datagram`].
    Datagram {
        /// Where it came from.
        from: Addr,
        /// What was received.
        bytes: &'a [u8],
    },
    /// [`butter_core::Node::handle_timeout`].
    Timeout,
    /// [`butter_core::Node::handle_store`].
    Stored {
        /// Which operation, numbered from 0 as they were polled.
        number: u32,
        /// What was read; empty for the others.
        result: Result<&'a [u8], Fault>,
    },
    /// [`butter_core::Node::poll_event`] until there is none; the [`crate::Bench`] answers each.
    Events,
    /// [`butter_core::Node::poll_transmit`] until there is none.
    Packets,
    /// [`butter_core::Node::poll_store`] once.
    Store,
    /// [`butter_core::Node::deadline`].
    Deadline,
    /// [`butter_core::Node::put`], of bytes that the [`crate::Bench`] makes up.
    Put(u64),
    /// [`butter_core::Node::get`], from the first block.
    Get(Key),
    /// [`butter_core::Node::serve_route`]: requests of [`crate::ROUTE`] are answered with their own bytes.
    Serve,
    /// [`butter_core::Node::call`] of [`crate::ROUTE`].
    Ask(NodeId),
    /// All that can be read of a node's state: counters, hosts, groups, peers.
    Read,
}

/// Why storage failed: [`StoreError`], for recordings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// [`StoreError::Missing`].
    Missing,
    /// [`StoreError::Full`].
    Full,
    /// [`StoreError::Io`].
    Io,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match error {
            StoreError::Missing => Fault::Missing,
            StoreError::Full => Fault::Full,
            StoreError::Io => Fault::Io,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> StoreError {
        match fault {
            Fault::Missing => StoreError::Missing,
            Fault::Full => StoreError::Full,
            Fault::Io => StoreError::Io,
        }
    }
}

#![no_std]
#![forbid(unsafe_code)]
//! The event loop shared by all adapters: [`run`] drives a [`Node`] over a network, a clock, a disk
//! and an application, each a small trait.
//!
//! All waiting is in `poll_*` methods, which keep their state in `self`: nothing is lost when a wait is given up, so the
//! loop is cancel-safe by construction, needs no executor of its own, no channel and no heap, and runs on every
//! executor. A method that returns `Pending` has arranged, as [`Future::poll`] has, that the task is woken when it may
//! be ready.
//!
//! An adapter brings [`Net`] and [`Clock`]; storage that is done at once is made into a [`Disk`] by [`Immediate`],
//! storage that takes its time by [`Deferred`]. A
//! program that has a loop of its own needs none of this: the node's methods are enough.

mod deferred;
mod disk;
mod run;

use core::ops::ControlFlow;
use core::task::{Context, Poll};

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::node::Destination;
use butter_core::storage::{StoreDone, StoreOp};
use butter_core::time::Instant;
use butter_core::{Event, Node};

pub use deferred::{Deferred, DeferredDisk};
pub use disk::Immediate;
pub use run::{BURST, Buffers, FLUSH_MS, ROUNDS, run};

/// What the network brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A datagram; its bytes are in the buffer given.
    Datagram {
        /// The link it came over.
        link: LinkId,
        /// Who sent it.
        from: Addr,
        /// Its length in bytes, at most that of the buffer.
        len: usize,
    },
    /// A link's state. Every link is told once at start, and again when its own addresses change.
    Link {
        /// Which link.
        link: LinkId,
        /// Its state.
        state: LinkState,
    },
    /// An address at which this node can be reached over a link, and how many of its bits name the network.
    Address {
        /// Which link.
        link: LinkId,
        /// The address, with the own port.
        addr: Addr,
        /// Bits that all hosts of the local network share.
        prefix_len: u8,
    },
}

/// All links of a node.
pub trait Net {
    /// Hands over one packet. `Ready`: the link has taken it, or has lost it as networks do. `Pending`: the link is
    /// full; nothing was taken, and the loop gives the same packet again when woken, without asking the node for
    /// another. Other links go on meanwhile.
    fn poll_send(&mut self, cx: &mut Context<'_>, link: LinkId, to: Destination, packet: &[u8]) -> Poll<()>;

    /// Takes what came in next. Errors are the implementer's to handle: what cannot be received is not an event.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Incoming>;
}

/// A clock that can wake.
pub trait Clock {
    /// Now. It must not go backwards by much: the node clamps it.
    fn now(&mut self) -> Instant;

    /// Ready once `at` has come. Only asked before the loop sleeps; the last moment asked for counts. `Ready` may be
    /// early by the clock's resolution.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()>;
}

/// Where blocks are kept. Long work belongs to somebody else's task: none of these methods may take long.
pub trait Disk {
    /// A buffer of at least 4,096 bytes for the next operation; `None` while none can be started.
    fn buffer(&mut self) -> Option<&mut [u8]>;

    /// Starts an operation. Bytes to be put are at the start of the buffer given before.
    fn start(&mut self, op: StoreOp);

    /// An operation that has ended. `Pending` also when none is under way.
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<StoreDone<'_>>;
}

/// The program that uses the node.
pub trait App {
    /// Takes an event. What takes long is to be done elsewhere.
    fn on_event(&mut self, node: &mut Node<'_>, now: Instant, event: Event);

    /// Does the application's next piece of work with the node, for example one command from a channel.
    /// `Ready(Continue)`: a piece is done and there may be more. `Ready(Break)`: the loop is to end; if others should
    /// be told, the node's `shutdown` is to be called first. `Pending`: there is nothing to do until woken.
    fn poll_work(&mut self, cx: &mut Context<'_>, node: &mut Node<'_>, now: Instant) -> Poll<ControlFlow<()>>;
}

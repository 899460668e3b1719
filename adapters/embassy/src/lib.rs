#![no_std]
#![forbid(unsafe_code)]
//! Butter on embassy: a node over embassy-net's UDP and embassy-time, used by several tasks, without a heap.
//!
//! All memory is the caller's: the core's tables and the core itself ([`butter_core::static_memory!`]), and [`Resources`] for
//! what is around it. [`new`] gives a handle, [`Node`], for the application's tasks, and a [`Runner`] that a task of its own runs:
//!
//! ```ignore
//! butter_core::static_memory!(struct Tables, Limits::TINY);
//! static TABLES: StaticCell<Tables> = StaticCell::new();
//! static CORE: StaticCell<butter_core::Node<'static>> = StaticCell::new();
//! static RESOURCES: StaticCell<Resources<'static>> = StaticCell::new();
//!
//! let memory = TABLES.init_with(Tables::new).lend();
//! let core = butter_core::Node::new(butter_embassy::now(), config, identity, seed, &RustCrypto, memory)?;
//! let (node, runner) = butter_embassy::new(stack, CORE.init(core), disk, RESOURCES.init_with(Resources::new));
//! spawner.spawn(run(runner)?);
//! let length = node.call(peer, route("ohce/1"), b"hello", Duration::from_secs(5), &mut answer).await?;
//! ```
//!
//! `stack` is embassy-net's, run by the application; it needs one socket, one multicast group and the feature `multicast`. The
//! node follows its link and addresses by itself: DHCP, link-local, static, IPv6. Only this crate should wait for the stack's
//! state: it remembers one waiting task, and two of them wake each other without end.
//!
//! Nothing is polled: the runner sleeps until a packet comes, a handle wants something, or the core's deadline. All tasks
//! must be of the same executor, which the compiler sees to.

mod clock;
mod error;
mod log;
mod mailbox;
mod net;
mod node;

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::{Future as _, poll_fn};
use core::pin::pin;
use core::task::Poll;

use butter_core::Node as Core;
use butter_core::wire::MTU;
use butter_driver::{Buffers, Disk};
use embassy_net::Stack;
use embassy_net::udp::{PacketMetadata, UdpSocket};

pub use clock::now;
pub use error::Error;
pub use node::{Changes, Node, Requests, State, Stored};

use clock::BootClock;
use mailbox::{Place, Post, Shared};
use net::Udp;

/// Packets that wait to be sent. When full: the runner waits, and encodes nothing.
const TX: usize = 2;

/// The memory of a node besides its core: `MAIL` places for what tasks wait for at the same time, and room for `RX` packets
/// that came in while the runner was busy; more are lost, as networks lose.
///
/// RAM: (`RX` + 4) · 1,232 bytes, and about 100 for each place.
#[derive(Debug)]
pub struct Resources<'d, const MAIL: usize = 8, const RX: usize = 4> {
    mailbox: [Place; MAIL],
    shared: Option<Shared<'d>>,
    buffers: Buffers<1, MTU>,
    rx: [[u8; MTU]; RX],
    tx: [[u8; MTU]; TX],
    rx_packets: [PacketMetadata; RX],
    tx_packets: [PacketMetadata; TX],
}

impl<const MAIL: usize, const RX: usize> Resources<'_, MAIL, RX> {
    /// Unused.
    pub const fn new() -> Self {
        Resources {
            mailbox: [const { Place::FREE }; MAIL],
            shared: None,
            buffers: Buffers::NEW,
            rx: [[0; MTU]; RX],
            tx: [[0; MTU]; TX],
            rx_packets: [PacketMetadata::EMPTY; RX],
            tx_packets: [PacketMetadata::EMPTY; TX],
        }
    }
}

impl<const MAIL: usize, const RX: usize> Default for Resources<'_, MAIL, RX> {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a core on the network. Nothing happens before the [`Runner`] runs.
pub fn new<'d, D: Disk, const MAIL: usize, const RX: usize>(
    stack: Stack<'d>,
    core: &'d mut Core<'d>,
    disk: D,
    resources: &'d mut Resources<'d, MAIL, RX>,
) -> (Node<'d>, Runner<'d, D>) {
    let Resources { mailbox, shared, buffers, rx, tx, rx_packets, tx_packets } = resources;
    let shared = shared.insert(Shared {
        core: RefCell::new(core),
        places: RefCell::new(mailbox),
        waker: RefCell::new(None),
        link: Cell::new(false),
    });
    let socket = UdpSocket::new(stack, rx_packets, rx.as_flattened_mut(), tx_packets, tx.as_flattened_mut());
    (Node(shared), Runner { shared, net: Udp::new(stack, socket, shared), disk, buffers })
}

/// What makes a node run: to be given to a task of its own.
#[derive(Debug)]
#[must_use = "a node does nothing until it is run"]
pub struct Runner<'d, D> {
    shared: &'d Shared<'d>,
    net: Udp<'d>,
    disk: D,
    buffers: &'d mut Buffers<1, MTU>,
}

impl<D: Disk> Runner<'_, D> {
    /// Runs the node.
    pub async fn run(&mut self) -> Infallible {
        poll_fn(|cx| {
            let mine = self.shared.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if !mine {
                *self.shared.waker.borrow_mut() = Some(cx.waker().clone());
            }
            // The core is lent for one poll at a time, so that handles may use it between two. A loop that is dropped
            // loses nothing.
            let (mut core, mut clock, mut post) = (self.shared.core.borrow_mut(), BootClock, Post(self.shared));
            let turn =
                butter_driver::run(&mut core, &mut self.net, &mut clock, &mut self.disk, &mut post, self.buffers);
            let _ = pin!(turn).poll(cx);
            Poll::Pending
        })
        .await
    }
}

//! The loop itself.

use core::future::poll_fn;
use core::ops::ControlFlow;
use core::task::{Context, Poll};

use butter_core::addr::LinkId;
use butter_core::node::Transmit;
use butter_core::time::Instant;
use butter_core::{Node, wire};

use crate::{App, Clock, Disk, Incoming, Net};

/// Packets sent per link, events told and storage operations started in one round, at most.
pub const BURST: usize = 32;
/// Rounds after which the loop lets other tasks run, though it has more to do.
pub const ROUNDS: usize = 64;
/// Milliseconds for which a loop that ends waits for full links, and for storage operations under way.
pub const FLUSH_MS: u32 = 1_000;

/// A packet that its link has not taken yet.
#[derive(Debug)]
struct Held<const MTU: usize> {
    bytes: [u8; MTU],
    transmit: Option<Transmit>,
}

/// The loop's packets: one coming in, and one going out on each of the links 0 to `LINKS` − 1.
/// RAM: (1 + `LINKS`) · `MTU` bytes.
#[derive(Debug)]
pub struct Buffers<const LINKS: usize = 1, const MTU: usize = { wire::MTU }> {
    incoming: [u8; MTU],
    held: [Held<MTU>; LINKS],
}

impl<const LINKS: usize, const MTU: usize> Buffers<LINKS, MTU> {
    /// Empty buffers.
    pub const NEW: Self =
        Buffers { incoming: [0; MTU], held: [const { Held { bytes: [0; MTU], transmit: None } }; LINKS] };
}

impl<const LINKS: usize, const MTU: usize> Default for Buffers<LINKS, MTU> {
    fn default() -> Self {
        Self::NEW
    }
}

/// What the loop joins.
struct Parts<'a, 'm, N, C, D, A, const LINKS: usize, const MTU: usize> {
    node: &'a mut Node<'m>,
    net: &'a mut N,
    clock: &'a mut C,
    disk: &'a mut D,
    app: &'a mut A,
    buffers: &'a mut Buffers<LINKS, MTU>,
    /// Storage operations started and not done.
    storing: usize,
    /// When a loop that ends gives up what is left.
    ending: Option<Instant>,
}

/// Runs a node until the application breaks the loop; then what the node still has to send goes out and storage
/// operations under way end, within [`FLUSH_MS`].
///
/// Each round tells events, sends at most [`BURST`] packets per link, starts storage operations, and then does at most
/// one thing for each of these that is ready, in this order: a deadline, a storage operation that ended, the
/// application's work, what the network brought. Own obligations come before the user, and the user before strangers; and
/// as each gets one turn per round, none can starve another. A link that is full is left alone until it is
/// writable, and nothing is encoded for it. After [`ROUNDS`] rounds without a pause the loop yields to other tasks.
///
/// The future may be dropped at any time: the node stays whole, and packets held for full links stay in `buffers`.
pub async fn run<N: Net, C: Clock, D: Disk, A: App, const LINKS: usize, const MTU: usize>(
    node: &mut Node<'_>,
    net: &mut N,
    clock: &mut C,
    disk: &mut D,
    app: &mut A,
    buffers: &mut Buffers<LINKS, MTU>,
) {
    let mut parts = Parts { node, net, clock, disk, app, buffers, storing: 0, ending: None };
    poll_fn(|cx| parts.poll(cx)).await;
}

impl<N: Net, C: Clock, D: Disk, A: App, const LINKS: usize, const MTU: usize> Parts<'_, '_, N, C, D, A, LINKS, MTU> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let mut busy = self.events();
            let (sent, full) = self.transmit(cx);
            busy |= sent;
            if let Some(until) = self.ending {
                busy |= self.stored(cx);
                if self.clock.now() >= until || !busy && !full && self.storing == 0 {
                    return Poll::Ready(());
                }
                if !busy && self.clock.poll_until(cx, until).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            busy |= self.store();
            busy |= self.timeout();
            busy |= self.stored(cx);
            busy |= self.work(cx);
            busy |= self.ending.is_some() || self.receive(cx);
            if !busy {
                match self.node.deadline() {
                    Some(deadline) if self.clock.poll_until(cx, deadline.at).is_ready() => {}
                    _ => return Poll::Pending,
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells events. True: there may be more.
    fn events(&mut self) -> bool {
        for _ in 0..BURST {
            let Some(event) = self.node.poll_event() else { return false };
            let now = self.clock.now();
            self.app.on_event(self.node, now, event);
        }
        true
    }

    /// Sends. The first of the two: there may be more; the second: a link is full.
    fn transmit(&mut self, cx: &mut Context<'_>) -> (bool, bool) {
        let (mut more, mut full) = (false, false);
        for (link, held) in self.buffers.held.iter_mut().enumerate() {
            let link = LinkId(link as u8);
            let mut room = BURST;
            loop {
                if held.transmit.is_none() {
                    if room == 0 {
                        more = true;
                        break;
                    }
                    room -= 1;
                    held.transmit = self.node.poll_transmit(self.clock.now(), link, &mut held.bytes);
                }
                let Some(transmit) = held.transmit else { break };
                let packet = held.bytes.get(..transmit.len).unwrap_or_default();
                if self.net.poll_send(cx, link, transmit.to, packet).is_pending() {
                    full = true;
                    break;
                }
                held.transmit = None;
            }
        }
        (more, full)
    }

    /// Starts storage operations. True: there may be more.
    fn store(&mut self) -> bool {
        for _ in 0..BURST {
            let Some(buffer) = self.disk.buffer() else { return false };
            let Some(op) = self.node.poll_store(buffer) else { return false };
            self.disk.start(op);
            self.storing += 1;
        }
        true
    }

    /// Does what is due. True: something was.
    fn timeout(&mut self) -> bool {
        let now = self.clock.now();
        let due = self.node.deadline().is_some_and(|deadline| deadline.at <= now);
        if due {
            self.node.handle_timeout(now);
        }
        due
    }

    /// Takes one storage operation that has ended.
    fn stored(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(done) = self.disk.poll_done(cx) else { return false };
        self.storing = self.storing.saturating_sub(1);
        self.node.handle_store(self.clock.now(), done);
        true
    }

    /// Lets the application work.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        match self.app.poll_work(cx, self.node, now) {
            Poll::Ready(ControlFlow::Break(())) => {
                self.ending = Some(now.plus_ms(FLUSH_MS));
                true
            }
            Poll::Ready(ControlFlow::Continue(())) => true,
            Poll::Pending => false,
        }
    }

    /// Takes what the network brought.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(incoming) = self.net.poll_recv(cx, &mut self.buffers.incoming) else { return false };
        let now = self.clock.now();
        match incoming {
            Incoming::Datagram { link, from, len } => {
                if let Some(data) = self.buffers.incoming.get_mut(..len) {
                    self.node.handle_datagram(now, link, from, data);
                }
            }
            Incoming::Link { link, state } => self.node.handle_link(now, link, state),
            Incoming::Address { link, addr, prefix_len } => self.node.handle_local_addr(now, link, addr, prefix_len),
        }
        true
    }
}

//! A world made by hand: nothing happens in it unless a test says so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::identity::{Identity, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::node::Destination;
use butter_core::storage::{StoreDone, StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::{Event, Node};
use butter_crypto::RustCrypto;
use butter_driver::{App, Buffers, Clock, Disk, Incoming, Net, run};

pub type Sent = (LinkId, Destination, Vec<u8>);

/// Links that are full when told so.
#[derive(Default)]
pub struct TestNet {
    pub full: Vec<LinkId>,
    pub sent: Vec<Sent>,
    /// Packets that a full link was offered.
    pub offered: Vec<Sent>,
    pub incoming: VecDeque<(Incoming, Vec<u8>)>,
    pub received: usize,
}

impl Net for TestNet {
    fn poll_send(&mut self, _: &mut Context<'_>, link: LinkId, to: Destination, packet: &[u8]) -> Poll<()> {
        let packet = (link, to, packet.to_vec());
        if self.full.contains(&link) {
            self.offered.push(packet);
            return Poll::Pending;
        }
        self.sent.push(packet);
        Poll::Ready(())
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<Incoming> {
        let Some((incoming, bytes)) = self.incoming.pop_front() else { return Poll::Pending };
        buf[..bytes.len()].copy_from_slice(&bytes);
        self.received += 1;
        Poll::Ready(incoming)
    }
}

/// A clock that stands still unless moved.
#[derive(Default)]
pub struct TestClock {
    pub now: Instant,
    /// What the loop sleeps until.
    pub armed: Option<Instant>,
}

impl Clock for TestClock {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn poll_until(&mut self, _: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.armed = Some(at);
        if at <= self.now { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Something that a test changes while a loop uses it.
struct Shared<'a, T>(&'a RefCell<&'a mut T>);

impl Net for Shared<'_, TestNet> {
    fn poll_send(&mut self, cx: &mut Context<'_>, link: LinkId, to: Destination, packet: &[u8]) -> Poll<()> {
        self.0.borrow_mut().poll_send(cx, link, to, packet)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Incoming> {
        self.0.borrow_mut().poll_recv(cx, buf)
    }
}

impl Clock for Shared<'_, TestClock> {
    fn now(&mut self) -> Instant {
        self.0.borrow_mut().now()
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.0.borrow_mut().poll_until(cx, at)
    }
}

/// A disk on which nothing is found; it answers when told so.
#[derive(Default)]
pub struct TestDisk {
    buffer: Vec<u8>,
    pub asked: VecDeque<StoreOp>,
    pub polled: usize,
}

impl Disk for TestDisk {
    fn buffer(&mut self) -> Option<&mut [u8]> {
        self.buffer.resize(4096, 0);
        Some(&mut self.buffer)
    }

    fn start(&mut self, op: StoreOp) {
        self.asked.push_back(op);
    }

    fn poll_done(&mut self, _: &mut Context<'_>) -> Poll<StoreDone<'_>> {
        self.polled += 1;
        match self.asked.pop_front() {
            Some(op) => Poll::Ready(StoreDone { ticket: op.ticket(), result: Err(StoreError::Io) }),
            None => Poll::Pending,
        }
    }
}

/// One piece of an application's work.
pub type Work = Box<dyn FnMut(&mut Node<'_>, Instant) -> ControlFlow<()>>;

/// Works when told so.
#[derive(Default)]
pub struct TestApp {
    pub work: VecDeque<Work>,
    pub events: Vec<Event>,
}

impl App for TestApp {
    fn on_event(&mut self, _: &mut Node<'_>, _: Instant, event: Event) {
        self.events.push(event);
    }

    fn poll_work(&mut self, _: &mut Context<'_>, node: &mut Node<'_>, now: Instant) -> Poll<ControlFlow<()>> {
        match self.work.pop_front() {
            Some(mut work) => Poll::Ready(work(node, now)),
            None => Poll::Pending,
        }
    }
}

/// Counts wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How one poll of the loop went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Poked {
    /// It waits until something happens.
    Waits,
    /// It has more to do, and let others run.
    Yields,
    /// It has ended.
    Ended,
}

pub struct World {
    pub node: Node<'static>,
    pub net: TestNet,
    pub clock: TestClock,
    pub disk: TestDisk,
    pub app: TestApp,
    pub buffers: Buffers<2>,
}

pub fn node(seed: u8) -> Node<'static> {
    let identity = Identity { secret: SecretKey([seed; 32]), network: Network::open(&RustCrypto, "driver") };
    let memory = Memory::heap(&Limits::DESKTOP);
    Node::new(Instant::ZERO, Config::default(), identity, [seed; 32], &RustCrypto, memory)
        .expect("a good configuration")
}

pub fn addr(n: u16) -> Addr {
    std::net::SocketAddr::from(([10, 0, 0, 1], n)).into()
}

pub fn up(link: u8) -> (Incoming, Vec<u8>) {
    (Incoming::Link { link: LinkId(link), state: LinkState::Up { mtu: 1232 } }, Vec::new())
}

impl World {
    /// A world with a node whose two links are up, and which has nothing to do for now.
    pub fn new(seed: u8) -> World {
        let mut world = World {
            node: node(seed),
            net: TestNet::default(),
            clock: TestClock::default(),
            disk: TestDisk::default(),
            app: TestApp::default(),
            buffers: Buffers::NEW,
        };
        world.net.incoming.extend([up(0), up(1)]);
        assert_eq!(world.poke(), Poked::Waits);
        world.net.sent.clear();
        world
    }

    /// Polls a loop once, as after a wake, and drops it: that must lose nothing.
    pub fn poke(&mut self) -> Poked {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let World { node, net, clock, disk, app, buffers } = self;
        let future = pin!(run(node, net, clock, disk, app, buffers));
        match future.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => Poked::Ended,
            Poll::Pending if wakes.0.load(Ordering::Relaxed) > 0 => Poked::Yields,
            Poll::Pending => Poked::Waits,
        }
    }

    /// Polls one loop again and again, `each(net, clock, n)` before poll n, until it ends (the number of that poll) or `each` says
    /// no (`None`).
    pub fn run_with(&mut self, mut each: impl FnMut(&mut TestNet, &mut TestClock, u32) -> bool) -> Option<u32> {
        let World { node, net, clock, disk, app, buffers } = self;
        let (net, clock) = (RefCell::new(net), RefCell::new(clock));
        let (mut shared_net, mut shared_clock) = (Shared(&net), Shared(&clock));
        let mut future = pin!(run(node, &mut shared_net, &mut shared_clock, disk, app, buffers));
        for n in 0.. {
            if !each(&mut net.borrow_mut(), &mut clock.borrow_mut(), n) {
                return None;
            }
            if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return Some(n);
            }
        }
        None
    }

    /// Makes the node want to send `n` packets over a link, each to another address.
    pub fn want_to_send(&mut self, link: u8, n: u16) {
        for i in 1..=n {
            self.node.meet(self.clock.now, LinkId(link), addr(i)).expect("room for addresses");
        }
    }

    /// Lets time pass to the node's next deadline.
    pub fn pass(&mut self) {
        if let Some(deadline) = self.node.deadline() {
            self.clock.now = self.clock.now.max(deadline.at);
        }
    }
}

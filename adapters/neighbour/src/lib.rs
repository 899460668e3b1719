#![no_std]
#![forbid(unsafe_code)]
//! Keeps one silent address from blocking a network stack: [`Neighbour`] wraps an Ethernet driver and answers the
//! stack's questions about who has which MAC address, for IPv4 (ARP) and IPv6 (Neighbour Discovery).
//!
//! # Why
//!
//! smoltcp, and so embassy-net, resolves neighbours one at a time: one question per second for the whole interface, and
//! a datagram whose receiver has not answered yet stays at the head of its UDP socket's queue, for ever if need be
//! (smoltcp issues 594 and 1101). One packet with the forged source address of a host that is not there silences a
//! board that answers it; twenty hosts that speak at once are answered over twenty seconds.
//!
//! # What it does
//!
//! - **Learns.** Whoever sends an IP packet or an ARP packet is remembered with its MAC address, and the stack is told
//!   at once, by an answer to a question that it need not ask.
//! - **Answers.** What the stack asks and the table knows is answered at once. The question goes out all the same, so
//!   that a host with a new MAC address is found. As the stack may ask only once per second, it is told all else that it
//!   may have forgotten, too.
//! - **Gives up.** When the stack asks a second time about an address that has not answered, it is told the board's own
//!   MAC address: what is sent there ends at the next switch, and the socket goes on. At the first sign of life the
//!   stack is told the truth. So an address that is not there delays others by one second, once.
//!
//! It looks at frames and adds frames; it never holds back, drops or changes one. It needs no clock and no heap.
//!
//! # What it trusts
//!
//! The sender's addresses in any frame, as ARP does: whoever is on the local network can pretend to be another host of it.
//! Without it this takes a forged ARP packet, with it any forged packet. What matters must be sealed end to end, as
//! Butter's packets are. IPv6 senders are learned only from link-local addresses and from the /64 that they write to;
//! of IPv4 senders the stack refuses those that are not of its network.
//!
//! # How large
//!
//! `N` hosts are remembered, 28 bytes of RAM each; when there are more, the longest unheard one makes room. `N` should be
//! as many as the board talks with at a time, and smoltcp's own cache at least as large: set the environment variable
//! `SMOLTCP_IFACE_NEIGHBOR_CACHE_COUNT` (8, if it is not set) when building.
//!
//! ```
//! use butter_neighbour::{Counters, Neighbour};
//! use embassy_net::StackResources;
//!
//! fn start(driver: impl embassy_net::driver::Driver, resources: &mut StackResources<3>, seed: u64) {
//!     static COUNTERS: Counters = Counters::new();
//!     let driver = Neighbour::<_, 32>::new(driver, &COUNTERS);
//!     let config = embassy_net::Config::default();
//!     let (stack, runner) = embassy_net::new(driver, config, resources, seed);
//! #   let _ = (stack, runner);
//! }
//! ```

mod frame;
mod table;

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Waker};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};

use frame::{LONGEST, Mac};
use table::Table;

/// What happened, since start. Each wraps at 2^32. Only the wrapper writes, so that plain loads and stores suffice: parts
/// without atomic additions have it, too.
#[derive(Debug, Default)]
pub struct Counters {
    learned: AtomicU32,
    told: AtomicU32,
    asked: AtomicU32,
    given_up: AtomicU32,
    evicted: AtomicU32,
}

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Counters {
            learned: AtomicU32::new(0),
            told: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            evicted: AtomicU32::new(0),
        }
    }

    /// Hosts whose MAC address was new.
    pub fn learned(&self) -> u32 {
        self.learned.load(Ordering::Relaxed)
    }

    /// Answers given to the stack.
    pub fn told(&self) -> u32 {
        self.told.load(Ordering::Relaxed)
    }

    /// Questions of the stack.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Questions about a silent address that were answered with the board's own MAC address.
    pub fn given_up(&self) -> u32 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Hosts forgotten because there was no room for them: if this grows, `N` is too small.
    pub fn evicted(&self) -> u32 {
        self.evicted.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// An Ethernet driver whose stack never waits long for a neighbour; see the crate's documentation. It remembers `N` hosts.
/// Drivers of other media pass through untouched.
#[derive(Debug)]
pub struct Neighbour<'c, D, const N: usize> {
    driver: D,
    // The stack holds a token to receive and one to send at a time, and uses one within the other.
    inner: RefCell<Inner<'c, N>>,
}

#[derive(Debug)]
struct Inner<'c, const N: usize> {
    table: Table<N>,
    counters: &'c Counters,
    /// Wakes the stack's task when there is something to tell it.
    waker: Option<Waker>,
}

impl<'c, D: Driver, const N: usize> Neighbour<'c, D, N> {
    /// Wraps a driver. `counters` can be read while the stack owns the wrapper.
    pub const fn new(driver: D, counters: &'c Counters) -> Self {
        const { assert!(N > 0, "a table of no hosts is of no use") };
        Neighbour { driver, inner: RefCell::new(Inner { table: Table::NEW, counters, waker: None }) }
    }
}

/// The board's MAC address; `None` when the medium is not Ethernet.
fn mac(driver: &impl Driver) -> Option<Mac> {
    match driver.hardware_address() {
        HardwareAddress::Ethernet(mac) => Some(mac),
        _ => None,
    }
}

impl<'c, D: Driver, const N: usize> Driver for Neighbour<'c, D, N> {
    type RxToken<'a>
        = Rx<'a, 'c, D::RxToken<'a>, N>
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a, 'c, D::TxToken<'a>, N>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let own = mac(&self.driver);
        let Inner { table, counters, waker } = self.inner.get_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        if let (true, Some(own_mac)) = (table.has_news(), own) {
            // The stack sends nothing in answer, but it wants a token for it. While there is none nothing is told: what
            // it would be told for could not be sent either.
            let mut made = [0; LONGEST];
            drop(self.driver.transmit(cx)?);
            if let Some(len) = table.tell(own_mac, counters, &mut made) {
                let token = self.driver.transmit(cx)?;
                let inner = &self.inner;
                return Some((Rx { source: Source::Made(made, len), own, inner }, Tx { token, own, inner }));
            }
        }
        let (rx, tx) = self.driver.receive(cx)?;
        let inner = &self.inner;
        Some((Rx { source: Source::Driver(rx), own, inner }, Tx { token: tx, own, inner }))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
        let own = mac(&self.driver);
        let token = self.driver.transmit(cx)?;
        Some(Tx { token, own, inner: &self.inner })
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        let state = self.driver.link_state(cx);
        if state == LinkState::Down {
            // The next cable may lead to another network.
            self.inner.get_mut().table = Table::NEW;
        }
        state
    }

    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.driver.hardware_address()
    }
}

/// A frame received, or an answer made here.
#[derive(Debug)]
pub struct Rx<'a, 'c, T, const N: usize> {
    source: Source<T>,
    own: Option<Mac>,
    inner: &'a RefCell<Inner<'c, N>>,
}

#[derive(Debug)]
enum Source<T> {
    Driver(T),
    Made([u8; LONGEST], usize),
}

impl<T: RxToken, const N: usize> RxToken for Rx<'_, '_, T, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        match self.source {
            Source::Driver(token) => token.consume(|frame| {
                if let (Some(own), Ok(mut inner)) = (self.own, self.inner.try_borrow_mut())
                    && let Some((host, mac, known_only)) = frame::sender(frame, own)
                {
                    let Inner { table, counters, .. } = &mut *inner;
                    table.heard(host, mac, known_only, counters);
                }
                f(frame)
            }),
            Source::Made(mut frame, len) => f(frame.get_mut(..len).unwrap_or_default()),
        }
    }
}

/// A frame to be sent.
#[derive(Debug)]
pub struct Tx<'a, 'c, T, const N: usize> {
    token: T,
    own: Option<Mac>,
    inner: &'a RefCell<Inner<'c, N>>,
}

impl<T: TxToken, const N: usize> TxToken for Tx<'_, '_, T, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.token.consume(len, |frame| {
            let result = f(frame);
            if let (Some(_), Ok(mut inner)) = (self.own, self.inner.try_borrow_mut()) {
                let Inner { table, counters, waker } = &mut *inner;
                if let Some(own) = frame::own_v4(frame) {
                    table.set_own_v4(own);
                }
                if let Some(host) = frame::asked(frame) {
                    table.asked(host, counters);
                }
                if table.has_news()
                    && let Some(waker) = waker.take()
                {
                    waker.wake();
                }
            }
            result
        })
    }
}

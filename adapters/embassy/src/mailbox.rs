//! What the application's tasks wait for, and how the node's events get there.

use core::cell::{Cell, RefCell};
use core::ops::ControlFlow;
use core::task::{Context, Poll, Waker};

use butter_core::exchange::Status;
use butter_core::id::RouteId;
use butter_core::node::{CallId, GetId, PutId, ServeId};
use butter_core::time::Instant;
use butter_core::{Event, Node as Core};
use butter_driver::App;
use heapless::Deque;

/// Blocks of one put or get that wait for the application: as many as [`butter_core::config::Config::transfer_window`]. When
/// full: a put asks for the block again, and a get ends with [`crate::Error::Lost`].
const BLOCKS: usize = 16;
/// Requests of one route that wait for the application. When full: answered [`Status::Busy`].
const REQUESTS: usize = 4;

/// What one task waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// Nothing: the place is free.
    Nobody,
    /// Taken; nothing to wait for yet.
    Begun,
    Call(CallId),
    Put(PutId, Deque<u32, BLOCKS>),
    Get(GetId, Deque<u32, BLOCKS>),
    Route(RouteId, Deque<ServeId, REQUESTS>),
    /// Any change of link, hosts or groups, and whether there was one.
    Change(bool),
}

/// A place in the mailbox. About 100 bytes.
#[derive(Debug)]
pub(crate) struct Place {
    pub wait: Wait,
    pub waker: Option<Waker>,
    /// Events were lost that may have been for this place.
    pub lost: bool,
}

impl Place {
    pub const FREE: Place = Place { wait: Wait::Nobody, waker: None, lost: false };

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What the runner and all handles share. Nobody keeps a borrow over an await.
#[derive(Debug)]
pub(crate) struct Shared<'d> {
    pub core: RefCell<&'d mut Core<'d>>,
    pub places: RefCell<&'d mut [Place]>,
    /// The runner's.
    pub waker: RefCell<Option<Waker>>,
    /// Whether the link is up and has an address.
    pub link: Cell<bool>,
}

impl Shared<'_> {
    /// Has the runner look at the node.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Wakes who waits for something; false: nobody does.
    fn tell(&self, mut is_for: impl FnMut(&mut Place) -> bool) -> bool {
        let mut places = self.places.borrow_mut();
        match places.iter_mut().find_map(|place| is_for(place).then_some(place)) {
            Some(place) => {
                place.wake();
                true
            }
            None => false,
        }
    }

    /// Wakes all who wait for a change.
    pub fn changed(&self) {
        for place in self.places.borrow_mut().iter_mut() {
            if let Wait::Change(changed) = &mut place.wait {
                *changed = true;
                place.wake();
            }
        }
    }

    fn request(&self, core: &mut Core<'_>, now: Instant, serve: ServeId) {
        let Some(route) = core.request(serve).map(|request| request.route) else { return };
        let mut full = false;
        let taken = self.tell(|place| match &mut place.wait {
            Wait::Route(served, requests) if *served == route => {
                full = requests.push_back(serve).is_err();
                true
            }
            _ => false,
        });
        let status = match (taken, full) {
            (true, false) => return,
            (true, true) => Status::Busy,
            (false, _) => Status::NoRoute,
        };
        // Refused only when nobody waits any more.
        let _ = core.respond(now, serve, status, &[]);
    }
}

/// The driver's application: gives events to the tasks that wait for them.
pub(crate) struct Post<'a, 'd>(pub &'a Shared<'d>);

impl App for Post<'_, '_> {
    fn on_event(&mut self, core: &mut Core<'_>, now: Instant, event: Event) {
        let Post(shared) = self;
        match event {
            Event::PeerUp(_) | Event::PeerDown(_) | Event::GroupChanged(_) => shared.changed(),
            Event::Request(serve) => shared.request(core, now, serve),
            Event::Cancelled(serve) => {
                shared.tell(|place| match &mut place.wait {
                    Wait::Route(_, requests) => {
                        let before = requests.len();
                        requests.retain(|waiting| *waiting != serve);
                        requests.len() < before
                    }
                    _ => false,
                });
            }
            Event::Answered(call) => {
                shared.tell(|place| matches!(place.wait, Wait::Call(waiting) if waiting == call));
            }
            Event::PutWants { put, block } => {
                shared.tell(|place| match &mut place.wait {
                    Wait::Put(waiting, blocks) if *waiting == put => {
                        let _ = blocks.push_back(block);
                        true
                    }
                    _ => false,
                });
            }
            Event::GetHas { get, block } => {
                shared.tell(|place| match &mut place.wait {
                    Wait::Get(waiting, blocks) if *waiting == get => {
                        place.lost |= blocks.push_back(block).is_err();
                        true
                    }
                    _ => false,
                });
            }
            Event::PutDone(put) => {
                shared.tell(|place| matches!(place.wait, Wait::Put(waiting, _) if waiting == put));
            }
            Event::GetDone(get) => {
                shared.tell(|place| matches!(place.wait, Wait::Get(waiting, _) if waiting == get));
            }
            Event::Lost => {
                for place in shared.places.borrow_mut().iter_mut() {
                    place.lost = true;
                    place.wake();
                }
                shared.changed();
            }
        }
    }

    fn poll_work(&mut self, _: &mut Context<'_>, _: &mut Core<'_>, _: Instant) -> Poll<ControlFlow<()>> {
        // Handles work on the node themselves, between two rounds of the loop.
        Poll::Pending
    }
}

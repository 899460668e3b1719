//! The handle by which tasks use a node.

use core::future::poll_fn;
use core::task::Poll;

use butter_core::Node as Core;
use butter_core::exchange::Status;
use butter_core::id::{Key, NodeId, RouteId};
use butter_core::node::ServeId;
use butter_core::retrieve::Progress;
use butter_core::route::{Reply, Request};
use butter_core::time::Instant;
use butter_core::wire::BLOCK;
use embassy_time::Duration;
use heapless::Deque;

use crate::clock::now;
use crate::error::Error;
use crate::mailbox::{Place, Shared, Wait};

/// A running node, for the tasks of one executor. `Copy`, 4 bytes; each thing that a task waits for takes a place of the
/// mailbox meanwhile. Dropping a future gives up what it waited for.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d>(pub(crate) &'d Shared<'d>);

/// What a node came to, for who watches it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct State {
    /// Whether the link is up and has an address.
    pub link: bool,
    /// Hosts with which there is a session.
    pub peers: u16,
    /// Hosts known.
    pub hosts: u16,
    /// Groups that we are in.
    pub groups: u16,
    /// The most members that one of these groups has, we included.
    pub members: u16,
    /// Items kept here.
    pub items: u16,
}

/// What a put came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The object's name: by it everyone gets it.
    pub key: Key,
    /// How many nodes hold it.
    pub replicas: u8,
}

/// A place of the mailbox, free again when dropped.
#[derive(Debug)]
struct Claim<'d> {
    node: Node<'d>,
    at: usize,
}

impl Claim<'_> {
    fn set(&self, wait: Wait) {
        if let Some(place) = self.node.0.places.borrow_mut().get_mut(self.at) {
            place.wait = wait;
        }
    }

    /// Waits until `look` finds what it looks for; it is asked again at each event for this place.
    async fn until<R>(&self, mut look: impl FnMut(&mut Core<'_>, Instant, &mut Place) -> Option<R>) -> R {
        poll_fn(|cx| {
            let found = self.node.with(|core, now| {
                let mut places = self.node.0.places.borrow_mut();
                let place = places.get_mut(self.at)?;
                place.waker = Some(cx.waker().clone());
                look(core, now, place)
            });
            found.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let place =
            self.node.0.places.borrow_mut().get_mut(self.at).map(|place| core::mem::replace(place, Place::FREE));
        let Some(place) = place else { return };
        self.node.with(|core, now| match place.wait {
            Wait::Call(call) => core.cancel(now, call),
            Wait::Put(put, _) => core.put_free(now, put),
            Wait::Get(get, _) => core.get_free(now, get),
            Wait::Route(route, requests) => {
                core.stop_route(route);
                for serve in &requests {
                    // Refused only when nobody waits any more.
                    let _ = core.respond(now, *serve, Status::NoRoute, &[]);
                }
            }
            Wait::Nobody | Wait::Begun | Wait::Change(_) => {}
        });
    }
}

impl<'d> Node<'d> {
    /// Does a piece of work with the core itself, at once: everything that it can do and this handle has no method for.
    ///
    /// # Panics
    /// When `work` uses a handle of the same node.
    pub fn with<R>(&self, work: impl FnOnce(&mut Core<'_>, Instant) -> R) -> R {
        let done = work(&mut self.0.core.borrow_mut(), now());
        self.0.wake();
        done
    }

    /// Reads something of the core.
    ///
    /// # Panics
    /// When `look` uses a handle of the same node.
    pub fn read<R>(&self, look: impl FnOnce(&Core<'_>) -> R) -> R {
        look(&self.0.core.borrow())
    }

    /// Its name.
    pub fn id(&self) -> NodeId {
        self.read(|core| core.id())
    }

    /// What it came to. Cost: a walk over the tables of peers and seats.
    pub fn state(&self) -> State {
        self.read(|core| State {
            link: self.0.link.get(),
            peers: core.peers().filter(|(_, info)| info.up).count() as u16,
            hosts: core.hosts_known() as u16,
            groups: core.groups().count() as u16,
            members: core.groups().map(|group| group.members.len() as u16).max().unwrap_or(0),
            items: core.items_held() as u16,
        })
    }

    fn claim(&self) -> Result<Claim<'d>, Error> {
        let mut places = self.0.places.borrow_mut();
        let free = places.iter().position(|place| matches!(place.wait, Wait::Nobody)).ok_or(Error::MailboxFull)?;
        if let Some(place) = places.get_mut(free) {
            *place = Place { wait: Wait::Begun, ..Place::FREE };
        }
        Ok(Claim { node: *self, at: free })
    }

    /// Calls a route of a node and waits for its answer, at most `timeout`, and at most an hour; it is written to `answer`,
    /// and its length returned.
    ///
    /// # Errors
    /// [`Error::Call`] tells how the call ended, [`Error::Refused`] why it could not begin; [`Error::TooLong`], [`Error::MailboxFull`].
    pub async fn call(
        &self,
        to: NodeId,
        route: RouteId,
        body: &[u8],
        timeout: Duration,
        answer: &mut [u8],
    ) -> Result<usize, Error> {
        let claim = self.claim()?;
        let deadline_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let call = self.with(|core, now| core.call(now, to, route, body, deadline_ms))?;
        claim.set(Wait::Call(call));
        claim
            .until(|core, _, _| Some(core.answer(call)?.map_err(Error::Call).and_then(|bytes| copy(answer, bytes))))
            .await
    }

    /// Puts an object that is in memory into the network, and waits until it is stored. Fails when fewer than
    /// `min_replicas` nodes hold it then.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Refused`], [`Error::MailboxFull`].
    pub async fn put(&self, object: &[u8], min_replicas: u8) -> Result<Stored, Error> {
        let claim = self.claim()?;
        let put = self.with(|core, now| core.put(now, object.len() as u64, min_replicas))?;
        claim.set(Wait::Put(put, Deque::new()));
        claim
            .until(|core, now, place| {
                let Wait::Put(_, blocks) = &mut place.wait else { return Some(Err(Error::Lost)) };
                while let Some(block) = blocks.pop_front() {
                    let rest = object.get(block as usize * BLOCK..).unwrap_or_default();
                    // What cannot be taken now is asked for again.
                    let _ = core.put_block(now, put, block, rest.get(..BLOCK).unwrap_or(rest));
                }
                let Some(status) = core.put_status(put) else { return Some(Err(Error::Lost)) };
                match (status.progress, status.key) {
                    (Progress::Working, _) => None,
                    (Progress::Done, Some(key)) => Some(Ok(Stored { key, replicas: status.replicas })),
                    (Progress::Failed(reason), _) => Some(Err(Error::Failed(reason))),
                    (Progress::Done | Progress::NotFound, _) => Some(Err(Error::NotFound)),
                }
            })
            .await
    }

    /// Gets an object into `buf`; how long it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLong`], [`Error::Failed`], [`Error::Refused`], [`Error::MailboxFull`].
    pub async fn get(&self, key: Key, buf: &mut [u8]) -> Result<usize, Error> {
        let claim = self.claim()?;
        let get = self.with(|core, now| core.get(now, key, 0))?;
        claim.set(Wait::Get(get, Deque::new()));
        let mut length = 0;
        claim
            .until(|core, now, place| {
                let Wait::Get(_, blocks) = &mut place.wait else { return Some(Err(Error::Lost)) };
                while let Some(block) = blocks.pop_front() {
                    let begin = block as usize * BLOCK;
                    let room = buf.get_mut(begin..).unwrap_or_default();
                    let Some(len) = core.got_block(now, get, block, room) else { return Some(Err(Error::TooLong)) };
                    length = length.max(begin + len);
                }
                if place.lost {
                    return Some(Err(Error::Lost));
                }
                let Some(status) = core.get_status(get) else { return Some(Err(Error::Lost)) };
                match status.progress {
                    Progress::Working => None,
                    Progress::Done => Some(Ok(length)),
                    Progress::NotFound => Some(Err(Error::NotFound)),
                    Progress::Failed(reason) => Some(Err(Error::Failed(reason))),
                }
            })
            .await
    }

    /// Serves a route as long as what is returned lives. Up to 4 requests wait for who answers; more are told that the
    /// route is busy.
    ///
    /// # Errors
    /// [`Error::Refused`] when the core has no room for one more route, [`Error::MailboxFull`].
    pub fn serve(&self, route: RouteId) -> Result<Requests<'d>, Error> {
        let claim = self.claim()?;
        self.with(|core, _| core.serve_route(route))?;
        claim.set(Wait::Route(route, Deque::new()));
        Ok(Requests(claim))
    }

    /// To be told when the link or an address changes, sessions begin or end, or groups change.
    ///
    /// # Errors
    /// [`Error::MailboxFull`].
    pub fn changes(&self) -> Result<Changes<'d>, Error> {
        let claim = self.claim()?;
        claim.set(Wait::Change(false));
        Ok(Changes(claim))
    }
}

fn copy(to: &mut [u8], bytes: &[u8]) -> Result<usize, Error> {
    to.get_mut(..bytes.len()).ok_or(Error::TooLong)?.copy_from_slice(bytes);
    Ok(bytes.len())
}

/// The requests of one route. It is served no more when this is dropped; requests that wait then are refused.
#[derive(Debug)]
pub struct Requests<'d>(Claim<'d>);

impl Requests<'_> {
    /// The next request: to be read with `core.request` and answered with `core.respond`, through [`Node::with`].
    pub async fn next(&mut self) -> ServeId {
        self.0
            .until(|_, _, place| match &mut place.wait {
                Wait::Route(_, requests) => requests.pop_front(),
                _ => None,
            })
            .await
    }

    /// Waits for the next request and lets `handler` write the answer, right where it is sent from.
    pub async fn answer(&mut self, handler: impl FnOnce(Request<'_>, &mut Reply<'_>)) {
        let serve = self.next().await;
        self.0.node.with(|core, now| {
            // Without a buffer for it the caller is to try again; refused otherwise only when nobody waits any more.
            if core.respond_with(now, serve, handler).is_err() {
                let _ = core.respond(now, serve, Status::Busy, &[]);
            }
        });
    }
}

/// Changes of link, hosts and groups: see [`Node::changes`].
#[derive(Debug)]
pub struct Changes<'d>(Claim<'d>);

impl Changes<'_> {
    /// Waits until something has changed since the last time; then see [`Node::state`].
    pub async fn changed(&mut self) {
        self.0
            .until(|_, _, place| match &mut place.wait {
                Wait::Change(changed) => core::mem::take(changed).then_some(()),
                _ => None,
            })
            .await;
    }
}

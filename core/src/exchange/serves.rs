//! The requests that we serve: finding one, and making room for one.

use super::assembly::Assembly;
use super::{DEADLINE_MAX_MS, LOCAL, Status, serves_for_app, serves_per_peer};
use crate::id::{NodeId, RouteId};
use crate::node::{BufferId, Node, PeerId, SMALL, Timer};
use crate::table::{Handle, Index, Slots};
use crate::time::Instant;

/// How far a request has come.
#[derive(Debug)]
pub(super) enum State {
    /// Fragments of the request are missing.
    Receiving(Assembly),
    /// The answer is owed; a request of the application keeps its body until then.
    Owed(Option<BufferId>),
    /// The answer is kept for repetitions.
    Answered(Status, Option<BufferId>),
}

/// A request that we serve.
#[derive(Debug)]
pub struct Serve {
    pub(super) from: NodeId,
    pub(super) peer: PeerId,
    pub(super) number: u32,
    pub(super) route: RouteId,
    /// When the caller gives up.
    pub(super) deadline: Instant,
    pub(super) state: State,
    /// Fragments of the answer that are still to be encoded.
    pub(super) pending: u64,
    /// A frame for them waits in the outbox.
    pub(super) queued: bool,
    /// A frame that asks for missing fragments waits in the outbox.
    pub(super) asking: bool,
    /// How often missing fragments were asked for since one came.
    pub(super) asks: u8,
    /// The peer is held for it.
    pub(super) held: bool,
    /// When the state is given up: nothing is received, the answer is no longer kept.
    pub(super) until: Instant,
    /// When it came.
    since: Instant,
}

impl Serve {
    pub(super) fn for_app(&self) -> bool {
        self.route.0 >= 1 << 31
    }

    /// Keeps an answer in a buffer that `len` bytes could use.
    pub(super) fn keeps_buffer(&self, len: usize) -> bool {
        matches!(&self.state, State::Answered(_, Some(buffer)) if len <= SMALL || buffer.is_large())
    }

    /// Nothing is owed: only the kept answer would be lost.
    fn is_kept(&self) -> bool {
        matches!(self.state, State::Answered(..)) && self.pending == 0
    }
}

impl Node<'_> {
    fn serve_hash(secret: u64, from: &NodeId, number: u32) -> u32 {
        Index::mix(secret ^ u64::from(number) << 16, &from.0)
    }

    pub(super) fn serve_find(&self, from: &NodeId, number: u32) -> Option<Handle> {
        let hash = Self::serve_hash(self.env.index_secret, from, number);
        let serves = &self.exchange.serves;
        let at = |slot: u32| serves.handle_at(slot as u16);
        let is = |serve: &Serve| serve.number == number && serve.from == *from;
        let slot = self.exchange.serve_index.find(hash, |slot| at(slot).and_then(|h| serves.get(h)).is_some_and(is))?;
        at(slot)
    }

    /// The hash of the serve in a slot, for the index.
    fn serve_hasher<'s>(serves: &'s Slots<'_, Serve>, secret: u64) -> impl Fn(u32) -> u32 + 's {
        move |slot| {
            let serve = serves.at(slot as u16);
            serve.map_or(0, |serve| Self::serve_hash(secret, &serve.from, serve.number))
        }
    }

    /// Drops a serve, with all that it holds.
    pub(super) fn drop_serve(&mut self, handle: Handle) {
        let secret = self.env.index_secret;
        let exchange = &mut self.exchange;
        let Some(serve) = exchange.serves.get(handle) else { return };
        let hash = Self::serve_hash(secret, &serve.from, serve.number);
        let hasher = Self::serve_hasher(&exchange.serves, secret);
        exchange.serve_index.remove(hash, u32::from(handle.index), hasher);
        let Some(serve) = exchange.serves.remove(handle) else { return };
        self.env.timers.clear(Timer::Serve(handle.index));
        if serve.held {
            self.release(serve.peer);
        }
        match serve.state {
            State::Receiving(assembly) => self.env.buffers.free(assembly.buffer),
            State::Owed(buffer) | State::Answered(_, buffer) => self.free_buffer(buffer),
        }
    }

    /// Drops the oldest kept answer for which `is` holds; false when there is none.
    pub(super) fn forget_kept(&mut self, is: impl Fn(&Serve) -> bool) -> bool {
        let kept = self.exchange.serves.iter().filter(|(_, serve)| serve.is_kept() && is(serve));
        let oldest = kept.min_by_key(|(_, serve)| serve.since).map(|(handle, _)| handle);
        if let Some(handle) = oldest {
            self.drop_serve(handle);
            self.env.counters.answers_evicted += 1;
        }
        oldest.is_some()
    }

    /// Makes room for one more serve. Cost: a look at all serves.
    pub(super) fn serve_room(&mut self, from: &NodeId, app: bool) -> bool {
        let of_peer = self.exchange.serves.iter().filter(|(_, serve)| serve.from == *from).count();
        if of_peer >= serves_per_peer(&self.env.limits) && !self.forget_kept(|serve| serve.from == *from) {
            return false;
        }
        if app {
            let owed = |serve: &Serve| serve.for_app() && !serve.is_kept();
            let of_app = self.exchange.serves.iter().filter(|(_, serve)| owed(serve)).count();
            if of_app >= serves_for_app(&self.env.limits) {
                return false;
            }
        }
        !self.exchange.serves.is_full() || self.forget_kept(|_| true)
    }

    /// Adds a serve; frees what `state` holds when there is no room.
    pub(super) fn add_serve(
        &mut self,
        from: NodeId,
        peer: PeerId,
        number: u32,
        route: RouteId,
        deadline_ms: u32,
        state: State,
    ) -> Option<Handle> {
        let now = self.env.now;
        let deadline = now.plus_ms(deadline_ms.min(DEADLINE_MAX_MS));
        let serve = Serve {
            from,
            peer,
            number,
            route,
            deadline,
            state,
            pending: 0,
            queued: false,
            asking: false,
            asks: 0,
            held: peer != LOCAL,
            until: deadline,
            since: now,
        };
        let secret = self.env.index_secret;
        let exchange = &mut self.exchange;
        let refused = match exchange.serves.insert(serve) {
            Ok(handle) => {
                let hash = Self::serve_hash(secret, &from, number);
                let hasher = Self::serve_hasher(&exchange.serves, secret);
                if exchange.serve_index.insert(hash, u32::from(handle.index), hasher) {
                    self.env.timers.set(Timer::Serve(handle.index), deadline);
                    if peer != LOCAL {
                        self.hold(peer);
                    }
                    return Some(handle);
                }
                exchange.serves.remove(handle)
            }
            Err(serve) => Some(serve),
        };
        if let Some(State::Receiving(Assembly { buffer, .. }) | State::Owed(Some(buffer))) = refused.map(|s| s.state) {
            self.env.buffers.free(buffer);
        }
        None
    }
}

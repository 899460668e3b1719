//! What the application sees of calls.

use super::serves::State;
use super::{Failure, LOCAL, Owner, Status};
use crate::id::{NodeId, RouteId};
use crate::node::{CallId, Event, Node, Refused, ServeId};
use crate::route::{Reply, Request};
use crate::table::Handle;
use crate::time::Instant;

impl Node<'_> {
    /// Calls a route of a node, which is dialled if need be: ends in [`Event::Answered`], once. `deadline_ms` is at most
    /// an hour ([`super::DEADLINE_MAX_MS`]). The request is run at most once, as long as the node there keeps running.
    /// A call to our own id is served here.
    ///
    /// Cost: one copy of the body.
    ///
    /// # Errors
    /// `Invalid` for a route below 2³¹, `TooLong`, `Full`, `NoBuffer`, `NoPath`; then nothing was changed.
    pub fn call(
        &mut self,
        now: Instant,
        to: NodeId,
        route: RouteId,
        body: &[u8],
        deadline_ms: u32,
    ) -> Result<CallId, Refused> {
        self.env.advance(now);
        if route.0 < 1 << 31 {
            return Err(Refused::Invalid);
        }
        if body.len() > self.env.buffers.longest() {
            return Err(Refused::TooLong);
        }
        if !self.app_may_call() {
            self.env.counters.calls_refused += 1;
            return Err(Refused::Full);
        }
        let buffer = match body {
            [] => None,
            body => Some(self.exchange_buffer_from(body).ok_or(Refused::NoBuffer)?),
        };
        let peer = if to == self.env.me { Some(LOCAL) } else { self.dial(&to, None) };
        let Some(peer) = peer else {
            self.free_buffer(buffer);
            return Err(Refused::NoPath);
        };
        let handle = self.add_call(to, peer, route, Owner::App, deadline_ms, buffer).ok_or(Refused::Full)?;
        if peer == LOCAL {
            self.call_self(handle);
        }
        Ok(CallId(handle))
    }

    /// Serves a call of our own, as if it had come from afar.
    fn call_self(&mut self, handle: Handle) {
        let me = self.env.me;
        let Some(call) = self.exchange.calls.get_mut(handle) else { return };
        let (number, route, deadline) = (call.number, call.route, call.deadline);
        let body = call.body.take();
        self.env.timers.set(crate::node::Timer::Call(handle.index), deadline);
        let status = if !self.exchange.routes.contains(&route) {
            self.env.counters.routes_unknown += 1;
            Status::NoRoute
        } else if self.env.events.room() <= 1 || !self.serve_room(&me, true) {
            self.env.counters.serves_refused += 1;
            Status::Busy
        } else {
            let deadline_ms = deadline.ms_since(self.env.now);
            match self.add_serve(me, LOCAL, number, route, deadline_ms, State::Owed(body)) {
                Some(serve) => return self.env.event(Event::Request(ServeId(serve))),
                None => return self.end_call(handle, Err(Failure::Refused(Status::Busy))),
            }
        };
        self.free_buffer(body);
        self.end_call(handle, Err(Failure::Refused(status)));
    }

    /// How a call has ended; `None` while it is under way, or when there is no such call. An answer of success is its
    /// body. Kept until [`Node::cancel`].
    pub fn answer(&self, call: CallId) -> Option<Result<&[u8], Failure>> {
        let call = self.exchange.calls.get(call.0).filter(|call| call.owner == Owner::App)?;
        let body = || call.answer.as_ref().map_or(&[][..], |answer| self.env.buffers.bytes(&answer.buffer));
        call.done.map(|done| done.map(|()| body()))
    }

    /// Gives a call up, or frees one that has ended. The node that serves it is told when it may still be working.
    pub fn cancel(&mut self, now: Instant, call: CallId) {
        self.env.advance(now);
        if self.exchange.calls.get(call.0).is_some_and(|call| call.owner == Owner::App) {
            self.forget_call(call.0);
        }
    }

    /// Serves a route from now on: requests come as [`Event::Request`]. Others are refused at once with
    /// [`Status::NoRoute`]. Serving what is served already changes nothing.
    ///
    /// # Errors
    /// `Invalid` for a route below 2³¹, `Full` after [`super::ROUTES_MAX`] routes.
    pub fn serve_route(&mut self, route: RouteId) -> Result<(), Refused> {
        if route.0 < 1 << 31 {
            return Err(Refused::Invalid);
        }
        if self.exchange.routes.contains(&route) {
            return Ok(());
        }
        self.exchange.routes.push(route).map_err(|_| Refused::Full)
    }

    /// Serves a route no more. What was asked already is still to be answered.
    pub fn stop_route(&mut self, route: RouteId) {
        self.exchange.routes.retain(|served| *served != route);
    }

    /// Reads a request that is to be answered; `None` when it was, or when nobody waits for the answer any more.
    pub fn request(&self, serve: ServeId) -> Option<Request<'_>> {
        let serve = self.exchange.serves.get(serve.0).filter(|serve| serve.for_app())?;
        let State::Owed(body) = &serve.state else { return None };
        let body = body.as_ref().map_or(&[][..], |body| self.env.buffers.bytes(body));
        Some(Request { from: serve.from, route: serve.route, body, deadline: serve.deadline })
    }

    /// Answers a request. Only an answer with [`Status::Ok`] has a body. Cost: one copy of the body.
    ///
    /// # Errors
    /// `Unknown` when the request was answered, cancelled, or its caller is gone; `Invalid` for a body with another
    /// status; `TooLong`; `NoBuffer`. Then nothing was changed.
    pub fn respond(&mut self, now: Instant, serve: ServeId, status: Status, body: &[u8]) -> Result<(), Refused> {
        self.env.advance(now);
        if self.request(serve).is_none() {
            return Err(Refused::Unknown);
        }
        if status != Status::Ok && !body.is_empty() {
            return Err(Refused::Invalid);
        }
        if body.len() > self.env.buffers.longest() {
            return Err(Refused::TooLong);
        }
        let buffer = match body {
            [] => None,
            body => Some(self.exchange_buffer_from(body).ok_or(Refused::NoBuffer)?),
        };
        self.settle(serve.0, status, buffer);
        Ok(())
    }

    /// Answers a request by a function that writes into the buffer from which the answer is sent.
    ///
    /// # Errors
    /// As [`Node::respond`]; then the function was not called.
    pub fn respond_with(
        &mut self,
        now: Instant,
        serve: ServeId,
        handler: impl FnOnce(Request<'_>, &mut Reply<'_>),
    ) -> Result<(), Refused> {
        self.env.advance(now);
        let known = self.exchange.serves.get_mut(serve.0).filter(|known| known.for_app());
        let Some(known) = known else { return Err(Refused::Unknown) };
        let (from, route, deadline) = (known.from, known.route, known.deadline);
        let State::Owed(request) = &mut known.state else { return Err(Refused::Unknown) };
        let request = request.take();
        // The longest there may be; what turns out short moves into a small buffer.
        let longest = self.env.buffers.longest();
        let buffer = self.exchange_buffer(longest).or_else(|| self.exchange_buffer(crate::node::SMALL));
        let Some(buffer) = buffer else {
            if let Some(known) = self.exchange.serves.get_mut(serve.0) {
                known.state = State::Owed(request);
            }
            return Err(Refused::NoBuffer);
        };
        let (body, slot) = match &request {
            None => (&[][..], self.env.buffers.bytes_mut(&buffer)),
            Some(request) => self.env.buffers.pair(request, &buffer).unwrap_or((&[], &mut [])),
        };
        let mut reply = Reply::new(slot);
        handler(Request { from, route, body, deadline }, &mut reply);
        let (status, len) = reply.end();
        self.env.buffers.truncate(&buffer, len);
        self.free_buffer(request);
        let buffer = if len == 0 {
            self.env.buffers.free(buffer);
            None
        } else {
            Some(self.env.buffers.shrink(buffer))
        };
        self.settle(serve.0, status, buffer);
        Ok(())
    }
}

//! Routes: names that an application serves, and the protocol's own.
//!
//! There are three ways to serve one: by hand ([`Event::Request`](crate::Event::Request), [`Node::request`],
//! [`Node::respond`]); with a constant table of functions ([`Routes`]); and with whatever an adapter makes of these.

use crate::exchange::Status;
use crate::id::{NodeId, RouteId};
use crate::node::{Node, Refused, ServeId};
use crate::time::Instant;

/// A request, as its handler sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// Who asks: proved by the session it came through.
    pub from: NodeId,
    /// What is asked.
    pub route: RouteId,
    /// With which words.
    pub body: &'a [u8],
    /// When the caller gives up.
    pub deadline: Instant,
}

/// The answer that a handler writes, right where it is sent from. An empty [`Status::Ok`] unless it says otherwise.
#[derive(Debug)]
pub struct Reply<'a> {
    slot: &'a mut [u8],
    len: usize,
    status: Status,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(slot: &'a mut [u8]) -> Self {
        Reply { slot, len: 0, status: Status::Ok }
    }

    /// Appends bytes; false when they do not fit, and then nothing is appended.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.slot.get_mut(self.len..self.len + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// What is left of the place for the answer, to be written to directly; then say how much with [`Reply::advance`].
    /// Its content is whatever was there before.
    pub fn room(&mut self) -> &mut [u8] {
        self.slot.get_mut(self.len..).unwrap_or_default()
    }

    /// Takes the first `len` bytes of [`Reply::room`], or all there are, into the answer.
    pub fn advance(&mut self, len: usize) {
        self.len = self.len.saturating_add(len).min(self.slot.len());
    }

    /// Answers with this status; any but [`Status::Ok`] drops what was written.
    pub fn status(&mut self, status: Status) {
        self.status = status;
    }

    /// The status, and the bytes written.
    pub(crate) fn end(self) -> (Status, usize) {
        (self.status, if self.status == Status::Ok { self.len } else { 0 })
    }
}

/// A handler of one route in [`Routes`].
pub type Handler<A> = fn(&mut A, Request<'_>, &mut Reply<'_>);

/// What an application `A` serves, as a table that can live in flash.
///
/// ```
/// use butter_core::id::route;
/// use butter_core::route::{Reply, Request, Routes};
///
/// struct App { asked: u32 }
///
/// fn ohce(app: &mut App, request: Request<'_>, reply: &mut Reply<'_>) {
///     app.asked += 1;
///     for byte in request.body.iter().rev() {
///         reply.write(&[*byte]);
///     }
/// }
///
/// const ROUTES: Routes<App> = Routes(&[(route("ohce/1"), ohce)]);
/// ```
pub struct Routes<A: 'static>(pub &'static [(RouteId, Handler<A>)]);

impl<A> Routes<A> {
    /// Serves all routes of the table.
    ///
    /// # Errors
    /// As [`Node::serve_route`]; the routes before the one refused are served then.
    pub fn serve(&self, node: &mut Node<'_>) -> Result<(), Refused> {
        self.0.iter().try_for_each(|(route, _)| node.serve_route(*route))
    }

    /// Answers a request with the table's handler for it; false when the table has none, or nobody waits any more.
    /// When there is no buffer for the answer, the caller is told [`Status::Busy`].
    pub fn dispatch(&self, app: &mut A, node: &mut Node<'_>, now: Instant, serve: ServeId) -> bool {
        let Some(route) = node.request(serve).map(|request| request.route) else { return false };
        let Some((_, handler)) = self.0.iter().find(|(known, _)| *known == route) else { return false };
        match node.respond_with(now, serve, |request, reply| handler(app, request, reply)) {
            Err(Refused::NoBuffer) => node.respond(now, serve, Status::Busy, &[]).is_ok(),
            outcome => outcome.is_ok(),
        }
    }
}

impl<A> core::fmt::Debug for Routes<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(route, _)| route)).finish()
    }
}

/// Routes that the core serves itself; an application's have the top bit set.
pub(crate) mod internal {
    use crate::id::RouteId;

    /// Exchange of host records and group hints (§4.5).
    pub const SHUFFLE: RouteId = RouteId(1);
    /// Who has this, or should (§6.2)?
    pub const LOCATE: RouteId = RouteId(2);
    /// Keep this block (§6.3).
    pub const STORE: RouteId = RouteId(3);
    /// Give me that block (§6.4).
    pub const FETCH: RouteId = RouteId(4);
    /// Would you join this group (§5.6)?
    pub const OFFER: RouteId = RouteId(5);
    /// You are a member of this group now (§5.6).
    pub const ADMIT: RouteId = RouteId(6);
    /// Which items of this group do you hold (§5.8)?
    pub const LIST: RouteId = RouteId(7);
    /// Found a group for me (§5.5).
    pub const FOUND: RouteId = RouteId(8);
    /// Take me into that group, with what I hold (§5.11).
    pub const MERGE: RouteId = RouteId(9);
    /// Those items are held by that group (§6.5).
    pub const POINT: RouteId = RouteId(10);
    /// Which groups do you know that I do not (§5.4)?
    pub const GROUPS: RouteId = RouteId(11);
}

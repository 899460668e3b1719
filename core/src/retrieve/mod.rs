//! Putting and getting objects (PROTOCOL §6).

pub(crate) mod message;
pub(crate) mod object;
use crate::exchange::{Body, Failure, Served, Status};
use crate::id::{GroupId, NodeId};
use crate::node::{Node, PeerId, ServeId};
use crate::storage::Stored;
use crate::table::{Handle, Slot, Slots, Store};
use crate::wire::Writer;

/// Which part of which put or get waits for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpOwner {
    pub op: Handle,
    pub part: u16,
}

/// A put or get under way.
#[derive(Debug)]
pub struct Op {}

/// All puts and gets.
#[derive(Debug)]
pub(crate) struct Retrieve<'m> {
    _ops: Slots<'m, Op>,
}

impl<'m> Retrieve<'m> {
    pub fn new(ops: Store<'m, Slot<Op>>) -> Self {
        Retrieve { _ops: Slots::new(ops) }
    }
}

impl Node<'_> {
    pub(crate) fn op_timeout(&mut self, _index: u16) {}

    pub(crate) fn op_answered(&mut self, _op: OpOwner, _from: NodeId, result: Result<Body<'_>, Failure>) {
        self.free_body(result);
    }

    pub(crate) fn op_stored(&mut self, _op: OpOwner, stored: Stored) {
        if let Stored::Got(buffer) = stored {
            self.env.buffers.free(buffer);
        }
    }

    /// Founding, asked for with `found`, has ended.
    pub(crate) fn op_founded(&mut self, _op: OpOwner, _group: Option<GroupId>) {}

    pub(crate) fn serve_stored(&mut self, _serve: Handle, stored: Stored) {
        if let Stored::Got(buffer) = stored {
            self.env.buffers.free(buffer);
        }
    }

    pub(crate) fn serve_locate(&mut self, _peer: PeerId, body: Body<'_>, _reply: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }

    pub(crate) fn serve_store(&mut self, _: PeerId, _: ServeId, body: Body<'_>, _: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }

    pub(crate) fn serve_fetch(&mut self, _: PeerId, _: ServeId, body: Body<'_>, _: &mut Writer<'_>) -> Served {
        self.free_body(Ok(body));
        Served::Refuse(Status::NoRoute)
    }
}

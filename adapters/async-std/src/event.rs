//! What handles and handlers see.

use butter_core::id::NodeId;

/// What happened at a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session with a host has begun.
    PeerUp(NodeId),
    /// A session with a host has ended.
    PeerDown(NodeId),
    /// A group of ours has changed its members or state, or we have left it.
    GroupChanged,
    /// Events were lost because they were not read in time.
    Lost,
}

/// A request to be answered by a handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who asks: proved by the session it came through.
    pub from: NodeId,
    /// With which words.
    pub body: Vec<u8>,
}

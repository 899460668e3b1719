//! What a node tells its application, and the handles it uses.

use crate::addr::Addr;
use crate::table::Handle;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $name(pub(crate) Handle);
    )*};
}

handles! {
    /// A host with which there is, or is to be, a session. 4 bytes; finds nothing once that host is gone.
    PeerId,
    /// A call that we made.
    CallId,
    /// A request that we serve.
    ServeId,
    /// A put under way.
    PutId,
    /// A get under way.
    GetId,
    /// A seat: our membership in one group.
    SeatId,
}

/// What happened. `Copy`, at most 16 bytes; bodies are read through the node by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A session with a host has begun; [`crate::Node::peer_info`] tells with whom.
    PeerUp(PeerId),
    /// A session has ended.
    PeerDown(PeerId),
    /// A request has arrived: read it with [`crate::Node::request`], answer it with [`crate::Node::respond`].
    Request(ServeId),
    /// The caller of a request has given up: nothing need be answered.
    Cancelled(ServeId),
    /// A call has ended: read how with [`crate::Node::answer`], then [`crate::Node::cancel`] it to free it.
    Answered(CallId),
    /// A put wants bytes: give them with [`crate::Node::put_block`].
    PutWants {
        /// Which put.
        put: PutId,
        /// Which block of the object: bytes `block × 4096` and on.
        block: u32,
    },
    /// A put has ended; read how with [`crate::Node::put_status`].
    PutDone(PutId),
    /// A get has bytes: take them with [`crate::Node::got_block`].
    GetHas {
        /// Which get.
        get: GetId,
        /// Which block of the object.
        block: u32,
    },
    /// A get has ended; read how with [`crate::Node::get_status`].
    GetDone(GetId),
    /// A group of ours has changed its members or state, or we have left it.
    GroupChanged(SeatId),
    /// Events were lost because nobody polled; counted in `events_dropped`.
    Lost,
}

/// Refused: nothing was changed. The caller may try again later where it says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refused {
    /// The table for this is full; try again when something of the kind has ended.
    Full,
    /// No buffer is free; try again later.
    NoBuffer,
    /// The handle names nothing (any more).
    Unknown,
    /// The host is not known, so there is no way to it.
    NoPath,
    /// Too long for what the limits allow.
    TooLong,
    /// An argument makes no sense here.
    Invalid,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Refused::Full => "too many of this kind are under way",
            Refused::NoBuffer => "no buffer is free",
            Refused::Unknown => "there is nothing with that handle",
            Refused::NoPath => "no way to that host is known",
            Refused::TooLong => "too long",
            Refused::Invalid => "the argument makes no sense here",
        })
    }
}

impl core::error::Error for Refused {}

/// Where a packet is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Destination {
    /// One host. The slot is already in the packet: only IP and port matter to an IP link.
    Addr(Addr),
    /// Every node on the local network: the multicast groups of PROTOCOL §3, on every interface.
    Multicast,
    /// Every host on the local network, where multicast brings nothing: IPv4 broadcast, on every interface.
    Broadcast,
}

/// A packet in the caller's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where it is to go.
    pub to: Destination,
    /// Its length in bytes.
    pub len: usize,
}

/// When [`crate::Node::handle_timeout`] wants to be called, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// The moment.
    pub at: crate::time::Instant,
    /// What for.
    pub reason: super::Timer,
}

const _: () = assert!(size_of::<Event>() <= 16 && size_of::<Refused>() <= 4);

//! Sessions with hosts: handshake, keys, paths (PROTOCOL §2).
//!
//! ```text
//! data     receiver's index (4) ‖ counter, u64 little-endian (8) ‖ sealed messages ‖ tag (16)
//! Welcome  receiver's index (4) ‖ sender's index (4) ‖ second Noise message
//! greeting nonce (12, random) ‖ sealed (kind (1) ‖ body) ‖ tag (16)
//! ```
//!
//! Indices are random and chosen by their receiver, so that no byte of any packet is the same in all of them.

mod data;
mod dial;
mod greeting;
mod handshake;
mod path;
mod peers;
mod transmit;
mod window;

pub use greeting::PING_LEN;
pub(crate) use peers::Peers;

use crate::addr::{Addr, LinkId};
use crate::crypto::{HandshakeState, SessionKeys};
use crate::id::NodeId;
use crate::node::{BufferId, Destination, PeerId};
use crate::table::{Handle, Queue};
use crate::time::Instant;
use crate::wire::Facts;

use window::{Loss, Window};

/// Milliseconds for which the keys before the current ones still open packets, and for which new ones wait for their
/// first packet (§2.6).
const GRACE_MS: u32 = 10_000;
/// Packets sealed under one key, after which keys are renewed.
const REKEY_PACKETS: u64 = 1 << 32;
/// Milliseconds after which a kept peer that nothing was sent to is sent [`crate::wire::Message::Facts`], so that
/// routers between do not forget it.
const KEEP_MS: u32 = 20_000;

/// A host with which there is, or is to be, a session.
#[derive(Debug)]
pub struct Peer {
    /// Who.
    pub id: NodeId,
    /// Where it is reached now; `None` while a path is looked for.
    pub addr: Option<Addr>,
    /// Over which link.
    pub link: LinkId,
    /// Whether a session is established.
    pub up: bool,
    /// When an authenticated packet last came from it.
    pub last_heard: Instant,
    /// When anything was last sent to it.
    pub last_sent: Instant,
    /// Smoothed round-trip time in microseconds (RFC 6298); 0 is not known yet.
    pub rtt_us: u32,
    /// Its mean deviation in microseconds.
    pub rtt_var_us: u32,
    /// How many of its packets are lost.
    loss: Loss,
    /// What it last said of itself.
    pub facts: Facts,
    /// Whether it was told of groups in this session.
    told: bool,
    /// Which start of the host the session is with.
    boot: u64,
    /// The keys that we seal with.
    current: Option<Epoch>,
    /// The keys before those, or the ones to come.
    other: Option<Epoch>,
    /// Whether `other` is to come: the initiator's first packet makes it current.
    other_next: bool,
    /// When `other` is dropped.
    other_until: Instant,
    /// Our indices of the current keys, of the other ones, and of our own Hello; 0 is none.
    locals: [u32; 3],
    /// The handshake under way.
    handshake: Option<Handle>,
    /// Messages that go first.
    urgent: Queue,
    /// Messages that go when no urgent one waits.
    bulk: Queue,
    /// The next peer in the link's list of those with something to send.
    next: u16,
    /// The link in whose list it is.
    listed: Option<LinkId>,
    /// Packets of the dial that wait to be encoded: bits of `want`.
    want: u8,
    /// What the dial is doing.
    step: Step,
    /// How often the step was tried.
    tries: u8,
    /// Milliseconds from the Ping to the Pong that the dial goes on with: a Welcome takes as long.
    pong_ms: u16,
    /// Introducers asked.
    asked: u8,
    /// Whether we wanted this session: then its failure is a death.
    wanted: bool,
    /// Whether it answered a Ping of the dial: then it lives, even if no session comes of it.
    answered: bool,
    /// Dials left of a session that is tried because nothing comes any more: it ends when the last one fails; 0 is no doubt.
    doubted: u8,
    /// When the step is tried again or given up; without a step, when keys or a better path are next tried for.
    due: Instant,
    /// Where the dial tries, over which link, with which cookie.
    dial: (Addr, LinkId, [u8; 8]),
    /// Another address: while dialling the relay's or the next one; when relayed the direct one.
    alternate: Option<Addr>,
    /// Whoever introduced us and relays: kept while we are relayed.
    via: Option<PeerId>,
    /// Users that need the session.
    holds: u16,
    /// Those of them that want packets to flow.
    keeps: u8,
    /// It ends when its Bye is encoded.
    closing: bool,
}

/// Keys of one handshake and what was sealed and opened with them.
#[derive(Debug)]
struct Epoch {
    keys: SessionKeys,
    /// The peer's index, which begins what we send.
    remote: u32,
    /// Which start of the peer they are with.
    boot: u64,
    /// The counter of the next packet.
    counter: u64,
    window: Window,
    since: Instant,
    /// Whether we began it: then we renew it first.
    ours: bool,
}

/// What a dial is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing.
    Idle,
    /// Waits for a Pong and its cookie.
    Ping,
    /// Waits for a Welcome.
    Hello,
    /// Waits for the first packet under the new keys.
    Confirm,
    /// Waits for an introduction.
    Introduce,
}

/// Bits of `Peer::want`.
mod want {
    /// A Ping to where the dial tries.
    pub const PING: u8 = 1;
    /// A Ping to the other address.
    pub const PING_ALTERNATE: u8 = 2;
    /// A Hello.
    pub const HELLO: u8 = 4;
    /// A Welcome.
    pub const WELCOME: u8 = 8;
}

/// A handshake under way: what the provider keeps between its two messages.
#[derive(Debug)]
pub struct Handshake {
    state: HandshakeState,
    /// Whether we sent the Hello.
    ours: bool,
    /// Of a Hello received: the sender's index, where it came from, and its boot.
    remote: u32,
    addr: Addr,
    link: LinkId,
    boot: u64,
}

/// A packet to somebody with whom there need be no session.
#[derive(Debug)]
pub enum Stray {
    #[doc(hidden)]
    Ping {
        /// Where.
        to: Destination,
        /// Whether hosts that are listed may stay silent.
        seeking: bool,
    },
    #[doc(hidden)]
    Pong {
        /// Whoever pinged.
        to: Addr,
        /// Its token.
        token: [u8; 8],
    },
    #[doc(hidden)]
    Packet {
        /// Where.
        to: Addr,
        /// A whole packet, sealed.
        packet: Held,
        /// Whether we relay it: then the slot in `to` is its sender's.
        relayed: bool,
    },
}

/// A buffer that a stray packet waits in.
#[derive(Debug)]
pub struct Held(BufferId);

/// A message of the path and session sub-protocol that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    /// What we say of ourselves.
    Facts,
    /// Asks for an introduction.
    Introduce(NodeId),
    /// Introduces a host: who, its address, and its slot.
    Introduction(NodeId, Addr, u16),
    /// Ends the session.
    Bye,
}

/// What is known of a peer, for people and applications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PeerInfo {
    /// Who.
    pub id: NodeId,
    /// Where it is reached; `None` while a path is looked for. A slot says that the host there relays.
    pub addr: Option<Addr>,
    /// Over which link.
    pub link: LinkId,
    /// Smoothed round-trip time in microseconds; 0 is not known yet.
    pub rtt_us: u32,
    /// When an authenticated packet last came.
    pub last_heard: Instant,
    /// Whether a session is established.
    pub up: bool,
    /// What it last said of itself.
    pub facts: Facts,
}

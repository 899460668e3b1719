//! Bytes on the wire: packet layouts, messages, and the cursor that writes them (PROTOCOL §2).

pub(crate) mod bytes;
mod cursor;
mod message;
#[cfg(test)]
pub(crate) mod vectors;

pub use cursor::{Reader, Writer, value};
pub use message::*;

/// Bytes of UDP payload that every path is taken to carry (IPv6's least MTU less 48 bytes of headers).
pub const MTU: usize = 1232;
/// The least MTU of a link that can carry Butter's handshake.
pub const MTU_MIN: u16 = 300;
/// Before the sealed part of a session packet: the receiver's index (4) and the counter (8).
pub const DATA_HEADER: usize = 12;
/// What sealing a session packet adds to its messages.
pub const DATA_OVERHEAD: usize = DATA_HEADER + crate::crypto::TAG_LEN;
/// Bytes of messages in one session packet on a path of [`MTU`] that goes through a relay: the tightest case.
pub const PAYLOAD: usize = MTU - DATA_OVERHEAD - VIA_OVERHEAD;
/// What a relay's envelope adds: nonce (12), kind and slot (up to 4), length (2), tag (16).
pub const VIA_OVERHEAD: usize = 34;
/// Bytes of one block: the unit of storage and verification.
pub const BLOCK: usize = 4096;

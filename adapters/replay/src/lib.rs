//! A recording of everything that a node was given, and its replay on any machine.
//!
//! The core promises that the same inputs give the same outputs everywhere (N7). This crate makes that a test: the simulator
//! writes down every [`Call`] that one of its nodes gets, with the moment of each, and hashes everything the node says on a
//! [`Bench`]; [`replay`] makes the same calls of a fresh node on another machine (`targets/trace`, for microcontrollers)
//! and returns the same hash, the *trace*, or the promise is broken. Neither needs `std` nor a heap.
//!
//! A recording is a sequence of frames: a length (2 bytes, little-endian) and as many bytes of postcard. The first frame is
//! a [`Start`], the others are [`Step`]s.

#![no_std]
#![forbid(unsafe_code)]

mod bench;
mod call;

pub use bench::{Bench, ROUTE};
pub use call::{Call, FRAME_MAX, Fault, Start, Step};

use butter_core::Node;
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::identity::{Identity, Network};
use butter_core::memory::Limits;
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, Facts, MTU};
use butter_crypto::RustCrypto;

butter_core::static_memory!(struct TinyMemory, Limits::TINY);

/// The limits that recorded nodes have.
pub const LIMITS: Limits = Limits::TINY;

/// The configuration that recorded nodes have: a microcontroller's, with 8 blocks of storage.
pub fn config() -> Config {
    Config { flags: Facts::MAINS | Facts::TINY, storage_blocks: 8, ..Config::default() }
}

/// What a replay came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// The hash over all outputs.
    pub trace: [u8; 32],
    /// How many outputs there were.
    pub outputs: u32,
    /// How many calls were made.
    pub calls: u32,
}

/// The trace in hexadecimal, then how many outputs and calls there were.
impl core::fmt::Display for Replayed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.trace.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, " {} {}", self.outputs, self.calls)
    }
}

/// Why a recording could not be replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// It ends within a frame.
    Short,
    /// A frame is longer than [`FRAME_MAX`], or it is none of this version.
    Frame,
    /// The node would not start.
    Start,
}

/// Replays a recording on a fresh node whose tables are all on the stack, together about 60 KB. `read` fills what it is
/// given with the next bytes, and says how many there were; fewer mean that the recording ends.
///
/// # Errors
/// [`Broken`]: the recording is damaged, or of another version.
pub fn replay(mut read: impl FnMut(&mut [u8]) -> usize) -> Result<Replayed, Broken> {
    let mut frame = [0; FRAME_MAX];
    let first = next(&mut read, &mut frame)?.ok_or(Broken::Short)?;
    let start: Start<'_> = postcard::from_bytes(first).map_err(|_| Broken::Frame)?;
    let identity = Identity { secret: SecretKey(start.secret), network: Network::open(&RustCrypto, start.network) };
    let mut memory = TinyMemory::new();
    let node = Node::new(Instant::ZERO, config(), identity, start.seed, &RustCrypto, memory.lend());
    let mut node = node.map_err(|_| Broken::Start)?;
    let (mut bench, mut buffer) = (Bench::default(), [0; if MTU > BLOCK { MTU } else { BLOCK }]);
    let (mut now, mut calls) = (Instant::ZERO, 0);
    while let Some(bytes) = next(&mut read, &mut frame)? {
        let step: Step<'_> = postcard::from_bytes(bytes).map_err(|_| Broken::Frame)?;
        now = Instant::from_micros(now.as_micros().wrapping_add_signed(step.after_us));
        bench.play(now, &step.call, &mut node, &mut buffer);
        calls += 1;
    }
    Ok(Replayed { trace: bench.trace(), outputs: bench.outputs(), calls })
}

fn next<'a>(read: &mut impl FnMut(&mut [u8]) -> usize, frame: &'a mut [u8]) -> Result<Option<&'a [u8]>, Broken> {
    let mut len = [0; 2];
    match read(&mut len) {
        0 => return Ok(None),
        2 => {}
        _ => return Err(Broken::Short),
    }
    let frame = frame.get_mut(..usize::from(u16::from_le_bytes(len))).ok_or(Broken::Frame)?;
    if read(frame) != frame.len() {
        return Err(Broken::Short);
    }
    Ok(Some(frame))
}

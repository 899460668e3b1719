//! Hostile datagrams for Butter's core.
//!
//! [`storm`] is the one target: nodes that talk to each other while a storm of random, cut, altered, repeated and
//! misdirected datagrams is thrown at them. It panics when a node does, or when one breaks its contract: sends, tells
//! or wants to be woken without end. That nothing grows is certain, because the nodes' memory is lent.
//!
//! `cargo run -p butter-fuzz` feeds it from numbers of a seed, `cargo fuzz run datagram` from what libFuzzer finds.

mod choices;
mod glass;
mod mutate;
mod world;

pub use choices::Choices;

use butter_core::crypto::Crypto;
use butter_crypto::RustCrypto;

use glass::Glass;
use world::World;

/// Throws datagrams at three nodes until the choices run out or `datagrams` were thrown; says how many were.
///
/// One storm in eight has real cryptography, which little gets past; the others have one that lets altered contents
/// through, so that they reach everything behind it.
///
/// # Panics
/// When a node panics or does something without end.
pub fn storm(choices: &mut Choices<'_>, datagrams: u64) -> u64 {
    let crypto: &dyn Crypto = if choices.one_in(8) { &RustCrypto } else { &Glass };
    World::with(crypto, choices, |world, choices| {
        world.calm(2_000);
        let mut thrown = 0;
        while thrown < datagrams && choices.more() {
            thrown += world.step(choices);
        }
        world.calm(2_000);
        thrown
    })
}

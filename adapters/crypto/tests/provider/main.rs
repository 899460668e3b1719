//! Tests of the provider through the trait: primitives, handshake, and an independent implementation.

mod common;
mod handshake;
mod interop;
mod primitives;

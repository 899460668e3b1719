#![no_std]
#![forbid(unsafe_code)]
//! Where blocks are kept. Every store has one function, `apply`, which does a [`StoreOp`] at once; the driver's
//! `Immediate` makes a disk of it.
//!
//! - [`Heap`] (feature `alloc`) keeps blocks on the heap, up to a number of bytes.
//! - [`Array`] keeps a fixed number of blocks without a heap.
//! - [`Packed`] keeps blocks one after the other, without a heap: for boards, whose items are mostly short.
//! - `Flash` (feature `flash`) keeps blocks, seats and the identity in NOR flash.
//!
//! The first three forget everything when the program ends; the last outlives power cuts. Its `apply` takes its time: the driver's
//! `Deferred` makes a disk of it.

#[cfg(feature = "alloc")]
extern crate alloc;

mod array;
#[cfg(feature = "flash")]
mod flash;
#[cfg(feature = "alloc")]
mod heap;
mod packed;

pub use array::Array;
#[cfg(feature = "flash")]
pub use flash::{Flash, FlashError, Restored};
#[cfg(feature = "alloc")]
pub use heap::Heap;
pub use packed::Packed;

#[allow(unused_imports, reason = "for the documentation above")]
use butter_core::storage::StoreOp;

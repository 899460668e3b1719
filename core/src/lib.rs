#![no_std]
#![forbid(unsafe_code)]
//! Butter's protocol as a sans-IO state machine.

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod crypto;
pub mod id;

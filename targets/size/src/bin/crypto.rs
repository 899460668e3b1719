//! The cryptography alone.
#![no_std]
#![no_main]

use butter_crypto::RustCrypto;
use butter_size::Wire;
use cortex_m_rt::entry;
use panic_halt as _;

#[entry]
fn main() -> ! {
    let Some(mut wire) = Wire::take() else { cortex_m::asm::udf() };
    loop {
        butter_size::crypto(&mut wire, &RustCrypto);
    }
}

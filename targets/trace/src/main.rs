//! Replays the file `recording` of the folder that QEMU runs in, and prints what [`butter_replay::replay`] came to. A machine of
//! 32 bits is to come to the same as the one of 64 bits that recorded it.
#![no_std]
#![no_main]

use butter_crypto as _;
use butter_replay::replay;
use cortex_m_rt::entry;
use semihosting::fs::File;
use semihosting::io::Read;
use semihosting::{eprintln, println, process};

#[entry]
fn main() -> ! {
    let mut file = match File::open(c"recording") {
        Ok(file) => file,
        Err(e) => {
            eprintln!("the file `recording` cannot be opened: {e}");
            process::exit(2)
        }
    };
    match replay(|buffer| fill(&mut file, buffer)) {
        Ok(replayed) => {
            println!("{replayed}");
            process::exit(0)
        }
        Err(why) => {
            eprintln!("the recording cannot be replayed: {why:?}");
            process::exit(3)
        }
    }
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> usize {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) | Err(_) => break,
            Ok(read) => len += read,
        }
    }
    len
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    eprintln!("{info}");
    process::exit(101)
}

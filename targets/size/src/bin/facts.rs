//! Sizes that the compiler knows, as numbers in the image: read from its symbols, never run.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::mem::size_of;

use butter_core::config::ConfigError;
use butter_core::memory::Limits;
use butter_core::node::{Event, Refused};
use butter_core::storage::StoreError;
use butter_core::{Node, crypto::CryptoError};
use cortex_m_rt::entry;
use panic_halt as _;

macro_rules! facts {
    ($($name:ident = $value:expr;)*) => {
        $(#[used] static $name: u32 = $value as u32;)*

        #[entry]
        fn main() -> ! {
            $(black_box(&$name);)*
            loop {
                cortex_m::asm::wfi();
            }
        }
    };
}

// What stands before the two underscores is the table's section, what follows its entry.
facts! {
    TABLES__TINY = Limits::TINY.bytes();
    TABLES__DESKTOP = Limits::DESKTOP.bytes();
    SIZE_OF__NODE = size_of::<Node<'static>>();
    SIZE_OF__EVENT = size_of::<Event>();
    SIZE_OF__REFUSED = size_of::<Refused>();
    SIZE_OF__CONFIG_ERROR = size_of::<ConfigError>();
    SIZE_OF__STORE_ERROR = size_of::<StoreError>();
    SIZE_OF__CRYPTO_ERROR = size_of::<CryptoError>();
}

//! Sizes that the compiler knows, as numbers in the image: read from its symbols, never run.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::mem::size_of;

use butter_core::config::ConfigError;
use butter_core::memory::{Limits, Table};
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
    TINY__SMALL_BUFFERS = Limits::TINY.small_buffers * butter_core::node::SMALL;
    TINY__LARGE_BUFFERS = Limits::TINY.large_buffers * Limits::TINY.large_bytes;
    TINY__HOSTS = Limits::TINY.bytes_of(Table::hosts);
    TINY__HOST_INDEX = Limits::TINY.bytes_of(Table::host_index);
    TINY__HOST_PREFIXES = Limits::TINY.bytes_of(Table::host_prefixes);
    TINY__HOST_GRAVES = Limits::TINY.bytes_of(Table::host_graves);
    TINY__PEERS = Limits::TINY.bytes_of(Table::peers);
    TINY__PEER_INDEX = Limits::TINY.bytes_of(Table::peer_index);
    TINY__SESSION_INDEX = Limits::TINY.bytes_of(Table::session_index);
    TINY__HANDSHAKES = Limits::TINY.bytes_of(Table::handshakes);
    TINY__OUTBOX = Limits::TINY.bytes_of(Table::outbox);
    TINY__STRAYS = Limits::TINY.bytes_of(Table::strays);
    TINY__RELAYS = Limits::TINY.bytes_of(Table::relays);
    TINY__TIMERS = Limits::TINY.bytes_of(Table::timers);
    TINY__CALLS = Limits::TINY.bytes_of(Table::calls);
    TINY__SERVES = Limits::TINY.bytes_of(Table::serves);
    TINY__SERVE_INDEX = Limits::TINY.bytes_of(Table::serve_index);
    TINY__SMALL_CHUNKS = Limits::TINY.bytes_of(Table::small_chunks);
    TINY__LARGE_CHUNKS = Limits::TINY.bytes_of(Table::large_chunks);
    TINY__SEATS = Limits::TINY.bytes_of(Table::seats);
    TINY__PARTNERS = Limits::TINY.bytes_of(Table::partners);
    TINY__KNOWN = Limits::TINY.bytes_of(Table::known);
    TINY__KNOWN_INDEX = Limits::TINY.bytes_of(Table::known_index);
    TINY__ITEMS = Limits::TINY.bytes_of(Table::items);
    TINY__POINTERS = Limits::TINY.bytes_of(Table::pointers);
    TINY__ITEM_INDEX = Limits::TINY.bytes_of(Table::item_index);
    TINY__OPERATIONS = Limits::TINY.bytes_of(Table::operations);
    TINY__TRANSFERS = Limits::TINY.bytes_of(Table::transfers);
    TINY__LISTS = Limits::TINY.bytes_of(Table::lists);
    TINY__JOBS = Limits::TINY.bytes_of(Table::jobs);
    TINY__EVENTS = Limits::TINY.bytes_of(Table::events);
    SIZE_OF__NODE = size_of::<Node<'static>>();
    SIZE_OF__EVENT = size_of::<Event>();
    SIZE_OF__REFUSED = size_of::<Refused>();
    SIZE_OF__CONFIG_ERROR = size_of::<ConfigError>();
    SIZE_OF__STORE_ERROR = size_of::<StoreError>();
    SIZE_OF__CRYPTO_ERROR = size_of::<CryptoError>();
}

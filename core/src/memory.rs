//! How much a node may hold, and the memory it holds it in.

use crate::node::{Arena, Chunk, Event, Out, SMALL};
use crate::table::{QueueNode, Slot, Store, TimerCell};
use crate::{content, exchange, group, hosts, relay, retrieve, session, storage};

/// The most entries of every table. What happens when one is full is said at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Known hosts, 1 to 65,535. When full: the least useful of the most crowded class makes room (PROTOCOL §4).
    pub hosts: usize,
    /// Hosts with which there is or is to be a session. When full: the longest unused one makes room.
    pub peers: usize,
    /// Handshakes under way. When full: a Hello is dropped, an own handshake waits.
    pub handshakes: usize,
    /// Messages waiting to be sent. When full: the message is dropped as the network might drop it.
    pub outbox: usize,
    /// Answers to strangers waiting to be sent. When full: dropped.
    pub strays: usize,
    /// Clients for which we relay. When full: refused.
    pub relays: usize,
    /// Calls of ours under way. When full: refused; the application's are refused when they are two thirds.
    pub calls: usize,
    /// Requests that we serve, with kept answers. When full, or when one caller has a quarter and 2: the oldest kept answer
    /// makes room, or the request is answered `Busy`. A quarter is out of reach for the application's routes.
    pub serves: usize,
    /// Buffers of 512 bytes. When full: a large one is used.
    pub small_buffers: usize,
    /// Buffers of `large_bytes`. When full: whoever needs one is refused.
    pub large_buffers: usize,
    /// Bytes of a large buffer: the longest body; 4,224 to 65,536.
    pub large_bytes: usize,
    /// Seats: groups that we can be in. When full: refused.
    pub seats: usize,
    /// Known groups. When full: the one unheard of for longest makes room.
    pub known: usize,
    /// Items held, at most 16 million: three per block of storage, or less of it is split into seats. When full: refused.
    pub items: usize,
    /// Pointers kept for others' items, at most 16 million. When full: of 16 random ones, the soonest to expire makes room.
    pub pointers: usize,
    /// Puts and gets under way. When full: refused.
    pub operations: usize,
    /// Storage operations under way. When full: refused.
    pub jobs: usize,
    /// Events not polled yet. When full: the last one becomes `Lost`.
    pub events: usize,
}

impl Limits {
    /// For a microcontroller with 64 KB of RAM.
    pub const TINY: Limits = Limits {
        hosts: 16,
        peers: 12,
        handshakes: 2,
        outbox: 16,
        strays: 4,
        relays: 0,
        calls: 6,
        serves: 4,
        small_buffers: 3,
        large_buffers: 2,
        large_bytes: crate::node::LARGE_MIN,
        seats: 1,
        known: 8,
        items: 24,
        pointers: 20,
        operations: 2,
        jobs: 4,
        events: 8,
    };

    /// For a desktop program.
    pub const DESKTOP: Limits = Limits {
        hosts: 4096,
        peers: 512,
        handshakes: 64,
        outbox: 4096,
        strays: 256,
        relays: 128,
        calls: 512,
        serves: 512,
        small_buffers: 512,
        large_buffers: 256,
        large_bytes: 65_536,
        seats: 64,
        known: 4096,
        items: 1 << 20,
        pointers: 65_536,
        operations: 256,
        jobs: 128,
        events: 1024,
    };
}

const fn index_cells(entries: usize) -> usize {
    entries + entries / 2 + 2
}

/// `usize::min`, which no constant can call.
const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

macro_rules! memory {
    ($($name:ident: $ty:ty, $limits:ident => $len:expr;)*) => {
        /// All tables of one node: lent slices, or the heap.
        #[derive(Debug)]
        pub struct Memory<'m> {
            /// The limits that the tables were made for.
            pub limits: Limits,
            #[doc(hidden)]
            pub small: Arena<'m>,
            #[doc(hidden)]
            pub large: Arena<'m>,
            $(#[doc(hidden)] pub $name: Store<'m, $ty>,)*
        }

        #[cfg(feature = "alloc")]
        impl Memory<'static> {
            /// Tables on the heap that grow as they are used, up to the limits.
            pub fn heap(limits: &Limits) -> Self {
                Memory {
                    limits: *limits,
                    small: Arena::Owned(alloc::vec::Vec::new()),
                    large: Arena::Owned(alloc::vec::Vec::new()),
                    $($name: { let $limits = limits; Store::heap($len) },)*
                }
            }
        }

        impl Limits {
            /// Bytes that the tables of a node with these limits take on this target when all are full.
            pub const fn bytes(&self) -> usize {
                let mut sum = self.small_buffers * SMALL + self.large_buffers * self.large_bytes;
                $(sum += { let $limits = self; $len } * size_of::<$ty>();)*
                sum
            }

            /// Bytes per table, by name, when all are full: buffers first.
            pub fn table_bytes(&self) -> impl Iterator<Item = (&'static str, usize)> {
                [
                    ("small", self.small_buffers * SMALL),
                    ("large", self.large_buffers * self.large_bytes),
                    $((stringify!($name), { let $limits = self; $len } * size_of::<$ty>()),)*
                ].into_iter()
            }

            /// Bytes of one table when it is full.
            #[doc(hidden)]
            pub const fn bytes_of(&self, table: Table) -> usize {
                match table {
                    $(Table::$name => size_of::<$ty>() * { let $limits = self; $len },)*
                }
            }

            #[doc(hidden)]
            pub const fn len_of(&self, table: Table) -> usize {
                match table {
                    $(Table::$name => { let $limits = self; $len },)*
                }
            }
        }

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug)]
        pub enum Table { $($name,)* }
    };
}

memory! {
    hosts: Slot<hosts::Host>, l => l.hosts;
    host_index: u32, l => index_cells(l.hosts);
    host_prefixes: u32, l => index_cells(l.hosts);
    host_graves: hosts::Grave, l => l.hosts;
    peers: Slot<session::Peer>, l => l.peers;
    peer_index: u32, l => index_cells(l.peers);
    session_index: u32, l => index_cells(3 * l.peers);
    handshakes: Slot<session::Handshake>, l => l.handshakes;
    outbox: QueueNode<Out>, l => l.outbox;
    strays: QueueNode<session::Stray>, l => l.strays;
    relays: Slot<relay::Relay>, l => l.relays;
    timers: TimerCell, l => crate::node::timers_needed(l);
    calls: Slot<exchange::Call>, l => l.calls;
    serves: Slot<exchange::Serve>, l => l.serves;
    serve_index: u32, l => index_cells(l.serves);
    small_chunks: Chunk, l => l.small_buffers;
    large_chunks: Chunk, l => l.large_buffers;
    seats: Slot<group::Seat>, l => l.seats;
    partners: Slot<group::Partner>, l => least(l.peers, 8 * l.seats);
    known: Slot<group::Known>, l => l.known;
    known_index: u32, l => index_cells(l.known);
    items: content::Item, l => l.items;
    item_index: u32, l => index_cells(l.items);
    pointers: retrieve::Pointer, l => l.pointers;
    pointer_index: u32, l => index_cells(l.pointers);
    operations: Slot<retrieve::Op>, l => l.operations;
    transfers: Slot<retrieve::Transfer>, l => l.large_buffers + l.operations;
    lists: Option<retrieve::CachedList>, l => 1 + l.large_buffers / 32;
    jobs: Slot<storage::StoreJob>, l => l.jobs;
    events: Option<Event>, l => l.events;
}

/// Declares a struct that holds all tables for constant limits, without a heap: put it in a `static` (for example
/// in a `StaticCell`) and [`lend`](Memory) it to the node.
///
/// ```
/// use butter_core::memory::Limits;
/// butter_core::static_memory!(pub struct TinyMemory, Limits::TINY);
/// let mut memory = TinyMemory::NEW;
/// assert_eq!(memory.lend().limits, Limits::TINY);
/// ```
///
/// Or a function that lends tables which are each in a `static`, of a type such as `static_cell::StaticCell`, and are made one
/// by one: a struct may pass over the stack as a whole, which a small machine has no room for.
///
/// ```
/// # use butter_core::memory::Limits;
/// # struct StaticCell<T>(std::marker::PhantomData<fn() -> T>);
/// # impl<T: 'static> StaticCell<T> {
/// #     const fn new() -> Self { StaticCell(std::marker::PhantomData) }
/// #     fn init_with(&self, table: impl FnOnce() -> T) -> &'static mut T { Box::leak(Box::new(table())) }
/// # }
/// butter_core::static_memory!(fn tables in StaticCell, Limits::TINY);
/// assert_eq!(tables().limits, Limits::TINY);
/// ```
#[macro_export]
macro_rules! static_memory {
    ($vis:vis struct $name:ident, $limits:expr) => {
        $crate::static_memory! { @tables @build $vis $name $limits }
    };
    ($vis:vis fn $name:ident in $cell:ident, $limits:expr) => {
        $crate::static_memory! { @tables @place $vis $name $cell $limits }
    };
    (@tables @$what:ident $($of:tt)*) => {
        $crate::static_memory! { @$what $($of)*;
            hosts: $crate::table::Slot<$crate::hosts::Host> = $crate::table::Slot::EMPTY;
            host_index: u32 = 0;
            host_prefixes: u32 = 0;
            host_graves: $crate::hosts::Grave = $crate::hosts::Grave::EMPTY;
            peers: $crate::table::Slot<$crate::session::Peer> = $crate::table::Slot::EMPTY;
            peer_index: u32 = 0;
            session_index: u32 = 0;
            handshakes: $crate::table::Slot<$crate::session::Handshake> = $crate::table::Slot::EMPTY;
            outbox: $crate::table::QueueNode<$crate::node::Out> = $crate::table::QueueNode::EMPTY;
            strays: $crate::table::QueueNode<$crate::session::Stray> = $crate::table::QueueNode::EMPTY;
            relays: $crate::table::Slot<$crate::relay::Relay> = $crate::table::Slot::EMPTY;
            timers: $crate::table::TimerCell = $crate::table::TimerCell::EMPTY;
            calls: $crate::table::Slot<$crate::exchange::Call> = $crate::table::Slot::EMPTY;
            serves: $crate::table::Slot<$crate::exchange::Serve> = $crate::table::Slot::EMPTY;
            serve_index: u32 = 0;
            small_chunks: $crate::node::Chunk = $crate::node::Chunk::EMPTY;
            large_chunks: $crate::node::Chunk = $crate::node::Chunk::EMPTY;
            seats: $crate::table::Slot<$crate::group::Seat> = $crate::table::Slot::EMPTY;
            partners: $crate::table::Slot<$crate::group::Partner> = $crate::table::Slot::EMPTY;
            known: $crate::table::Slot<$crate::group::Known> = $crate::table::Slot::EMPTY;
            known_index: u32 = 0;
            items: $crate::content::Item = $crate::content::Item::EMPTY;
            item_index: u32 = 0;
            pointers: $crate::retrieve::Pointer = $crate::retrieve::Pointer::EMPTY;
            pointer_index: u32 = 0;
            operations: $crate::table::Slot<$crate::retrieve::Op> = $crate::table::Slot::EMPTY;
            transfers: $crate::table::Slot<$crate::retrieve::Transfer> = $crate::table::Slot::EMPTY;
            lists: Option<$crate::retrieve::CachedList> = None;
            jobs: $crate::table::Slot<$crate::storage::StoreJob> = $crate::table::Slot::EMPTY;
            events: Option<$crate::Event> = None;
        }
    };
    (@place $vis:vis $name:ident $cell:ident $limits:expr; $($field:ident: $ty:ty = $empty:expr;)*) => {
        /// All tables of one node, each in a `static` of its own.
        ///
        /// # Panics
        /// When called twice.
        $vis fn $name() -> $crate::memory::Memory<'static> {
            // Each is a function, so that no more of the stack is taken than by the largest table.
            #[inline(never)]
            fn small() -> &'static mut [u8; { $limits.small_buffers * $crate::node::SMALL }] {
                static TABLE: $cell<[u8; { $limits.small_buffers * $crate::node::SMALL }]> = $cell::new();
                TABLE.init_with(|| [0; { $limits.small_buffers * $crate::node::SMALL }])
            }
            #[inline(never)]
            fn large() -> &'static mut [u8; { $limits.large_buffers * $limits.large_bytes }] {
                static TABLE: $cell<[u8; { $limits.large_buffers * $limits.large_bytes }]> = $cell::new();
                TABLE.init_with(|| [0; { $limits.large_buffers * $limits.large_bytes }])
            }
            $(
                #[inline(never)]
                fn $field() -> &'static mut [$ty; { $limits.len_of($crate::memory::Table::$field) }] {
                    static TABLE: $cell<[$ty; { $limits.len_of($crate::memory::Table::$field) }]> = $cell::new();
                    TABLE.init_with(|| [const { $empty }; { $limits.len_of($crate::memory::Table::$field) }])
                }
            )*
            $crate::memory::Memory {
                limits: $limits,
                small: $crate::node::Arena::Lent(small()),
                large: $crate::node::Arena::Lent(large()),
                $($field: $crate::table::Store::Lent($field()),)*
            }
        }
    };
    (@build $vis:vis $name:ident $limits:expr; $($field:ident: $ty:ty = $empty:expr;)*) => {
        /// All tables of one node.
        $vis struct $name {
            small: [u8; { $limits.small_buffers * $crate::node::SMALL }],
            large: [u8; { $limits.large_buffers * $limits.large_bytes }],
            $($field: [$ty; { $limits.len_of($crate::memory::Table::$field) }],)*
        }

        impl $name {
            /// Nothing in any table. Called at run time, this costs little flash; as the initial value of a `static`, as
            /// much as the tables are large, because an empty entry is not all zeros.
            pub const fn new() -> Self {
                $name {
                    small: [0; { $limits.small_buffers * $crate::node::SMALL }],
                    large: [0; { $limits.large_buffers * $limits.large_bytes }],
                    $($field: [const { $empty }; { $limits.len_of($crate::memory::Table::$field) }],)*
                }
            }

            /// The same as a constant.
            pub const NEW: Self = Self::new();

            /// Lends the tables to a node.
            pub fn lend(&mut self) -> $crate::memory::Memory<'_> {
                $crate::memory::Memory {
                    limits: $limits,
                    small: $crate::node::Arena::Lent(&mut self.small),
                    large: $crate::node::Arena::Lent(&mut self.large),
                    $($field: $crate::table::Store::Lent(&mut self.$field),)*
                }
            }
        }
    };
}

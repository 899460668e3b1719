//! The loop, over a network, clock and disk made by hand: what it does first, when it waits, what it never loses.

mod order;
mod waiting;
mod world;

//! Nodes on embassy's stack, joined by cables in memory.

mod cable;
mod nodes;

//! Bounded tables over lent or owned memory. No protocol in here.

mod index;
mod queue;
mod slots;
mod store;
mod timers;

pub use index::Index;
pub(crate) use index::SLOTS_MAX;
pub use queue::{Fifo, Node as QueueNode, Pool, Queue};
pub use slots::{Handle, Slot, Slots};
pub use store::Store;
pub use timers::{TimerCell, TimerId, Timers};

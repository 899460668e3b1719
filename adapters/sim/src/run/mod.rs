//! Runs of scenarios: one of them, many on all cores, and what they come to.

mod content;
mod detect;
mod many;
mod measure;
mod play;
pub mod record;
mod risk;
mod stream;
mod summary;

pub use many::{Control, Runs, run_all};
pub use play::{Keep, play};
pub use summary::{summary, trace};

#[cfg(test)]
mod tests;

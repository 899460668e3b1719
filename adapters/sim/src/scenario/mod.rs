//! Scenarios: what is to happen in a world, written in a TOML file. SCENARIOS.md, beside this crate's README, explains the
//! format.

mod check;
mod figures;
mod model;
mod nodes;
mod settings;
mod source;
pub mod units;

pub use check::{memory_bytes, nodes_max, planned};
pub use figures::figure_names;
pub use model::*;
pub use nodes::{MachineKind, NatPlan, Nodes};
pub use settings::{Settings, Tables};
pub use source::{Case, Problem, Source};

#[cfg(test)]
mod tests;

//! Scenarios: what is to happen in a world, written in a TOML file. SCENARIOS.md, beside this crate's README, explains the
//! format.

mod check;
mod figures;
mod model;
mod settings;
mod source;
pub mod units;

pub use check::{memory_bytes, nodes_max, planned};
pub use figures::figure_names;
pub use model::*;
pub use settings::{Settings, Tables};
pub use source::{Case, Problem, Source};

use crate::machine::Machine;

impl Nodes {
    /// The machine of these nodes, with the changes made.
    pub fn spec_machine(&self) -> Machine {
        let machine = match self.machine {
            MachineKind::Tiny => Machine::tiny(),
            MachineKind::Desktop => Machine::desktop(),
        };
        machine.with(|machine| {
            self.config.change(&mut machine.config);
            self.limits.change(&mut machine.limits);
            machine.disk.op_us = self.disk_op.us().try_into().unwrap_or(u32::MAX);
        })
    }
}

#[cfg(test)]
mod tests;

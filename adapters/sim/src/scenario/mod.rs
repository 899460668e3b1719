//! Scenarios: what is to happen in a world, written in a TOML file.

pub mod units;

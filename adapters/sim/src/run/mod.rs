//! Runs of scenarios, and what they leave behind.

pub mod record;

//! The house rules as tests: which way the arrows point, which packages are really used, and tidiness.

mod layering;
mod links;
mod packages;
mod sizes;
mod spec;
mod tidy;

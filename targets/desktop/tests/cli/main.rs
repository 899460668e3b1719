//! The program as people use it: the real binary, its output and its exit codes.
#![cfg(unix)]

mod common;
mod content;
mod control;
mod interrupted;
mod refusals;

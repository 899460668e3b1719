//! Results on standard output.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// What may go wrong with standard output.
fn lost(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // Whoever read has enough, as `head` does: no reason to complain.
        std::process::exit(0);
    }
    Failure::failed(format!("cannot write the result: {error}"))
}

/// Writes bytes at once. When nobody reads them any more, the program ends well.
///
/// # Errors
/// The output cannot be written to, for example because a disk is full.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(lost)
}

/// Writes text; else as [`bytes`].
///
/// # Errors
/// See [`bytes`].
pub fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// Writes a line of JSON; else as [`bytes`].
///
/// # Errors
/// See [`bytes`].
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(|error| lost(error.into()))?;
    line.push(b'\n');
    bytes(&line)
}

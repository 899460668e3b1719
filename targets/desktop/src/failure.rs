//! How a command ends.

use std::fmt;

/// What the program's exit code says; documented in `butter help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It did not work; the message says why.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What was asked for is not there.
    NotFound = 3,
    /// No node runs in the data directory.
    NoNode = 4,
    /// Fewer nodes hold it than `--min-replicas` asked for.
    FewReplicas = 5,
}

/// Why a command failed, and the way out: shown to the user as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The program's exit code.
    pub exit: Exit,
    /// Cause and way out.
    pub message: String,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// A failure of no special kind.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, message)
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

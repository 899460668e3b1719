//! What can go wrong for who uses a node.

use core::fmt;

use butter_core::exchange::Failure;
use butter_core::node::Refused;
use butter_core::retrieve::Reason;

/// Why something did not come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// All places of the mailbox are taken: make it larger, or wait for fewer things at a time.
    MailboxFull,
    /// The node has no room for it now, or it makes no sense; nothing was changed.
    Refused(Refused),
    /// How a call ended.
    Call(Failure),
    /// What came does not fit the buffer given.
    TooLong,
    /// No node asked knows of the object.
    NotFound,
    /// Why a put or get failed.
    Failed(Reason),
    /// Events were lost because their table (`Limits::events`) was full: try again.
    Lost,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Error::Refused(refused)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::MailboxFull => f.write_str("all places of the mailbox are taken"),
            Error::Refused(refused) => refused.fmt(f),
            Error::Call(failure) => write!(f, "the call failed: {failure:?}"),
            Error::TooLong => f.write_str("it does not fit the buffer given"),
            Error::NotFound => f.write_str("no node asked knows of the object"),
            Error::Failed(reason) => write!(f, "it failed: {reason:?}"),
            Error::Lost => f.write_str("events were lost: try again"),
        }
    }
}

impl core::error::Error for Error {}

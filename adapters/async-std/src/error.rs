//! What can go wrong, each with its cause and the way out.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use butter_core::config::ConfigError;
use butter_core::exchange::{Failure, Status};
use butter_core::node::Refused;
use butter_core::retrieve::Reason;
use butter_core::ticket::TicketError;

/// Why something failed. Nothing was changed unless a variant says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The address to listen at cannot be had.
    Listen {
        /// Which address.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data directory, or a file in it, cannot be made, read or written.
    DataDir {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another node runs on this data directory.
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file with the node's identity does not hold one.
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// An address to join does not resolve.
    Resolve {
        /// The address as it was given.
        name: String,
        /// Why; `None`: the name has no addresses.
        source: Option<io::Error>,
    },
    /// A text to join by is meant to be a ticket, and is none.
    Ticket(TicketError),
    /// A ticket to join by is for another network than this node is for.
    OtherNetwork {
        /// The ticket's network.
        ticket: String,
        /// The node's.
        network: String,
    },
    /// The configuration or limits cannot work.
    Config(ConfigError),
    /// The network's name is empty or longer than 64 bytes.
    NetworkName,
    /// The system gave no random bytes.
    Entropy,
    /// The node has stopped.
    Stopped,
    /// The node refused.
    Refused(Refused),
    /// A call ended without an answer of success.
    Call(Failure),
    /// No node asked knows of the object.
    NotFound,
    /// A put or get failed.
    Failed(Reason),
    /// The source of a put failed, or the sink of a get.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { at, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen at {at}: another program uses this port; choose another, or none for any free one"
                )
            }
            Error::Listen { at, source } => write!(f, "cannot listen at {at}: {source}"),
            Error::DataDir { path, source } => write!(f, "cannot use {}: {source}", path.display()),
            Error::InUse { path } => write!(
                f,
                "another node runs on {}: stop it, or give this one a data directory of its own",
                path.display()
            ),
            Error::Identity { path } => write!(
                f,
                "{} is not an identity (32 bytes): restore it, or move it away to become a new node",
                path.display()
            ),
            Error::Resolve { name, source: Some(source) } => write!(f, "{name:?} is not an address to join: {source}"),
            Error::Resolve { name, source: None } => write!(f, "{name:?} has no address"),
            Error::Ticket(error) => write!(f, "not a ticket: {error}"),
            Error::OtherNetwork { ticket, network } => {
                write!(
                    f,
                    "the ticket is for network {ticket:?}, this node for {network:?}: join from one of that network"
                )
            }
            Error::Config(error) => write!(f, "this configuration cannot work: {error}"),
            Error::NetworkName => f.write_str("the name of a network has 1 to 64 bytes"),
            Error::Entropy => f.write_str("the system gives no random bytes, without which no key is secret"),
            Error::Stopped => f.write_str("the node has stopped"),
            Error::Refused(refused) => write!(f, "the node refused: {refused}"),
            Error::Call(Failure::Deadline) => f.write_str("no answer came in time"),
            Error::Call(Failure::PeerGone) => f.write_str("the host is gone"),
            Error::Call(Failure::Silent) => f.write_str("the host does not answer"),
            Error::Call(Failure::Refused(status)) => f.write_str(match status {
                Status::NoRoute => "nobody serves that route there",
                Status::Busy => "the host has no room now: try again later",
                Status::Bad => "the request makes no sense to the host",
                Status::NotFound => "what was asked for is not there",
                Status::Ok | Status::Failed => "the host failed to answer",
            }),
            Error::NotFound => f.write_str("not found: no node asked knows of it"),
            Error::Failed(reason) => f.write_str(match reason {
                Reason::Full => "no group of nodes has room for it",
                Reason::Stalled => "nothing moved for 30 seconds",
                Reason::TooFew => "fewer nodes hold it than demanded",
                Reason::Changed => "the source changed while it was read",
                Reason::Malformed => "the object makes no sense: its publisher was faulty",
                Reason::Lost => "a part of the object is not found any more",
            }),
            Error::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::DataDir { source, .. } | Error::Io(source) => Some(source),
            Error::Resolve { source, .. } => source.as_ref().map(|source| source as _),
            Error::Config(error) => Some(error),
            Error::Ticket(error) => Some(error),
            Error::Refused(refused) => Some(refused),
            _ => None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Refused(refused)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

//! The control socket: how the other commands talk to the running node.
//!
//! A Unix socket `control.sock` in the node's data directory, for the node's owner only (mode 0600). Whoever connects sends
//! requests, one after the other, and reads what each brings before sending the next.
//!
//! A request is one line of JSON, at most 4,096 bytes, with the protocol's version, 1, and what is to be done:
//!
//! | request | then the client sends | the node answers |
//! |---|---|---|
//! | `{"v":1,"do":"status"}` | | `{"status":{…}}` |
//! | `{"v":1,"do":"peers"}` | | `{"peers":[…]}` |
//! | `{"v":1,"do":"groups"}` | | `{"groups":[…]}` |
//! | `{"v":1,"do":"put","bytes":12}` | so many bytes | as below, but no progress |
//! | `{"v":1,"do":"put"}` | chunks, the end | `{"progress":{…}}` several times, then `{"stored":{…}}` |
//! | `{"v":1,"do":"get","id":"…","from":0}` | | `{"object":{"bytes":…,"from":…}}`, chunks, the end, then `{"done":{}}` |
//!
//! A chunk is its length (u32, little endian, 1 to 65,536) and that many bytes; the end is a length of 0. A get begins at the
//! byte `from`, rounded down to a block, as its answer says. At any time the node may answer `{"error":{"kind":"…","message":"…"}}`
//! instead of what is due; of a get under way, in place of `done`, after an early end.
//! After an error the connection is closed, as the rest of the request may still be on its way.
//!
//! The node serves 64 connections at once, and refuses more with the error `busy`; a connection that sends no whole request
//! for 60 seconds is closed. The shapes inside are those of [`crate::report`].

pub mod client;
pub mod server;

use std::io;

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::report::{Group, Peer, Status, Stored};

/// The protocol's version.
pub const VERSION: u32 = 1;
/// The longest request, in bytes, its line feed included.
pub const REQUEST_MAX: usize = 4096;
/// The longest chunk, in bytes.
pub const CHUNK_MAX: usize = 65_536;
/// Connections served at once.
pub const CONNECTIONS_MAX: usize = 64;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Ask {
    /// Tell how the node is.
    Status,
    /// Tell the known hosts.
    Peers,
    /// Tell the groups.
    Groups,
    /// Store what follows.
    Put {
        /// So many bytes follow; `None`: chunks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// Fetch an object.
    Get {
        /// Its id.
        id: String,
        /// The first byte wanted.
        from: u64,
    },
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The protocol's version.
    pub v: u32,
    /// What is to be done.
    #[serde(flatten)]
    pub ask: Ask,
}

/// Only the version: what can be read of a request of any version.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// What the node says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// How the node is.
    Status(Box<Status>),
    /// The known hosts.
    Peers(Vec<Peer>),
    /// The groups.
    Groups(Vec<Group>),
    /// How far a put is.
    Progress {
        /// Bytes stored so far.
        done: u64,
        /// Bytes of the object.
        total: u64,
    },
    /// A put has ended well.
    Stored(Stored),
    /// An object was found, and follows.
    Object {
        /// Its length.
        bytes: u64,
        /// The first byte that follows.
        from: u64,
    },
    /// A get has ended well.
    Done {},
    /// It did not work.
    Error {
        /// What kind of failure.
        kind: Kind,
        /// Cause and way out.
        message: String,
    },
}

/// What kind of failure a node reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request makes no sense.
    Request,
    /// Too much is under way.
    Busy,
    /// What was asked for is not there.
    NotFound,
    /// It did not work.
    Failed,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        let kind = match failure.exit {
            Exit::Usage => Kind::Request,
            Exit::NotFound => Kind::NotFound,
            Exit::Failed | Exit::NoNode | Exit::FewReplicas => Kind::Failed,
        };
        Answer::Error { kind, message: failure.message }
    }
}

impl Kind {
    /// How the program ends that is told of such a failure.
    pub fn exit(self) -> Exit {
        match self {
            Kind::NotFound => Exit::NotFound,
            Kind::Request | Kind::Busy | Kind::Failed => Exit::Failed,
        }
    }
}

/// A request or answer as a line.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it, for the one who sent it.
pub fn read_request(line: &[u8]) -> Result<Ask, Answer> {
    let refuse = |message: String| Answer::Error { kind: Kind::Request, message };
    let versioned: Versioned =
        serde_json::from_slice(line).map_err(|error| refuse(format!("this is not a request: {error}")))?;
    if versioned.v != VERSION {
        return Err(refuse(format!(
            "the node speaks version {VERSION} of the control protocol, the command version {}: use the same program for both",
            versioned.v
        )));
    }
    let request: Request =
        serde_json::from_slice(line).map_err(|error| refuse(format!("this request is not known: {error}")))?;
    Ok(request.ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_documented() {
        for (text, ask) in [
            (r#"{"v":1,"do":"status"}"#, Ask::Status),
            (r#"{"v":1,"do":"peers"}"#, Ask::Peers),
            (r#"{"v":1,"do":"groups"}"#, Ask::Groups),
            (r#"{"v":1,"do":"put","bytes":7}"#, Ask::Put { bytes: Some(7) }),
            (r#"{"v":1,"do":"put"}"#, Ask::Put { bytes: None }),
            (r#"{"v":1,"do":"get","id":"x","from":7}"#, Ask::Get { id: "x".into(), from: 7 }),
        ] {
            assert_eq!(read_request(text.as_bytes()), Ok(ask.clone()));
            assert_eq!(line(&Request { v: VERSION, ask }).unwrap(), format!("{text}\n").into_bytes());
        }
    }

    #[test]
    fn other_versions_are_told_apart_from_nonsense() {
        let message = |text: &[u8]| match read_request(text) {
            Err(Answer::Error { kind: Kind::Request, message }) => message,
            other => panic!("{other:?}"),
        };
        assert!(message(br#"{"v":2,"new":[]}"#).contains("version 2"));
        assert!(message(b"GET / HTTP/1.1").contains("not a request"));
        assert!(message(br#"{"v":1,"do":"dance"}"#).contains("dance"));
        assert!(message(&[0xff; 100]).contains("not a request"));
    }

    #[test]
    fn errors_are_as_documented() {
        let answer = Answer::from(Failure::new(Exit::NotFound, "nobody has it"));
        assert_eq!(line(&answer).unwrap(), b"{\"error\":{\"kind\":\"not_found\",\"message\":\"nobody has it\"}}\n");
        assert_eq!(line(&Answer::Done {}).unwrap(), b"{\"done\":{}}\n");
    }
}

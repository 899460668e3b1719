//! The side of the commands: blocking, one connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Answer, Ask, CHUNK_MAX, Request, VERSION, line};
use crate::failure::{Exit, Failure};
use crate::paths::SOCKET;

/// The longest answer, in bytes: more than a full table of hosts takes.
const ANSWER_MAX: u64 = 1 << 26;

/// A connection to the running node.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// The node has gone in the midst of something.
fn lost(error: &io::Error) -> Failure {
    Failure::failed(format!("the node has stopped or closed the connection: {error}"))
}

impl Client {
    /// Connects to the node that runs in a data directory.
    ///
    /// # Errors
    /// [`Exit::NoNode`] when none runs there, and how to start one.
    pub fn connect(dir: &Path) -> Result<Client, Failure> {
        let path = dir.join(SOCKET);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Client { stream: BufReader::with_capacity(CHUNK_MAX, stream) }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Err(Failure::new(
                    Exit::NoNode,
                    format!("no node runs in {0}; start one with: butter run --data {0}", dir.display()),
                ))
            }
            Err(error) => Err(Failure::failed(format!("cannot reach the node by {}: {error}", path.display()))),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        let bytes = line(&Request { v: VERSION, ask }).map_err(|error| lost(&error))?;
        self.send(&bytes)
    }

    /// Reads an answer; one that tells of an error is a failure.
    ///
    /// # Errors
    /// What the node says, or that it has gone.
    pub fn answer(&mut self) -> Result<Answer, Failure> {
        let mut bytes = Vec::new();
        (&mut self.stream).take(ANSWER_MAX).read_until(b'\n', &mut bytes).map_err(|error| lost(&error))?;
        if bytes.last() != Some(&b'\n') {
            return Err(lost(&io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Answer::Error { kind, message }) => Err(Failure::new(kind.exit(), message)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(unexpected(&error.to_string())),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// What the node said before it stopped listening, or that it has gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.get_mut().write_all(bytes);
        // Who stops listening has said why.
        sent.map_err(|error| self.answer().err().unwrap_or_else(|| lost(&error)))
    }

    /// Sends a chunk of what is put: at most [`CHUNK_MAX`] bytes; none is the end.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub fn send_chunk(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.send(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        self.send(bytes)
    }

    /// Reads a piece of what is got into `bytes`; afterwards these are none at the end.
    ///
    /// # Errors
    /// The node has gone.
    pub fn chunk(&mut self, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(|error| lost(&error))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > CHUNK_MAX {
            return Err(unexpected("a chunk is too long"));
        }
        bytes.resize(length, 0);
        self.stream.read_exact(bytes).map_err(|error| lost(&error))
    }
}

/// The node said something that has no place here.
pub fn unexpected(what: &str) -> Failure {
    Failure::failed(format!("the node gave an answer that is not understood ({what}): use the same program for both"))
}

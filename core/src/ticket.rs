//! Tickets: a short text that carries what is needed to join a network or to fetch an object from it.
//!
//! ```text
//! ticket = "butter:" ‖ z-base-32 (payload ‖ check)      lower case, no padding; the bits past the last byte are zero
//! payload = version (1) = 1 ‖ postcard of { network: str, hosts: seq of (id, address), object: option of key }
//! check = the low 16 bits, little-endian, of the 32-bit FNV-1a hash of the payload: against mistakes in typing
//! ```
//!
//! A ticket has no secret of a closed network in it: that one is handed over some other way.

use core::fmt;
use core::str::FromStr;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::addr::Addr;
use crate::id::{ALPHABET, Key, NodeId};
use crate::identity::NETWORK_NAME_MAX;

/// Hosts that a ticket can name.
pub const TICKET_HOSTS_MAX: usize = 4;
/// What every ticket begins with.
pub const TICKET_PREFIX: &str = "butter:";

const VERSION: u8 = 1;
/// Version, name with its length, hosts with their number, key with its presence, check: the longest there is.
const BYTES_MAX: usize = 1 + 1 + NETWORK_NAME_MAX + 1 + TICKET_HOSTS_MAX * (32 + 23) + 33 + 2;
/// Characters of the longest ticket.
pub const TICKET_TEXT_MAX: usize = TICKET_PREFIX.len() + (BYTES_MAX * 8).div_ceil(5);

/// What is needed to join a network, or to fetch an object from it. Its text form is [`Display`](fmt::Display) and
/// [`FromStr`]; neither needs a heap.
///
/// ```
/// use butter_core::ticket::Ticket;
///
/// let ticket = Ticket { network: "home".try_into().unwrap(), ..Ticket::default() };
/// let text = ticket.to_string();
/// assert!(text.starts_with("butter:"));
/// assert_eq!(text.parse(), Ok(ticket));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ticket {
    /// The network's name.
    pub network: String<NETWORK_NAME_MAX>,
    /// Hosts of it, and where they are reached.
    pub hosts: Vec<(NodeId, Addr), TICKET_HOSTS_MAX>,
    /// The object meant, if one is.
    pub object: Option<Key>,
}

/// Why a text is no ticket. The caller's state is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TicketError {
    /// It does not begin with [`TICKET_PREFIX`].
    Prefix,
    /// It is longer than any ticket.
    Length,
    /// A character is not of the z-base-32 alphabet.
    Character,
    /// Characters are missing, or one is wrong.
    Mistyped,
    /// It is of a version that this one does not know.
    Version,
    /// It is whole, but makes no sense.
    Malformed,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TicketError::Prefix => "a ticket begins with butter:",
            TicketError::Length => "the text is longer than any ticket",
            TicketError::Character => "a ticket has only the characters ybndrfg8ejkmcpqxot1uwisza345h769 after butter:",
            TicketError::Mistyped => "the ticket is incomplete or mistyped",
            TicketError::Version => "the ticket was made by a newer version",
            TicketError::Malformed => "the ticket makes no sense",
        })
    }
}

impl core::error::Error for TicketError {}

fn check(payload: &[u8]) -> [u8; 2] {
    let hash = payload.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    [hash as u8, (hash >> 8) as u8]
}

impl Ticket {
    /// The ticket before it becomes text.
    fn bytes(&self) -> Option<Vec<u8, BYTES_MAX>> {
        let mut bytes = Vec::new();
        bytes.resize(BYTES_MAX - 2, 0).ok()?;
        let (version, body) = bytes.split_first_mut()?;
        *version = VERSION;
        let len = 1 + postcard::to_slice(self, body).ok()?.len();
        bytes.truncate(len);
        let check = check(&bytes);
        bytes.extend_from_slice(&check).ok()?;
        Some(bytes)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let bytes = self.bytes().ok_or(fmt::Error)?;
        f.write_str(TICKET_PREFIX)?;
        for bit in (0..bytes.len() * 8).step_by(5) {
            let pair = [bytes[bit / 8], bytes.get(bit / 8 + 1).copied().unwrap_or(0)];
            let value = u16::from_be_bytes(pair) >> (11 - bit % 8) & 31;
            f.write_char(char::from(ALPHABET[usize::from(value)]))?;
        }
        Ok(())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let given = text.get(..TICKET_PREFIX.len()).filter(|given| given.eq_ignore_ascii_case(TICKET_PREFIX));
        let coded = given.and(text.get(TICKET_PREFIX.len()..)).ok_or(TicketError::Prefix)?;
        if text.len() > TICKET_TEXT_MAX {
            return Err(TicketError::Length);
        }
        let mut bytes: Vec<u8, BYTES_MAX> = Vec::new();
        let (mut held, mut bits) = (0u32, 0);
        for c in coded.bytes() {
            let c = c.to_ascii_lowercase();
            let value = ALPHABET.iter().position(|a| *a == c).ok_or(TicketError::Character)? as u32;
            held = held << 5 | value;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((held >> bits) as u8).map_err(|_| TicketError::Length)?;
                held &= (1 << bits) - 1;
            }
        }
        // At most four bits are left over, and they are zero: there is one text for every ticket.
        let (payload, found) = bytes.split_last_chunk::<2>().ok_or(TicketError::Mistyped)?;
        if held != 0 || bits > 4 || *found != check(payload) {
            return Err(TicketError::Mistyped);
        }
        match payload.split_first() {
            Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((ticket, [])) => Ok(ticket),
                _ => Err(TicketError::Malformed),
            },
            Some(_) => Err(TicketError::Version),
            None => Err(TicketError::Mistyped),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::{String, ToString};

    use super::*;

    fn full() -> Ticket {
        let addr = Addr { ip: [0xfd; 16], port: u16::MAX, slot: u16::MAX };
        Ticket {
            network: "n".repeat(NETWORK_NAME_MAX).as_str().try_into().unwrap(),
            hosts: core::iter::repeat_n((NodeId([0xff; 32]), addr), TICKET_HOSTS_MAX).collect(),
            object: Some(Key([0xff; 32])),
        }
    }

    #[test]
    fn s1_tickets_survive_the_way_there_and_back() {
        let v4: core::net::SocketAddr = "192.168.1.7:28883".parse().unwrap();
        let one = Ticket {
            network: "home".try_into().unwrap(),
            hosts: [(NodeId([7; 32]), v4.into())].into_iter().collect(),
            object: None,
        };
        for ticket in [Ticket::default(), one, full()] {
            let text = ticket.to_string();
            assert!(text.len() <= TICKET_TEXT_MAX, "{}", text.len());
            assert_eq!(text.parse(), Ok(ticket.clone()));
            assert_eq!(text.to_uppercase().parse(), Ok(ticket), "read aloud, case is lost");
        }
    }

    #[test]
    fn s1_mistakes_are_named() {
        let text = full().to_string();
        let parse = |text: &str| text.parse::<Ticket>();
        assert_eq!(parse(""), Err(TicketError::Prefix));
        assert_eq!(parse("ünïcödé"), Err(TicketError::Prefix));
        assert_eq!(parse(&text[7..]), Err(TicketError::Prefix));
        assert_eq!(parse("butter:"), Err(TicketError::Mistyped));
        assert_eq!(parse("butter:l"), Err(TicketError::Character));
        assert_eq!(parse(&text[..text.len() - 1]), Err(TicketError::Mistyped));
        assert_eq!(parse(&(text.clone() + &text[7..])), Err(TicketError::Length));
        for at in 7..text.len() {
            let mut wrong = String::from(&text[..at]);
            wrong.push(if text.as_bytes()[at] == b'y' { 'b' } else { 'y' });
            wrong.push_str(&text[at + 1..]);
            assert_eq!(parse(&wrong), Err(TicketError::Mistyped), "character {at}");
        }
    }
}

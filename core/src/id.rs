//! Names of things: nodes, blocks, groups, routes.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The alphabet of z-base-32 (Zimmermann, O'Whielacronx 2009), made to be read aloud and typed.
pub(crate) const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Characters in the text form of 32 bytes.
pub const TEXT_LEN: usize = 52;

/// Why a text is not an id. The caller's state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IdError {
    /// The text does not have [`TEXT_LEN`] characters.
    Length,
    /// A character is not of the z-base-32 alphabet.
    Character,
    /// The bits past the last byte are not zero, so that the text is not the one Butter prints.
    Trailing,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdError::Length => "an id has 52 characters",
            IdError::Character => "an id has only the characters ybndrfg8ejkmcpqxot1uwisza345h769",
            IdError::Trailing => "the last character of the id is wrong",
        })
    }
}

impl core::error::Error for IdError {}

fn encode(bytes: &[u8; 32], out: &mut [u8; TEXT_LEN]) {
    for (i, c) in out.iter_mut().enumerate() {
        let bit = i * 5;
        let high = bytes[bit / 8] as u16;
        let low = bytes.get(bit / 8 + 1).copied().unwrap_or(0) as u16;
        let value = ((high << 8 | low) >> (11 - bit % 8)) & 31;
        *c = ALPHABET[value as usize];
    }
}

fn decode(text: &str) -> Result<[u8; 32], IdError> {
    if text.len() != TEXT_LEN {
        return Err(IdError::Length);
    }
    let mut bytes = [0u8; 32];
    for (i, c) in text.bytes().enumerate() {
        let c = c.to_ascii_lowercase();
        let value = ALPHABET.iter().position(|a| *a == c).ok_or(IdError::Character)? as u16;
        let bit = i * 5;
        let shifted = value << (11 - bit % 8);
        bytes[bit / 8] |= (shifted >> 8) as u8;
        match bytes.get_mut(bit / 8 + 1) {
            Some(low) => *low |= shifted as u8,
            None if shifted as u8 != 0 => return Err(IdError::Trailing),
            None => {}
        }
    }
    Ok(bytes)
}

macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $name(#[serde(with = "crate::wire::bytes")] pub [u8; 32]);

        impl $name {
            /// The text form's bytes: z-base-32, 52 ASCII characters.
            pub fn text(&self) -> [u8; TEXT_LEN] {
                let mut out = [0; TEXT_LEN];
                encode(&self.0, &mut out);
                out
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.text();
                f.pad(core::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.text();
                f.write_str(core::str::from_utf8(&text[..8]).unwrap_or_default())
            }
        }

        impl core::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                decode(text).map($name)
            }
        }
    };
}

id32! {
    /// A node's name: its 32-byte Ed25519 public key, shown in z-base-32.
    ///
    /// ```
    /// use butter_core::id::NodeId;
    /// let id = NodeId([7; 32]);
    /// assert_eq!(id.to_string().parse(), Ok(id));
    /// assert!("not an id".parse::<NodeId>().is_err());
    /// ```
    NodeId
}

id32! {
    /// The key of an item: for a block or an extent the hash of its bytes.
    Key
}

/// A group's stable name: 16 random bytes drawn by its founder, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct GroupId(#[serde(with = "crate::wire::bytes")] pub [u8; 16]);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A route's name on the wire: a 32-bit hash of a versioned text such as `"ohce/1"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RouteId(pub u32);

/// Names a route at compile time. FNV-1a, 32 bit (Fowler, Noll, Vo), with the top bit set:
/// numbers below 2³¹ are the protocol's own.
///
/// ```
/// use butter_core::id::{route, RouteId};
/// const OHCE: RouteId = route("ohce/1");
/// assert_ne!(OHCE, route("ohce/2"));
/// ```
pub const fn route(name: &str) -> RouteId {
    let bytes = name.as_bytes();
    let mut hash = 0x811c_9dc5u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    RouteId(hash | 0x8000_0000)
}

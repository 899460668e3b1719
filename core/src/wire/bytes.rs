//! Arrays of bytes in messages, for `#[serde(with = …)]`: on the wire as serde's own, each byte as it is and no length
//! before them, but read by one loop for all lengths. Serde's own is unrolled, once for every length.

use core::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};

pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
    let mut tuple = serializer.serialize_tuple(N)?;
    for byte in bytes {
        tuple.serialize_element(byte)?;
    }
    tuple.end()
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    deserializer.deserialize_tuple(N, Bytes)
}

struct Bytes<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<[u8; N], A::Error> {
        let mut out = [0; N];
        fill(&mut bytes, &mut out)?;
        Ok(out)
    }
}

#[inline(never)]
fn fill<'de, A: SeqAccess<'de>>(bytes: &mut A, out: &mut [u8]) -> Result<(), A::Error> {
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = bytes.next_element()?.ok_or_else(|| Error::invalid_length(at, &"more bytes"))?;
    }
    Ok(())
}

//! Cryptography that hides and protects nothing, so that altered contents reach what stands behind it.

use butter_core::crypto::{
    Crypto, CryptoError, HELLO_OVERHEAD, HandshakeKeys, HandshakeState, SecretKey, SessionKeys, TAG_LEN,
    WELCOME_OVERHEAD,
};
use butter_core::id::NodeId;

/// Where a Hello has its payload: behind the ephemeral key and the sealed static key.
const HELLO_PAYLOAD: usize = HELLO_OVERHEAD - TAG_LEN;
/// Where a Welcome has its payload: behind the ephemeral key.
const WELCOME_PAYLOAD: usize = WELCOME_OVERHEAD - TAG_LEN;

/// A tag depends on the key alone: whoever has seen one packet of a session can forge the next. So a packet for
/// another node or session is still told from one's own, but no change of its contents is noticed.
pub struct Glass;

fn tag(key: &[u8; 32]) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&key[..TAG_LEN]);
    tag
}

/// Joins parts of a message; fails where a provider would.
fn join(out: &mut [u8], parts: &[&[u8]]) -> Result<usize, CryptoError> {
    let mut at = 0;
    for part in parts {
        out.get_mut(at..at + part.len()).ok_or(CryptoError)?.copy_from_slice(part);
        at += part.len();
    }
    Ok(at)
}

/// Takes a payload out of a message.
fn payload(message: &[u8], start: usize, psk: &[u8; 32], out: &mut [u8]) -> Result<usize, CryptoError> {
    let (rest, seen) = message.split_last_chunk::<TAG_LEN>().ok_or(CryptoError)?;
    let payload = rest.get(start..).ok_or(CryptoError)?;
    if *seen != tag(psk) {
        return Err(CryptoError);
    }
    out.get_mut(..payload.len()).ok_or(CryptoError)?.copy_from_slice(payload);
    Ok(payload.len())
}

/// Both directions of a session have a key of their own, which both sides know by their psk.
fn keys(psk: &[u8; 32], initiator: bool) -> SessionKeys {
    let key = |first| {
        let mut key = *psk;
        key[0] ^= u8::from(first);
        key
    };
    SessionKeys { send: key(initiator), receive: key(!initiator) }
}

impl Crypto for Glass {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        // FNV-1a in four lanes, then mixed: spreads well enough for tables, which is all that is asked of it here.
        let mut lanes =
            [0xcbf2_9ce4_8422_2325_u64, 0x9e37_79b9_7f4a_7c15, 0x243f_6a88_85a3_08d3, 0xb7e1_5162_8aed_2a6b];
        for (i, byte) in parts.iter().copied().flatten().enumerate() {
            let lane = &mut lanes[i % 4];
            *lane = (*lane ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut out = [0; 32];
        let mut state = lanes[3];
        for (chunk, lane) in out.chunks_exact_mut(8).zip(lanes) {
            state = (state ^ lane).wrapping_mul(0xff51_afd7_ed55_8ccd);
            state ^= state >> 32;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        out
    }

    fn node_id(&self, secret: &SecretKey) -> NodeId {
        NodeId(secret.0)
    }

    fn exchange_key(&self, id: &NodeId) -> Option<[u8; 32]> {
        // Some ids are points of no curve.
        (id.0[31] != 0xff).then_some(id.0)
    }

    fn sign(&self, secret: &SecretKey, _message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&secret.0);
        signature
    }

    fn verify(&self, id: &NodeId, _message: &[u8], signature: &[u8; 64]) -> bool {
        signature[..32] == id.0
    }

    fn seal(&self, key: &[u8; 32], _nonce: &[u8; 12], _ad: &[u8], _data: &mut [u8]) -> [u8; TAG_LEN] {
        tag(key)
    }

    fn open(
        &self,
        key: &[u8; 32],
        _nonce: &[u8; 12],
        _ad: &[u8],
        _data: &mut [u8],
        seen: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        if *seen == tag(key) { Ok(()) } else { Err(CryptoError) }
    }

    fn write_hello(
        &self,
        keys: HandshakeKeys<'_>,
        _to: &NodeId,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        _state: &mut HandshakeState,
    ) -> Result<usize, CryptoError> {
        join(out, &[ephemeral, &keys.id.0, &[0; TAG_LEN], payload, &tag(keys.psk)])
    }

    fn read_hello(
        &self,
        keys: HandshakeKeys<'_>,
        message: &[u8],
        out: &mut [u8],
        _state: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError> {
        let length = payload(message, HELLO_PAYLOAD, keys.psk, out)?;
        let from = message.get(32..64).and_then(<[u8]>::first_chunk).ok_or(CryptoError)?;
        Ok((length, *from))
    }

    fn write_welcome(
        &self,
        handshake: HandshakeKeys<'_>,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        _state: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        let length = join(out, &[ephemeral, payload, &tag(handshake.psk)])?;
        Ok((length, keys(handshake.psk, false)))
    }

    fn read_welcome(
        &self,
        handshake: HandshakeKeys<'_>,
        _to: &NodeId,
        message: &[u8],
        out: &mut [u8],
        _state: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        let length = payload(message, WELCOME_PAYLOAD, handshake.psk, out)?;
        Ok((length, keys(handshake.psk, true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_has_the_lengths_of_a_real_one_and_ends_in_matching_keys() {
        let (a, b) = (SecretKey([1; 32]), SecretKey([2; 32]));
        let (id_a, id_b) = (Glass.node_id(&a), Glass.node_id(&b));
        let keys = |me, id| HandshakeKeys { me, id, psk: &[7; 32], prologue: &[] };
        let (mut out, mut read, mut state) = ([0; 256], [0; 64], HandshakeState::default());
        let n = Glass.write_hello(keys(&a, &id_a), &id_b, &[3; 32], b"hello", &mut out, &mut state);
        assert_eq!(n, Ok(5 + HELLO_OVERHEAD));
        let got = Glass.read_hello(keys(&b, &id_b), &out[..5 + HELLO_OVERHEAD], &mut read, &mut state);
        assert_eq!((got, &read[..5]), (Ok((5, id_a.0)), b"hello".as_slice()));
        let (n, at_b) = Glass.write_welcome(keys(&b, &id_b), &[4; 32], b"hi", &mut out, &mut state).unwrap();
        assert_eq!(n, 2 + WELCOME_OVERHEAD);
        let (n, at_a) = Glass.read_welcome(keys(&a, &id_a), &id_b, &out[..n], &mut read, &state).unwrap();
        assert_eq!(&read[..n], b"hi");
        assert_eq!((at_a.send, at_a.receive), (at_b.receive, at_b.send));
        assert_ne!(at_a.send, at_a.receive);
    }
}

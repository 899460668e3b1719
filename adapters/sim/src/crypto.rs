//! A cryptography without secrecy: fast, and strict about how it is used.

use std::sync::{Mutex, MutexGuard, PoisonError};

use butter_core::crypto::{
    Crypto, CryptoError, HANDSHAKE_PAYLOAD_MAX, HELLO_OVERHEAD, HandshakeKeys, HandshakeState, SecretKey, SessionKeys,
    TAG_LEN, WELCOME_OVERHEAD,
};
use butter_core::id::NodeId;
use twox_hash::XxHash3_128;

use crate::lately::Lately;

/// Session keys, random nonces and ephemeral keys whose use is remembered, together: in a world of 100,000 nodes, those of the
/// last few minutes.
const REMEMBERED: usize = 1 << 23;

/// The cryptography of simulated nodes. Damage, wrong keys, wrong identities and wrong networks are found as real
/// cryptography finds them; nothing is secret. About 10 to 100 times as fast as the real one.
///
/// It panics, naming what was done, on what real cryptography cannot detect and would be broken by:
///
/// - a nonce used twice under one key. A nonce that begins with four zero bytes is a counter (Noise, little-endian) and
///   has to rise; any other counts as random and must be new.
/// - an ephemeral key used for two different handshake messages;
/// - an id handed to a handshake that is not that of the secret.
///
/// One instance serves one world, and remembers the last 4 to 8 million keys and nonces that were used, by 8 bytes of their hash:
/// at most 300 MB.
#[derive(Default)]
pub struct FakeCrypto {
    seen: Mutex<Seen>,
}

struct Seen {
    /// The last counter under each session key, each random nonce under its key, and what each ephemeral key was used for.
    used: Lately,
    /// Room to join the parts of what is hashed.
    joined: Vec<u8>,
    sealed: Sealed,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { used: Lately::new(REMEMBERED), joined: Vec::new(), sealed: Sealed::default() }
    }
}

/// What was sealed so far. Nobody else sees what sessions say: on its way it is hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Messages in session packets and their bytes, lengths included, by the number of their kind
    /// ([`butter_core::wire::Message`]'s variants in order); the last one counts all kinds from 23 on.
    pub messages: [(u64, u64); 24],
    /// Everything sealed under a random nonce, which is what hosts say before they have a session, and its bytes.
    pub greetings: (u64, u64),
}

impl Sealed {
    fn count(&mut self, session: bool, mut plain: &[u8]) {
        if !session {
            self.greetings.0 += 1;
            self.greetings.1 += plain.len() as u64;
            return;
        }
        // Messages are `length ‖ kind ‖ …` (PROTOCOL §2.5), and a length of zero begins the padding.
        while let [low, high, kind, ..] = *plain {
            let long = low & 0x80 != 0;
            let (head, kind) = if long { (2, kind) } else { (1, high) };
            let length = if long { usize::from(low & 0x7f) | usize::from(high) << 7 } else { usize::from(low) };
            if length == 0 {
                break;
            }
            let sum = &mut self.messages[usize::from(kind).min(23)];
            *sum = (sum.0 + 1, sum.1 + (head + length) as u64);
            plain = plain.get(head + length..).unwrap_or_default();
        }
    }
}

const INITIATOR: u8 = 1;
const RESPONDER: u8 = 2;
/// A running hash and a key.
const NOTES: usize = 1 + 32 + 32;

impl FakeCrypto {
    /// A provider that has seen nothing yet.
    pub fn new() -> FakeCrypto {
        FakeCrypto::default()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // After a panic on misuse the world is torn down, in whatever state this is.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sealed so far.
    pub fn sealed(&self) -> Sealed {
        self.seen().sealed
    }

    fn used(&self, key: &[u8; 32], nonce: &[u8; 12], plain: &[u8]) {
        let mut seen = self.seen();
        seen.sealed.count(nonce[..4] == [0; 4], plain);
        let [prefix @ .., n0, n1, n2, n3, n4, n5, n6, n7] = *nonce;
        if prefix == [0; 4] {
            let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
            if let Some(last) = seen.used.set(fold(5, key) as u64, number) {
                assert!(number > last, "nonce counter {number} sealed after {last} under key {}", hex(&key[..4]));
            }
        } else {
            let new = seen.used.set(fold(fold(6, key) as u64, nonce) as u64, 0).is_none();
            assert!(new, "nonce {} sealed twice under key {}", hex(nonce), hex(&key[..4]));
        }
    }

    fn used_ephemeral(&self, ephemeral: &[u8; 32], message: &[u8]) {
        let digest = fold(1, message) as u64;
        let before = self.seen().used.set(fold(7, ephemeral) as u64, digest);
        let fine = before.is_none_or(|before| before == digest);
        assert!(fine, "ephemeral key {} used for two messages", hex(&ephemeral[..4]));
    }

    fn own_key(&self, keys: &HandshakeKeys<'_>) -> [u8; 32] {
        assert!(self.node_id(keys.me) == *keys.id, "a handshake as {:?} with another's secret", keys.id);
        self.key_of(keys.id)
    }

    fn key_of(&self, id: &NodeId) -> [u8; 32] {
        self.hash(&[b"exchange", &id.0])
    }

    fn chain(&self, keys: &HandshakeKeys<'_>, responder: &[u8; 32], ephemeral: &[u8; 32]) -> [u8; 32] {
        self.hash(&[b"handshake", keys.psk, responder, ephemeral, keys.prologue])
    }

    fn session(&self, chain: &[u8; 32], initiator: &[u8; 32], ephemeral: &[u8; 32]) -> [[u8; 32]; 3] {
        let root = self.hash(&[b"session", chain, initiator, ephemeral]);
        [b"welcome", b"forward", b"reverse"].map(|name| self.hash(&[name, &root]))
    }
}

impl std::fmt::Debug for FakeCrypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeCrypto")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fold(seed: u64, bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(seed, bytes)
}

/// Hides bytes from a reader who forgets to open them, and back again.
fn mask(pad: u64, data: &mut [u8]) {
    let pad = pad.to_le_bytes();
    for chunk in data.chunks_mut(8) {
        chunk.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    }
}

/// The tag of plain bytes, and the pad that hides them.
fn tag_seed(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8]) -> u128 {
    let mut head = [0; 44];
    head[..32].copy_from_slice(key);
    head[32..].copy_from_slice(nonce);
    fold(fold(2, &head) as u64, ad)
}

fn tag(seed: u128, data: &[u8]) -> [u8; TAG_LEN] {
    (fold(seed as u64, data) ^ seed).to_le_bytes()
}

/// Seals a part of a handshake message; `out` is as long as the part and the tag.
fn seal_part(key: &[u8; 32], part: &[u8], out: &mut [u8]) {
    let seed = tag_seed(key, &[0; 12], b"");
    let (data, end) = out.split_at_mut(part.len());
    data.copy_from_slice(part);
    end.copy_from_slice(&tag(seed, part));
    mask((seed >> 64) as u64, data);
}

fn open_part(key: &[u8; 32], sealed: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    let seed = tag_seed(key, &[0; 12], b"");
    let (data, end) = sealed.split_last_chunk::<TAG_LEN>().ok_or(CryptoError)?;
    out.copy_from_slice(data);
    mask((seed >> 64) as u64, out);
    if tag(seed, out) == *end { Ok(()) } else { Err(CryptoError) }
}

/// The part of `payload` that a message fills.
fn payload_of<'a>(message: &[u8], overhead: usize, payload: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
    let len = message.len().checked_sub(overhead).filter(|len| *len <= HANDSHAKE_PAYLOAD_MAX).ok_or(CryptoError)?;
    payload.get_mut(..len).ok_or(CryptoError)
}

/// The part of `out` that a message fills.
fn message_of<'a>(payload: &[u8], overhead: usize, out: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
    if payload.len() > HANDSHAKE_PAYLOAD_MAX {
        return Err(CryptoError);
    }
    out.get_mut(..overhead + payload.len()).ok_or(CryptoError)
}

fn write_notes(role: u8, chain: &[u8; 32], key: &[u8; 32], state: &mut HandshakeState) {
    state.0[0] = role;
    state.0[1..33].copy_from_slice(chain);
    state.0[33..NOTES].copy_from_slice(key);
}

fn read_notes(role: u8, state: &HandshakeState) -> Result<([u8; 32], [u8; 32]), CryptoError> {
    if state.0[0] != role {
        return Err(CryptoError);
    }
    let mut notes = [[0; 32]; 2];
    notes[0].copy_from_slice(&state.0[1..33]);
    notes[1].copy_from_slice(&state.0[33..NOTES]);
    Ok((notes[0], notes[1]))
}

impl Crypto for FakeCrypto {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut seen = self.seen();
        seen.joined.clear();
        parts.iter().for_each(|part| seen.joined.extend_from_slice(part));
        let mut out = [0; 32];
        out[..16].copy_from_slice(&fold(3, &seen.joined).to_le_bytes());
        out[16..].copy_from_slice(&fold(4, &seen.joined).to_le_bytes());
        out
    }

    fn node_id(&self, secret: &SecretKey) -> NodeId {
        NodeId(self.hash(&[b"node", &secret.0]))
    }

    fn exchange_key(&self, id: &NodeId) -> Option<[u8; 32]> {
        Some(self.key_of(id))
    }

    fn sign(&self, secret: &SecretKey, message: &[u8]) -> [u8; 64] {
        let id = self.node_id(secret);
        let mut out = [0; 64];
        out[..32].copy_from_slice(&self.hash(&[b"sign 1", &id.0, message]));
        out[32..].copy_from_slice(&self.hash(&[b"sign 2", &id.0, message]));
        out
    }

    fn verify(&self, id: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        signature[..32] == self.hash(&[b"sign 1", &id.0, message])
            && signature[32..] == self.hash(&[b"sign 2", &id.0, message])
    }

    fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        self.used(key, nonce, data);
        let seed = tag_seed(key, nonce, ad);
        let tag = tag(seed, data);
        mask((seed >> 64) as u64, data);
        tag
    }

    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        data: &mut [u8],
        sealed: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let seed = tag_seed(key, nonce, ad);
        mask((seed >> 64) as u64, data);
        if tag(seed, data) == *sealed { Ok(()) } else { Err(CryptoError) }
    }

    fn write_hello(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<usize, CryptoError> {
        let out = message_of(payload, HELLO_OVERHEAD, out)?;
        let own = self.own_key(&keys);
        let public = self.hash(&[b"ephemeral", ephemeral]);
        let chain = self.chain(&keys, &self.key_of(to), &public);
        out[..32].copy_from_slice(&public);
        seal_part(&chain, &own, &mut out[32..80]);
        let chain = self.hash(&[b"static", &chain, &own]);
        seal_part(&chain, payload, &mut out[80..]);
        let chain = self.hash(&[b"payload", &chain, payload]);
        self.used_ephemeral(ephemeral, out);
        write_notes(INITIATOR, &chain, &self.key_of(to), state);
        Ok(out.len())
    }

    fn read_hello(
        &self,
        keys: HandshakeKeys<'_>,
        message: &[u8],
        payload: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError> {
        let payload = payload_of(message, HELLO_OVERHEAD, payload)?;
        let public = message.first_chunk().ok_or(CryptoError)?;
        let chain = self.chain(&keys, &self.own_key(&keys), public);
        let mut initiator = [0; 32];
        open_part(&chain, &message[32..80], &mut initiator)?;
        let chain = self.hash(&[b"static", &chain, &initiator]);
        open_part(&chain, &message[80..], payload).inspect_err(|_| payload.fill(0))?;
        let chain = self.hash(&[b"payload", &chain, payload]);
        write_notes(RESPONDER, &chain, &initiator, state);
        Ok((payload.len(), initiator))
    }

    fn write_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        let out = message_of(payload, WELCOME_OVERHEAD, out)?;
        let (chain, initiator) = read_notes(RESPONDER, state)?;
        self.own_key(&keys);
        let public = self.hash(&[b"ephemeral", ephemeral]);
        let [welcome, forward, reverse] = self.session(&chain, &initiator, &public);
        out[..32].copy_from_slice(&public);
        seal_part(&welcome, payload, &mut out[32..]);
        self.used_ephemeral(ephemeral, out);
        state.0.fill(0);
        Ok((out.len(), SessionKeys { send: reverse, receive: forward }))
    }

    fn read_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        message: &[u8],
        payload: &mut [u8],
        state: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        let payload = payload_of(message, WELCOME_OVERHEAD, payload)?;
        let (chain, responder) = read_notes(INITIATOR, state)?;
        if responder != self.key_of(to) {
            return Err(CryptoError);
        }
        let public = message.first_chunk().ok_or(CryptoError)?;
        let [welcome, forward, reverse] = self.session(&chain, &self.own_key(&keys), public);
        open_part(&welcome, &message[32..], payload).inspect_err(|_| payload.fill(0))?;
        Ok((payload.len(), SessionKeys { send: forward, receive: reverse }))
    }
}

#[cfg(test)]
mod tests {
    use butter_core::wire::{Message, Writer};

    use super::*;

    const KEY: [u8; 32] = [5; 32];

    fn counter(number: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_le_bytes());
        nonce
    }

    #[test]
    fn what_is_sealed_opens_only_unchanged() {
        let crypto = FakeCrypto::new();
        let mut data = *b"bread and butter";
        let sealed = crypto.seal(&KEY, &counter(1), b"ad", &mut data);
        assert_ne!(&data, b"bread and butter");
        for (key, nonce, ad, flip) in [
            ([6; 32], counter(1), &b"ad"[..], 0),
            (KEY, counter(2), b"ad", 0),
            (KEY, counter(1), b"da", 0),
            (KEY, counter(1), b"ad", 1),
        ] {
            let mut copy = data;
            copy[3] ^= flip;
            assert_eq!(crypto.open(&key, &nonce, ad, &mut copy, &sealed), Err(CryptoError));
        }
        crypto.open(&KEY, &counter(1), b"ad", &mut data, &sealed).unwrap();
        assert_eq!(&data, b"bread and butter");
    }

    #[test]
    fn messages_are_counted_by_kind_before_they_are_hidden() {
        let (crypto, mut buf) = (FakeCrypto::new(), [0; 128]);
        let mut writer = Writer::new(&mut buf);
        writer.message(&Message::Probe { token: 7 });
        writer.message(&Message::Bye);
        writer.message(&Message::Probe { token: 8 });
        let written = writer.len();
        crypto.seal(&KEY, &counter(1), b"", &mut buf);
        crypto.seal(&KEY, &[9; 12], b"", &mut [0; 40]);
        let sealed = crypto.sealed();
        let (probes, byes) = (sealed.messages[12], sealed.messages[5]);
        assert_eq!((probes.0, byes.0, probes.1 + byes.1), (2, 1, written as u64));
        assert_eq!(sealed.messages.iter().map(|of| of.0).sum::<u64>(), 3, "padding is no message");
        assert_eq!(sealed.greetings, (1, 40));
    }

    #[test]
    #[should_panic(expected = "nonce counter 3 sealed after 3")]
    fn a_counter_used_twice_is_found() {
        let crypto = FakeCrypto::new();
        crypto.seal(&KEY, &counter(3), b"", &mut []);
        crypto.seal(&[4; 32], &counter(3), b"", &mut []);
        crypto.seal(&KEY, &counter(3), b"", &mut []);
    }

    #[test]
    #[should_panic(expected = "sealed twice")]
    fn a_random_nonce_used_twice_is_found() {
        let crypto = FakeCrypto::new();
        crypto.seal(&KEY, &[9; 12], b"", &mut []);
        crypto.seal(&KEY, &[8; 12], b"", &mut []);
        crypto.seal(&KEY, &[9; 12], b"", &mut []);
    }

    fn handshake(psk: [[u8; 32]; 2], flip: usize) -> Result<[SessionKeys; 2], CryptoError> {
        let crypto = FakeCrypto::new();
        let secrets = [SecretKey([1; 32]), SecretKey([2; 32])];
        let ids = [0, 1].map(|i: usize| crypto.node_id(&secrets[i]));
        let keys = |i: usize| HandshakeKeys { me: &secrets[i], id: &ids[i], psk: &psk[i], prologue: b"p" };
        let (mut message, mut payload) = ([0; 200], [0; 64]);
        let (mut initiator, mut responder) = (HandshakeState::default(), HandshakeState::default());
        let len = crypto.write_hello(keys(0), &ids[1], &[7; 32], b"hello", &mut message, &mut initiator)?;
        assert_eq!(len, HELLO_OVERHEAD + 5);
        message[flip] ^= u8::from(flip < len);
        let (read, key) = crypto.read_hello(keys(1), &message[..len], &mut payload, &mut responder)?;
        assert_eq!(&payload[..read], b"hello");
        assert_eq!(Some(key), crypto.exchange_key(&ids[0]));
        let (len, theirs) = crypto.write_welcome(keys(1), &[8; 32], b"hi", &mut message, &mut responder)?;
        assert_eq!(len, WELCOME_OVERHEAD + 2);
        let (read, ours) = crypto.read_welcome(keys(0), &ids[1], &message[..len], &mut payload, &initiator)?;
        assert_eq!(&payload[..read], b"hi");
        message[40 % len] ^= 1;
        assert!(crypto.read_welcome(keys(0), &ids[1], &message[..len], &mut payload, &initiator).is_err());
        Ok([ours, theirs])
    }

    #[test]
    fn a_handshake_ends_with_the_same_keys_on_both_sides() {
        let [ours, theirs] = handshake([[3; 32]; 2], 199).unwrap();
        assert_eq!((ours.send, ours.receive), (theirs.receive, theirs.send));
        assert_ne!(ours.send, ours.receive);
    }

    #[test]
    fn a_handshake_fails_across_networks_and_when_damaged() {
        assert!(handshake([[3; 32], [4; 32]], 199).is_err());
        for flip in [0, 31, 32, 79, 80, 84, 85, 100] {
            assert!(handshake([[3; 32]; 2], flip).is_err(), "{flip}");
        }
    }

    #[test]
    fn signatures_bind_id_and_message() {
        let crypto = FakeCrypto::new();
        let secret = SecretKey([1; 32]);
        let signature = crypto.sign(&secret, b"m");
        assert!(crypto.verify(&crypto.node_id(&secret), b"m", &signature));
        assert!(!crypto.verify(&crypto.node_id(&secret), b"n", &signature));
        assert!(!crypto.verify(&NodeId([1; 32]), b"m", &signature));
        assert_eq!(crypto.hash(&[b"ab", b"c"]), crypto.hash(&[b"a", b"bc"]), "parts are joined without separators");
    }
}

//! What the core needs of cryptography: one object-safe trait, implemented elsewhere.
//!
//! Real nodes use `butter-crypto` (RustCrypto and dalek); the simulator has a fake one that checks
//! how it is used. Every method is pure: same inputs, same outputs; randomness comes in as an argument.

use core::fmt;

use zeroize::Zeroize;

use crate::id::NodeId;

/// Bytes of an AEAD tag.
pub const TAG_LEN: usize = 16;
/// What a first handshake message (Hello) adds to its payload: an ephemeral key, a sealed static key, a tag.
pub const HELLO_OVERHEAD: usize = 32 + 48 + 16;
/// What a second handshake message (Welcome) adds to its payload: an ephemeral key and a tag.
pub const WELCOME_OVERHEAD: usize = 32 + 16;
/// The most payload that a handshake message may carry, in bytes.
pub const HANDSHAKE_PAYLOAD_MAX: usize = 64;
/// Bytes that a provider may keep between the two messages of a handshake.
pub const HANDSHAKE_STATE_LEN: usize = 320;

/// A node's secret: the 32-byte seed of its Ed25519 key. Its `Debug` shows nothing; it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(pub [u8; 32]);

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// The two directions' keys of a session. Its `Debug` shows nothing; they are wiped when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SessionKeys {
    /// Seals what we send.
    pub send: [u8; 32],
    /// Opens what we receive.
    pub receive: [u8; 32],
}

impl Drop for SessionKeys {
    fn drop(&mut self) {
        self.send.zeroize();
        self.receive.zeroize();
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(…)")
    }
}

/// A provider's notes between the messages of one handshake. Opaque to the core; holds secrets and is
/// wiped when dropped.
#[derive(Clone)]
pub struct HandshakeState(pub [u8; HANDSHAKE_STATE_LEN]);

impl Default for HandshakeState {
    fn default() -> Self {
        HandshakeState([0; HANDSHAKE_STATE_LEN])
    }
}

impl Drop for HandshakeState {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for HandshakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeState(…)")
    }
}

/// A cryptographic operation failed: a forged, damaged or impossible input. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoError;

/// What both ends of a handshake bring to it.
#[derive(Clone, Copy)]
pub struct HandshakeKeys<'a> {
    /// Our own secret.
    pub me: &'a SecretKey,
    /// Our own name, which must be `node_id(me)`: handed in because deriving it again costs as much as a
    /// Diffie-Hellman. A wrong one makes the handshake fail at the other end.
    pub id: &'a NodeId,
    /// The pre-shared key of the network.
    pub psk: &'a [u8; 32],
    /// Bytes both sides must agree on, mixed in first.
    pub prologue: &'a [u8],
}

/// The cryptography that the core is built on.
///
/// The handshake is Noise `IKpsk1` over 25519, ChaCha20-Poly1305 and BLAKE2s (Perrin, The Noise Protocol
/// Framework, rev. 34), split into four steps so that no step does more than two Diffie-Hellmans and one
/// key generation. Static keys are the X25519 forms of the nodes' Ed25519 keys.
pub trait Crypto: Sync {
    /// BLAKE2s-256 (RFC 7693) of the parts, one after the other, without separators.
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32];

    /// The public name of a secret: its Ed25519 public key (RFC 8032).
    fn node_id(&self, secret: &SecretKey) -> NodeId;

    /// The X25519 form of a node's key; `None` when the id is not a point of the curve.
    fn exchange_key(&self, id: &NodeId) -> Option<[u8; 32]>;

    /// Ed25519 signature.
    fn sign(&self, secret: &SecretKey, message: &[u8]) -> [u8; 64];

    /// Whether `signature` is `id`'s over `message` (strict verification).
    fn verify(&self, id: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool;

    /// Encrypts `data` in place and returns the tag: ChaCha20-Poly1305 (RFC 8439).
    /// A key must never see the same nonce twice.
    fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN];

    /// Decrypts `data` in place. On failure `data` is unspecified and must not be used.
    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError>;

    /// Initiator, step 1: writes `payload.len() + HELLO_OVERHEAD` bytes to `out` and returns that number.
    /// `ephemeral` is 32 fresh random bytes.
    fn write_hello(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<usize, CryptoError>;

    /// Responder, step 1: checks a Hello, writes its payload to `payload`, and returns the payload's length and
    /// the initiator's X25519 key.
    fn read_hello(
        &self,
        keys: HandshakeKeys<'_>,
        message: &[u8],
        payload: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError>;

    /// Responder, step 2: writes `payload.len() + WELCOME_OVERHEAD` bytes to `out`; returns that and the session's keys.
    fn write_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError>;

    /// Initiator, step 2: checks a Welcome, writes its payload, returns the payload's length and the session's keys.
    /// The state may be used again if this fails: a forged Welcome must not end a handshake.
    fn read_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        message: &[u8],
        payload: &mut [u8],
        state: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError>;
}

//! Butter's cryptography: [`RustCrypto`], the provider of [`butter_core::crypto::Crypto`] for real nodes.
//!
//! Every primitive comes from RustCrypto or dalek and the handshake's state machine from `noise-protocol`;
//! this crate only joins them, without `unsafe`, `std` or a heap. Three rules that it adds:
//!
//! - **Strict names.** A [`NodeId`] that is not the one canonical encoding of a curve point, or whose point has
//!   small order, is nobody: it has no exchange key and verifies nothing.
//! - **No empty secrets.** A Diffie-Hellman whose result is zero (a peer's key of small order) fails the handshake.
//! - **Wiped secrets.** Keys and intermediate secrets are overwritten when dropped. What the compiler spills to the
//!   stack while computing is out of reach of safe code.
//!
//! ```
//! use butter_core::crypto::{Crypto, SecretKey};
//! use butter_crypto::RustCrypto;
//!
//! let secret = SecretKey([7; 32]);
//! let id = RustCrypto.node_id(&secret);
//! let signature = RustCrypto.sign(&secret, b"bread");
//! assert!(RustCrypto.verify(&id, b"bread", &signature));
//! assert!(!RustCrypto.verify(&id, b"butter", &signature));
//! ```
//!
//! Features, which change speed and size but never a result: `fast` (tables for the base point, for hosts) and
//! `small` (a compact BLAKE2s, for the smallest microcontrollers).

#![no_std]
#![forbid(unsafe_code)]

mod exchange;
mod handshake;
mod noise;

use blake2::{Blake2s256, Digest};
use butter_core::crypto::{Crypto, CryptoError, HandshakeKeys, HandshakeState, SecretKey, SessionKeys, TAG_LEN};
use butter_core::id::NodeId;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// The provider on RustCrypto and dalek. Stateless: every method is a pure function, in constant time as far as
/// secrets are concerned.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

impl Crypto for RustCrypto {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Blake2s256::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn node_id(&self, secret: &SecretKey) -> NodeId {
        NodeId(SigningKey::from_bytes(&secret.0).verifying_key().to_bytes())
    }

    fn exchange_key(&self, id: &NodeId) -> Option<[u8; 32]> {
        exchange::public(id)
    }

    fn sign(&self, secret: &SecretKey, message: &[u8]) -> [u8; 64] {
        // The public key is derived anew each time: signing under a public key that is not the secret's would
        // give the secret away.
        SigningKey::from_bytes(&secret.0).sign(message).to_bytes()
    }

    fn verify(&self, id: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        exchange::is_canonical(id)
            && VerifyingKey::from_bytes(&id.0)
                .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }

    fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        // Fails only past 256 GiB, more than a datagram or the memory of any node: the zero tag then opens nowhere.
        ChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(nonce.into(), ad, data.into())
            .map_or([0; TAG_LEN], Into::into)
    }

    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        ChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(nonce.into(), ad, data.into(), &Tag::from(*tag))
            .map_err(|_| CryptoError)
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
        handshake::write_hello(keys, to, ephemeral, payload, out, state)
    }

    fn read_hello(
        &self,
        keys: HandshakeKeys<'_>,
        message: &[u8],
        payload: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError> {
        handshake::read_hello(keys, message, payload, state)
    }

    fn write_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        handshake::write_welcome(keys, ephemeral, payload, out, state)
    }

    fn read_welcome(
        &self,
        keys: HandshakeKeys<'_>,
        to: &NodeId,
        message: &[u8],
        payload: &mut [u8],
        state: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        handshake::read_welcome(keys, to, message, payload, state)
    }
}

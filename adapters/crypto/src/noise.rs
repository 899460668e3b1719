//! The glue between `noise-protocol` and the primitives: X25519, ChaCha20-Poly1305 and BLAKE2s.
//!
//! `noise-protocol` cannot save a half-done handshake, and the core has no room of the right type for one. Instead the
//! handshake is *replayed* from its inputs in the second step. Only the Diffie-Hellmans are expensive, so their
//! results are kept in a [`Trace`] and handed out again; replaying the rest is some fifty BLAKE2s blocks.

use core::cell::Cell;

use blake2::{Blake2s256, Digest};
use butter_core::crypto::{Crypto, TAG_LEN};
use noise_protocol::{Cipher, DH, Hash, U8Array};
use zeroize::Zeroize;

use crate::{RustCrypto, exchange};

/// Bytes that are wiped when dropped.
pub struct Secret<const N: usize>(pub [u8; N]);

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> U8Array for Secret<N> {
    fn new() -> Self {
        Secret([0; N])
    }

    fn new_with(byte: u8) -> Self {
        Secret([byte; N])
    }

    fn from_slice(bytes: &[u8]) -> Self {
        let mut secret = Secret([0; N]);
        secret.0.copy_from_slice(bytes);
        secret
    }

    fn len() -> usize {
        N
    }

    fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The results of the first Diffie-Hellmans of a handshake, in the order in which the pattern asks for them: `es`, `ss`.
pub struct Trace {
    known: usize,
    asked: Cell<usize>,
    results: [Cell<[u8; 32]>; 2],
}

impl Trace {
    /// A trace that computes and records.
    pub fn record() -> Trace {
        Trace { known: 0, asked: Cell::new(0), results: Default::default() }
    }

    /// A trace that hands out recorded results, then computes.
    pub fn replay(results: [[u8; 32]; 2]) -> Trace {
        Trace { known: results.len(), asked: Cell::new(0), results: results.map(Cell::new) }
    }

    /// What was recorded.
    pub fn results(&self) -> [Secret<32>; 2] {
        self.results.each_ref().map(|result| Secret(result.get()))
    }

    fn result(&self, compute: impl FnOnce() -> Option<[u8; 32]>) -> Result<Secret<32>, ()> {
        let turn = self.asked.get();
        self.asked.set(turn + 1);
        match self.results.get(turn) {
            Some(result) if turn < self.known => Ok(Secret(result.get())),
            slot => {
                let result = Secret(compute().ok_or(())?);
                if let Some(slot) = slot {
                    slot.set(result.0);
                }
                Ok(result)
            }
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for result in &mut self.results {
            result.get_mut().zeroize();
        }
    }
}

/// An X25519 key pair that asks its handshake's trace before it computes.
pub struct KeyPair<'a> {
    secret: Secret<32>,
    public: [u8; 32],
    trace: Option<&'a Trace>,
}

impl<'a> KeyPair<'a> {
    /// `public` must belong to `secret`.
    pub fn new(secret: Secret<32>, public: [u8; 32], trace: &'a Trace) -> Self {
        KeyPair { secret, public, trace: Some(trace) }
    }
}

/// `noise-protocol` asks for byte arrays. A key pair made from bytes alone has no trace and agrees with nobody.
impl U8Array for KeyPair<'_> {
    fn new() -> Self {
        Self::new_with(0)
    }

    fn new_with(byte: u8) -> Self {
        KeyPair { secret: Secret::new_with(byte), public: [0; 32], trace: None }
    }

    fn from_slice(bytes: &[u8]) -> Self {
        KeyPair { secret: Secret::from_slice(bytes), public: [0; 32], trace: None }
    }

    fn len() -> usize {
        32
    }

    fn as_slice(&self) -> &[u8] {
        &self.secret.0
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.secret.0
    }

    fn clone(&self) -> Self {
        KeyPair { secret: Secret(self.secret.0), ..*self }
    }
}

/// X25519 for `noise-protocol`.
pub struct X25519<'a>(core::marker::PhantomData<&'a Trace>);

impl<'a> DH for X25519<'a> {
    type Key = KeyPair<'a>;
    type Pubkey = [u8; 32];
    type Output = Secret<32>;

    fn name() -> &'static str {
        "25519"
    }

    /// There is no randomness here: the handshake is always given its ephemeral key, and one that were not would fail.
    fn genkey() -> Self::Key {
        KeyPair::new_with(0)
    }

    fn pubkey(key: &Self::Key) -> Self::Pubkey {
        key.public
    }

    fn dh(key: &Self::Key, peer: &Self::Pubkey) -> Result<Self::Output, ()> {
        let trace = key.trace.ok_or(())?;
        trace.result(|| exchange::diffie_hellman(&key.secret.0, peer))
    }
}

/// ChaCha20-Poly1305 for `noise-protocol`, with Noise's nonce: 32 zero bits, then 64 bits little-endian.
pub struct ChaChaPoly;

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}

impl Cipher for ChaChaPoly {
    type Key = Secret<32>;

    fn name() -> &'static str {
        "ChaChaPoly"
    }

    fn encrypt(key: &Self::Key, number: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        out[..plaintext.len()].copy_from_slice(plaintext);
        Self::encrypt_in_place(key, number, ad, out, plaintext.len());
    }

    fn encrypt_in_place(key: &Self::Key, number: u64, ad: &[u8], in_out: &mut [u8], plaintext_len: usize) -> usize {
        let (data, rest) = in_out.split_at_mut(plaintext_len);
        let tag = RustCrypto.seal(&key.0, &nonce(number), ad, data);
        rest[..TAG_LEN].copy_from_slice(&tag);
        plaintext_len + TAG_LEN
    }

    fn decrypt(key: &Self::Key, number: u64, ad: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<(), ()> {
        let (data, tag) = ciphertext.split_last_chunk().ok_or(())?;
        out.copy_from_slice(data);
        RustCrypto.open(&key.0, &nonce(number), ad, out, tag).map_err(|_| ())
    }

    fn decrypt_in_place(
        key: &Self::Key,
        number: u64,
        ad: &[u8],
        in_out: &mut [u8],
        ciphertext_len: usize,
    ) -> Result<usize, ()> {
        let (data, tag) = in_out[..ciphertext_len].split_last_chunk_mut().ok_or(())?;
        RustCrypto.open(&key.0, &nonce(number), ad, data, tag).map_err(|_| ())?;
        Ok(data.len())
    }
}

/// BLAKE2s-256 for `noise-protocol`.
#[derive(Default)]
pub struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    type Block = Secret<64>;
    type Output = Secret<32>;

    fn name() -> &'static str {
        "BLAKE2s"
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self) -> Self::Output {
        Secret(core::mem::take(&mut self.0).finalize().into())
    }
}

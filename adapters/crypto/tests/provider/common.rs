//! What the tests of this crate share: hex and a pair of nodes.

use butter_core::crypto::{
    Crypto, CryptoError, HANDSHAKE_PAYLOAD_MAX, HELLO_OVERHEAD, HandshakeKeys, HandshakeState, SecretKey, SessionKeys,
    WELCOME_OVERHEAD,
};
use butter_core::id::NodeId;
use butter_crypto::RustCrypto;

pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd number of digits");
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

pub fn hex32(text: &str) -> [u8; 32] {
    hex(text).try_into().expect("32 bytes")
}

pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One end of a handshake, with everything it brings.
#[derive(Clone)]
pub struct End {
    pub secret: SecretKey,
    pub id: NodeId,
    pub psk: [u8; 32],
    pub prologue: Vec<u8>,
    pub ephemeral: [u8; 32],
    pub state: HandshakeState,
}

impl End {
    pub fn new(seed: [u8; 32], ephemeral: [u8; 32]) -> End {
        let secret = SecretKey(seed);
        let id = RustCrypto.node_id(&secret);
        let (psk, prologue) = ([3; 32], b"butter/1 lan".to_vec());
        End { secret, id, psk, prologue, ephemeral, state: HandshakeState::default() }
    }

    pub fn exchange_key(&self) -> [u8; 32] {
        RustCrypto.exchange_key(&self.id).expect("a node's own id is valid")
    }

    pub fn keys(&self) -> HandshakeKeys<'_> {
        HandshakeKeys { me: &self.secret, id: &self.id, psk: &self.psk, prologue: &self.prologue }
    }

    pub fn write_hello(&mut self, to: &NodeId, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut out = [0; HELLO_OVERHEAD + HANDSHAKE_PAYLOAD_MAX];
        let mut state = self.state.clone();
        let len = RustCrypto.write_hello(self.keys(), to, &self.ephemeral, payload, &mut out, &mut state)?;
        self.state = state;
        Ok(out[..len].to_vec())
    }

    pub fn read_hello(&mut self, message: &[u8]) -> Result<(Vec<u8>, [u8; 32]), CryptoError> {
        let mut payload = [0; HANDSHAKE_PAYLOAD_MAX];
        let mut state = self.state.clone();
        let result = RustCrypto.read_hello(self.keys(), message, &mut payload, &mut state);
        if result.is_err() {
            assert_eq!(state.0, self.state.0, "a refused Hello changed the state");
        }
        self.state = state;
        result.map(|(len, peer)| (payload[..len].to_vec(), peer))
    }

    pub fn write_welcome(&mut self, payload: &[u8]) -> Result<(Vec<u8>, SessionKeys), CryptoError> {
        let mut out = [0; WELCOME_OVERHEAD + HANDSHAKE_PAYLOAD_MAX];
        let mut state = self.state.clone();
        let result = RustCrypto.write_welcome(self.keys(), &self.ephemeral, payload, &mut out, &mut state);
        self.state = state;
        result.map(|(len, keys)| (out[..len].to_vec(), keys))
    }

    pub fn read_welcome(&self, to: &NodeId, message: &[u8]) -> Result<(Vec<u8>, SessionKeys), CryptoError> {
        let mut payload = [0; HANDSHAKE_PAYLOAD_MAX];
        RustCrypto
            .read_welcome(self.keys(), to, message, &mut payload, &self.state)
            .map(|(len, keys)| (payload[..len].to_vec(), keys))
    }
}

/// An initiator and a responder that fit together.
pub fn pair() -> (End, End) {
    (End::new([1; 32], [11; 32]), End::new([2; 32], [22; 32]))
}

//! What the images share: bytes that nobody can foresee, and every use of cryptography.
//!
//! Input comes from a register that changes by itself and output goes to one that has to be written, so nothing can be
//! computed at compile time and nothing can be left out.
#![no_std]

use butter_core::crypto::{Crypto, HandshakeKeys, HandshakeState, SecretKey};
use butter_core::id::NodeId;
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;

/// A wire made of the system timer: reading its count is the input, writing its reload value the output.
pub struct Wire(SYST);

impl Wire {
    /// The wire, which there is once: the first time.
    pub fn take() -> Option<Wire> {
        Peripherals::take().map(|peripherals| Wire(peripherals.SYST))
    }

    /// Waits for as many bytes as `buffer` has.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = SYST::get_current().to_le_bytes()[0];
        }
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Sends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0.set_reload(byte.into());
        }
    }
}

/// Everything of the crypto trait, as a node uses it: through `dyn`.
pub fn crypto(wire: &mut Wire, crypto: &dyn Crypto) {
    let secret = SecretKey(wire.array());
    let (peer, psk, ephemeral) = (NodeId(wire.array()), wire.array(), wire.array());
    let mut message = [0; 256];
    wire.fill(&mut message);
    wire.put(&crypto.hash(&[&message, &psk]));
    let id = crypto.node_id(&secret);
    wire.put(&id.text());
    wire.put(&crypto.exchange_key(&peer).unwrap_or_default());
    wire.put(&crypto.sign(&secret, &message));
    let signature = wire.array();
    wire.put(&[crypto.verify(&peer, &message, &signature).into()]);
    let tag = crypto.seal(&psk, &wire.array(), &[], &mut message);
    wire.put(&tag);
    let opened = crypto.open(&psk, &wire.array(), &[], &mut message, &tag);
    wire.put(&[opened.is_ok().into()]);
    let keys = HandshakeKeys { me: &secret, id: &id, psk: &psk, prologue: &tag };
    let mut state = HandshakeState::default();
    let (mut out, mut payload) = ([0; 256], [0; 64]);
    let hello = crypto.write_hello(keys, &peer, &ephemeral, &tag, &mut out, &mut state);
    wire.put(out.get(..hello.unwrap_or(0)).unwrap_or_default());
    let read = crypto.read_hello(keys, &message, &mut payload, &mut state);
    wire.put(&read.map(|(_, key)| key).unwrap_or_default());
    let welcome = crypto.write_welcome(keys, &ephemeral, &tag, &mut out, &mut state);
    wire.put(&welcome.map(|(_, keys)| keys.send).unwrap_or_default());
    let read = crypto.read_welcome(keys, &peer, &message, &mut payload, &state);
    wire.put(&read.map(|(_, keys)| keys.receive).unwrap_or_default());
    wire.put(&payload);
}

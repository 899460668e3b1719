//! Noise `IKpsk1` in four steps, with the notes that bridge the two messages.
//!
//! ```text
//! ← s                                  the responder's name is known
//! → e, es, s, ss, psk   payload        Hello
//! ← e, ee, se           payload        Welcome
//! ```
//!
//! A step checks all lengths before it computes, and touches the notes only when it succeeds.

use butter_core::crypto::{
    CryptoError, HANDSHAKE_PAYLOAD_MAX, HANDSHAKE_STATE_LEN, HELLO_OVERHEAD, HandshakeKeys, HandshakeState,
    SessionKeys, WELCOME_OVERHEAD,
};
use butter_core::id::NodeId;
use noise_protocol::CipherState;
use noise_protocol::patterns::noise_ik_psk1;
use zeroize::Zeroize;

use crate::exchange;
use crate::noise::{Blake2s, ChaChaPoly, KeyPair, Secret, Trace, X25519};

type Noise<'a> = noise_protocol::HandshakeState<X25519<'a>, ChaChaPoly, Blake2s>;

const HELLO_MAX: usize = HELLO_OVERHEAD + HANDSHAKE_PAYLOAD_MAX;

/// First byte of an initiator's notes. Zero means that there are none.
const INITIATOR: u8 = 1;
/// First byte of a responder's notes.
const RESPONDER: u8 = 2;

/// Role, payload's length, payload; then the peer's name and its key, our key, the ephemeral pair, two results.
const INITIATOR_LEN: usize = 2 + HANDSHAKE_PAYLOAD_MAX + 7 * 32;
/// Role, Hello's length, Hello; then our key and two results.
const RESPONDER_LEN: usize = 2 + HELLO_MAX + 3 * 32;
const _: () = assert!(INITIATOR_LEN <= HANDSHAKE_STATE_LEN && RESPONDER_LEN <= HANDSHAKE_STATE_LEN);
const _: () = assert!(HELLO_MAX <= u8::MAX as usize);

/// Reads notes from front to back.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], CryptoError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(CryptoError)?;
        self.0 = rest;
        Ok(field)
    }

    /// A byte that says the length, then a field of fixed size that holds so many bytes.
    fn bytes<const N: usize>(&mut self) -> Result<&'a [u8], CryptoError> {
        let [len] = *self.array::<1>()?;
        self.array::<N>()?.get(..usize::from(len)).ok_or(CryptoError)
    }
}

/// Writes notes from front to back.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let (field, rest) = core::mem::take(&mut self.0).split_at_mut(bytes.len());
        field.copy_from_slice(bytes);
        self.0 = rest;
    }

    /// What [`Reader::bytes`] reads.
    fn sized<const N: usize>(&mut self, bytes: &[u8]) {
        let mut field = [0; N];
        field[..bytes.len()].copy_from_slice(bytes);
        self.bytes(&[bytes.len() as u8]);
        self.bytes(&field);
    }
}

/// What the initiator brings to a Hello besides [`HandshakeKeys`].
struct Hello<'a> {
    payload: &'a [u8],
    peer_key: &'a [u8; 32],
    own_key: &'a [u8; 32],
    ephemeral: &'a [u8; 32],
    ephemeral_key: &'a [u8; 32],
}

impl Hello<'_> {
    /// Writes the Hello, for the first time or again; the same inputs give the same bytes.
    fn write<'t>(&self, keys: HandshakeKeys<'_>, trace: &'t Trace, out: &mut [u8]) -> Result<Noise<'t>, CryptoError> {
        let own = KeyPair::new(exchange::secret(keys.me), *self.own_key, trace);
        let ephemeral = KeyPair::new(Secret(*self.ephemeral), *self.ephemeral_key, trace);
        let mut noise =
            Noise::new(noise_ik_psk1(), true, keys.prologue, Some(own), Some(ephemeral), Some(*self.peer_key), None);
        noise.push_psk(keys.psk);
        noise.write_message(self.payload, out).map_err(|_| CryptoError)?;
        Ok(noise)
    }
}

pub fn write_hello(
    keys: HandshakeKeys<'_>,
    to: &NodeId,
    ephemeral: &[u8; 32],
    payload: &[u8],
    out: &mut [u8],
    state: &mut HandshakeState,
) -> Result<usize, CryptoError> {
    let out = sized_out(payload, HELLO_OVERHEAD, out)?;
    let hello = Hello {
        payload,
        peer_key: &exchange::public(to).ok_or(CryptoError)?,
        own_key: &exchange::public(keys.id).ok_or(CryptoError)?,
        ephemeral,
        ephemeral_key: &exchange::ephemeral_public(ephemeral),
    };
    let trace = Trace::record();
    hello.write(keys, &trace, out)?;

    let mut notes = Writer(&mut state.0);
    notes.bytes(&[INITIATOR]);
    notes.sized::<HANDSHAKE_PAYLOAD_MAX>(payload);
    notes.bytes(&to.0);
    notes.bytes(hello.peer_key);
    notes.bytes(hello.own_key);
    notes.bytes(hello.ephemeral);
    notes.bytes(hello.ephemeral_key);
    trace.results().iter().for_each(|result| notes.bytes(&result.0));
    Ok(out.len())
}

pub fn read_welcome(
    keys: HandshakeKeys<'_>,
    to: &NodeId,
    message: &[u8],
    payload: &mut [u8],
    state: &HandshakeState,
) -> Result<(usize, SessionKeys), CryptoError> {
    let payload = sized_in(message, WELCOME_OVERHEAD, payload)?;
    let mut notes = Reader(&state.0);
    if *notes.array()? != [INITIATOR] {
        return Err(CryptoError);
    }
    let sent = notes.bytes::<HANDSHAKE_PAYLOAD_MAX>()?;
    if *notes.array()? != to.0 {
        return Err(CryptoError);
    }
    let hello = Hello {
        payload: sent,
        peer_key: notes.array()?,
        own_key: notes.array()?,
        ephemeral: notes.array()?,
        ephemeral_key: notes.array()?,
    };
    let trace = Trace::replay([*notes.array()?, *notes.array()?]);
    let mut again = [0; HELLO_MAX];
    let mut noise = hello.write(keys, &trace, &mut again[..HELLO_OVERHEAD + sent.len()])?;
    read(&mut noise, message, payload)?;
    let (send, receive) = noise.get_ciphers();
    Ok((payload.len(), session_keys(send, receive)))
}

/// Reads a Hello, for the first time or again.
fn responder<'t>(
    keys: HandshakeKeys<'_>,
    own_key: &[u8; 32],
    ephemeral: Option<&[u8; 32]>,
    trace: &'t Trace,
    message: &[u8],
    payload: &mut [u8],
) -> Result<Noise<'t>, CryptoError> {
    let own = KeyPair::new(exchange::secret(keys.me), *own_key, trace);
    let ephemeral = ephemeral.map(|secret| KeyPair::new(Secret(*secret), exchange::ephemeral_public(secret), trace));
    let mut noise = Noise::new(noise_ik_psk1(), false, keys.prologue, Some(own), ephemeral, None, None);
    noise.push_psk(keys.psk);
    read(&mut noise, message, payload)?;
    Ok(noise)
}

pub fn read_hello(
    keys: HandshakeKeys<'_>,
    message: &[u8],
    payload: &mut [u8],
    state: &mut HandshakeState,
) -> Result<(usize, [u8; 32]), CryptoError> {
    let payload = sized_in(message, HELLO_OVERHEAD, payload)?;
    let own_key = exchange::public(keys.id).ok_or(CryptoError)?;
    let trace = Trace::record();
    let noise = responder(keys, &own_key, None, &trace, message, payload)?;
    let peer_key = noise.get_rs().ok_or(CryptoError)?;

    let mut notes = Writer(&mut state.0);
    notes.bytes(&[RESPONDER]);
    notes.sized::<HELLO_MAX>(message);
    notes.bytes(&own_key);
    trace.results().iter().for_each(|result| notes.bytes(&result.0));
    Ok((payload.len(), peer_key))
}

pub fn write_welcome(
    keys: HandshakeKeys<'_>,
    ephemeral: &[u8; 32],
    payload: &[u8],
    out: &mut [u8],
    state: &mut HandshakeState,
) -> Result<(usize, SessionKeys), CryptoError> {
    let out = sized_out(payload, WELCOME_OVERHEAD, out)?;
    let mut notes = Reader(&state.0);
    if *notes.array()? != [RESPONDER] {
        return Err(CryptoError);
    }
    let message = notes.bytes::<HELLO_MAX>()?;
    let own_key = notes.array()?;
    let trace = Trace::replay([*notes.array()?, *notes.array()?]);
    let mut again = [0; HANDSHAKE_PAYLOAD_MAX];
    let received = sized_in(message, HELLO_OVERHEAD, &mut again)?;
    let mut noise = responder(keys, own_key, Some(ephemeral), &trace, message, received)?;
    noise.write_message(payload, out).map_err(|_| CryptoError)?;
    let (receive, send) = noise.get_ciphers();
    // A second Welcome to the same Hello would be a second session with the same peer's key: there is only one.
    state.0.zeroize();
    Ok((out.len(), session_keys(send, receive)))
}

/// The part of `out` that a message fills.
fn sized_out<'a>(payload: &[u8], overhead: usize, out: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
    if payload.len() > HANDSHAKE_PAYLOAD_MAX {
        return Err(CryptoError);
    }
    out.get_mut(..overhead + payload.len()).ok_or(CryptoError)
}

/// The part of `payload` that a message fills.
fn sized_in<'a>(message: &[u8], overhead: usize, payload: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
    let len = message.len().checked_sub(overhead).ok_or(CryptoError)?;
    if len > HANDSHAKE_PAYLOAD_MAX {
        return Err(CryptoError);
    }
    payload.get_mut(..len).ok_or(CryptoError)
}

/// Reads a message and leaves nothing in `payload` if it is refused.
fn read(noise: &mut Noise<'_>, message: &[u8], payload: &mut [u8]) -> Result<(), CryptoError> {
    noise.read_message(message, payload).map_err(|_| {
        payload.zeroize();
        CryptoError
    })
}

fn session_keys(send: CipherState<ChaChaPoly>, receive: CipherState<ChaChaPoly>) -> SessionKeys {
    SessionKeys { send: send.extract().0.0, receive: receive.extract().0.0 }
}

//! What tests of test vectors share (PROTOCOL §13): the files, the real provider, and a node.

use std::boxed::Box;
use std::fmt::Write;
use std::string::{String, ToString};

use ::butter_core::crypto::{self as real, Crypto as _};
use butter_crypto::RustCrypto;

use crate::addr::{LinkId, LinkState};
use crate::config::Config;
use crate::crypto::{Crypto, CryptoError, HandshakeKeys, HandshakeState, SecretKey, SessionKeys, TAG_LEN};
use crate::id::NodeId;
use crate::identity::{Identity, Network};
use crate::memory::Limits;
use crate::node::Node;
use crate::time::Instant;
use crate::wire::MTU;

/// A file of vectors in the making.
pub(crate) struct Vectors {
    file: &'static str,
    text: String,
}

impl Vectors {
    /// `about`: what the file is, a comment line each.
    pub fn new(file: &'static str, about: &str) -> Self {
        let text = about.lines().fold(String::new(), |text, line| text + "# " + line + "\n");
        Vectors { file, text }
    }

    /// Adds bytes.
    pub fn add(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        let hex = bytes.as_ref().iter().fold(String::new(), |hex, byte| hex + &std::format!("{byte:02x}"));
        self.add_text(name, &hex);
    }

    /// Adds something that is not hexadecimal.
    pub fn add_text(&mut self, name: &str, value: &dyn ToString) {
        writeln!(self.text, "{name}={}", value.to_string()).unwrap();
    }

    /// Compares with the file of the repository, or writes that file if `BUTTER_REGENERATE` is set.
    pub fn check(self) {
        let path = std::format!("{}/../tests/vectors/{}", env!("CARGO_MANIFEST_DIR"), self.file);
        if std::env::var_os("BUTTER_REGENERATE").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
        for (line, (is, was)) in self.text.lines().zip(file.lines()).enumerate() {
            assert_eq!(
                is,
                was,
                "line {} of {}: the protocol has changed, or the order in which random numbers are drawn",
                line + 1,
                self.file
            );
        }
        assert_eq!(self.text.lines().count(), file.lines().count(), "lines of {}", self.file);
    }
}

/// Counting bytes: `from`, `from` + 1, …
pub(crate) fn counting<const N: usize>(from: u8) -> [u8; N] {
    core::array::from_fn(|i| from.wrapping_add(i as u8))
}

/// The real provider. It knows the core under its own name, not as the crate under test: keys and ids are handed over.
pub(crate) struct Provider;

fn id(id: &NodeId) -> ::butter_core::id::NodeId {
    ::butter_core::id::NodeId(id.0)
}

fn keys<T>(keys: HandshakeKeys<'_>, f: impl FnOnce(real::HandshakeKeys<'_>) -> T) -> T {
    let HandshakeKeys { me, id: own, psk, prologue } = keys;
    f(real::HandshakeKeys { me: &real::SecretKey(me.0), id: &id(own), psk, prologue })
}

fn session(keys: &real::SessionKeys) -> SessionKeys {
    SessionKeys { send: keys.send, receive: keys.receive }
}

impl Crypto for Provider {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        RustCrypto.hash(parts)
    }

    fn node_id(&self, secret: &SecretKey) -> NodeId {
        NodeId(RustCrypto.node_id(&real::SecretKey(secret.0)).0)
    }

    fn exchange_key(&self, of: &NodeId) -> Option<[u8; 32]> {
        RustCrypto.exchange_key(&id(of))
    }

    fn sign(&self, secret: &SecretKey, message: &[u8]) -> [u8; 64] {
        RustCrypto.sign(&real::SecretKey(secret.0), message)
    }

    fn verify(&self, of: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        RustCrypto.verify(&id(of), message, signature)
    }

    fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        RustCrypto.seal(key, nonce, ad, data)
    }

    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        RustCrypto.open(key, nonce, ad, data, tag).map_err(|_| CryptoError)
    }

    fn write_hello(
        &self,
        own: HandshakeKeys<'_>,
        to: &NodeId,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<usize, CryptoError> {
        let mut kept = real::HandshakeState(state.0);
        let len = keys(own, |own| RustCrypto.write_hello(own, &id(to), ephemeral, payload, out, &mut kept));
        state.0 = kept.0;
        len.map_err(|_| CryptoError)
    }

    fn read_hello(
        &self,
        own: HandshakeKeys<'_>,
        message: &[u8],
        payload: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, [u8; 32]), CryptoError> {
        let mut kept = real::HandshakeState(state.0);
        let read = keys(own, |own| RustCrypto.read_hello(own, message, payload, &mut kept));
        state.0 = kept.0;
        read.map_err(|_| CryptoError)
    }

    fn write_welcome(
        &self,
        own: HandshakeKeys<'_>,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut [u8],
        state: &mut HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        let mut kept = real::HandshakeState(state.0);
        let written = keys(own, |own| RustCrypto.write_welcome(own, ephemeral, payload, out, &mut kept));
        state.0 = kept.0;
        written.map(|(len, keys)| (len, session(&keys))).map_err(|_| CryptoError)
    }

    fn read_welcome(
        &self,
        own: HandshakeKeys<'_>,
        to: &NodeId,
        message: &[u8],
        payload: &mut [u8],
        state: &HandshakeState,
    ) -> Result<(usize, SessionKeys), CryptoError> {
        let kept = real::HandshakeState(state.0);
        let read = keys(own, |own| RustCrypto.read_welcome(own, &id(to), message, payload, &kept));
        read.map(|(len, keys)| (len, session(&keys))).map_err(|_| CryptoError)
    }
}

crate::static_memory!(struct TinyMemory, Limits::TINY);

/// A node of the open network `home` that looks for nobody, whose secret and seed are counting bytes, with one link.
pub(crate) fn node(from: u8) -> Node<'static> {
    let memory = Box::leak(Box::new(TinyMemory::NEW)).lend();
    let identity = Identity { secret: SecretKey(counting(from)), network: Network::open(&Provider, "home") };
    let config = Config { lan: false, ..Config::default() };
    let seed = counting(from.wrapping_add(32));
    let mut node = Node::new(Instant::ZERO, config, identity, seed, &Provider, memory).unwrap();
    node.handle_link(Instant::ZERO, LinkId(0), LinkState::Up { mtu: MTU as u16 });
    node
}

#[test]
fn s13_names() {
    use crate::id::{Key, route};
    use crate::ticket::Ticket;

    let mut v = Vectors::new(
        "names.txt",
        "Networks' keys (§2.1), ids and their text form (§1.2), routes (§8.1), tickets (§1.4). Values are hexadecimal but for texts and\n\
         tickets. ticket_full names two hosts, id at 192.168.1.7:28883 and 32 bytes 09 at [2001:db8::7]:4000, slot 5, and an object.",
    );
    for (label, network) in [
        ("open_home", Network::open(&Provider, "home")),
        ("open_empty", Network::open(&Provider, "")),
        ("closed_home", Network::closed(&Provider, "home", &counting(0))),
    ] {
        v.add(&std::format!("{label}_greeting_key"), network.greeting);
        v.add(&std::format!("{label}_psk"), network.psk);
    }
    v.add("closed_home_secret", counting::<32>(0));
    let id = Provider.node_id(&SecretKey(counting(0)));
    v.add("id_seed", counting::<32>(0));
    v.add("id", id.0);
    v.add_text("id_text", &id);
    v.add("id_exchange_key", Provider.exchange_key(&id).unwrap());
    v.add_text("key_of_ff_text", &Key([0xff; 32]));
    for name in ["ohce/1", "ohce/2", ""] {
        v.add(&std::format!("route_{name}"), route(name).0.to_be_bytes());
    }
    let hosts = [(id, crate::wire::vectors::v4()), (NodeId([9; 32]), crate::wire::vectors::v6())];
    let full = Ticket {
        network: "home".try_into().unwrap(),
        hosts: hosts.into_iter().collect(),
        object: Some(Key(counting(0x40))),
    };
    let name = Ticket { network: "home".try_into().unwrap(), ..Ticket::default() };
    for (label, ticket) in [("ticket_name", name), ("ticket_full", full)] {
        assert_eq!(ticket.to_string().parse(), Ok(ticket.clone()));
        v.add_text(label, &ticket);
    }
    v.check();
}

#[test]
fn s13_random() {
    use crate::rng::{Rng, Secrets};

    let mut v = Vectors::new(
        "random.txt",
        "Random numbers (§12.4). rng: xoshiro128++ 1.0 from a seed of four words, little-endian; outputs as numbers, most\n\
         significant byte first. secrets: hash(\"butter secrets\" || seed || counter), the counter from 1 on.",
    );
    v.add("rng_seed", counting::<16>(1));
    let mut rng = Rng::new(counting(1));
    for i in 1..=4 {
        v.add(&std::format!("rng_{i}"), rng.next_u32().to_be_bytes());
    }
    v.add("secrets_seed", counting::<32>(1));
    let mut secrets = Secrets::new(counting(1));
    for i in 1..=3 {
        v.add(&std::format!("secrets_{i}"), secrets.next(&Provider));
    }
    v.check();
}

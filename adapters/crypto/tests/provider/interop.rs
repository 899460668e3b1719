//! The handshake against `snow`, an independent implementation of Noise, and the committed vectors.
//!
//! `tests/vectors/noise.txt` lets other implementations of Butter check themselves. After a deliberate change of the
//! protocol, `BUTTER_REGENERATE=1 cargo test -p butter-crypto interop` writes it anew.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::common::{End, hex, pair, text};
use sha2::{Digest, Sha512};
use snow::{Builder, HandshakeState};

type Vectors = BTreeMap<String, Vec<u8>>;

/// The committed file's content; written first if that was asked for.
static VECTORS: LazyLock<Vectors> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/noise.txt");
    if std::env::var_os("BUTTER_REGENERATE").is_some() {
        let line = |(name, bytes): (_, Vec<u8>)| format!("{name}={}\n", text(&bytes));
        let lines: String = run(&inputs()).into_iter().map(line).collect();
        std::fs::write(path, format!("{HEADER}{lines}")).expect("tests/vectors is writable");
    }
    let file = std::fs::read_to_string(path).expect("tests/vectors/noise.txt");
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('=').expect("name=hex"))
        .map(|(name, value)| (name.to_string(), hex(value)))
        .collect()
});

fn get(vectors: &Vectors, name: &str) -> Vec<u8> {
    vectors.get(name).unwrap_or_else(|| panic!("no {name}")).clone()
}

fn array(vectors: &Vectors, name: &str) -> [u8; 32] {
    get(vectors, name).try_into().expect("32 bytes")
}

/// One end of the vectors' handshake.
fn end(vectors: &Vectors, who: &str) -> End {
    End {
        psk: array(vectors, "psk"),
        prologue: get(vectors, "prologue"),
        ..End::new(array(vectors, &format!("{who}_seed")), array(vectors, &format!("{who}_ephemeral")))
    }
}

/// The same end, played by `snow`; an initiator knows the responder's key.
fn snow(end: &End, to: Option<&End>) -> HandshakeState {
    let secret: [u8; 32] = Sha512::digest(end.secret.0)[..32].try_into().unwrap();
    let peer = to.map(End::exchange_key);
    let mut builder = Builder::new("Noise_IKpsk1_25519_ChaChaPoly_BLAKE2s".parse().unwrap())
        .local_private_key(&secret)
        .unwrap()
        .prologue(&end.prologue)
        .unwrap()
        .psk(1, &end.psk)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&end.ephemeral);
    match &peer {
        Some(peer) => {
            builder = builder.remote_public_key(peer).unwrap();
            builder.build_initiator().unwrap()
        }
        None => builder.build_responder().unwrap(),
    }
}

#[test]
fn we_open_and_snow_answers() {
    for len in [0, 1, 64] {
        let (mut a, b) = pair();
        let mut b_snow = snow(&b, None);
        let (sent, mut buffer, mut message) = (vec![5; len], [0; 256], [0; 256]);
        let hello = a.write_hello(&b.id, &sent).unwrap();
        let received = b_snow.read_message(&hello, &mut buffer).unwrap();
        assert_eq!(buffer[..received], sent);
        assert_eq!(b_snow.get_remote_static().unwrap(), a.exchange_key());

        let welcome = b_snow.write_message(&sent, &mut message).unwrap();
        let (received, keys) = a.read_welcome(&b.id, &message[..welcome]).unwrap();
        assert_eq!(received, sent);
        assert_eq!((keys.send, keys.receive), b_snow.dangerously_get_raw_split());
    }
}

#[test]
fn snow_opens_and_we_answer() {
    for len in [0, 1, 64] {
        let (a, mut b) = pair();
        let mut a_snow = snow(&a, Some(&b));
        let (sent, mut buffer, mut message) = (vec![5; len], [0; 256], [0; 256]);
        let hello = a_snow.write_message(&sent, &mut message).unwrap();
        let (received, peer) = b.read_hello(&message[..hello]).unwrap();
        assert_eq!((received, peer), (sent.clone(), a.exchange_key()));

        let (welcome, keys) = b.write_welcome(&sent).unwrap();
        let received = a_snow.read_message(&welcome, &mut buffer).unwrap();
        assert_eq!(buffer[..received], sent);
        assert_eq!((keys.receive, keys.send), a_snow.dangerously_get_raw_split());
    }
}

const HEADER: &str = "\
# One handshake of Noise_IKpsk1_25519_ChaChaPoly_BLAKE2s between two nodes: key=hexadecimal, one a line.
# seed: Ed25519 secret; id: Ed25519 public key; exchange_key: its X25519 form; ephemeral: X25519 secret of the message.
";

/// A whole handshake from the inputs among `vectors`, in the order of the file.
fn run(vectors: &Vectors) -> Vec<(&'static str, Vec<u8>)> {
    let (mut a, mut b) = (end(vectors, "initiator"), end(vectors, "responder"));
    let (hello_payload, welcome_payload) = (get(vectors, "hello_payload"), get(vectors, "welcome_payload"));
    let hello = a.write_hello(&b.id, &hello_payload).unwrap();
    b.read_hello(&hello).unwrap();
    let (welcome, _) = b.write_welcome(&welcome_payload).unwrap();
    let (_, keys) = a.read_welcome(&b.id, &welcome).unwrap();
    vec![
        ("initiator_seed", a.secret.0.to_vec()),
        ("initiator_id", a.id.0.to_vec()),
        ("initiator_exchange_key", a.exchange_key().to_vec()),
        ("initiator_ephemeral", a.ephemeral.to_vec()),
        ("responder_seed", b.secret.0.to_vec()),
        ("responder_id", b.id.0.to_vec()),
        ("responder_exchange_key", b.exchange_key().to_vec()),
        ("responder_ephemeral", b.ephemeral.to_vec()),
        ("psk", a.psk.to_vec()),
        ("prologue", a.prologue.clone()),
        ("hello_payload", hello_payload),
        ("hello", hello),
        ("welcome_payload", welcome_payload),
        ("welcome", welcome),
        ("initiator_to_responder_key", keys.send.to_vec()),
        ("responder_to_initiator_key", keys.receive.to_vec()),
    ]
}

/// What the file is generated from.
fn inputs() -> Vectors {
    let count = |from: u8| (from..from + 32).collect::<Vec<u8>>();
    [
        ("initiator_seed", count(0x00)),
        ("initiator_ephemeral", count(0x20)),
        ("responder_seed", count(0x40)),
        ("responder_ephemeral", count(0x60)),
        ("psk", count(0x80)),
        ("prologue", b"butter".to_vec()),
        ("hello_payload", b"good morning".to_vec()),
        ("welcome_payload", b"toast is ready".to_vec()),
    ]
    .map(|(name, bytes)| (name.to_string(), bytes))
    .into()
}

#[test]
fn the_committed_vectors_hold() {
    let ours = run(&VECTORS);
    assert_eq!(ours.len(), VECTORS.len());
    for (name, bytes) in ours {
        assert_eq!(text(&bytes), text(&get(&VECTORS, name)), "{name}");
    }
}

/// `snow` makes the same bytes from the vectors' inputs, so that they are not merely ours.
#[test]
fn snow_makes_the_committed_vectors() {
    let (a, b) = (end(&VECTORS, "initiator"), end(&VECTORS, "responder"));
    let (mut a_snow, mut b_snow) = (snow(&a, Some(&b)), snow(&b, None));
    let (mut message, mut payload) = ([0; 256], [0; 256]);
    let len = a_snow.write_message(&get(&VECTORS, "hello_payload"), &mut message).unwrap();
    assert_eq!(text(&message[..len]), text(&get(&VECTORS, "hello")));
    b_snow.read_message(&message[..len], &mut payload).unwrap();
    let len = b_snow.write_message(&get(&VECTORS, "welcome_payload"), &mut message).unwrap();
    assert_eq!(text(&message[..len]), text(&get(&VECTORS, "welcome")));
    let keys = ["initiator_to_responder_key", "responder_to_initiator_key"];
    let [forth, back] = keys.map(|name| array(&VECTORS, name));
    assert_eq!(b_snow.dangerously_get_raw_split(), (forth, back));
}

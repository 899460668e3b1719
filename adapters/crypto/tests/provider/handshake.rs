//! The handshake between two nodes: agreement, limits, and everything that must be refused.

use crate::common::{End, pair};
use butter_core::crypto::{
    Crypto, CryptoError, HANDSHAKE_PAYLOAD_MAX, HELLO_OVERHEAD, HandshakeState, WELCOME_OVERHEAD,
};
use butter_core::id::NodeId;
use butter_crypto::RustCrypto;

#[test]
fn both_ends_agree_on_keys_and_names() {
    for len in [0, 1, 31, HANDSHAKE_PAYLOAD_MAX] {
        let (mut a, mut b) = pair();
        let sent = vec![7; len];
        let hello = a.write_hello(&b.id, &sent).unwrap();
        assert_eq!(hello.len(), len + HELLO_OVERHEAD);
        let (received, peer) = b.read_hello(&hello).unwrap();
        assert_eq!(received, sent);
        assert_eq!(peer, a.exchange_key());

        let sent = vec![8; len];
        let (welcome, b_keys) = b.write_welcome(&sent).unwrap();
        assert_eq!(welcome.len(), len + WELCOME_OVERHEAD);
        let (received, a_keys) = a.read_welcome(&b.id, &welcome).unwrap();
        assert_eq!(received, sent);
        assert_eq!((a_keys.send, a_keys.receive), (b_keys.receive, b_keys.send));
        assert_ne!(a_keys.send, a_keys.receive);
    }
}

#[test]
fn each_ephemeral_key_gives_its_own_session() {
    let session = |a_ephemeral, b_ephemeral| {
        let (mut a, mut b) = pair();
        (a.ephemeral, b.ephemeral) = (a_ephemeral, b_ephemeral);
        let hello = a.write_hello(&b.id, b"").unwrap();
        b.read_hello(&hello).unwrap();
        b.write_welcome(b"").unwrap().1.send
    };
    let first = session([1; 32], [2; 32]);
    assert_eq!(first, session([1; 32], [2; 32]));
    assert_ne!(first, session([9; 32], [2; 32]));
    assert_ne!(first, session([1; 32], [9; 32]));
}

#[test]
fn each_damaged_bit_of_a_hello_is_refused() {
    let (mut a, mut b) = pair();
    let good = a.write_hello(&b.id, b"toast").unwrap();
    for at in 0..good.len() {
        for bit in [0, at % 8, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(b.read_hello(&bad).is_err(), "byte {at}, bit {bit}");
        }
    }
    b.read_hello(&good).unwrap();
}

#[test]
fn a_damaged_welcome_is_refused_and_the_real_one_still_works() {
    let (mut a, mut b) = pair();
    let hello = a.write_hello(&b.id, b"toast").unwrap();
    b.read_hello(&hello).unwrap();
    let (good, keys) = b.write_welcome(b"jam").unwrap();
    for at in 0..good.len() {
        for bit in [0, at % 8, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(a.read_welcome(&b.id, &bad).is_err(), "byte {at}, bit {bit}");
        }
    }
    let (payload, a_keys) = a.read_welcome(&b.id, &good).unwrap();
    assert_eq!((payload.as_slice(), a_keys.send), (b"jam".as_slice(), keys.receive));
}

#[test]
fn truncated_and_lengthened_messages_are_refused() {
    let (mut a, mut b) = pair();
    let hello = a.write_hello(&b.id, b"toast").unwrap();
    let fresh = b.clone();
    b.read_hello(&hello).unwrap();
    let (welcome, _) = b.write_welcome(b"jam").unwrap();
    let mut b = fresh;
    for len in 0..hello.len() {
        assert!(b.read_hello(&hello[..len]).is_err(), "{len}");
    }
    for len in 0..welcome.len() {
        assert!(a.read_welcome(&b.id, &welcome[..len]).is_err(), "{len}");
    }
    for extra in [1, HANDSHAKE_PAYLOAD_MAX, 1000] {
        let longer = |message: &[u8]| [message, &vec![0; extra]].concat();
        assert!(b.read_hello(&longer(&hello)).is_err());
        assert!(a.read_welcome(&b.id, &longer(&welcome)).is_err());
    }
}

#[test]
fn ends_that_differ_in_what_they_bring_do_not_meet() {
    type Change = fn(&mut End);
    let changes: [(&str, Change); 4] = [
        ("psk", |end| end.psk[31] ^= 1),
        ("prologue", |end| end.prologue.push(0)),
        ("no prologue", |end| end.prologue.clear()),
        ("another node", |end| *end = End::new([4; 32], [44; 32])),
    ];
    for (what, change) in changes {
        // Different from the start: the Hello is refused.
        let (mut a, mut b) = pair();
        let hello = a.write_hello(&b.id, b"").unwrap();
        let mut other = b.clone();
        change(&mut other);
        assert!(other.read_hello(&hello).is_err(), "Hello: {what}");

        // Different in the second step, on either side: the Welcome is refused.
        b.read_hello(&hello).unwrap();
        let mut other = b.clone();
        change(&mut other);
        if let Ok((welcome, _)) = other.write_welcome(b"") {
            assert!(a.read_welcome(&b.id, &welcome).is_err(), "responder: {what}");
        }
        let (welcome, _) = b.write_welcome(b"").unwrap();
        let mut other = a.clone();
        change(&mut other);
        assert!(other.read_welcome(&b.id, &welcome).is_err(), "initiator: {what}");
        assert!(a.read_welcome(&b.id, &welcome).is_ok());
    }
}

#[test]
fn a_welcome_from_another_or_for_another_is_refused() {
    let (mut a, mut b) = pair();
    let mut c = End::new([4; 32], [44; 32]);
    let hello = a.write_hello(&b.id, b"").unwrap();
    b.read_hello(&hello).unwrap();
    let (welcome, _) = b.write_welcome(b"").unwrap();
    assert!(a.read_welcome(&c.id, &welcome).is_err(), "not whom we asked");

    let hello_to_c = a.clone().write_hello(&c.id, b"").unwrap();
    c.read_hello(&hello_to_c).unwrap();
    let (welcome_of_c, _) = c.write_welcome(b"").unwrap();
    assert!(a.read_welcome(&b.id, &welcome_of_c).is_err(), "somebody else's Welcome");
    assert!(a.read_welcome(&b.id, &welcome).is_ok());
}

#[test]
fn a_hello_that_claims_another_name_is_refused() {
    let (mut a, mut b) = pair();
    let victim = End::new([4; 32], [44; 32]);
    a.id = victim.id;
    let hello = a.write_hello(&b.id, b"").unwrap();
    assert!(b.read_hello(&hello).is_err());
}

#[test]
fn a_state_is_for_its_own_step_only() {
    let (mut a, mut b) = pair();
    assert!(a.write_welcome(b"").is_err(), "nothing was read");
    assert!(a.read_welcome(&b.id, &[0; WELCOME_OVERHEAD]).is_err(), "nothing was sent");
    let hello = a.write_hello(&b.id, b"").unwrap();
    assert!(a.write_welcome(b"").is_err(), "an initiator does not answer");
    b.read_hello(&hello).unwrap();
    assert!(b.read_welcome(&a.id, &[0; WELCOME_OVERHEAD]).is_err(), "a responder does not ask");
    b.write_welcome(b"").unwrap();
    assert_eq!(b.state.0, HandshakeState::default().0, "the notes were not wiped");
    assert!(b.write_welcome(b"").is_err(), "one Hello, one Welcome");
}

#[test]
fn notes_of_any_bytes_are_no_danger() {
    let (a, b) = pair();
    for byte in 0..=255 {
        for role in 0..4 {
            let (mut a, mut b) = (a.clone(), b.clone());
            a.state = HandshakeState([byte; 320]);
            a.state.0[0] = role;
            b.state = a.state.clone();
            assert!(a.read_welcome(&b.id, &[byte; WELCOME_OVERHEAD]).is_err());
            assert!(b.write_welcome(b"").is_err());
        }
    }
}

#[test]
fn limits_of_length_are_kept() {
    let (mut a, mut b) = pair();
    assert_eq!(a.write_hello(&b.id, &[0; HANDSHAKE_PAYLOAD_MAX + 1]), Err(CryptoError));
    let hello = a.write_hello(&b.id, b"toast").unwrap();
    b.read_hello(&hello).unwrap();
    assert!(b.write_welcome(&[0; HANDSHAKE_PAYLOAD_MAX + 1]).is_err());
    assert!(b.write_welcome(b"jam").is_ok(), "a refused payload ended the handshake");
}

/// Buffers that are one byte too small are refused and leave the state alone; exact ones will do.
#[test]
fn short_buffers_are_refused() {
    let (a, b) = pair();
    let (mut a_state, mut b_state) = (HandshakeState::default(), HandshakeState::default());

    let mut hello = [0; HELLO_OVERHEAD + 5];
    let short = &mut hello[..HELLO_OVERHEAD + 4];
    let result = RustCrypto.write_hello(a.keys(), &b.id, &a.ephemeral, b"toast", short, &mut a_state);
    assert_eq!(result, Err(CryptoError));
    assert_eq!(a_state.0, HandshakeState::default().0);
    RustCrypto.write_hello(a.keys(), &b.id, &a.ephemeral, b"toast", &mut hello, &mut a_state).unwrap();

    let mut payload = [0; 5];
    let result = RustCrypto.read_hello(b.keys(), &hello, &mut payload[..4], &mut b_state);
    assert_eq!(result, Err(CryptoError));
    assert_eq!(b_state.0, HandshakeState::default().0);
    RustCrypto.read_hello(b.keys(), &hello, &mut payload, &mut b_state).unwrap();
    assert_eq!(&payload, b"toast");

    let mut welcome = [0; WELCOME_OVERHEAD + 3];
    let short = &mut welcome[..WELCOME_OVERHEAD + 2];
    let result = RustCrypto.write_welcome(b.keys(), &b.ephemeral, b"jam", short, &mut b_state);
    assert_eq!(result, Err(CryptoError));
    RustCrypto.write_welcome(b.keys(), &b.ephemeral, b"jam", &mut welcome, &mut b_state).unwrap();

    let result = RustCrypto.read_welcome(a.keys(), &b.id, &welcome, &mut [0; 2], &a_state);
    assert_eq!(result, Err(CryptoError));
    let mut payload = [0; 3];
    RustCrypto.read_welcome(a.keys(), &b.id, &welcome, &mut payload, &a_state).unwrap();
    assert_eq!(&payload, b"jam");
}

#[test]
fn names_that_are_nobody_get_no_hello() {
    let (mut a, _) = pair();
    let mut off_curve = [0; 32];
    off_curve[0] = 2;
    for bytes in [[0; 32], [0xff; 32], off_curve] {
        assert_eq!(a.write_hello(&NodeId(bytes), b""), Err(CryptoError));
        assert_eq!(a.state.0, HandshakeState::default().0);
    }
}

//! The primitives against the vectors of their RFCs, and what this crate refuses beyond them.

use crate::common::{hex, hex32, text};
use butter_core::crypto::{Crypto, CryptoError, SecretKey};
use butter_core::id::NodeId;
use butter_crypto::RustCrypto;
use curve25519_dalek::constants::EIGHT_TORSION;

/// RFC 8032 §7.1: seed, public key, message, signature.
const ED25519: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
];

#[test]
fn ed25519_of_rfc_8032() {
    for [seed, public, message, signature] in ED25519 {
        let secret = SecretKey(hex32(seed));
        let id = NodeId(hex32(public));
        assert_eq!(RustCrypto.node_id(&secret), id);
        assert_eq!(text(&RustCrypto.sign(&secret, &hex(message))), signature);
        let signature = hex(signature).try_into().unwrap();
        assert!(RustCrypto.verify(&id, &hex(message), &signature));
        assert!(!RustCrypto.verify(&id, b"another message", &signature));
    }
}

#[test]
fn each_damaged_byte_of_a_signature_is_refused() {
    let secret = SecretKey([5; 32]);
    let id = RustCrypto.node_id(&secret);
    let good = RustCrypto.sign(&secret, b"bread");
    for at in 0..good.len() {
        let mut bad = good;
        bad[at] ^= 1 << (at % 8);
        assert!(!RustCrypto.verify(&id, b"bread", &bad), "byte {at}");
    }
}

/// RFC 8032 §5.1.7 wants `S` below the group's order: `S + L` must not be a second signature.
#[test]
fn the_second_form_of_a_signature_is_refused() {
    let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let secret = SecretKey([5; 32]);
    let mut signature = RustCrypto.sign(&secret, b"bread");
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!RustCrypto.verify(&RustCrypto.node_id(&secret), b"bread", &signature));
}

/// With a name of small order anybody could "sign": `R` the identity and `S` zero would do.
#[test]
fn names_of_small_order_are_nobody() {
    for point in EIGHT_TORSION {
        let id = NodeId(point.compress().to_bytes());
        assert_eq!(RustCrypto.exchange_key(&id), None);
        let mut signature = [0; 64];
        signature[0] = 1;
        for message in 0u8..16 {
            assert!(!RustCrypto.verify(&id, &[message], &signature));
        }
    }
}

#[test]
fn names_that_are_not_canonical_are_nobody() {
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            assert_eq!(RustCrypto.exchange_key(&NodeId(bytes)), None, "{low:x} {high:x}");
        }
    }
    // The largest y below the prime that is on the curve and not of small order is somebody.
    let mut bytes = [0xff; 32];
    bytes[31] = 0x7f;
    let somebody = (0..0xec).any(|low| {
        bytes[0] = low;
        RustCrypto.exchange_key(&NodeId(bytes)).is_some()
    });
    assert!(somebody);
}

#[test]
fn names_that_are_not_on_the_curve_are_nobody() {
    // y = 2 has no x.
    let mut bytes = [0; 32];
    bytes[0] = 2;
    let id = NodeId(bytes);
    assert_eq!(RustCrypto.exchange_key(&id), None);
    assert!(!RustCrypto.verify(&id, b"bread", &[0; 64]));
}

/// RFC 8439 §2.8.2.
#[test]
fn chacha20_poly1305_of_rfc_8439() {
    let key = core::array::from_fn(|i| 0x80 + i as u8);
    let nonce = hex("070000004041424344454647").try_into().unwrap();
    let ad = hex("50515253c0c1c2c3c4c5c6c7");
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let mut data = *plain;
    let tag = RustCrypto.seal(&key, &nonce, &ad, &mut data);
    assert_eq!(text(&tag), "1ae10b594f09e26a7e902ecbd0600691");
    assert_eq!(
        text(&data),
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
         3ff4def08e4b7a9de576d26586cec64b6116"
    );
    let sealed = data;
    RustCrypto.open(&key, &nonce, &ad, &mut data, &tag).unwrap();
    assert_eq!(data, *plain);

    for at in 0..sealed.len() {
        let mut bad = sealed;
        bad[at] ^= 1 << (at % 8);
        assert_eq!(RustCrypto.open(&key, &nonce, &ad, &mut bad, &tag), Err(CryptoError));
    }
    for at in 0..tag.len() {
        let (mut data, mut bad) = (sealed, tag);
        bad[at] ^= 1 << (at % 8);
        assert_eq!(RustCrypto.open(&key, &nonce, &ad, &mut data, &bad), Err(CryptoError));
    }
    let mut data = sealed;
    assert_eq!(RustCrypto.open(&key, &nonce, &ad[1..], &mut data, &tag), Err(CryptoError));
}

/// RFC 7693 appendix B, and that parts are joined without separators.
#[test]
fn blake2s_of_rfc_7693() {
    let abc = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
    assert_eq!(text(&RustCrypto.hash(&[b"abc"])), abc);
    assert_eq!(text(&RustCrypto.hash(&[b"a", b"", b"bc"])), abc);
    assert_eq!(text(&RustCrypto.hash(&[])), "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
}

/// A seed and its X25519 form as other implementations convert it.
#[test]
fn a_name_converts_to_its_x25519_form() {
    let seed = "421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee";
    let id = RustCrypto.node_id(&SecretKey(hex32(seed)));
    assert_eq!(text(&id.0), "b5076a8474a832daee4dd5b4040983b6623b5f344aca57d4d6ee4baf3f259e6e");
    assert_eq!(
        RustCrypto.exchange_key(&id).map(|key| text(&key)).as_deref(),
        Some("f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50")
    );
}

//! X25519 on keys that were born as Ed25519 keys.

use butter_core::crypto::SecretKey;
use butter_core::id::NodeId;
use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use crate::noise::Secret;

/// Whether the id is the only encoding of its `y`, that is, `y` < 2²⁵⁵ − 19. Decompression would reduce a larger one,
/// and a node would have two names. (The other double encodings are of points of small order.)
pub fn is_canonical(id: &NodeId) -> bool {
    let [low, middle @ .., high] = &id.0;
    !(high & 0x7f == 0x7f && *low >= 0xed && middle.iter().all(|byte| *byte == 0xff))
}

/// The X25519 public key of a name. `None` for a name that is not canonical, not on the curve, or of small order.
/// Costs a square root and an inversion, about a fifth of a Diffie-Hellman.
pub fn public(id: &NodeId) -> Option<[u8; 32]> {
    if !is_canonical(id) {
        return None;
    }
    let point = CompressedEdwardsY(id.0).decompress()?;
    (!point.is_small_order()).then(|| point.to_montgomery().to_bytes())
}

/// The X25519 secret key of a node: the half of the hashed seed that Ed25519 multiplies with (RFC 8032 §5.1.5).
/// It is clamped where it is used.
pub fn secret(seed: &SecretKey) -> Secret<32> {
    let mut hash: [u8; 64] = Sha512::digest(seed.0).into();
    let mut secret = Secret([0; 32]);
    secret.0.copy_from_slice(&hash[..32]);
    hash.zeroize();
    secret
}

/// The X25519 public key of an ephemeral secret.
pub fn ephemeral_public(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret).to_bytes()
}

/// X25519 (RFC 7748 §5). `None` if the result is zero, which only a peer's key of small order can bring about.
pub fn diffie_hellman(secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
    let shared = MontgomeryPoint(*public).mul_clamped(*secret);
    (!shared.is_identity()).then(|| shared.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn hex(text: &str) -> [u8; 32] {
        let bytes: Vec<u8> =
            (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect();
        bytes.try_into().expect("32 bytes")
    }

    /// RFC 7748 §5.2, first vector, and §6.1.
    #[test]
    fn x25519_of_rfc_7748() {
        let shared = diffie_hellman(
            &hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
            &hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
        );
        let expected = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        assert_eq!(shared, Some(expected));

        let a = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let b = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let (a_key, b_key) = (ephemeral_public(&a), ephemeral_public(&b));
        let expected = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(a_key, expected);
        let expected = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        assert_eq!(b_key, expected);
        let expected = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(diffie_hellman(&a, &b_key), Some(expected));
        assert_eq!(diffie_hellman(&b, &a_key), Some(expected));
    }

    /// RFC 7748 §6.1: the inputs of small order, canonical or not, that make the result zero.
    #[test]
    fn keys_of_small_order_agree_with_nobody() {
        for public in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
        ] {
            assert_eq!(diffie_hellman(&[9; 32], &hex(public)), None, "{public}");
        }
    }

    /// The two halves of the conversion fit: the secret's public key is the name's key.
    #[test]
    fn converted_secret_and_name_belong_together() {
        use butter_core::crypto::Crypto;
        for byte in 0..32 {
            let seed = SecretKey([byte; 32]);
            let id = crate::RustCrypto.node_id(&seed);
            assert_eq!(public(&id), Some(ephemeral_public(&secret(&seed).0)));
        }
    }
}

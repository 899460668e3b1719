//! Who a node is and which network it belongs to.

use crate::crypto::{Crypto, SecretKey};

/// The longest name of a network, in bytes.
pub const NETWORK_NAME_MAX: usize = 64;

/// A network: what its members share. Nodes of different networks ignore each other.
///
/// It is made from a name and, for a closed network, a secret; both are mixed into every key, so that without
/// them not even a ping can be read or answered (PROTOCOL §2.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Network {
    /// Seals greetings: Ping, Pong, Hello and Via.
    pub(crate) greeting: [u8; 32],
    /// The pre-shared key of handshakes.
    pub(crate) psk: [u8; 32],
}

impl Network {
    /// An open network: whoever knows its name can join.
    pub fn open(crypto: &dyn Crypto, name: &str) -> Network {
        Network::derive(crypto, name, &[])
    }

    /// A closed network: whoever knows its name and its secret can join.
    pub fn closed(crypto: &dyn Crypto, name: &str, secret: &[u8; 32]) -> Network {
        Network::derive(crypto, name, secret)
    }

    fn derive(crypto: &dyn Crypto, name: &str, secret: &[u8]) -> Network {
        let root = crypto.hash(&[b"butter network 1", &(name.len() as u32).to_le_bytes(), name.as_bytes(), secret]);
        Network { greeting: crypto.hash(&[b"greeting", &root]), psk: crypto.hash(&[b"session", &root]) }
    }
}

impl core::fmt::Debug for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Network(…)")
    }
}

/// Who a node is: its secret key, and its network.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node's secret; its public key is the node's id.
    pub secret: SecretKey,
    /// The network it belongs to.
    pub network: Network,
}

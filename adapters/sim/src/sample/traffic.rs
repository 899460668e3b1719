//! What the traffic is made of.

use crate::crypto::FakeCrypto;

/// The kinds, from what keeps the network alive to what its users ask for.
const KINDS: [&str; 6] =
    ["greetings", "sessions", "signs of life", "groups", "calls", "headers, tags, handshakes, padding"];
/// The one kind where nobody sees inside of packets.
const ALL: [&str; 1] = ["all bytes"];

/// Names of what [`bytes`] gives.
pub fn names(kinds: bool) -> impl Iterator<Item = &'static str> {
    if kinds { KINDS.iter() } else { ALL.iter() }.copied()
}

/// Bytes sent so far by kind: `all` is what nodes counted.
pub fn bytes(all: u64, crypto: Option<&FakeCrypto>) -> Vec<u64> {
    let Some(sealed) = crypto.map(FakeCrypto::sealed) else { return vec![all] };
    let mut kinds = [sealed.greetings.1, 0, 0, 0, 0];
    for (number, (_, bytes)) in sealed.messages.iter().enumerate() {
        kinds[kind(number)] += bytes;
    }
    let rest = all.saturating_sub(kinds.iter().sum());
    kinds.into_iter().chain([rest]).collect()
}

/// Which of [`KINDS`] the messages with this number belong to.
fn kind(number: usize) -> usize {
    match number {
        6..=10 => 4,
        11..=15 => 2,
        16..=19 => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use butter_core::wire::{Message, Writer};

    use super::*;

    #[test]
    fn messages_are_of_the_kind_that_their_name_says() {
        let cases = [
            (Message::PathChallenge { token: 1 }, "sessions"),
            (Message::Bye, "sessions"),
            (Message::Working { call: 1 }, "calls"),
            (Message::Cancel { call: 1 }, "calls"),
            (Message::Beat { interval_ms: 1, groups: Default::default() }, "signs of life"),
            (Message::Alive { id: butter_core::id::NodeId([1; 32]) }, "signs of life"),
            (Message::NotMember { group: [1; 4] }, "groups"),
            (Message::Acting { group: [1; 4] }, "groups"),
        ];
        for (message, name) in cases {
            let mut buf = [0; 64];
            assert!(Writer::new(&mut buf).message(&message));
            assert_eq!(KINDS[kind(buf[2].into())], name, "{message:?}");
        }
    }
}

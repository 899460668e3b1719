//! Datagrams that no honest node sends.

use butter_core::crypto::TAG_LEN;

use crate::Choices;

/// Longer than any packet that a node sends.
pub const LONGEST: usize = 1500;

/// Values where decoders go wrong.
const ODD: [&[u8]; 8] = [
    &[0],
    &[0x7f],
    &[0x80, 0x01],
    &[0xff],
    &[0xff, 0xff, 0x03],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/// Bytes that mean nothing.
pub fn random(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut packet = vec![0; choices.below(LONGEST + 1)];
    choices.fill(&mut packet);
    packet
}

/// Changes `packet` in one to four ways; `other` is another packet that was seen.
pub fn alter(choices: &mut Choices<'_>, packet: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=choices.below(4) {
        alter_once(choices, packet, other);
    }
    packet.truncate(LONGEST);
}

fn alter_once(choices: &mut Choices<'_>, packet: &mut Vec<u8>, other: &[u8]) {
    let at = choices.below(packet.len());
    match choices.below(8) {
        0 => {
            let bit = choices.below(8);
            if let Some(byte) = packet.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        1 => {
            let [value] = choices.array();
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
        }
        2 => packet.truncate(at),
        // Cut, but with its tag, so that the cut is found only after decrypting.
        3 => {
            let tag = packet.split_off(packet.len().saturating_sub(TAG_LEN));
            packet.truncate(at);
            packet.extend(tag);
        }
        4 => {
            let odd = ODD[choices.below(ODD.len())];
            for (byte, value) in packet.iter_mut().skip(at).zip(odd) {
                *byte = *value;
            }
        }
        // Something put in, everything after it moved.
        5 => {
            let mut more = vec![0; choices.below(64)];
            choices.fill(&mut more);
            packet.splice(at..at, more);
        }
        // Something taken out.
        6 => {
            let end = (at + choices.below(64)).min(packet.len());
            packet.drain(at..end);
        }
        // The head of this one, the rest of another.
        _ => {
            packet.truncate(at);
            packet.extend(other.iter().skip(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_can_be_altered() {
        let mut choices = Choices::from_seed(1);
        for _ in 0..10_000 {
            let other = random(&mut choices);
            for mut packet in [Vec::new(), vec![1], random(&mut choices)] {
                alter(&mut choices, &mut packet, &other);
                assert!(packet.len() <= LONGEST);
            }
        }
    }
}

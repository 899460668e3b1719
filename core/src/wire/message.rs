//! The messages of a session packet (PROTOCOL §2.5), and what they are made of.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::addr::Addr;
use crate::id::{GroupId, NodeId, RouteId};

/// Hosts in one exchange.
pub const RECORDS_MAX: usize = 8;
/// Members, gone ones included, that one descriptor can list.
pub const MEMBERS_MAX: usize = 12;
/// Contacts kept of a known group.
pub const CONTACTS_MAX: usize = 2;
/// Shared groups in one beat; a node with more in common sends them in turn.
pub const BEAT_GROUPS_MAX: usize = 24;

/// What a host says of itself: the makings of its quality (PROTOCOL §4.1). 6 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Facts {
    /// Minutes since start, as the number of bits it has: 0 below one minute, else 1 + log2, rounded down.
    pub uptime: u8,
    /// Free blocks, as the number of bits it has: 0 for none.
    pub free: u8,
    /// Known hosts, as the number of bits it has: 0 for none.
    pub hosts: u8,
    /// Bits of [`Facts::MAINS`] and the following.
    pub flags: u8,
    /// The place that its operator set; 0 is not set.
    pub place: u16,
}

impl Facts {
    /// Runs on mains power.
    pub const MAINS: u8 = 1;
    /// Publicly reachable and willing to introduce and relay.
    pub const AMBASSADOR: u8 = 2;
    /// Has seats of 8 blocks only.
    pub const TINY: u8 = 4;
    /// Gives no storage: never a member of a group.
    pub const NO_STORAGE: u8 = 8;
}

/// A host as it is told to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HostRecord {
    /// Who.
    pub id: NodeId,
    /// Where the teller reaches it.
    pub addr: Addr,
    /// What it said of itself when last heard.
    pub facts: Facts,
    /// Seconds since the teller heard it, at most 65,535.
    pub age_s: u16,
}

/// A member's state in a descriptor; the larger wins at the same incarnation (PROTOCOL §5.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MemberState {
    /// Takes part.
    Live,
    /// Left of its own will.
    Left,
    /// Was found dead.
    Dead,
}

/// One member in a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MemberEntry {
    /// Who.
    pub id: NodeId,
    /// Counts the times it joined; the larger wins whatever the state.
    pub incarnation: u32,
    /// Live, left or dead.
    pub state: MemberState,
    /// Where the teller reaches it; unspecified for the teller itself. Not part of what is merged.
    pub addr: Addr,
}

/// A group as its members tell it: a join-semilattice (PROTOCOL §5.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// Which group.
    pub id: GroupId,
    /// Seat size: 8 · 8^seat blocks.
    pub seat: u8,
    /// Live members wanted.
    pub wanted: u8,
    /// log2 of the free blocks of its fullest member, 0 for none.
    pub free: u8,
    /// Version of `wanted` and `free`; the larger wins, then the larger writer.
    pub version: u32,
    /// First bytes of who wrote that version.
    pub writer: u32,
    /// The members, in the order of their ids.
    pub members: Vec<MemberEntry, MEMBERS_MAX>,
}

/// A group as it is told to those who are not in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupHint {
    /// Which group.
    pub id: GroupId,
    /// Seat size: 8 · 8^seat blocks.
    pub seat: u8,
    /// Live members wanted.
    pub wanted: u8,
    /// Live members when last heard.
    pub live: u8,
    /// log2 of the free blocks, 0 for none.
    pub free: u8,
    /// Seconds since a member told this: 0 from a member, at least one more at every hop. Who knows better keeps what it knows.
    pub age_s: u16,
    /// Some members and where to reach them.
    pub contacts: Vec<(NodeId, Addr), CONTACTS_MAX>,
}

/// What a beat tells of one shared group. About 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BeatGroup {
    /// First 4 bytes of the group's id.
    #[serde(with = "crate::wire::bytes")]
    pub group: [u8; 4],
    /// First 4 bytes of the epoch: the hash of the membership as the sender knows it.
    #[serde(with = "crate::wire::bytes")]
    pub epoch: [u8; 4],
    /// Items the sender holds.
    pub count: u32,
    /// XOR of the first 8 bytes of their keys.
    #[serde(with = "crate::wire::bytes")]
    pub fingerprint: [u8; 8],
}

/// The messages of a session. One at a time, on the stack and never stored: its size is that of the largest on purpose.
/// The number on the wire is the position here: append only.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Boxing would need a heap.
pub enum Message<'a> {
    // Paths (§2.7) and introductions (§9.1).
    /// Proves that the peer is at the address this is sent to.
    PathChallenge {
        /// To be echoed.
        token: u64,
    },
    /// Answers [`Message::PathChallenge`], to where it came from.
    PathResponse {
        /// The challenge's token.
        token: u64,
    },
    /// What the sender says of itself; sent when a session begins and when it changed much.
    Facts {
        /// The facts.
        facts: Facts,
    },
    /// Asks to be introduced to a host that the receiver knows.
    Introduce {
        /// Who.
        id: NodeId,
    },
    /// Tells both sides of an introduction where to send at once.
    Introduction {
        /// The other side.
        id: NodeId,
        /// Its address as the introducer sees it.
        addr: Addr,
        /// Its slot at the introducer, which relays if nothing else works; 0 when it does not relay.
        slot: u16,
    },
    /// The sender stops: its sessions end now.
    Bye,

    // Calls (§8).
    /// A fragment of a request.
    Request {
        /// The caller's number for this attempt.
        call: u32,
        /// What is asked.
        route: RouteId,
        /// Milliseconds until the caller gives up.
        deadline_ms: u32,
        /// Bytes of the whole body.
        total: u32,
        /// Where this fragment begins.
        offset: u32,
        /// The fragment.
        data: &'a [u8],
    },
    /// A fragment of an answer.
    Response {
        /// The caller's number.
        call: u32,
        /// 0 is success; see `exchange::Status`.
        status: u8,
        /// Bytes of the whole body.
        total: u32,
        /// Where this fragment begins.
        offset: u32,
        /// The fragment.
        data: &'a [u8],
    },
    /// Asks for the fragments of a request (`answer: false`) or an answer (`answer: true`) that are missing.
    Missing {
        /// The caller's number.
        call: u32,
        /// Whether fragments of the answer are meant.
        answer: bool,
        /// Bit i: fragment i is missing.
        fragments: u64,
    },
    /// The request has arrived and is being worked on: do not send it again.
    Working {
        /// The caller's number.
        call: u32,
    },
    /// The caller has given up.
    Cancel {
        /// The caller's number.
        call: u32,
    },

    // Groups (§5).
    /// A sign of life, with the state of groups that both are in.
    Beat {
        /// The sender's beat interval, in milliseconds.
        interval_ms: u16,
        /// Some of the shared groups.
        groups: Vec<BeatGroup, BEAT_GROUPS_MAX>,
    },
    /// Are you alive?
    Probe {
        /// To be echoed.
        token: u32,
    },
    /// Yes.
    ProbeAck {
        /// The probe's token.
        token: u32,
    },
    /// Asks a fellow member to probe somebody.
    ProbeFor {
        /// Whom.
        id: NodeId,
    },
    /// The answer to [`Message::ProbeFor`] when that one is alive.
    Alive {
        /// Who is alive.
        id: NodeId,
    },
    /// A group's membership has changed.
    Group {
        /// The group as the sender knows it.
        descriptor: Descriptor,
    },
    /// The sender is not in this group (any more).
    NotMember {
        /// First 4 bytes of the group's id.
        #[serde(with = "crate::wire::bytes")]
        group: [u8; 4],
    },
    /// The sender looks for recruits for a cold group: the others need not.
    Acting {
        /// First 4 bytes of the group's id.
        #[serde(with = "crate::wire::bytes")]
        group: [u8; 4],
    },
    /// A group that the sender is in, for those who are not.
    Hint {
        /// The group.
        hint: GroupHint,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MTU_MIN, PAYLOAD, Reader, Writer};

    fn record() -> HostRecord {
        let addr = Addr { ip: [0xff; 16], port: u16::MAX, slot: u16::MAX };
        HostRecord { id: NodeId([1; 32]), addr, facts: Facts { place: u16::MAX, ..Facts::default() }, age_s: u16::MAX }
    }

    #[test]
    fn the_largest_messages_fit_a_packet() {
        let member =
            MemberEntry { id: NodeId([9; 32]), incarnation: u32::MAX, state: MemberState::Dead, addr: record().addr };
        let members = core::iter::repeat_n(member, MEMBERS_MAX).collect();
        let id = GroupId([1; 16]);
        let descriptor = Descriptor { id, seat: 9, wanted: 8, free: 99, version: u32::MAX, writer: u32::MAX, members };
        let group = BeatGroup { group: [1; 4], epoch: [2; 4], count: u32::MAX, fingerprint: [3; 8] };
        let groups = core::iter::repeat_n(group, BEAT_GROUPS_MAX).collect();
        for message in [Message::Group { descriptor }, Message::Beat { interval_ms: u16::MAX, groups }] {
            let mut buf = [0; PAYLOAD];
            assert!(Writer::new(&mut buf).message(&message), "{message:?}");
        }
        let mut buf = [0; MTU_MIN as usize];
        let record = record();
        assert!(Writer::new(&mut buf).message(&Message::Introduction { id: record.id, addr: record.addr, slot: 1 }));
    }

    #[test]
    fn unknown_and_malformed_messages_are_skipped_by_their_length() {
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        writer.bytes(&[3, 200, 1, 2]); // an unknown kind
        writer.bytes(&[1, 0]); // a challenge without its token
        writer.message(&Message::Probe { token: 7 });
        let mut reader = Reader::new(writer.written());
        assert_eq!(reader.next(), Some(Err(())));
        assert_eq!(reader.next(), Some(Err(())));
        assert_eq!(reader.next(), Some(Ok(Message::Probe { token: 7 })));
        assert_eq!(reader.next(), None);
    }

    #[test]
    fn a_length_past_the_end_ends_the_packet() {
        assert_eq!(Reader::new(&[0x7f, 0]).next(), None);
        assert_eq!(Reader::new(&[0x80]).next(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 1]).next(), None);
    }
}

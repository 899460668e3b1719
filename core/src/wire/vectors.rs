//! Every kind of message as bytes (PROTOCOL §2.5, §13).

use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::addr::Addr;
use crate::id::{GroupId, NodeId, route};
use crate::vectors::{Vectors, counting};

pub(crate) fn v4() -> Addr {
    "192.168.1.7:28883".parse::<core::net::SocketAddr>().unwrap().into()
}

pub(crate) fn v6() -> Addr {
    let addr: Addr = "[2001:db8::7]:4000".parse::<core::net::SocketAddr>().unwrap().into();
    addr.with_slot(5)
}

pub(crate) fn facts() -> Facts {
    Facts { uptime: 11, free: 13, hosts: 5, flags: Facts::MAINS | Facts::AMBASSADOR, place: 300 }
}

pub(crate) fn descriptor() -> Descriptor {
    let member = |id, incarnation, state, addr| MemberEntry { id: NodeId([id; 32]), incarnation, state, addr };
    let members = [
        member(1, 1, MemberState::Live, v4()),
        member(2, 200, MemberState::Dead, Addr::default()),
        member(3, 2, MemberState::Live, v6()),
        member(4, 1, MemberState::Left, Addr::default()),
        member(5, 1, MemberState::Live, Addr::default()),
    ];
    let id = GroupId(counting(0x10));
    Descriptor {
        id,
        seat: 1,
        wanted: 3,
        free: 6,
        version: 1,
        writer: 0x1234_5678,
        members: members.into_iter().collect(),
    }
}

pub(crate) fn hint() -> GroupHint {
    let contacts = [(NodeId([1; 32]), v4()), (NodeId([3; 32]), v6())].into_iter().collect();
    GroupHint { id: GroupId(counting(0x10)), seat: 1, wanted: 3, live: 3, free: 6, age_s: 300, contacts }
}

fn messages() -> Vec<Message<'static>> {
    let id = NodeId(counting(0));
    let group = BeatGroup { group: counting(0x10), epoch: counting(0x20), count: 1000, fingerprint: counting(0x30) };
    std::vec![
        Message::PathChallenge { token: 0x0123_4567_89ab_cdef },
        Message::PathResponse { token: u64::MAX },
        Message::Facts { facts: facts() },
        Message::Introduce { id },
        Message::Introduction { id, addr: v6(), slot: 300 },
        Message::Bye,
        Message::Request {
            call: 7,
            route: route("ohce/1"),
            deadline_ms: 10_000,
            total: 1147,
            offset: 1142,
            data: b"hello",
        },
        Message::Response { call: 7, status: 0, total: 5, offset: 0, data: b"olleh" },
        Message::Missing { call: 7, answer: true, fragments: 0b1010 },
        Message::Working { call: 300 },
        Message::Cancel { call: u32::MAX },
        Message::Beat { interval_ms: 1000, groups: [group, group].into_iter().collect() },
        Message::Probe { token: 1 },
        Message::ProbeAck { token: 128 },
        Message::ProbeFor { id },
        Message::Alive { id },
        Message::Group { descriptor: descriptor() },
        Message::NotMember { group: counting(0x10) },
        Message::Acting { group: counting(0x10) },
        Message::Hint { hint: hint() },
    ]
}

/// `PathChallenge`, from what `Debug` prints.
fn kind(message: &Message<'_>) -> String {
    let text = std::format!("{message:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_string()
}

#[test]
fn s13_messages() {
    let mut v = Vectors::new(
        "messages.txt",
        "Every kind of message (§2.5), with its length in two bytes. number_kind=length || body.",
    );
    let messages = messages();
    for (number, message) in messages.iter().enumerate() {
        let mut buf = [0; PAYLOAD];
        let mut writer = Writer::new(&mut buf);
        assert!(writer.message(message));
        assert_eq!(usize::from(writer.written()[2]), number, "{message:?} is out of order");
        assert_eq!(Reader::new(writer.written()).next(), Some(Ok(message.clone())));
        v.add(&std::format!("{number:02}_{}", kind(message)), writer.written());
    }
    // The next number is nobody's: else a kind is missing above.
    let mut unknown = [0; 66];
    (unknown[0], unknown[1]) = (65, messages.len() as u8);
    assert_eq!(Reader::new(&unknown).next(), Some(Err(())), "a kind without a vector");
    v.check();
}

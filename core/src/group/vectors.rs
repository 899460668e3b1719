//! Epochs, ranks, scores, and the bodies of groups' calls (PROTOCOL §5, §6.2, §13).

use serde::Serialize;

use super::descriptor::{epoch, live, precedence, rank};
use super::merge::MergeRequest;
use super::sync::{ListPage, ListRequest};
use super::{Groups, SIZES};
use crate::content::{ItemInfo, Kind};
use crate::id::{GroupId, Key};
use crate::vectors::{Provider, Vectors, counting};
use crate::wire::Writer;
use crate::wire::vectors::{descriptor, hint};

fn body(v: &mut Vectors, name: &str, value: &impl Serialize) {
    let mut buf = [0; 1142];
    let mut writer = Writer::new(&mut buf);
    assert!(writer.value(value));
    v.add(name, writer.written());
}

#[test]
fn s13_groups() {
    let mut v = Vectors::new(
        "groups.txt",
        "A descriptor, its epoch, and its live members' precedences and ranks (§5.3); scores of groups for keys (§6.2);\n\
         bodies of calls (§5). Precedences and scores are numbers, most significant byte first; ranks and sizes are decimal.",
    );
    let group = descriptor();
    body(&mut v, "descriptor", &group);
    let now = epoch(&Provider, &group.id, &group.members);
    v.add("epoch", now);
    for member in live(&group.members) {
        let name = member.id.0[0];
        v.add(&std::format!("precedence_{name}"), precedence(&group.id, now, &member.id).to_be_bytes());
        v.add_text(&std::format!("rank_{name}"), &rank(&group.id, now, &group.members, &member.id));
    }
    v.add("score_key", counting::<32>(0x40));
    for id in [0x10, 0x80] {
        let id = GroupId(counting(id));
        for seat in 0..SIZES as u8 {
            for (label, first) in [("small", 0), ("large", 0x80)] {
                let mut key = Key(counting(0x40));
                key.0[0] |= first;
                let score = Groups::score(&key, &id, seat);
                v.add(&std::format!("score_{label}_group_{id}_size_{seat}"), score.to_be_bytes());
            }
        }
    }
    body(&mut v, "found_request", &1u8);
    body(&mut v, "found_answer", &hint());
    body(&mut v, "offer_answer", &1u8);
    body(&mut v, "list_request", &ListRequest { group: group.id, after: Key(counting(0)) });
    let item = ItemInfo { key: Key(counting(1)), kind: Kind::Extent, blocks: 3, bytes: 4097 + 72, lease_s: 3600 };
    body(&mut v, "list_answer", &ListPage { items: [item, item].into_iter().collect(), more: true });
    body(&mut v, "merge_request", &MergeRequest { group: group.id, bytes: 5000 });
    v.check();
}

//! The body of an exchange (PROTOCOL §4.5, §13).

use super::shuffle::{Shuffle, here};
use crate::id::NodeId;
use crate::vectors::{Vectors, counting};
use crate::wire::vectors::{facts, hint, v4, v6};
use crate::wire::{Facts, HostRecord, Writer};

#[test]
fn s13_hosts() {
    let mut v = Vectors::new("hosts.txt", "The body of SHUFFLE (§4.5), request and answer.");
    let record = |id, addr, facts, age_s| HostRecord { id, addr, facts, age_s };
    let records = [
        record(NodeId(counting(0)), here(), facts(), 0),
        record(NodeId([1; 32]), v4(), Facts::default(), 65_535),
        record(NodeId([2; 32]), v6(), facts(), 7),
    ];
    let shuffle = Shuffle { records: records.into_iter().collect(), hints: core::iter::once(hint()).collect() };
    for (name, shuffle) in
        [("shuffle", &shuffle), ("shuffle_empty", &Shuffle { records: Default::default(), hints: Default::default() })]
    {
        let mut buf = [0; 512];
        let mut writer = Writer::new(&mut buf);
        assert!(writer.value(shuffle));
        assert_eq!(crate::wire::value::<Shuffle>(writer.written()).as_ref(), Some(shuffle));
        v.add(name, writer.written());
    }
    v.check();
}

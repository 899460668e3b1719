//! Items and their keys, and the bodies of LOCATE, STORE and FETCH (PROTOCOL §6, §13).

use std::vec;
use std::vec::Vec;

use super::message::{FetchTrailer, Here, Locate, Located, StoreTrailer, write_fetch};
use super::object::{EXTENT_BYTES, key_of, list_bytes, verify, write_entry, write_header};
use crate::content::Kind;
use crate::id::{GroupId, Key, NodeId};
use crate::vectors::{Provider, Vectors, counting};
use crate::wire::vectors::{hint, v6};
use crate::wire::{BLOCK, Writer};

fn list(level: u8, length: u64, keys: &[Key]) -> Vec<u8> {
    let mut own = vec![0; list_bytes(keys.len())];
    write_header(&mut own, level, length);
    keys.iter().enumerate().for_each(|(at, key)| write_entry(&mut own, at, key));
    own
}

/// Puts an item's own bytes and key into the file.
fn item(v: &mut Vectors, name: &str, kind: Kind, own: &[u8]) -> Key {
    let key = key_of(&Provider, kind, own);
    assert!(verify(&Provider, kind, &key, own), "{name}");
    if own.len() < 200 {
        v.add(&std::format!("{name}_own"), own);
    }
    v.add(&std::format!("{name}_key"), key.0);
    key
}

#[test]
fn s13_objects() {
    let mut v = Vectors::new(
        "objects.txt",
        "Items (§6.1): own bytes and keys; bodies of LOCATE, STORE and FETCH (§6.2 to §6.4).\n\
         zeros_4096: a block of 4,096 zeros. extent: 4,097 zeros. extent_full: 127 blocks of zeros.\n\
         tree: 520,193 zeros, that is extent_full and an extent_last of one zero. tree_2: a tree of level 2 over 127 full trees\n\
         of zeros (tree_full) and tree_last, one of one extent, extent_last.",
    );
    item(&mut v, "empty", Kind::Block, &[]);
    item(&mut v, "hello", Kind::Block, b"hello");
    let zeros = item(&mut v, "zeros_4096", Kind::Block, &[0; BLOCK]);
    let zero = item(&mut v, "zero", Kind::Block, &[0]);
    item(&mut v, "extent", Kind::Extent, &list(0, 4097, &[zeros, zero]));
    let full = item(&mut v, "extent_full", Kind::Extent, &list(0, EXTENT_BYTES, &[zeros; 127]));
    let last = item(&mut v, "extent_last", Kind::Extent, &list(0, 1, &[zero]));
    item(&mut v, "tree", Kind::Tree, &list(1, EXTENT_BYTES + 1, &[full, last]));
    let tree_full = item(&mut v, "tree_full", Kind::Tree, &list(1, 127 * EXTENT_BYTES, &[full; 127]));
    let tree_last = item(&mut v, "tree_last", Kind::Tree, &list(1, 1, &[last]));
    item(&mut v, "tree_2", Kind::Tree, &list(2, 127 * EXTENT_BYTES + 1, &[tree_full, tree_last]));

    let group = GroupId(counting(0x10));
    let mut buf = [0; 1142];
    let mut writer = Writer::new(&mut buf);
    assert!(writer.value(&Locate { key: zero, bytes: 4169, put: true, group: Some(group) }));
    v.add("locate_request", writer.written());
    let here = Here { group, seat: 2, wanted: 3, room: true, holds: false, recruiting: true };
    let members = [(NodeId([1; 32]), Some(v6())), (NodeId([2; 32]), None)].into_iter().collect();
    let hints = core::iter::once(hint()).collect();
    let located = Located { here: Some(here), members, stranger: false, pointed: true, hints };
    let mut writer = Writer::new(&mut buf);
    assert!(writer.value(&located));
    v.add("locate_answer", writer.written());
    let mut writer = Writer::new(&mut buf);
    assert!(writer.value(&Located::default()));
    v.add("locate_answer_nothing", writer.written());
    let trailer =
        StoreTrailer { key: full, group, kind: Kind::Extent, blocks: 128, index: 3, bytes: 524_264, lease_s: 60 };
    v.add("store_trailer", trailer.write());
    v.add("fetch_request", write_fetch(&full, 3));
    v.add("fetch_trailer", FetchTrailer { kind: Kind::Extent, blocks: 128, bytes: 524_264, lease_s: 60 }.write());
    v.check();
}

//! Flash keeps what it has acknowledged, whenever the power goes, and what that costs.

mod nor;

use std::collections::BTreeMap;

use butter_core::content::{ItemInfo, Kind};
use butter_core::crypto::SecretKey;
use butter_core::id::{GroupId, Key};
use butter_core::rng::Rng;
use butter_core::storage::{BlockNote, BlockRef, StoreError, StoreOp, StoreTicket};
use butter_store::{Flash, FlashError};
use futures_lite::future::block_on;
use nor::{Nor, PAGE};

const TICKET: StoreTicket = StoreTicket::NONE;
const PAGES: usize = 22;
const SEAT: u32 = 8;
const SECRET: [u8; 32] = [42; 32];

type Store = Flash<Nor, PAGES, 32>;

/// What there should be: the bytes of each record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Name {
    Block(BlockRef),
    Seat(GroupId),
}
type Model = BTreeMap<Name, Vec<u8>>;

fn open(nor: &Nor) -> Store {
    block_on(Store::open::<SEAT>(nor.clone(), 0)).expect("it opens")
}

fn block(n: u8, index: u8) -> BlockRef {
    BlockRef { key: Key([n; 32]), index }
}

fn note(n: u8) -> BlockNote {
    let item = ItemInfo { key: Key([n; 32]), kind: Kind::Extent, blocks: 3, bytes: 9000, lease_s: 77 };
    BlockNote { group: GroupId([n; 16]), item }
}

fn apply(store: &mut Store, op: &StoreOp, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut buf = [0xaa; 4096];
    buf[..bytes.len()].copy_from_slice(bytes);
    let len = block_on(store.apply(op, &mut buf))?;
    Ok(buf[..len].to_vec())
}

fn put(n: u8, index: u8, len: usize) -> StoreOp {
    StoreOp::Put { ticket: TICKET, at: block(n, index), len, note: note(n) }
}

fn get(n: u8, index: u8) -> StoreOp {
    StoreOp::Get { ticket: TICKET, at: block(n, index) }
}

/// The next operation of a long run, and its bytes: items come, are replaced and go, a seat changes.
fn next(rng: &mut Rng, model: &Model) -> (StoreOp, Vec<u8>) {
    let blocks: Vec<_> =
        model.keys().filter_map(|name| if let Name::Block(at) = name { Some(*at) } else { None }).collect();
    let kept: usize = model.values().map(Vec::len).sum();
    let lens = [0, 1, 90, 530, 531, 1130, 1365, 4096];
    let len = lens[rng.below(lens.len() as u32) as usize];
    let mut bytes = |len: usize| -> Vec<u8> { (0..len).map(|_| rng.below(256) as u8).collect() };
    if kept + len > 7 * 4096 || blocks.len() >= 22 {
        let at = blocks[rng.below(blocks.len() as u32) as usize];
        return (StoreOp::Delete { ticket: TICKET, key: at.key }, Vec::new());
    }
    let bytes = bytes(len);
    match rng.below(8) {
        0 => {
            let bytes = bytes.into_iter().chain([1; 300]).take(1024).collect::<Vec<_>>();
            (StoreOp::Seat { ticket: TICKET, group: GroupId([1; 16]), len: bytes.len() }, bytes)
        }
        1 => (StoreOp::Seat { ticket: TICKET, group: GroupId([1; 16]), len: 0 }, Vec::new()),
        _ => (put(rng.below(40) as u8, rng.below(2) as u8, len), bytes),
    }
}

/// The model after an operation.
fn after(model: &Model, op: &StoreOp, bytes: &[u8]) -> Model {
    let mut model = model.clone();
    match *op {
        StoreOp::Put { at, .. } => drop(model.insert(Name::Block(at), bytes.to_vec())),
        StoreOp::Seat { group, len: 0, .. } => drop(model.remove(&Name::Seat(group))),
        StoreOp::Seat { group, .. } => drop(model.insert(Name::Seat(group), bytes.to_vec())),
        StoreOp::Delete { key, .. } => model.retain(|name, _| !matches!(name, Name::Block(at) if at.key == key)),
        StoreOp::Get { .. } => {}
    }
    model
}

/// Everything that is kept: blocks are read as they are by the node. A seat's bytes are only read at start, by the node.
fn kept(store: &mut Store) -> BTreeMap<BlockRef, Vec<u8>> {
    let all = (0..40).flat_map(|n| [(n, 0), (n, 1)]);
    all.filter_map(|(n, index)| match apply(store, &get(n, index), &[]) {
        Ok(bytes) => Some((block(n, index), bytes)),
        Err(StoreError::Missing) => None,
        Err(error) => panic!("block {n} {index}: {error:?}"),
    })
    .collect()
}

fn blocks(model: &Model) -> BTreeMap<BlockRef, Vec<u8>> {
    model
        .iter()
        .filter_map(|(name, bytes)| if let Name::Block(at) = name { Some((*at, bytes.clone())) } else { None })
        .collect()
}

/// Opens after a cut and looks at all: nothing acknowledged is lost, nothing is corrupt.
fn check(nor: &Nor, before: &Model, now: &Model, what: &dyn std::fmt::Debug) -> Store {
    let mut store = open(nor);
    let (secret, new) = block_on(store.secret(SecretKey([1; 32]))).expect("it is readable");
    assert!(!new && secret.0 == SECRET, "the identity is lost: {what:?}");
    let (kept, before_blocks, now_blocks) = (kept(&mut store), blocks(before), blocks(now));
    for (at, bytes) in &kept {
        assert!([before_blocks.get(at), now_blocks.get(at)].contains(&Some(bytes)), "{at:?} is corrupt: {what:?}");
    }
    for (at, bytes) in &before_blocks {
        // What the cut operation did not touch is as it was.
        assert!(now_blocks.get(at) != Some(bytes) || kept.get(at) == Some(bytes), "{at:?} is lost: {what:?}");
    }
    let (least, most) = (before.len().min(now.len()), before.len().max(now.len()));
    assert!((least..=most).contains(&store.len()), "{} records, not {least} to {most}: {what:?}", store.len());
    store
}

fn begin(nor: &Nor) -> Store {
    let mut store = open(nor);
    assert!(block_on(store.secret(SecretKey(SECRET))).expect("it can be written").1);
    store
}

#[test]
fn a_cut_at_every_write_of_a_long_run_loses_and_corrupts_nothing() {
    let nor = Nor::new(PAGES);
    let mut store = begin(&nor);
    let (mut rng, mut model, mut cuts, mut torn_erases) = (Rng::new([3; 16]), Model::new(), 0, 0);
    for step in 0..200 {
        let (op, bytes) = next(&mut rng, &model);
        let now = after(&model, &op, &bytes);
        let (was, first) = (nor.copy(), nor.0.borrow().changes);
        apply(&mut store, &op, &bytes).expect("there is room");
        let changes = nor.0.borrow().changes - first;
        // From a copy of the flash, the same again, but for the power.
        for cut in 0..changes {
            let copy = was.copy();
            copy.0.borrow_mut().rng = Rng::new([cut as u8; 16]);
            let mut again = open(&copy);
            let erases: u32 = copy.0.borrow().erases.iter().sum();
            copy.0.borrow_mut().until_cut = Some(cut);
            assert_eq!(
                apply(&mut again, &op, &bytes),
                Err(StoreError::Io),
                "step {step}: what was cut is not acknowledged"
            );
            torn_erases += u64::from(copy.0.borrow().erases.iter().sum::<u32>() > erases);
            copy.0.borrow_mut().power_on();
            check(&copy, &model, &now, &(step, cut, &op));
            cuts += 1;
        }
        model = now;
    }
    println!("{cuts} cuts in 200 operations, {torn_erases} in or after an erase");
    assert!(cuts > 1_000 && torn_erases > 50, "the run is long: {cuts} {torn_erases}");
    assert_eq!(kept(&mut store), blocks(&model));
}

#[test]
fn cuts_upon_cuts_lose_and_corrupt_nothing() {
    let nor = Nor::new(PAGES);
    drop(begin(&nor));
    let (mut rng, mut model, mut cuts) = (Rng::new([5; 16]), Model::new(), 0);
    let mut store = open(&nor);
    for step in 0..600 {
        let (op, bytes) = next(&mut rng, &model);
        let now = after(&model, &op, &bytes);
        nor.0.borrow_mut().until_cut = Some(u64::from(rng.below(40)));
        let done = apply(&mut store, &op, &bytes);
        // Also while what was cut is being repaired.
        for _ in 0..rng.below(3) {
            nor.0.borrow_mut().power_on();
            nor.0.borrow_mut().until_cut = Some(u64::from(rng.below(3)));
            cuts += u32::from(block_on(Store::open::<SEAT>(nor.clone(), 0)).is_err());
        }
        nor.0.borrow_mut().power_on();
        store = check(&nor, if done.is_ok() { &now } else { &model }, &now, &(step, &op));
        let blocks = blocks(&now).keys().copied().collect::<Vec<_>>();
        let has =
            |at: &BlockRef, store: &mut Store| apply(store, &StoreOp::Get { ticket: TICKET, at: *at }, &[]).is_ok();
        let whole = blocks.iter().all(|at| has(at, &mut store));
        // An operation that was cut is asked for again, as the node would.
        model = now;
        if done.is_err() || !whole {
            apply(&mut store, &op, &bytes).expect("there is room");
        }
        assert_eq!(kept(&mut store), self::blocks(&model), "step {step}");
    }
    println!("{cuts} cuts while opening");
    assert!(cuts > 20, "{cuts}");
}

#[test]
fn writes_and_erases_per_item_are_bounded() {
    let nor = Nor::new(PAGES);
    let mut store = begin(&nor);
    let mut rng = Rng::new([9; 16]);
    // A seat that is full: for each item that comes, the oldest goes.
    for (len, items) in [(100, 20usize), (1365, 20), (4096, 8)] {
        let (mut first, mut worst) = (None, 0);
        for n in 0..3_000usize {
            if n == 500 {
                let chip = nor.0.borrow();
                first = Some((chip.bytes_written, chip.erases.iter().sum::<u32>()));
            }
            let erased = nor.0.borrow().erases.iter().sum::<u32>();
            let bytes: Vec<u8> = (0..len).map(|_| rng.below(256) as u8).collect();
            if n >= items {
                let key = block(((n - items) % 200) as u8, 0).key;
                apply(&mut store, &StoreOp::Delete { ticket: TICKET, key }, &[]).expect("a deletion");
            }
            apply(&mut store, &put((n % 200) as u8, 0, len), &bytes).expect("there is room");
            worst = worst.max(nor.0.borrow().erases.iter().sum::<u32>() - erased);
        }
        let chip = nor.0.borrow();
        let (written, erases) = first.expect("the run is long");
        let written = (chip.bytes_written - written) as f64 / 2500.0;
        let erases = f64::from(chip.erases.iter().sum::<u32>() - erases) / 2500.0;
        println!(
            "{items} items of {len} bytes kept: {written:.0} bytes written and {erases:.2} pages erased per item put, {worst} at once"
        );
        let put = (len + 70 + 300) as f64;
        assert!(written <= 5.0 * put, "{len}: {written} bytes per item");
        assert!(erases <= put / 800.0, "{len}: {erases} erases per item");
        assert!(worst as usize <= PAGES, "{worst}");
        drop(chip);
        for n in 0..200 {
            apply(&mut store, &StoreOp::Delete { ticket: TICKET, key: block(n, 0).key }, &[]).expect("a deletion");
        }
    }
    let chip = nor.0.borrow();
    // The first two are the log of erases: little is written there.
    let (least, most) = (chip.erases[2..].iter().min(), chip.erases[2..].iter().max());
    println!("erases of a page: {least:?} to {most:?}");
    assert!(most <= least.map(|n| n + 2).as_ref(), "pages wear evenly: {:?}", chip.erases);
}

#[test]
fn a_full_flash_says_so_without_being_touched() {
    let nor = Nor::new(PAGES);
    let mut store = begin(&nor);
    let mut n = 0;
    while apply(&mut store, &put(n, 0, 4096), &[n; 4096]).is_ok() {
        n += 1;
    }
    assert!(u32::from(n) >= SEAT, "a seat fits: {n}");
    let changes = nor.0.borrow().changes;
    assert_eq!(apply(&mut store, &put(n, 0, 4096), &[1; 4096]), Err(StoreError::Full));
    assert_eq!(nor.0.borrow().changes, changes);
    for old in 0..n {
        assert_eq!(apply(&mut store, &get(old, 0), &[]), Ok(vec![old; 4096]));
    }
    apply(&mut store, &StoreOp::Delete { ticket: TICKET, key: block(0, 0).key }, &[]).expect("a deletion");
    assert!(apply(&mut store, &put(n, 0, 4096), &[1; 4096]).is_ok());
}

#[test]
fn a_rotten_block_is_an_honest_error_and_then_absent() {
    let nor = Nor::new(PAGES);
    let mut store = begin(&nor);
    for n in 0..4 {
        apply(&mut store, &put(n, 0, 4096), &[n; 4096]).expect("there is room");
    }
    let at = nor.0.borrow().bytes.windows(64).position(|bytes| bytes == [2; 64]).expect("it is somewhere");
    nor.0.borrow_mut().bytes[at + 32] ^= 4;
    assert_eq!(apply(&mut store, &get(2, 0), &[]), Err(StoreError::Io));
    assert_eq!(apply(&mut store, &get(2, 0), &[]), Err(StoreError::Missing));
    assert_eq!(apply(&mut store, &get(3, 0), &[]), Ok(vec![3; 4096]));
}

#[test]
fn foreign_bytes_are_an_error_that_says_what_to_do_or_an_empty_store() {
    for seed in 0..20 {
        let nor = Nor::new(PAGES);
        let mut rng = Rng::new([seed; 16]);
        nor.0.borrow_mut().bytes.iter_mut().for_each(|byte| *byte = rng.below(256) as u8);
        match block_on(Store::open::<SEAT>(nor.clone(), 0)) {
            Ok(store) => assert!(store.is_empty()),
            Err(error) => assert!(error == FlashError::Corrupt && error.to_string().contains("erase it"), "{error}"),
        }
        block_on(Store::erase(nor.clone(), 0)).expect("it can be erased");
        let mut store = begin(&nor);
        apply(&mut store, &put(1, 0, 9), &[9; 9]).expect("it works again");
    }
    let out_of_range = block_on(Store::open::<SEAT>(Nor::new(PAGES), PAGE as u32)).map(drop);
    assert_eq!(out_of_range, Err(FlashError::Failed));
}

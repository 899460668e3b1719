//! Every store keeps what it was given, and nothing it was told to forget.

use butter_core::id::Key;
use butter_core::storage::{BlockNote, BlockRef, StoreError, StoreOp, StoreTicket};
use butter_store::{Array, Heap, Packed};

const TICKET: StoreTicket = StoreTicket::NONE;

trait Store {
    fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError>;

    fn put(&mut self, at: BlockRef, bytes: &[u8]) -> Result<usize, StoreError> {
        let mut buf = [0; 4096];
        buf[..bytes.len()].copy_from_slice(bytes);
        self.apply(&StoreOp::Put { ticket: TICKET, at, len: bytes.len(), note: BlockNote::none(at.key) }, &mut buf)
    }

    fn get(&mut self, at: BlockRef) -> Result<Vec<u8>, StoreError> {
        let mut buf = [0xaa; 4096];
        let len = self.apply(&StoreOp::Get { ticket: TICKET, at }, &mut buf)?;
        Ok(buf[..len].to_vec())
    }

    fn delete(&mut self, key: Key) {
        self.apply(&StoreOp::Delete { ticket: TICKET, key }, &mut []).expect("a deletion cannot fail");
    }
}

impl Store for Heap {
    fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        Heap::apply(self, op, buf)
    }
}

impl<const N: usize> Store for Array<N> {
    fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        Array::apply(self, op, buf)
    }
}

impl<const BLOCKS: usize, const BYTES: usize> Store for Packed<BLOCKS, BYTES> {
    fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        Packed::apply(self, op, buf)
    }
}

fn at(key: u8, index: u8) -> BlockRef {
    BlockRef { key: Key([key; 32]), index }
}

fn keeps_and_forgets(store: &mut dyn Store) {
    assert_eq!(store.get(at(1, 0)), Err(StoreError::Missing));
    store.put(at(1, 0), b"list").unwrap();
    store.put(at(1, 127), &[7; 4096]).unwrap();
    store.put(at(2, 0), b"").unwrap();
    assert_eq!(store.get(at(1, 0)).unwrap(), b"list");
    assert_eq!(store.get(at(1, 127)).unwrap(), [7; 4096]);
    assert_eq!(store.get(at(2, 0)).unwrap(), b"");

    store.put(at(1, 0), b"another").unwrap();
    assert_eq!(store.get(at(1, 0)).unwrap(), b"another", "a put replaces");

    store.delete(Key([1; 32]));
    store.delete(Key([9; 32]));
    assert_eq!(store.get(at(1, 0)), Err(StoreError::Missing));
    assert_eq!(store.get(at(1, 127)), Err(StoreError::Missing));
    assert_eq!(store.get(at(2, 0)).unwrap(), b"", "other items stay");
}

#[test]
fn blocks_are_kept_until_deleted() {
    keeps_and_forgets(&mut Heap::new(1 << 20));
    keeps_and_forgets(&mut Array::<3>::default());
    keeps_and_forgets(&mut Packed::<3, 4200>::default());
}

#[test]
fn a_full_heap_refuses_and_keeps_what_it_has() {
    let mut heap = Heap::new(2 * (4096 + 96));
    heap.put(at(1, 0), &[1; 4096]).unwrap();
    heap.put(at(2, 0), &[2; 4096]).unwrap();
    assert_eq!(heap.put(at(3, 0), b"x"), Err(StoreError::Full));
    heap.put(at(2, 0), &[3; 4096]).expect("replacing needs no more room");
    assert_eq!(heap.get(at(2, 0)).unwrap(), [3; 4096]);
    heap.delete(Key([1; 32]));
    heap.put(at(3, 0), b"x").expect("deleting makes room");
    heap.delete(Key([2; 32]));
    heap.delete(Key([3; 32]));
    assert_eq!((heap.bytes(), heap.len()), (0, 0));
}

#[test]
fn a_full_array_refuses_and_keeps_what_it_has() {
    let mut array = Array::<2>::NEW;
    array.put(at(1, 0), b"a").unwrap();
    array.put(at(1, 1), b"b").unwrap();
    assert_eq!(array.put(at(1, 2), b"c"), Err(StoreError::Full));
    array.put(at(1, 0), b"d").expect("replacing needs no more room");
    array.delete(Key([1; 32]));
    assert!(array.is_empty());
    array.put(at(1, 2), b"c").expect("deleting makes room");
}

#[test]
fn a_full_packed_store_refuses_and_keeps_what_it_has() {
    let mut packed = Packed::<3, 10>::new();
    packed.put(at(1, 0), b"four").unwrap();
    packed.put(at(1, 1), b"five5").unwrap();
    assert_eq!(packed.put(at(2, 0), b"xx"), Err(StoreError::Full));
    assert_eq!(packed.put(at(1, 0), b"four is not 4"), Err(StoreError::Full));
    assert_eq!(packed.get(at(1, 0)).unwrap(), b"four");
    packed.put(at(1, 0), b"4").expect("replacing needs less room");
    packed.put(at(2, 0), b"two2").unwrap();
    assert_eq!(packed.put(at(2, 1), b""), Err(StoreError::Full), "three blocks at most");
    assert_eq!((packed.len(), packed.used()), (3, 10));
    packed.delete(Key([1; 32]));
    assert_eq!(packed.get(at(2, 0)).unwrap(), b"two2");
    assert_eq!((packed.len(), packed.used()), (1, 4));
}

#[test]
fn a_short_buffer_is_an_error_not_a_panic() {
    let mut heap = Heap::new(1 << 20);
    heap.put(at(1, 0), b"long enough").unwrap();
    let get = StoreOp::Get { ticket: TICKET, at: at(1, 0) };
    assert_eq!(heap.apply(&get, &mut [0; 3]), Err(StoreError::Io));
    let put = StoreOp::Put { ticket: TICKET, at: at(1, 0), len: 9, note: BlockNote::none(at(1, 0).key) };
    assert_eq!(heap.apply(&put, &mut [0; 3]), Err(StoreError::Io));
    assert_eq!(heap.get(at(1, 0)).unwrap(), b"long enough");
}

//! A node's storage: bytes by item and block, in memory, served one operation at a time, as slow, full, worn or faulty as
//! asked.

use std::collections::{BTreeMap, VecDeque};

use butter_core::id::Key;
use butter_core::rng::Rng;
use butter_core::storage::{BlockRef, StoreError, StoreOp, StoreTicket};
use butter_core::time::Instant;

use crate::chance;

/// Bytes that a medium writes as one, or not at all, when power fails.
pub const SECTOR: usize = 512;

/// How fast a disk is, and how long it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskModel {
    /// Microseconds that each operation takes, whatever its size.
    pub op_us: u32,
    /// Bytes read or written in a second; 0 is no limit. With 0 for both, an operation ends before anything else happens.
    pub bytes_per_s: u32,
    /// How often each block of storage can be written, with perfect wear levelling; 0 is no limit. A worn disk still
    /// reads, but fails to write.
    pub cycles: u32,
}

/// What goes wrong with a disk from now on. All off at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskFaults {
    /// Each operation takes so many times as long; 0 and 1 are normal.
    pub slow: u32,
    /// Every write of a block that is not stored yet finds no space.
    pub full: bool,
    /// A write under way when the node dies leaves its first sectors, and the old bytes or zeros after them.
    pub torn: bool,
    /// Of 1000 operations, how many fail and say so.
    pub failing_permille: u16,
    /// Of 1000 writes, how many succeed but store a wrong bit.
    pub damaging_permille: u16,
}

#[derive(Debug)]
enum Work {
    Put(BlockRef, Box<[u8]>),
    Get(BlockRef),
    Delete(Key),
    Seat,
}

/// What a node has stored. An operation takes effect when it ends, so what is under way when a node dies never happened,
/// unless writes tear.
#[derive(Default)]
pub struct Disk {
    model: DiskModel,
    faults: DiskFaults,
    blocks: BTreeMap<BlockRef, Box<[u8]>>,
    /// In the order in which they end.
    pending: VecDeque<(StoreTicket, Work)>,
    capacity_blocks: Option<usize>,
    blocks_worn: u32,
    busy_until: Instant,
    written: u64,
    failed: u64,
}

impl Disk {
    /// An empty disk, whose wear is spread over `blocks`.
    pub fn new(model: DiskModel, blocks: u32) -> Disk {
        Disk { model, blocks_worn: blocks, ..Disk::default() }
    }

    /// From now on, blocks past this many are refused; `None` is no limit.
    pub fn set_capacity(&mut self, blocks: Option<usize>) {
        self.capacity_blocks = blocks;
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, faults: DiskFaults) {
        self.faults = faults;
    }

    /// What goes wrong.
    pub fn faults(&self) -> DiskFaults {
        self.faults
    }

    /// Blocks stored.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether an operation is under way.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Blocks written since it was new.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Operations that failed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// The bytes of a block.
    pub fn get(&self, at: BlockRef) -> Option<&[u8]> {
        self.blocks.get(&at).map(|bytes| &**bytes)
    }

    /// All blocks, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (BlockRef, &[u8])> {
        self.blocks.iter().map(|(at, bytes)| (*at, &**bytes))
    }

    /// Changes a byte of a stored block; false when there is no such block.
    pub fn damage(&mut self, at: BlockRef) -> bool {
        self.blocks.get_mut(&at).and_then(|bytes| bytes.first_mut()).map(|byte| *byte ^= 1).is_some()
    }

    /// Whether each write has used up one of the writes that the flash had.
    pub fn is_worn(&self) -> bool {
        self.model.cycles > 0 && self.written >= u64::from(self.blocks_worn) * u64::from(self.model.cycles)
    }

    /// Takes an operation, for which a Put's bytes are in `bytes`, and says when it ends: operations queue.
    pub(crate) fn begin(&mut self, now: Instant, op: StoreOp, bytes: &[u8]) -> Instant {
        let ticket = op.ticket();
        let (work, len) = match op {
            StoreOp::Put { at, len, .. } => (Work::Put(at, bytes[..len].into()), len),
            StoreOp::Get { at, .. } => (Work::Get(at), self.get(at).map_or(0, <[u8]>::len)),
            StoreOp::Delete { key, .. } => (Work::Delete(key), 0),
            // Simulated nodes forget everything when they stop.
            StoreOp::Seat { .. } => (Work::Seat, 0),
        };
        self.pending.push_back((ticket, work));
        let transfer = (len as u64 * 1_000_000).checked_div(self.model.bytes_per_s.into()).unwrap_or(0);
        let takes = (u64::from(self.model.op_us) + transfer) * u64::from(self.faults.slow.max(1));
        self.busy_until = self.busy_until.max(now).plus_us(takes);
        self.busy_until
    }

    /// Ends an operation and says how; `None` when it was not under way. Faults are drawn from `rng`.
    pub(crate) fn end(&mut self, ticket: StoreTicket, rng: &mut Rng) -> Option<Result<&[u8], StoreError>> {
        let at = self.pending.iter().position(|(of, _)| *of == ticket)?;
        let (_, work) = self.pending.remove(at)?;
        if chance::permille(rng, self.faults.failing_permille) {
            self.failed += 1;
            return Some(Err(StoreError::Io));
        }
        Some(match work {
            Work::Put(at, bytes) => self.put(at, bytes, rng),
            Work::Get(at) => self.get(at).ok_or(StoreError::Missing),
            Work::Delete(key) => {
                let range = BlockRef { key, index: 0 }..=BlockRef { key, index: u8::MAX };
                self.blocks.extract_if(range, |_, _| true).for_each(drop);
                Ok(&[])
            }
            Work::Seat => Ok(&[]),
        })
    }

    fn put(&mut self, at: BlockRef, mut bytes: Box<[u8]>, rng: &mut Rng) -> Result<&[u8], StoreError> {
        if self.is_worn() {
            self.failed += 1;
            return Err(StoreError::Io);
        }
        let full = self.faults.full || self.capacity_blocks.is_some_and(|most| self.blocks.len() >= most);
        if full && !self.blocks.contains_key(&at) {
            self.failed += 1;
            return Err(StoreError::Full);
        }
        if !bytes.is_empty() && chance::permille(rng, self.faults.damaging_permille) {
            let bit = rng.below(bytes.len() as u32 * 8);
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
        }
        self.written += 1;
        self.blocks.insert(at, bytes);
        Ok(&[])
    }

    /// The node dies: what was under way never happened, but for a torn write.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let first = self.pending.drain(..).next();
        self.busy_until = Instant::ZERO;
        if let Some((_, Work::Put(at, bytes))) = first.filter(|_| self.faults.torn) {
            let sectors = bytes.len().div_ceil(SECTOR) as u32;
            let whole = (rng.below(sectors) as usize * SECTOR).min(bytes.len());
            // Nothing of it was written: the old block, or none, is what is there.
            if whole > 0 {
                let mut torn = self.blocks.remove(&at).unwrap_or_default().into_vec();
                torn.resize(bytes.len(), 0);
                torn[..whole].copy_from_slice(&bytes[..whole]);
                self.blocks.insert(at, torn.into());
                self.written += 1;
            }
        }
    }

    /// Forgets all blocks; its model, wear and faults stay.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use butter_core::id::Key;
    use butter_core::storage::BlockNote;

    fn put(disk: &mut Disk, n: u8, byte: u8, len: usize) -> Instant {
        let at = BlockRef { key: Key([n; 32]), index: 0 };
        disk.begin(
            Instant::ZERO,
            StoreOp::Put { ticket: StoreTicket::NONE, at, len, note: BlockNote::none(at.key) },
            &vec![byte; len],
        )
    }

    fn end(disk: &mut Disk, rng: &mut Rng) -> Result<usize, StoreError> {
        disk.end(StoreTicket::NONE, rng).map_or(Err(StoreError::Io), |result| result.map(<[u8]>::len))
    }

    fn first(disk: &Disk) -> Vec<u8> {
        disk.iter().next().map(|(_, bytes)| bytes.to_vec()).unwrap_or_default()
    }

    #[test]
    fn operations_queue_and_take_their_time() {
        let model = DiskModel { op_us: 100, bytes_per_s: 4_096_000, cycles: 0 };
        let mut disk = Disk::new(model, 0);
        assert_eq!(put(&mut disk, 1, 1, 4096), Instant::from_micros(1_100));
        assert_eq!(put(&mut disk, 2, 1, 4096), Instant::from_micros(2_200));
        disk.set_faults(DiskFaults { slow: 10, ..DiskFaults::default() });
        assert_eq!(put(&mut disk, 3, 1, 0), Instant::from_micros(3_200));
        let mut fast = Disk::default();
        assert_eq!(put(&mut fast, 1, 1, 4096), Instant::ZERO);
    }

    #[test]
    fn a_full_disk_takes_only_what_it_has() {
        let (mut disk, mut rng) = (Disk::default(), chance::stream(1, "test", 0));
        disk.set_capacity(Some(2));
        for n in 1..=3 {
            put(&mut disk, n, 1, 10);
            assert_eq!(end(&mut disk, &mut rng), if n < 3 { Ok(0) } else { Err(StoreError::Full) });
        }
        put(&mut disk, 1, 2, 10);
        assert_eq!(end(&mut disk, &mut rng), Ok(0), "a block may be written again");
        assert_eq!(first(&disk), [2; 10]);
        disk.set_capacity(None);
        disk.set_faults(DiskFaults { full: true, ..DiskFaults::default() });
        put(&mut disk, 3, 1, 10);
        assert_eq!(end(&mut disk, &mut rng), Err(StoreError::Full));
        assert_eq!(disk.failed(), 2);
    }

    #[test]
    fn flash_wears_out_and_still_reads() {
        let model = DiskModel { cycles: 3, ..DiskModel::default() };
        let (mut disk, mut rng) = (Disk::new(model, 2), chance::stream(1, "test", 0));
        let fine = (0..10).take_while(|n| {
            put(&mut disk, n % 2, *n, 10);
            end(&mut disk, &mut rng).is_ok()
        });
        assert_eq!(fine.count(), 6, "2 blocks, 3 times each");
        assert!(disk.is_worn());
        let at = BlockRef { key: Key([1; 32]), index: 0 };
        disk.begin(Instant::ZERO, StoreOp::Get { ticket: StoreTicket::NONE, at }, &[]);
        assert_eq!(end(&mut disk, &mut rng), Ok(10));
    }

    #[test]
    fn a_write_is_lost_or_torn_when_the_node_dies() {
        let mut rng = chance::stream(1, "test", 0);
        let mut disk = Disk::default();
        put(&mut disk, 1, 1, 4096);
        assert!(end(&mut disk, &mut rng).is_ok());
        put(&mut disk, 1, 2, 4096);
        disk.crash(&mut rng);
        assert_eq!(first(&disk), [1; 4096], "the old block");
        let (mut old, mut torn) = (0, 0);
        for _ in 0..100 {
            let mut disk = Disk::default();
            put(&mut disk, 1, 1, 4096);
            assert!(end(&mut disk, &mut rng).is_ok());
            disk.set_faults(DiskFaults { torn: true, ..DiskFaults::default() });
            put(&mut disk, 1, 2, 4096);
            put(&mut disk, 2, 2, 4096);
            disk.crash(&mut rng);
            assert_eq!(disk.len(), 1, "what only waited never happened");
            let bytes = first(&disk);
            let new = bytes.iter().take_while(|byte| **byte == 2).count();
            assert!(new % SECTOR == 0 && new < 4096 && bytes[new..].iter().all(|byte| *byte == 1), "{new}");
            old += u32::from(new == 0);
            torn += u32::from(new > 0);
        }
        assert!(old > 3 && torn > 60, "{old} {torn}");
    }

    #[test]
    fn failing_and_damaging_have_their_rates() {
        let (mut disk, mut rng) = (Disk::default(), chance::stream(1, "test", 0));
        disk.set_faults(DiskFaults { failing_permille: 100, damaging_permille: 200, ..DiskFaults::default() });
        let (mut failed, mut damaged) = (0, 0);
        for _ in 0..10_000 {
            put(&mut disk, 1, 0, 64);
            failed += u32::from(end(&mut disk, &mut rng).is_err());
            damaged += first(&disk).iter().map(|byte| byte.count_ones()).sum::<u32>();
            disk.clear();
        }
        assert!((900..1100).contains(&failed), "{failed}");
        assert!((1650..1950).contains(&damaged), "{damaged}");
    }
}

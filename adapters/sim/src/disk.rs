//! A node's storage: bytes by item and block, in memory, with a delay.

use std::collections::BTreeMap;

use butter_core::id::Key;
use butter_core::storage::{BlockRef, StoreError, StoreOp, StoreTicket};

enum Pending {
    Put(StoreTicket, BlockRef, Box<[u8]>),
    Get(StoreTicket, BlockRef),
    Delete(StoreTicket, Key),
}

/// What a node has stored. An operation takes effect when it ends, so what is under way when a node dies never happened.
#[derive(Default)]
pub struct Disk {
    blocks: BTreeMap<BlockRef, Box<[u8]>>,
    pending: Vec<Pending>,
    capacity_blocks: Option<usize>,
}

impl Disk {
    /// From now on, blocks past this many are refused; `None` is no limit.
    pub fn set_capacity(&mut self, blocks: Option<usize>) {
        self.capacity_blocks = blocks;
    }

    /// Blocks stored.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
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

    /// Takes an operation; `bytes` is what a Put is to keep.
    pub(crate) fn begin(&mut self, op: StoreOp, bytes: &[u8]) {
        self.pending.push(match op {
            StoreOp::Put { ticket, at, len } => Pending::Put(ticket, at, bytes[..len].into()),
            StoreOp::Get { ticket, at } => Pending::Get(ticket, at),
            StoreOp::Delete { ticket, key } => Pending::Delete(ticket, key),
        });
    }

    /// Ends an operation and says how; `None` when it was not under way.
    pub(crate) fn end(&mut self, ticket: StoreTicket) -> Option<Result<&[u8], StoreError>> {
        let is = |pending: &Pending| {
            let (Pending::Put(of, ..) | Pending::Get(of, _) | Pending::Delete(of, _)) = pending;
            *of == ticket
        };
        let at = self.pending.iter().position(is)?;
        Some(match self.pending.remove(at) {
            Pending::Put(_, at, bytes) => {
                let full = self.capacity_blocks.is_some_and(|most| self.blocks.len() >= most);
                if full && !self.blocks.contains_key(&at) {
                    return Some(Err(StoreError::Full));
                }
                self.blocks.insert(at, bytes);
                Ok(&[])
            }
            Pending::Get(_, at) => self.get(at).ok_or(StoreError::Missing),
            Pending::Delete(_, key) => {
                let range = BlockRef { key, index: 0 }..=BlockRef { key, index: u8::MAX };
                let gone: Vec<BlockRef> = self.blocks.range(range).map(|(at, _)| *at).collect();
                gone.iter().for_each(|at| drop(self.blocks.remove(at)));
                Ok(&[])
            }
        })
    }

    /// What was under way never happened.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
    }
}

//! Queues: many that share one pool of nodes, and one ring of its own.

use super::Store;

/// One node of a [`Pool`].
#[derive(Debug)]
pub struct Node<T> {
    next: u16,
    value: Option<T>,
}

impl<T> Node<T> {
    /// A free node.
    pub const EMPTY: Self = Node { next: NONE, value: None };
}

const NONE: u16 = u16::MAX;

/// The ends of one queue in a [`Pool`]. 6 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u16,
    tail: u16,
    len: u16,
}

impl Queue {
    /// An empty queue.
    pub const EMPTY: Self = Queue { head: NONE, tail: NONE, len: 0 };

    /// Entries in the queue.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is in the queue.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Nodes shared by many FIFO queues, at most 65,535. When they run out, [`Pool::push`] refuses.
#[derive(Debug)]
pub struct Pool<'m, T> {
    nodes: Store<'m, Node<T>>,
    used: u16,
    free: u16,
}

impl<'m, T> Pool<'m, T> {
    /// A pool with all nodes free.
    pub fn new(nodes: Store<'m, Node<T>>) -> Self {
        Pool { nodes, used: 0, free: NONE }
    }

    /// Whether a push would be refused: ask first where a value that owns something would be lost.
    pub fn is_full(&self) -> bool {
        self.free == NONE && usize::from(self.used) >= self.nodes.limit().min(NONE.into())
    }

    /// Appends to a queue; false when no node is free, and then nothing has changed.
    pub fn push(&mut self, queue: &mut Queue, value: T) -> bool {
        let recycled = self.free != NONE;
        let at = if recycled {
            self.free
        } else {
            if self.used as usize >= self.nodes.items().len() {
                self.nodes.grow(|| Node::EMPTY);
            }
            if self.used as usize >= self.nodes.items().len() || self.used == NONE {
                return false;
            }
            self.used += 1;
            self.used - 1
        };
        let nodes = self.nodes.items_mut();
        let Some(node) = nodes.get_mut(at as usize) else { return false };
        if recycled {
            self.free = node.next;
        }
        *node = Node { next: NONE, value: Some(value) };
        match nodes.get_mut(queue.tail as usize) {
            Some(tail) if !queue.is_empty() => tail.next = at,
            _ => queue.head = at,
        }
        queue.tail = at;
        queue.len += 1;
        true
    }

    /// Takes the first entry of a queue.
    pub fn pop(&mut self, queue: &mut Queue) -> Option<T> {
        if queue.is_empty() {
            return None;
        }
        let at = queue.head;
        let node = self.nodes.items_mut().get_mut(at as usize)?;
        let value = node.value.take();
        queue.head = node.next;
        node.next = self.free;
        self.free = at;
        queue.len -= 1;
        if queue.is_empty() {
            *queue = Queue::EMPTY;
        }
        value
    }

    /// Empties a queue.
    pub fn clear(&mut self, queue: &mut Queue) {
        while self.pop(queue).is_some() {}
    }
}

impl<T: Copy> Pool<'_, T> {
    /// The first entry of a queue.
    pub fn front(&self, queue: &Queue) -> Option<T> {
        self.nodes.items().get(queue.head as usize).filter(|_| !queue.is_empty())?.value
    }

    /// The entries of a queue, first to last.
    pub fn iter(&self, queue: &Queue) -> impl Iterator<Item = T> + '_ {
        let mut at = if queue.is_empty() { NONE } else { queue.head };
        core::iter::from_fn(move || {
            let node = self.nodes.items().get(at as usize)?;
            at = node.next;
            node.value
        })
    }
}

/// A ring of its own memory, first in, first out.
#[derive(Debug)]
pub struct Fifo<'m, T> {
    store: Store<'m, Option<T>>,
    head: usize,
    len: usize,
}

impl<'m, T: Copy> Fifo<'m, T> {
    /// An empty ring.
    pub fn new(store: Store<'m, Option<T>>) -> Self {
        Fifo { store, head: 0, len: 0 }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries that still fit.
    pub fn room(&self) -> usize {
        self.store.limit() - self.len
    }

    /// Appends; false when the ring is full.
    pub fn push(&mut self, value: T) -> bool {
        if self.len >= self.store.limit() {
            return false;
        }
        if self.len == self.store.items().len() {
            // Straighten before growing: entries must be in one piece up to the old end.
            self.store.items_mut().rotate_left(self.head);
            self.head = 0;
            if !self.store.grow(|| None) {
                return false;
            }
        }
        let (at, n) = (self.head + self.len, self.store.items().len());
        let Some(place) = self.store.items_mut().get_mut(if at < n { at } else { at - n }) else { return false };
        *place = Some(value);
        self.len += 1;
        true
    }

    /// Takes the oldest entry.
    pub fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let value = self.store.items_mut().get_mut(self.head)?.take();
        self.head = if self.head + 1 < self.store.items().len() { self.head + 1 } else { 0 };
        self.len -= 1;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_share_the_pool_and_keep_their_order() {
        let mut memory = [const { Node::EMPTY }; 3];
        let mut pool = Pool::new(Store::Lent(&mut memory));
        let (mut a, mut b) = (Queue::EMPTY, Queue::EMPTY);
        assert!(pool.push(&mut a, 1) && pool.push(&mut b, 2) && pool.push(&mut a, 3));
        assert!(!pool.push(&mut b, 4), "the pool is used up");
        assert!(pool.iter(&a).eq([1, 3]));
        assert_eq!((pool.pop(&mut a), pool.pop(&mut a), pool.pop(&mut a)), (Some(1), Some(3), None));
        assert!(pool.push(&mut b, 5));
        assert_eq!((pool.front(&b), b.len()), (Some(2), 2));
        pool.clear(&mut b);
        assert_eq!(pool.front(&b), None);
    }

    #[test]
    fn a_ring_wraps_and_refuses_when_full() {
        let mut memory = [None; 3];
        let mut ring = Fifo::new(Store::Lent(&mut memory));
        for round in 0..10 {
            assert!(ring.push(round) && ring.push(round + 100) && ring.push(round + 200));
            assert!(!ring.push(0));
            assert_eq!(
                (ring.pop(), ring.pop(), ring.pop(), ring.pop()),
                (Some(round), Some(round + 100), Some(round + 200), None)
            );
        }
    }
}

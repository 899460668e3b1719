//! What comes next: one queue for everything that happens, in the order of (time, sequence).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use butter_core::storage::StoreTicket;
use butter_core::time::Instant;

use super::Who;
use super::packets::PacketId;
use crate::net::{Hop, PartitionId};

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A packet arrives.
    Packet { to: Who, packet: PacketId },
    /// A packet arrives in front of a host: at its access, or at its NAT.
    Gate { hop: Hop, packet: PacketId },
    /// A node's deadline.
    Wake(Who),
    /// A storage operation ends. Of no interest once the node has restarted, hence the boot.
    Stored { at: Who, boot: u32, ticket: StoreTicket },
    /// A node starts, unless it was started since its boot with this number.
    Start { who: Who, boot: u32 },
    /// A node dies without a word, if that churn is not over.
    Kill { who: Who, churn: u32 },
    /// A paused node goes on, if that is still the boot that was paused.
    Resume { who: Who, boot: u32 },
    /// The next event of a trace.
    Follow,
    /// An operation of the load with this number is due.
    Load(u32),
    /// A partition heals.
    Heal(PartitionId),
}

struct Entry {
    at: Instant,
    sequence: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The queue. Wake-ups are kept apart, one per node at most: a stale one would be armed again each time it fires, and
/// multiply the steps without changing the trace.
#[derive(Default)]
pub struct Queue {
    events: BinaryHeap<Reverse<Entry>>,
    wakes: BTreeSet<(Instant, u64, Who)>,
    armed: Vec<Option<(Instant, u64)>>,
    sequence: u64,
}

impl Queue {
    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Something is to happen at `at`, after everything else of that moment that is queued already.
    pub fn push(&mut self, at: Instant, what: What) {
        let sequence = self.next_sequence();
        self.events.push(Reverse(Entry { at, sequence, what }));
    }

    /// Sets a node's one wake-up, or takes it away. One that stays at its time keeps its place.
    pub fn arm(&mut self, who: Who, at: Option<Instant>) {
        let index = who.index();
        if self.armed.len() <= index {
            self.armed.resize(index + 1, None);
        }
        let before = self.armed[index];
        if before.map(|(at, _)| at) == at {
            return;
        }
        if let Some((at, sequence)) = before {
            self.wakes.remove(&(at, sequence, who));
        }
        self.armed[index] = at.map(|at| {
            let sequence = self.next_sequence();
            self.wakes.insert((at, sequence, who));
            (at, sequence)
        });
    }

    /// The next thing that happens, if it happens by `until`.
    pub fn pop(&mut self, until: Instant) -> Option<(Instant, What)> {
        let event = self.events.peek().map(|Reverse(entry)| (entry.at, entry.sequence));
        let wake = self.wakes.first().copied();
        match (event, wake) {
            (event, Some((at, sequence, who))) if event.is_none_or(|event| (at, sequence) < event) => {
                if at > until {
                    return None;
                }
                self.wakes.pop_first();
                self.armed[who.index()] = None;
                Some((at, What::Wake(who)))
            }
            (Some((at, _)), _) if at <= until => self.events.pop().map(|Reverse(entry)| (entry.at, entry.what)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_small() {
        assert_eq!(size_of::<What>(), 16);
        assert_eq!(size_of::<Entry>(), 32);
    }

    fn start(who: u32) -> What {
        What::Start { who: Who(who), boot: 0 }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn time_then_sequence() {
        let mut queue = Queue::default();
        queue.push(at(2), start(0));
        queue.arm(Who(1), Some(at(2)));
        queue.push(at(2), start(2));
        queue.push(at(1), start(3));
        let order: Vec<What> = std::iter::from_fn(|| queue.pop(at(5))).map(|(_, what)| what).collect();
        let expected = [start(3), start(0), What::Wake(Who(1)), start(2)];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_node_has_one_wake_up() {
        let mut queue = Queue::default();
        for ms in [5, 3, 9, 9, 7] {
            queue.arm(Who(0), Some(at(ms)));
        }
        assert_eq!(queue.pop(at(6)), None, "what was armed before is gone");
        assert_eq!(queue.pop(at(7)), Some((at(7), What::Wake(Who(0)))));
        assert_eq!(queue.pop(Instant::NEVER), None);
        queue.arm(Who(0), Some(at(8)));
        queue.arm(Who(0), None);
        assert_eq!(queue.pop(Instant::NEVER), None);
    }
}

//! One timer per thing that can wait: an indexed binary heap.

use super::Store;
use crate::time::Instant;

/// Names a timer: a dense number below the limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct TimerId(pub u16);

/// Per timer: when it is due, and where it stands in the heap (+ 1; 0 is unset).
#[derive(Clone, Copy, Debug)]
pub struct TimerCell {
    at: Instant,
    place: u16,
    /// The heap shares the cells' memory: cell `i` also holds the heap's entry `i`.
    heap: u16,
}

impl TimerCell {
    /// A timer that is not set.
    pub const EMPTY: Self = TimerCell { at: Instant::NEVER, place: 0, heap: 0 };
}

/// Timers with O(log n) set and clear, and O(1) look at the first (Williams 1964). 16 bytes per timer.
/// Equal times fire in the order of their numbers.
#[derive(Debug)]
pub struct Timers<'m> {
    cells: Store<'m, TimerCell>,
    len: usize,
}

impl<'m> Timers<'m> {
    /// No timer set.
    pub fn new(cells: Store<'m, TimerCell>) -> Self {
        Timers { cells, len: 0 }
    }

    /// The first timer and when it is due.
    pub fn first(&self) -> Option<(Instant, TimerId)> {
        let cells = self.cells.items();
        let id = cells.first().filter(|_| self.len > 0)?.heap;
        Some((cells.get(id as usize)?.at, TimerId(id)))
    }

    /// When a timer is due, if it is set.
    pub fn get(&self, id: TimerId) -> Option<Instant> {
        self.cells.items().get(id.0 as usize).filter(|cell| cell.place != 0).map(|cell| cell.at)
    }

    /// Sets a timer, or moves it.
    pub fn set(&mut self, id: TimerId, at: Instant) {
        while id.0 as usize >= self.cells.items().len() {
            if !self.cells.grow(|| TimerCell::EMPTY) {
                debug_assert!(false, "timer {} is past the limit", id.0);
                return;
            }
        }
        let cells = self.cells.items_mut();
        let Some(cell) = cells.get_mut(id.0 as usize) else { return };
        cell.at = at;
        let mut place = cell.place;
        if place == 0 {
            self.len += 1;
            place = self.len as u16;
            cell.place = place;
            if let Some(last) = cells.get_mut(self.len - 1) {
                last.heap = id.0;
            }
        }
        self.settle(place as usize - 1);
    }

    /// Sets a timer unless it is already due earlier.
    pub fn set_earlier(&mut self, id: TimerId, at: Instant) {
        if self.get(id).is_none_or(|set| at < set) {
            self.set(id, at);
        }
    }

    /// Unsets a timer.
    pub fn clear(&mut self, id: TimerId) {
        let cells = self.cells.items_mut();
        let Some(cell) = cells.get_mut(id.0 as usize).filter(|cell| cell.place != 0) else { return };
        let place = cell.place as usize - 1;
        (cell.place, cell.at) = (0, Instant::NEVER);
        self.len -= 1;
        if place < self.len {
            let last = cells.get(self.len).map_or(0, |cell| cell.heap);
            Self::put(cells, place, last);
            self.settle(place);
        }
    }

    /// Unsets and returns the first timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<TimerId> {
        let (at, id) = self.first()?;
        if at > now {
            return None;
        }
        self.clear(id);
        Some(id)
    }

    /// When the timer at a place of the heap is due, and its number.
    fn key(cells: &[TimerCell], place: usize) -> (Instant, u16) {
        let id = cells.get(place).map_or(0, |cell| cell.heap);
        (cells.get(id as usize).map_or(Instant::NEVER, |cell| cell.at), id)
    }

    /// Puts a timer at a place of the heap.
    fn put(cells: &mut [TimerCell], place: usize, id: u16) {
        if let Some(cell) = cells.get_mut(place) {
            cell.heap = id;
        }
        if let Some(cell) = cells.get_mut(id as usize) {
            cell.place = place as u16 + 1;
        }
    }

    /// Moves the timer at a place to where it belongs.
    fn settle(&mut self, mut at: usize) {
        let cells = self.cells.items_mut();
        let own = Self::key(cells, at);
        while at > 0 {
            let parent = Self::key(cells, (at - 1) / 2);
            if own > parent {
                break;
            }
            Self::put(cells, at, parent.1);
            at = (at - 1) / 2;
        }
        loop {
            let mut child = 2 * at + 1;
            if child >= self.len {
                break;
            }
            let mut first = Self::key(cells, child);
            if child + 1 < self.len {
                let other = Self::key(cells, child + 1);
                if other < first {
                    (child, first) = (child + 1, other);
                }
            }
            if own < first {
                break;
            }
            Self::put(cells, at, first.1);
            at = child;
        }
        Self::put(cells, at, own.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn fires_in_order_whatever_was_set_moved_or_cleared() {
        const N: usize = 50;
        let mut memory = [TimerCell::EMPTY; N];
        let mut timers = Timers::new(Store::Lent(&mut memory));
        let mut model: [Option<Instant>; N] = [None; N];
        let mut rng = Rng::new([9; 16]);
        for step in 0..20_000u64 {
            let id = rng.below(N as u32) as usize;
            if rng.chance(1, 3) {
                timers.clear(TimerId(id as u16));
                model[id] = None;
            } else {
                let at = Instant::from_micros(step + u64::from(rng.below(100)));
                timers.set(TimerId(id as u16), at);
                model[id] = Some(at);
            }
            let now = Instant::from_micros(step);
            while let Some(fired) = timers.pop_due(now) {
                let first = (0..N).filter_map(|i| model[i].map(|at| (at, i))).min().unwrap();
                assert_eq!(first.1, fired.0 as usize);
                model[first.1] = None;
            }
            let first = (0..N).filter_map(|i| model[i].map(|at| (at, i))).min();
            assert_eq!(timers.first(), first.map(|(at, i)| (at, TimerId(i as u16))));
        }
    }
}

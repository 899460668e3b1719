//! Partitions: nodes that packets do not reach, or do not leave, for a while.

use crate::world::Who;

/// Partitions at the same time, at most.
pub const PARTITIONS_MAX: usize = 32;

/// Which packets a partition stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// Those in both directions.
    #[default]
    Both,
    /// Those that the nodes send: they hear, and are not heard.
    Out,
    /// Those sent to the nodes: they are heard, and do not hear.
    In,
}

/// Names a partition, also after it has healed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionId {
    bit: u8,
    number: u32,
}

/// On which side of each partition a node is: one bit per partition.
#[derive(Clone, Copy, Default)]
struct Sides {
    near: u32,
    far: u32,
}

/// Who is cut off from whom.
#[derive(Default)]
pub(super) struct Partitions {
    /// Partitions that are not healed, those that stop what leaves the near side, and what enters it.
    open: u32,
    out: u32,
    into: u32,
    /// Those whose far side is everybody else.
    rest: u32,
    sides: Vec<Sides>,
    /// Of the last partition with each bit.
    numbers: [u32; PARTITIONS_MAX],
    begun: u32,
}

impl Partitions {
    /// Whether there is any. Cost: one comparison, so that nothing is looked up while there is none.
    pub fn any(&self) -> bool {
        self.open != 0
    }

    /// Whether a packet is stopped.
    pub fn stop(&self, from: Who, to: Who) -> bool {
        let side = |who: Who| self.sides.get(who.index()).copied().unwrap_or_default();
        let (from, to) = (side(from), side(to));
        (from.near & to.far & self.out) | (from.far & to.near & self.into) != 0
    }

    /// A node is new: it is on the far side of all partitions that have everybody else there.
    pub fn joined(&mut self, who: Who) {
        self.grow(who);
        self.sides[who.index()] = Sides { near: 0, far: self.rest };
    }

    /// A node stands where another stood.
    pub fn inherit(&mut self, who: Who, from: Who) {
        self.grow(who);
        self.sides[who.index()] = self.sides[from.index()];
    }

    fn grow(&mut self, who: Who) {
        if self.sides.len() <= who.index() {
            self.sides.resize(who.index() + 1, Sides::default());
        }
    }

    /// Begins a partition of `near` from `far`, or from everybody else.
    pub fn begin(&mut self, near: &[Who], far: Option<&[Who]>, way: Way) -> Option<PartitionId> {
        let bit = (0..PARTITIONS_MAX as u8).find(|bit| self.open >> bit & 1 == 0)?;
        let mask = 1 << bit;
        let set = |flag: &mut u32, on: bool| *flag = if on { *flag | mask } else { *flag & !mask };
        set(&mut self.open, true);
        set(&mut self.out, way != Way::In);
        set(&mut self.into, way != Way::Out);
        set(&mut self.rest, far.is_none());
        for sides in &mut self.sides {
            set(&mut sides.near, false);
            set(&mut sides.far, far.is_none());
        }
        for who in far.unwrap_or_default() {
            self.grow(*who);
            self.sides[who.index()].far |= mask;
        }
        for who in near {
            self.grow(*who);
            let sides = &mut self.sides[who.index()];
            (sides.near, sides.far) = (sides.near | mask, sides.far & !mask);
        }
        self.begun += 1;
        self.numbers[usize::from(bit)] = self.begun;
        Some(PartitionId { bit, number: self.begun })
    }

    /// Ends a partition; one that has healed already stays so.
    pub fn heal(&mut self, id: PartitionId) -> bool {
        let open = self.open >> id.bit & 1 == 1 && self.numbers[usize::from(id.bit)] == id.number;
        if open {
            let keep = !(1u32 << id.bit);
            for flag in [&mut self.open, &mut self.out, &mut self.into, &mut self.rest] {
                *flag &= keep;
            }
        }
        open
    }

    /// Ends all.
    pub fn heal_all(&mut self) {
        (self.open, self.out, self.into, self.rest) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(partitions: &Partitions, pairs: &[(u32, u32)]) -> Vec<bool> {
        pairs.iter().map(|(from, to)| !partitions.any() || !partitions.stop(Who(*from), Who(*to))).collect()
    }

    fn four() -> Partitions {
        let mut partitions = Partitions::default();
        (0..4).for_each(|who| partitions.joined(Who(who)));
        partitions
    }

    #[test]
    fn partitions_stop_what_they_say_and_heal_alone() {
        let all = [(0, 1), (0, 2), (2, 0), (2, 3)];
        let mut partitions = four();
        let apart = partitions.begin(&[Who(0), Who(1)], None, Way::Both).unwrap();
        assert_eq!(passes(&partitions, &all), [true, false, false, true]);
        let deaf = partitions.begin(&[Who(0)], Some(&[Who(1), Who(2)]), Way::In).unwrap();
        assert_eq!(passes(&partitions, &[(0, 1), (1, 0), (3, 1)]), [true, false, false]);
        assert!(partitions.heal(apart));
        assert_eq!(passes(&partitions, &all), [true, true, false, true]);
        let mute = partitions.begin(&[Who(3)], None, Way::Out).unwrap();
        assert_ne!(mute, apart, "a bit used again is another partition");
        assert!(!partitions.heal(apart));
        assert_eq!(passes(&partitions, &[(3, 0), (0, 3)]), [false, true]);
        assert!(partitions.heal(deaf) && partitions.heal(mute) && !partitions.any());
    }

    #[test]
    fn newcomers_are_outside_and_replacements_where_the_old_one_was() {
        let mut partitions = four();
        partitions.begin(&[Who(0)], None, Way::Both).unwrap();
        partitions.joined(Who(4));
        partitions.joined(Who(5));
        partitions.inherit(Who(5), Who(0));
        assert_eq!(passes(&partitions, &[(0, 4), (4, 1), (0, 5), (5, 1)]), [false, true, true, false]);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut partitions = four();
        assert!((0..PARTITIONS_MAX).all(|_| partitions.begin(&[Who(1)], None, Way::Both).is_some()));
        assert_eq!(partitions.begin(&[Who(1)], None, Way::Both), None);
        partitions.heal_all();
        assert!(partitions.begin(&[Who(1)], None, Way::Both).is_some());
    }
}

//! Topologies: who knows whom at the start.

use std::collections::BTreeSet;
use std::path::PathBuf;

use butter_core::rng::Rng;
use butter_core::wire::{Facts, HostRecord};
use serde::Deserialize;

use crate::chance;
use crate::world::{Who, World};

/// Tries to find partners that are not met yet before a node goes without.
const TRIES: u32 = 64;

/// Who knows whom at the start; knowing is mutual. In a scenario `"ring"`, `{ random-regular = { degree = 8 } }`, …
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Topology {
    /// Nobody knows anybody: they find each other, by multicast.
    Multicast,
    /// Each knows so many others, at random.
    RandomRegular {
        /// How many.
        degree: u16,
    },
    /// Each knows the one before and the one after.
    Ring,
    /// All know the first.
    Star,
    /// Each knows so many that came before, the well-known ones more likely (Barabási and Albert, "Emergence of scaling in
    /// random networks", Science 286, 1999): a few know many.
    PowerLaw {
        /// How many.
        links: u16,
    },
    /// Two random regular halves, and one pair that knows each other across.
    TwoClusters {
        /// How many each knows in its half.
        degree: u16,
    },
    /// These pairs.
    Edges(Vec<(u32, u32)>),
    /// As a file has it; a scenario reads it ([`read_edges`]) before anything runs.
    File(PathBuf),
}

impl Topology {
    /// Who knows whom among n nodes, each pair once.
    ///
    /// # Errors
    /// Why there is no such topology of n nodes.
    pub fn edges(&self, n: u32, rng: &mut Rng) -> Result<Vec<(u32, u32)>, String> {
        let mut edges = BTreeSet::new();
        let mut add = |a: u32, b: u32| a != b && edges.insert((a.min(b), a.max(b)));
        match *self {
            Topology::Multicast => {}
            Topology::Ring => {
                for a in 0..n {
                    add(a, (a + 1) % n);
                }
            }
            Topology::Star => {
                for a in 1..n {
                    add(0, a);
                }
            }
            Topology::RandomRegular { degree } => regular(0, n, degree, rng, &mut add)?,
            Topology::TwoClusters { degree } => {
                let half = n / 2;
                regular(0, half, degree, rng, &mut add)?;
                regular(half, n - half, degree, rng, &mut add)?;
                add(0, half);
            }
            Topology::PowerLaw { links } => {
                if links == 0 || n <= links.into() {
                    return Err(format!("a power law of {links} links needs more than {links} nodes, and a link"));
                }
                // Each end of each link once: drawing from it is drawing by how many a node knows.
                let mut ends: Vec<u32> = (0..=u32::from(links)).collect();
                for a in 1..n {
                    let mut met = 0;
                    for _ in 0..TRIES * u32::from(links) {
                        let b = ends[rng.below(ends.len() as u32) as usize];
                        if met < links.min(a as u16) && b < a && add(a, b) {
                            met += 1;
                            ends.extend([a, b]);
                        }
                    }
                }
            }
            Topology::File(ref file) => return Err(format!("{} has not been read", file.display())),
            Topology::Edges(ref all) => {
                if let Some((a, b)) = all.iter().find(|(a, b)| *a.max(b) >= n) {
                    return Err(format!("{a} and {b} are to know each other, but there are only {n} nodes, from 0 on"));
                }
                for (a, b) in all {
                    add(*a, *b);
                }
            }
        }
        Ok(edges.into_iter().collect())
    }
}

/// Joins n nodes from `first` on: each has `degree` ends, and random ends are tied, so that each gets as many partners, or
/// a few less when ends are left that cannot be tied.
fn regular(
    first: u32,
    n: u32,
    degree: u16,
    rng: &mut Rng,
    add: &mut impl FnMut(u32, u32) -> bool,
) -> Result<(), String> {
    if u32::from(degree) >= n || degree == 0 || u64::from(n) * u64::from(degree) % 2 == 1 {
        return Err(format!(
            "{n} nodes cannot each know {degree} others: it must be 1 to n − 1, and one of the two even"
        ));
    }
    let mut ends: Vec<u32> = (0..n).flat_map(|a| std::iter::repeat_n(first + a, degree.into())).collect();
    for at in (1..ends.len()).rev() {
        ends.swap(at, rng.below(at as u32 + 1) as usize);
    }
    while let Some(a) = ends.pop() {
        for _ in 0..TRIES {
            if ends.is_empty() {
                break;
            }
            let at = rng.below(ends.len() as u32) as usize;
            if add(a, ends[at]) {
                ends.swap_remove(at);
                break;
            }
        }
    }
    Ok(())
}

/// Reads who knows whom: two numbers of nodes a line; empty lines and what follows `#` are ignored.
///
/// # Errors
/// What is wrong, and in which line.
pub fn read_edges(text: &str) -> Result<Vec<(u32, u32)>, String> {
    let mut edges = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        match words[..] {
            [] => {}
            [a, b] if a != b => match (a.parse(), b.parse()) {
                (Ok(a), Ok(b)) => edges.push((a, b)),
                _ => return Err(format!("line {}: `{}` is not two numbers of nodes", at + 1, line.trim())),
            },
            [a, _] => return Err(format!("line {}: node {a} knows itself anyway", at + 1)),
            _ => return Err(format!("line {}: `{}` is not two numbers of nodes", at + 1, line.trim())),
        }
    }
    Ok(edges)
}

impl World<'_> {
    /// Lets nodes that run know each other as a topology says: each remembers the other, as if from before.
    ///
    /// # Errors
    /// Why there is no such topology of so many nodes; then nothing was changed.
    pub fn introduce(&mut self, nodes: &[Who], topology: &Topology) -> Result<(), String> {
        let mut rng = chance::stream(self.config.seed, "topology", nodes.len() as u64);
        for (a, b) in topology.edges(nodes.len() as u32, &mut rng)? {
            let (a, b) = (nodes[a as usize], nodes[b as usize]);
            for (who, other) in [(a, b), (b, a)] {
                let record =
                    HostRecord { id: self.id(other), addr: self.addr(other), facts: Facts::default(), age_s: 0 };
                self.call(who, |clock, node| node.remember(clock, &record, crate::world::LINK));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degrees(topology: Topology, n: u32) -> (usize, Vec<u32>) {
        let edges = topology.edges(n, &mut chance::stream(1, "test", 0)).unwrap();
        let mut degrees = vec![0; n as usize];
        edges.iter().for_each(|(a, b)| {
            degrees[*a as usize] += 1;
            degrees[*b as usize] += 1;
        });
        (edges.len(), degrees)
    }

    #[test]
    fn each_topology_has_its_shape() {
        assert_eq!(degrees(Topology::Multicast, 5).0, 0);
        assert_eq!(degrees(Topology::Ring, 5), (5, vec![2; 5]));
        assert_eq!(degrees(Topology::Star, 5), (4, vec![4, 1, 1, 1, 1]));
        let (_, regular) = degrees(Topology::RandomRegular { degree: 8 }, 1_000);
        assert!(
            regular.iter().filter(|degree| **degree == 8).count() > 990 && regular.iter().all(|degree| *degree <= 8)
        );
        let (edges, mut power) = degrees(Topology::PowerLaw { links: 3 }, 1_000);
        power.sort();
        assert!((2_900..=3_000).contains(&edges) && power[999] > 60 && power[500] < 6, "{edges} {power:?}");
        let two = Topology::TwoClusters { degree: 4 }.edges(100, &mut chance::stream(1, "test", 0)).unwrap();
        assert_eq!(two.iter().filter(|(a, b)| (*a < 50) != (*b < 50)).count(), 1, "one bridge");
        assert_eq!(degrees(Topology::Edges(vec![(0, 1), (1, 0), (3, 2)]), 4).0, 2);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let wrong = |topology: Topology, n| topology.edges(n, &mut chance::stream(1, "test", 0)).unwrap_err();
        assert!(wrong(Topology::RandomRegular { degree: 5 }, 5).contains("cannot each know 5"));
        assert!(wrong(Topology::RandomRegular { degree: 3 }, 5).contains("one of the two even"));
        assert!(wrong(Topology::PowerLaw { links: 3 }, 3).contains("more than 3 nodes"));
        assert!(wrong(Topology::Edges(vec![(0, 9)]), 5).contains("only 5 nodes"));
        assert_eq!(read_edges("0 1 # a pair\n\n2 0"), Ok(vec![(0, 1), (2, 0)]));
        assert_eq!(read_edges("0 1\n1 x").unwrap_err(), "line 2: `1 x` is not two numbers of nodes");
        assert_eq!(read_edges("3 3").unwrap_err(), "line 1: node 3 knows itself anyway");
        assert!(
            toml::from_str::<std::collections::BTreeMap<String, Topology>>("t = { random-regular = { degree = 4 } }")
                .is_ok()
        );
    }
}

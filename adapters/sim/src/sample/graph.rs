//! The graph of known hosts at one moment.

use std::collections::{BTreeMap, HashMap};

use butter_core::hosts::Standing;
use serde::Serialize;

use crate::world::{Who, World};

/// The most nodes in a graph; of more, every so-manieth is shown.
const NODES_MAX: usize = 300;
/// The most edges of each kind; of more, every so-manieth is shown.
const EDGES_MAX: usize = 2000;

/// Who knew whom at one moment: a sample of the nodes, and what joins them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Graph {
    /// Virtual seconds since the world began.
    pub at_s: f64,
    /// Nodes that ran.
    pub up: usize,
    /// Those shown: all up to 300, else those whose number is a multiple of some number.
    pub nodes: Vec<Seen>,
    /// Pairs of shown nodes, as indices, of which at least one knows the other and has not found it dead. At most 2000.
    pub known: Vec<(u16, u16)>,
    /// How many such pairs there are.
    pub known_all: usize,
    /// Pairs of shown nodes with seats in the same group. At most 2000.
    pub together: Vec<(u16, u16)>,
    /// How many such pairs there are.
    pub together_all: usize,
}

/// A node in a graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Seen {
    /// Its number in the world.
    pub who: u32,
    /// Virtual seconds since it was added or last restarted.
    pub age_s: f32,
    /// Hosts that it knows.
    pub known: u16,
    /// Groups that it has a seat in.
    pub groups: u16,
    /// Items that it holds.
    pub items: u32,
}

pub fn see(world: &World<'_>, at_s: f64) -> Graph {
    let up = world.up().count();
    let every = up.div_ceil(NODES_MAX).max(1) as u32;
    let shown: Vec<Who> = world.up().filter(|who| who.0.is_multiple_of(every)).take(NODES_MAX).collect();
    let index: HashMap<_, _> = shown.iter().enumerate().map(|(i, who)| (world.id(*who), i as u16)).collect();
    let (mut nodes, mut known, mut groups) = (Vec::new(), Vec::new(), BTreeMap::<_, Vec<u16>>::new());
    for (i, who) in shown.iter().enumerate() {
        let (Some(node), i) = (world.node(*who), i as u16) else { continue };
        let living = node.hosts().filter(|host| host.standing != Standing::Vanished);
        known.extend(living.filter_map(|host| index.get(&host.id)).map(|j| (i.min(*j), i.max(*j))));
        let (mut seats, mut items) = (0, 0);
        for group in node.groups() {
            seats += 1;
            items += group.items;
            groups.entry(group.id).or_default().push(i);
        }
        let age_s = world.uptime_us(*who) as f32 / 1e6;
        nodes.push(Seen { who: who.0, age_s, known: node.hosts_known() as u16, groups: seats, items });
    }
    let pairs = |members: &Vec<u16>| {
        let members = members.clone();
        (0..members.len()).flat_map(move |i| (0..i).map(|j| (members[j], members[i])).collect::<Vec<_>>())
    };
    let known = once(known);
    let together = once(groups.values().flat_map(pairs).collect());
    Graph {
        at_s,
        up,
        nodes,
        known_all: known.len(),
        known: thinned(known),
        together_all: together.len(),
        together: thinned(together),
    }
}

/// Each pair once, in order.
fn once(mut pairs: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// At most 2000 of them, evenly.
fn thinned(pairs: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    let (len, most) = (pairs.len(), EDGES_MAX);
    let keep = |i: usize| len <= most || (i + 1) * most / len > i * most / len;
    pairs.into_iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, pair)| pair).collect()
}

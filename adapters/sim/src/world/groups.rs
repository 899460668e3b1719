//! Groups as somebody outside sees them, who knows everything.

use std::collections::{BTreeMap, BTreeSet};

use butter_core::group::{GroupInfo, GroupState};
use butter_core::id::GroupId;

use super::{Who, World};

/// A group, as each of its members that runs tells it.
#[derive(Clone, Debug, Default)]
pub struct GroupView {
    /// What each node that has a seat in it says.
    pub seats: BTreeMap<Who, GroupInfo>,
}

impl GroupView {
    /// Whether it has as many members as wanted, and all of them say so, agree on who they are, and hold the same items.
    pub fn is_goldilocks(&self) -> bool {
        let members = |info: &GroupInfo| info.members.iter().copied().collect::<BTreeSet<_>>();
        let Some(first) = self.seats.values().next() else { return false };
        self.seats.len() == usize::from(first.wanted)
            && self.seats.values().all(|info| {
                info.state == GroupState::Goldilocks
                    && members(info) == members(first)
                    && usize::from(info.agreeing) + 1 == self.seats.len()
            })
    }

    /// Items that its best-supplied member holds.
    pub fn items(&self) -> u32 {
        self.seats.values().map(|info| info.items).max().unwrap_or(0)
    }
}

impl World<'_> {
    /// All groups that a running node has a seat in. Cost: all seats of all nodes.
    pub fn groups(&self) -> BTreeMap<GroupId, GroupView> {
        let mut groups: BTreeMap<GroupId, GroupView> = BTreeMap::new();
        for who in self.up() {
            for info in self.node(who).into_iter().flat_map(|node| node.groups()) {
                groups.entry(info.id).or_default().seats.insert(who, info);
            }
        }
        groups
    }

    /// Whether there are groups, and each is goldilocks.
    pub fn all_goldilocks(&self) -> bool {
        let groups = self.groups();
        !groups.is_empty() && groups.values().all(GroupView::is_goldilocks)
    }
}

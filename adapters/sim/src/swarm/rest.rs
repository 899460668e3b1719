//! What a healed world must come to.

use std::collections::{BTreeMap, BTreeSet};

use butter_core::group::{GroupState, seat_blocks};
use butter_core::id::NodeId;
use butter_core::inspect::Inspect;
use butter_core::wire::BLOCK;

use crate::world::{GroupView, Who, World};

/// Which nodes know each other, directly or through others: for each running node the least one of its part. `vanished`:
/// whether hosts found dead, which are dialled again, count as known.
fn parts(world: &World<'_>, ids: &BTreeMap<NodeId, Who>, vanished: bool) -> BTreeMap<Who, Who> {
    let mut part: BTreeMap<Who, Who> = world.up().map(|who| (who, who)).collect();
    fn least(part: &mut BTreeMap<Who, Who>, who: Who) -> Who {
        let mut at = who;
        while part[&at] != at {
            at = part[&at];
        }
        part.insert(who, at);
        at
    }
    for who in world.up() {
        let Some(node) = world.node(who) else { continue };
        let known = node.hosts().filter(|host| vanished || host.standing != butter_core::hosts::Standing::Vanished);
        for other in known.filter_map(|host| ids.get(&host.id)).filter(|other| world.is_up(**other)) {
            let (a, b) = (least(&mut part, who), least(&mut part, *other));
            part.insert(a.max(b), a.min(b));
        }
    }
    for who in world.up() {
        least(&mut part, who);
    }
    part
}

/// The items of a group's members, in words, and whether all of them together are more than one seat holds.
fn items(world: &World<'_>, group: &GroupView) -> (String, bool) {
    let (mut all, mut told, mut room) = (BTreeMap::new(), Vec::new(), 0);
    for (who, info) in &group.seats {
        let Some(node) = world.node(*who) else { continue };
        room = node.seat_size(info.seat).map_or(0, |size| u64::from(seat_blocks(size)) * BLOCK as u64);
        let (mut whole, mut parts, mut bytes) = (0, 0, 0);
        node.items_in(info.seat, &mut |key, takes, complete| {
            bytes += takes;
            if complete {
                whole += 1;
                all.insert(key, takes);
            } else {
                parts += 1;
            }
        });
        told.push(format!("node {}: {whole} whole, {parts} in parts, {bytes} bytes", who.0));
    }
    let sum: u64 = all.values().sum();
    (format!("{}; together {} in {sum} bytes of {room}", told.join("; "), all.len()), sum > room)
}

/// All ids there ever were.
pub fn ids(world: &World<'_>) -> BTreeMap<NodeId, Who> {
    (0..world.len() as u32).map(Who).map(|who| (world.id(who), who)).collect()
}

/// One node of each part of the network but the first, when not even hosts found dead join them: only somebody from
/// outside could.
pub fn apart(world: &World<'_>) -> Vec<Who> {
    let parts = parts(world, &ids(world), true);
    let firsts: BTreeSet<Who> = parts.values().copied().collect();
    firsts.into_iter().skip(1).collect()
}

/// Whether the world is at rest, all in one piece and each group as it should be.
///
/// # Errors
/// What is not so yet, and where.
pub fn at_rest(world: &World<'_>) -> Result<(), (Option<Who>, String)> {
    let ids = ids(world);
    let parts = parts(world, &ids, false);
    if let Some((who, first)) = parts.iter().find(|(_, first)| **first != *parts.values().min().unwrap_or(first)) {
        let known = world.node(*who).map_or(0, |node| node.hosts_known());
        return Err((
            Some(*who),
            format!("knows {known} hosts, and none of the part of node 0: only that of {}", first.0),
        ));
    }
    'groups: for (id, group) in world.groups() {
        let members: BTreeSet<NodeId> = group.seats.keys().map(|who| world.id(*who)).collect();
        for (who, info) in &group.seats {
            let seen: BTreeSet<NodeId> = info.members.iter().copied().collect();
            let named = |set: &BTreeSet<NodeId>| {
                set.iter()
                    .map(|id| ids.get(id).map_or("?".into(), |who| who.0.to_string()))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            if seen != members {
                let what = format!("sees {} in group {id:?}, where {} are", named(&seen), named(&members));
                return Err((Some(*who), what));
            }
            if usize::from(info.agreeing) + 1 != members.len() {
                let (told, overfull) = items(world, &group);
                if overfull {
                    // Its halves were filled apart: no member can hold what all of them have taken, and none is surplus.
                    continue 'groups;
                }
                let what = format!("agrees with {} of {} members of {id:?}; {told}", info.agreeing, members.len());
                return Err((Some(*who), what));
            }
        }
        let Some((who, info)) = group.seats.iter().next() else { continue };
        match info.state {
            GroupState::Goldilocks => {}
            GroupState::Hot => return Err((Some(*who), format!("group {id:?} has {} members", members.len()))),
            // More than `replicas` it wants while it has time to look for them, and hosts keep seats for those who have fewer.
            GroupState::Cold if members.len() >= world.node(*who).map_or(0, |node| node.config().replicas.into()) => {}
            GroupState::Cold => {
                let size = world.node(*who).and_then(|node| node.seat_size(info.seat)).unwrap_or(0);
                let free = world.up().find(|other| {
                    !group.seats.contains_key(other) && world.node(*other).is_some_and(|node| node.seats_free(size) > 0)
                });
                if let Some(free) = free {
                    let what = format!("group {id:?} is cold, though node {} has a seat of size {size} free", free.0);
                    return Err((Some(*who), what));
                }
            }
        }
    }
    match world.overdue() {
        Some((who, key)) => Err((Some(who), format!("still holds {key:?}, whose lease is over"))),
        None => Ok(()),
    }
}

//! What happened last, for whoever has to find out why.

use std::collections::{HashMap, VecDeque};

use butter_core::Node;
use butter_core::id::{GroupId, Key, NodeId};
use butter_core::inspect::Inspect;
use butter_core::node::Event;
use butter_core::time::Instant;

use crate::world::Who;

/// Things remembered.
const KEPT: usize = 4096;
/// Things told of the node that broke a rule, and of all others.
const TOLD: (usize, usize) = (24, 24);

#[derive(Clone, Copy)]
pub enum Told {
    /// Something done to it, with a number that means what the words say.
    Done(&'static str, u64),
    Up(Option<NodeId>),
    Down(Option<NodeId>),
    /// Live members of a group changed: how many.
    Group(Option<(GroupId, u8)>),
    Deleted(Key),
    Event(Event),
}

#[derive(Default)]
pub struct Story {
    last: VecDeque<(Instant, Who, Told)>,
}

impl Story {
    pub fn push(&mut self, now: Instant, who: Who, told: Told) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back((now, who, told));
    }

    pub fn event(&mut self, now: Instant, who: Who, event: Event, node: &Node<'_>) {
        let told = match event {
            Event::PutWants { .. } | Event::GetHas { .. } => return,
            Event::PeerUp(peer) => Told::Up(node.peer_info(peer).map(|peer| peer.id)),
            Event::PeerDown(peer) => Told::Down(node.peer_info(peer).map(|peer| peer.id)),
            Event::GroupChanged(seat) => Told::Group(node.members(seat).map(|(group, members)| {
                let live = members.iter().filter(|m| m.state == butter_core::wire::MemberState::Live);
                (group, live.count() as u8)
            })),
            event => Told::Event(event),
        };
        self.push(now, who, told);
    }

    /// The last things, the oldest first: of one node, and of all.
    pub fn tell(&self, of: Option<Who>, ids: &HashMap<NodeId, Who>) -> Vec<String> {
        let named = |id: Option<NodeId>| {
            let who = id.and_then(|id| ids.get(&id)).map(|who| format!("node {}", who.0));
            who.unwrap_or_else(|| "a peer".into())
        };
        let mut own = 0;
        let mut kept = Vec::new();
        for (back, (at, who, told)) in self.last.iter().rev().enumerate() {
            let is_own = of == Some(*who) && own < TOLD.0;
            own += usize::from(is_own);
            if !is_own && back >= TOLD.1 {
                continue;
            }
            let what = match told {
                Told::Done(what, 0) => (*what).to_owned(),
                Told::Done(what, number) => format!("{what} {number}"),
                Told::Up(id) => format!("has a session with {}", named(*id)),
                Told::Down(id) => format!("has lost the session with {}", named(*id)),
                Told::Group(Some((group, live))) => format!("sees {live} live members in {group:?}"),
                Told::Group(None) => "has left a group".into(),
                Told::Deleted(key) => format!("deletes {key:?}"),
                Told::Event(event) => format!("{event:?}"),
            };
            kept.push(format!("{at:?} node {}: {what}", who.0));
        }
        kept.reverse();
        kept
    }
}

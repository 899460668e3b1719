//! Checkers, always on, that stand outside the nodes and know everything.
//!
//! | rule | what it says |
//! |---|---|
//! | `copy` | the last live copy of an acknowledged item is never deleted before its lease is over, but for deaths just then |
//! | `acknowledged` | an acknowledgement tells of as many copies as were made |
//! | `returned` | an item whose lease is over is not stored again |
//! | `answer` | a put or get ends within its bound, unless its node dies |
//! | `incarnation` | a member never takes an older incarnation or a lesser state for news, and forgets no member |
//! | `merge` | what the members of a group say of it merges in any order to the same |
//! | `limits` | no table holds more than its limit |
//! | `counters` | what a node counts is what was done to it |
//! | `sessions` | sessions that began and did not end are those that are there |
//! | `wakes` | wake-ups per virtual second are bounded |
//! | `packets` | every packet is delivered, lost, cut or on its way |
//!
//! Most are driven by events; the rest look at each node every 10 virtual seconds. The first rule that is broken
//! ends the run: it panics, or is kept for [`World::violation`] when [`crate::WorldConfig::keep_violation`] says so.

mod copies;
mod member;
mod node;
mod story;

use std::collections::HashMap;
use std::fmt;

use butter_core::Node;
use butter_core::id::NodeId;
use butter_core::inspect::{Inspect, merged};
use butter_core::node::Event;
use butter_core::storage::{StoreOp, StoreTicket};
use butter_core::time::Instant;

use crate::world::{Who, World};
use copies::Copies;
pub(crate) use copies::ITEM_MAX;
use node::Watched;
use story::{Story, Told};

/// Each node is looked at once in this many virtual milliseconds; every second some of them.
const ROUND_MS: u32 = 10_000;
/// Virtual milliseconds between looks.
const LOOK_MS: u32 = 1_000;
/// Virtual milliseconds besides three beats in which a death may not have been noticed yet.
const UNSEEN_MS: u32 = 2_000;
/// The longest that a put or get may take, in virtual milliseconds, but for the time in which its node stood still.
const JOB_MS_MAX: u64 = 600_000;

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which rule, as in the table of this module.
    pub rule: &'static str,
    /// When, in the world's time.
    pub at: Instant,
    /// At which node, if it was at one.
    pub who: Option<Who>,
    /// What was found.
    pub what: String,
    /// What happened last, at that node and elsewhere, the oldest first.
    pub last: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.map_or("the world".into(), |who| format!("node {}", who.0));
        write!(f, "rule `{}` broken at {:?} by {who}: {}", self.rule, self.at, self.what)?;
        self.last.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// What the checkers remember. Memory: some 100 bytes per node, seat and item held.
#[derive(Default)]
pub(crate) struct Checks {
    keep: bool,
    first: Option<Violation>,
    story: Story,
    ids: HashMap<NodeId, Who>,
    nodes: Vec<Watched>,
    copies: Copies,
    next_look: Instant,
    turn: usize,
    /// Packets handed to a node, and packets for nodes that were not there (any more).
    pub arrived: u64,
    pub vanished: u64,
}

impl Checks {
    pub fn new(keep: bool) -> Checks {
        Checks { keep, ..Checks::default() }
    }

    /// Only the first counts: what follows may follow from it.
    fn violated(&mut self, rule: &'static str, at: Instant, who: Option<Who>, what: String) {
        if self.first.is_some() {
            return;
        }
        let last = self.story.tell(who, &self.ids);
        let violation = Violation { rule, at, who, what, last };
        assert!(self.keep, "{violation}");
        self.first = Some(violation);
    }

    fn watched(&mut self, who: Who) -> &mut Watched {
        if self.nodes.len() <= who.index() {
            self.nodes.resize_with(who.index() + 1, Watched::default);
        }
        &mut self.nodes[who.index()]
    }

    /// Writes down what is done to a node, for the story that a violation tells.
    pub fn note(&mut self, now: Instant, who: Who, what: &'static str, number: u64) {
        self.story.push(now, who, Told::Done(what, number));
    }

    pub fn started(&mut self, now: Instant, who: Who, id: NodeId) {
        self.ids.insert(id, who);
        *self.watched(who) = Watched::default();
        self.note(now, who, "starts", 0);
    }

    pub fn died(&mut self, now: Instant, who: Who) {
        self.watched(who).storing.clear();
        self.copies.died(now, who);
        self.note(now, who, "dies", 0);
    }

    pub fn paused(&mut self, now: Instant, who: Who, ms: u64) {
        self.watched(who).paused_ms += ms;
        self.note(now, who, "stands still for ms", ms);
    }

    /// A packet was handed to a node.
    pub fn heard(&mut self, who: Who) {
        self.arrived += 1;
        self.watched(who).heard += 1;
    }

    /// A node has sent a packet.
    pub fn said(&mut self, who: Who) {
        self.watched(who).said += 1;
    }

    /// An event of a node that nobody has dealt with yet.
    pub fn event(&mut self, now: Instant, who: Who, event: Event, node: &Node<'_>) {
        self.story.event(now, who, event, node);
        match event {
            Event::PeerUp(_) => self.watched(who).sessions += 1,
            Event::PeerDown(_) => self.watched(who).sessions -= 1,
            Event::Lost => self.watched(who).lost = true,
            Event::GroupChanged(seat) => {
                let now_there = node.members(seat);
                if let Err(what) = self.watched(who).seats.changed(seat, now_there) {
                    self.violated("incarnation", now, Some(who), what);
                }
            }
            Event::PutDone(put) => {
                if let Some(status) = node.put_status(put)
                    && let Err(what) = self.copies.put_ended(now, &status, node.config().lease_s)
                {
                    self.violated("acknowledged", now, Some(who), what);
                }
            }
            _ => {}
        }
    }

    /// A storage operation begins.
    pub fn storing(&mut self, who: Who, op: StoreOp) {
        if !matches!(op, StoreOp::Get { .. }) {
            self.watched(who).storing.push(op);
        }
    }

    /// It has ended, well or in vain.
    pub fn stored(&mut self, now: Instant, who: Who, ticket: StoreTicket, well: bool, node: &Node<'_>) {
        let storing = &mut self.watched(who).storing;
        let at = storing.iter().position(|op| op.ticket() == ticket);
        match at.map(|at| storing.swap_remove(at)).filter(|_| well) {
            Some(StoreOp::Put { at, .. }) => {
                if self.copies.is_over(&at.key, now) {
                    self.violated("returned", now, Some(who), format!("stored {:?}, whose lease is over", at.key));
                }
                self.copies.stored(who, at);
            }
            Some(StoreOp::Delete { key, .. }) => {
                self.story.push(now, who, Told::Deleted(key));
                // Two beats in which a death shows, and the time that probes and our own deletion take.
                let unseen_ms = 3 * node.config().beat_ms + UNSEEN_MS;
                if self.copies.deleted(now, who, &key, unseen_ms) && !node.leaving() {
                    self.violated("copy", now, Some(who), format!("deleted the last live copy of {key:?}"));
                }
            }
            _ => {}
        }
    }

    /// Whether it is time for [`World::look`].
    pub fn due(&self, now: Instant) -> bool {
        now >= self.next_look
    }
}

impl World<'_> {
    /// The first rule that was broken, and how; `None` is what should be.
    pub fn violation(&self) -> Option<&Violation> {
        self.checks.first.as_ref()
    }

    /// Says that a rule of one's own is broken; ends the run as one of the world's does.
    pub fn violated(&mut self, rule: &'static str, who: Option<Who>, what: String) {
        self.checks.violated(rule, self.now, who, what);
    }

    /// Writes down what is done to a node or to all, for the story that a violation tells.
    pub fn note(&mut self, who: Who, what: &'static str, number: u64) {
        self.checks.note(self.now, who, what, number);
    }

    /// Acknowledged objects whose lease is not over and of which a running node still has a whole copy, in the order of
    /// their keys: those that must be found.
    pub fn owed(&self) -> Vec<butter_core::id::Key> {
        self.checks.copies.owed(self.now)
    }

    /// Acknowledged objects so far, and how many of them died with all their copies.
    pub fn acknowledged(&self) -> (u64, u64) {
        self.checks.copies.acknowledged()
    }

    /// A node that still holds an item whose lease is over for a minute, and the item.
    pub fn overdue(&self) -> Option<(Who, butter_core::id::Key)> {
        self.checks.copies.overdue(self.now)
    }

    /// Looks at some of the nodes, and at the world's books.
    pub(crate) fn look(&mut self) {
        let now = self.now;
        let mut checks = std::mem::take(&mut self.checks);
        checks.next_look = now.plus_ms(LOOK_MS);
        let some = self.slots.len().div_ceil((ROUND_MS / LOOK_MS) as usize);
        for _ in 0..some {
            let who = Who((checks.turn % self.slots.len()) as u32);
            checks.turn = who.index() + 1;
            if let Some(node) = self.node(who) {
                let paused = self.slots[who.index()].paused;
                if let Err((rule, what)) = checks.watched(who).look(now, node, self.wakes(who), paused) {
                    checks.violated(rule, now, Some(who), what);
                }
                if let Err(what) = self.merges(node, &checks.ids) {
                    checks.violated("merge", now, Some(who), what);
                }
            }
        }
        let late = self.jobs.open().find(|(who, began)| {
            let most_ms = JOB_MS_MAX + checks.nodes.get(who.index()).map_or(0, |watched| watched.paused_ms);
            !self.slots[who.index()].paused && now.since(*began) > most_ms * 1000
        });
        if let Some((who, began)) = late {
            checks.violated("answer", now, Some(who), format!("a put or get of {began:?} has not ended"));
        }
        let (sent, owed) = (self.net_counters().delivered, self.deliveries_owed());
        if sent != checks.arrived + checks.vanished + owed {
            let (arrived, vanished) = (checks.arrived, checks.vanished);
            let what = format!("{sent} deliveries, {arrived} arrived, {vanished} came too late, {owed} under way");
            checks.violated("packets", now, None, what);
        }
        self.checks = checks;
    }

    /// Merges what all members of a node's first group say of it, there and back.
    fn merges(&self, node: &Node<'_>, ids: &HashMap<NodeId, Who>) -> Result<(), String> {
        let Some(group) = node.groups().next() else { return Ok(()) };
        let mut lists = Vec::new();
        for who in group.members.iter().filter_map(|id| ids.get(id)) {
            let Some(other) = self.node(*who) else { continue };
            let seat = other.groups().find(|info| info.id == group.id).map(|info| info.seat);
            lists.extend(seat.and_then(|seat| other.members(seat)).map(|(_, members)| members));
        }
        let mut all: Vec<NodeId> = lists.iter().flat_map(|list| list.iter().map(|entry| entry.id)).collect();
        all.sort();
        all.dedup();
        let there = merged(lists.iter().copied().flatten());
        let back = merged(lists.iter().rev().copied().flatten());
        let same =
            there.iter().zip(&back).all(|(a, b)| (a.id, a.incarnation, a.state) == (b.id, b.incarnation, b.state));
        // A full list loses members that are gone, and which depends on the order.
        if all.len() <= butter_core::wire::MEMBERS_MAX && !(same && there.len() == back.len()) {
            return Err(format!("group {:?} merges to {there:?} and back to {back:?}", group.id));
        }
        Ok(())
    }
}

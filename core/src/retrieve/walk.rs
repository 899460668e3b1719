//! The walk to the group of an item (PROTOCOL §6.2): best-first over known groups, asking members, learning of better ones.

use heapless::Vec;

use super::message::{Locate, Located};
use super::{CONTACTS, OpOwner, PART_REFRESH, PART_WALK, Work};
use crate::addr::Addr;
use crate::exchange::{Body, Failure, Owner};
use crate::group::Groups;
use crate::id::{GroupId, Key, NodeId};
use crate::node::Node;
use crate::route::internal;
use crate::table::{Handle, Index};
use crate::wire::{MEMBERS_MAX, value};

/// Milliseconds for which an answer to LOCATE is waited for. A dead contact costs a lookup no more than this.
const LOCATE_MS: u32 = 2_000;
/// Milliseconds after which a get does not rely on the contact asked, and asks another one, too.
const HEDGE_MS: u32 = 250;
/// Bytes of a question at most.
const LOCATE_BODY: usize = 64;
/// Contacts and groups that a walk remembers to have asked.
const ASKED_MAX: usize = super::SCRATCH / 4;
/// Known groups up to which a lookup asks them all, and hosts besides.
const ASK_ALL: usize = 64;
/// Hosts asked when no known group is left: where all groups known are few, and where they are many.
const HOSTS_FEW: u8 = 8;
const HOSTS_MANY: u8 = 2;
/// Hosts asked before a group is founded.
const HOSTS_FOUND: u8 = 3;

const _: () = assert!(ASKED_MAX <= 128, "a place among them is 7 bits of an op's part");

/// A walk under way. Whom it has asked is in the op's scratch buffer: 4 bytes of a keyed hash each.
#[derive(Debug)]
pub(super) struct Walk {
    pub key: Key,
    pub bytes: u32,
    /// For a put: a group with room is wanted. For a get: a holder.
    put: bool,
    /// Somebody is still to be asked, for whom there was no buffer, call or peer to be had now.
    waits: bool,
    asked: u8,
    flying: u8,
    hosts: u8,
    spent: u16,
    /// Answers that led nowhere in particular.
    misses: u16,
    /// When a contact was last asked: milliseconds since the node's start.
    asked_ms: u32,
    /// For a put: the best group with room so far, and its score. For a get: a group that is said to hold the item, to be
    /// asked next.
    best: Option<(GroupId, u64)>,
}

/// Whom a walk has asked. 0 is nobody's tag.
struct Asked {
    secret: u64,
    tags: Vec<[u8; 4], ASKED_MAX>,
}

impl Asked {
    fn tag(secret: u64, name: &[u8]) -> [u8; 4] {
        Index::mix(secret, name).max(1).to_le_bytes()
    }

    fn holds(&self, name: &[u8]) -> bool {
        self.tags.contains(&Self::tag(self.secret, name))
    }
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A group takes the item; its members are the op's contacts.
    Group(GroupId),
    /// Nobody asked knows more.
    Nothing,
}

impl Node<'_> {
    /// Begins a walk for one item. The scratch buffer is the walk's until it ends. `but`: a group that is not wanted.
    pub(super) fn walk_begin(&mut self, op: Handle, key: Key, bytes: u32, but: Option<GroupId>) {
        let asked_ms = self.now_ms();
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        let put = matches!(entry.work, Work::Put(_));
        entry.serial = (entry.serial + 1) % 0x7f;
        let walk = Walk {
            key,
            bytes,
            put,
            waits: false,
            asked: 0,
            flying: 0,
            hosts: 0,
            spent: 0,
            misses: 0,
            asked_ms,
            best: None,
        };
        entry.walk = Some(walk);
        self.env.counters.lookups += 1;
        if let Some(group) = but {
            self.walk_mark(op, &group.0);
        }
    }

    fn walk_all_asked(&self, op: Handle) -> Asked {
        let mut asked = Asked { secret: self.env.index_secret, tags: Vec::new() };
        if let Some(entry) = self.retrieve.ops.get(op)
            && let Some(walk) = &entry.walk
        {
            let tags = self.env.buffers.bytes(&entry.scratch).as_chunks::<4>().0;
            for tag in tags.iter().take(usize::from(walk.asked)) {
                let _ = asked.tags.push(*tag);
            }
        }
        asked
    }

    /// Remembers that a group or host was asked; says at which place.
    fn walk_mark(&mut self, op: Handle, name: &[u8]) -> Option<u8> {
        let tag = Asked::tag(self.env.index_secret, name);
        let entry = self.retrieve.ops.get_mut(op)?;
        let walk = entry.walk.as_mut()?;
        let at = usize::from(walk.asked);
        self.env.buffers.bytes_mut(&entry.scratch).get_mut(4 * at..4 * at + 4)?.copy_from_slice(&tag);
        walk.asked += 1;
        Some(at as u8)
    }

    fn walk_tag(&self, op: Handle, at: u8) -> Option<[u8; 4]> {
        let scratch = &self.retrieve.ops.get(op)?.scratch;
        self.env.buffers.bytes(scratch).as_chunks::<4>().0.get(usize::from(at)).copied()
    }

    fn walk_unmark(&mut self, op: Handle, at: u8) {
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        let at = 4 * usize::from(at);
        if let Some(tag) = self.env.buffers.bytes_mut(&entry.scratch).get_mut(at..at + 4) {
            tag.fill(0);
        }
    }

    /// Asks as many contacts as may be asked at once. `None`: answers are waited for.
    pub(super) fn walk_step(&mut self, op: Handle) -> Option<Found> {
        loop {
            let walk = self.retrieve.ops.get(op)?.walk.as_ref()?;
            if walk.flying >= self.walk_parallel(walk) {
                return None;
            }
            let may_ask = walk.spent < self.env.config.lookup_budget && usize::from(walk.asked) + 2 <= ASKED_MAX;
            let host_first = !walk.put && walk.hosts == 0 && self.env.limits.known < ASK_ALL;
            let hosts = match walk.put {
                true => HOSTS_FOUND,
                false if self.groups.len() > ASK_ALL => HOSTS_MANY,
                false => HOSTS_FEW,
            };
            let host_left = walk.hosts < hosts;
            let asked = may_ask
                && ((host_first && self.walk_ask_host(op))
                    || self.walk_ask_group(op)
                    || (host_left && self.walk_best(op).is_none() && self.walk_ask_host(op)));
            if asked {
                continue;
            }
            let entry = self.retrieve.ops.get_mut(op)?;
            let walk = entry.walk.as_mut()?;
            let waits = core::mem::take(&mut walk.waits) && may_ask;
            // For want of room nobody is passed over, but what was found for a put is as good as what might be.
            if walk.flying > 0 || waits && !(walk.put && walk.best.is_some()) {
                return None;
            }
            let found = walk.best.filter(|_| walk.put).map_or(Found::Nothing, |(group, _)| Found::Group(group));
            entry.walk = None;
            return Some(found);
        }
    }

    /// Asks a member of the best-ranked group not asked yet. A group of ours with room needs no call.
    fn walk_ask_group(&mut self, op: Handle) -> bool {
        let Some(walk) = self.retrieve.ops.get(op).and_then(|op| op.walk.as_ref()) else { return false };
        let (put, key, bytes) = (walk.put, walk.key, walk.bytes);
        let asked = self.walk_all_asked(op);
        if let Some(group) = self.walk_pointed(op).filter(|group| !asked.holds(&group.0)) {
            if self.walk_ask_members(op, &group, &asked) {
                return true;
            }
            if self.retrieve.ops.get(op).and_then(|op| op.walk.as_ref()).is_some_and(|walk| walk.waits) {
                return false;
            }
        }
        let candidates = self.groups.candidates(&key, bytes, put, &mut |group| asked.holds(&group.0));
        for candidate in candidates {
            if put && !candidate.room {
                continue;
            }
            if put && self.walk_best(op).is_some_and(|(_, score)| score >= candidate.score) {
                return false;
            }
            if put && candidate.seat.is_some() {
                self.walk_better(op, candidate.group, candidate.score);
                self.own_contacts(op, &candidate.group);
                return false;
            }
            if self.walk_ask_members(op, &candidate.group, &asked) {
                return true;
            }
        }
        false
    }

    /// The group that a pointer named last.
    fn walk_pointed(&self, op: Handle) -> Option<GroupId> {
        let walk = self.retrieve.ops.get(op)?.walk.as_ref()?;
        if walk.put { None } else { walk.best.map(|(group, _)| group) }
    }

    /// Asks a member of a group; false when there is none that can be asked, or the walk waits.
    fn walk_ask_members(&mut self, op: Handle, group: &GroupId, asked: &Asked) -> bool {
        let me = self.env.me;
        let contacts = self.group_contacts(group).into_iter().filter(|(id, _)| *id != me && !asked.holds(&id.0));
        let contacts: Vec<_, MEMBERS_MAX> = contacts.collect();
        if !contacts.is_empty() && !contacts.iter().any(|(id, _)| self.walk_may_ask(id)) {
            self.walk_waits(op);
            return false;
        }
        let Some(at) = self.walk_mark(op, &group.0) else { return false };
        contacts.into_iter().any(|(id, addr)| self.walk_may_ask(&id) && self.walk_ask(op, &id, addr, at, group))
    }

    /// Whether there is room now to ask somebody.
    fn walk_may_ask(&mut self, id: &NodeId) -> bool {
        self.may_ask(LOCATE_BODY) && self.may_dial(id)
    }

    fn walk_waits(&mut self, op: Handle) {
        if let Some(walk) = self.retrieve.ops.get_mut(op).and_then(|op| op.walk.as_mut()) {
            walk.waits = true;
        }
    }

    /// Contacts that a walk may ask at once. Of a get, the first answer mostly ends it: so one is asked first, and one more for
    /// every second one that had nothing to say, and when there is no answer soon.
    fn walk_parallel(&self, walk: &Walk) -> u8 {
        let late = self.now_ms().saturating_sub(walk.asked_ms) / HEDGE_MS;
        let most = if walk.put { 1 } else { self.env.config.lookup_parallel };
        (1 + u32::from(walk.misses / 2) + late * u32::from(walk.flying)).min(most.into()) as u8
    }

    fn walk_ask_host(&mut self, op: Handle) -> bool {
        for _ in 0..4 {
            let asked = self.walk_all_asked(op);
            let Node { hosts, env, .. } = self;
            let me = env.me;
            let found = hosts.capable(env, 1, &mut |id| *id == me || asked.holds(&id.0));
            let Some(id) = found.first().copied() else { return false };
            if !self.walk_may_ask(&id) {
                self.walk_waits(op);
                return false;
            }
            // A host that cannot be dialled is marked all the same, so that the next one is tried.
            let Some(at) = self.walk_mark(op, &id.0) else { return false };
            if self.walk_ask_marked(op, &id, None, at, None) {
                if let Some(walk) = self.retrieve.ops.get_mut(op).and_then(|op| op.walk.as_mut()) {
                    walk.hosts += 1;
                }
                return true;
            }
        }
        false
    }

    /// Asks one contact; `at` is the place of the group it was asked for.
    fn walk_ask(&mut self, op: Handle, id: &NodeId, addr: Addr, at: u8, group: &GroupId) -> bool {
        self.walk_mark(op, &id.0).is_some() && self.walk_ask_marked(op, id, Some(addr), at, Some(*group))
    }

    fn walk_ask_marked(&mut self, op: Handle, id: &NodeId, addr: Option<Addr>, at: u8, group: Option<GroupId>) -> bool {
        let Some(entry) = self.retrieve.ops.get(op) else { return false };
        let Some(walk) = &entry.walk else { return false };
        let question = Locate { key: walk.key, bytes: walk.bytes, put: walk.put, group };
        let part = PART_WALK | u16::from(entry.serial) << 7 | u16::from(at);
        let Some(peer) = self.dial(id, addr) else { return false };
        let owner = Owner::Op(OpOwner { op, part });
        if self.ask(peer, internal::LOCATE, owner, LOCATE_MS, |writer| writer.value(&question)).is_none() {
            return false;
        }
        let now_ms = self.now_ms();
        if let Some(entry) = self.retrieve.ops.get_mut(op) {
            if let Some(walk) = entry.walk.as_mut() {
                walk.flying += 1;
                walk.spent += 1;
                walk.asked_ms = now_ms;
            }
            if let Work::Get(get) = &mut entry.work {
                get.asked += 1;
                get.contacts += 1;
            }
        }
        true
    }

    fn walk_best(&self, op: Handle) -> Option<(GroupId, u64)> {
        self.retrieve.ops.get(op)?.walk.as_ref()?.best
    }

    /// Takes a group with room as the best so far; its members are to become the contacts.
    fn walk_better(&mut self, op: Handle, group: GroupId, score: u64) {
        self.contacts_clear(op);
        if let Some(walk) = self.retrieve.ops.get_mut(op).and_then(|op| op.walk.as_mut()) {
            walk.best = Some((group, score));
        }
    }

    /// Makes ourselves and the other members of a group of ours the contacts of an op.
    pub(super) fn own_contacts(&mut self, op: Handle, group: &GroupId) {
        let mut leader = self.contact(op, None).filter(|_| self.leads(group));
        let leads = leader.is_some();
        for (at, (id, addr)) in self.group_contacts(group).into_iter().enumerate() {
            let contact = self.contact_by_id(op, &id, Some(addr));
            if at == 0 && !leads {
                leader = contact;
            }
        }
        self.put_leader(op, leader);
    }

    /// Makes who answered, and the members it told, contacts of an op.
    pub(super) fn told_contacts(&mut self, op: Handle, from: &NodeId, located: &Located) -> [bool; CONTACTS] {
        let mut told = [false; CONTACTS];
        let members = located.members.iter().copied();
        let mut leader = None;
        for (at, (id, addr)) in core::iter::once((*from, None)).chain(members).enumerate() {
            let contact = self.contact_by_id(op, &id, addr);
            if at == 1 {
                leader = contact;
            }
            if let Some(flag) = contact.and_then(|at| told.get_mut(usize::from(at))) {
                *flag = true;
            }
        }
        self.put_leader(op, leader);
        told
    }

    /// Asks a contact again who the members of its group are. False: it cannot be asked now.
    pub(super) fn refresh(&mut self, op: Handle, question: Locate, contact: u8) -> bool {
        let Some(peer) = self.retrieve.contact_mut(op, contact).and_then(|contact| contact.peer) else { return false };
        let owner = Owner::Op(OpOwner { op, part: PART_REFRESH });
        self.ask(peer, internal::LOCATE, owner, LOCATE_MS, |writer| writer.value(&question)).is_some()
    }

    /// An answer to LOCATE.
    pub(super) fn located(&mut self, owner: OpOwner, from: NodeId, result: Result<Body<'_>, Failure>) {
        let OpOwner { op, part } = owner;
        // Who was heard meanwhile is only slow, and who is still held for alive had no room.
        let heard = self.peer_of(&from).and_then(|peer| self.peers.get(peer));
        let slow = heard.is_some_and(|peer| peer.up && self.env.now.ms_since(peer.last_heard) < LOCATE_MS);
        let living = self.hosts.get(&self.env, &from).is_some_and(|host| host.is_living());
        let gone = match result {
            Err(Failure::PeerGone) => !living,
            Err(Failure::Silent | Failure::Deadline) => !slow,
            _ => false,
        };
        let located = result.ok().and_then(|body| {
            let located = value::<Located>(self.body_bytes(&body));
            self.free_body(Ok(body));
            located
        });
        if let Some(located) = &located {
            // The best last: in a full table, what comes later might push it out.
            for hint in located.hints.iter().rev() {
                // Whoever is a member names itself first: asked for that group, it could only say so.
                if hint.contacts.iter().all(|(id, _)| *id != from) {
                    self.group_contact_lost(&hint.id, &from);
                }
                self.learn_hint(hint);
            }
        }
        if !self.retrieve.working(op) {
            return;
        }
        if part == PART_REFRESH {
            self.put_refreshed(op, from, located);
            self.op_step(op);
            return;
        }
        let Some(entry) = self.retrieve.ops.get_mut(op) else { return };
        let Some(walk) = entry.walk.as_mut().filter(|_| (part >> 7) & 0xff == u16::from(entry.serial)) else { return };
        walk.flying = walk.flying.saturating_sub(1);
        walk.misses += u16::from(located.as_ref().is_none_or(|located| !located.pointed));
        let (put, key) = (walk.put, walk.key);
        match located {
            None => {
                let at = (part & 0x7f) as u8;
                if gone {
                    self.walk_contact_gone(op, at, &from);
                }
                let tag = Asked::tag(self.env.index_secret, &from.0);
                if self.walk_tag(op, at) != Some(tag) {
                    // Another contact of that group may be asked.
                    self.walk_unmark(op, at);
                } else if let Some(walk) = self.retrieve.ops.get_mut(op).and_then(|op| op.walk.as_mut()) {
                    // A host was asked in vain, and is not counted: else a crowd of dead hosts would end the walk.
                    walk.hosts = walk.hosts.saturating_sub(1);
                }
            }
            Some(located) => {
                self.op_moved(op);
                if located.stranger {
                    // Another contact of that group is to be asked.
                    self.walk_contact_gone(op, (part & 0x7f) as u8, &from);
                    self.walk_unmark(op, (part & 0x7f) as u8);
                }
                let pointed = located.hints.first().filter(|_| located.pointed && !put);
                if let (Some(hint), Some(walk)) =
                    (pointed, self.retrieve.ops.get_mut(op).and_then(|op| op.walk.as_mut()))
                {
                    walk.best = Some((hint.id, 0));
                }
                if !put && located.here.is_some_and(|here| here.holds) {
                    self.get_located(op, &key, &from, &located);
                } else if let Some(here) = located.here.filter(|here| put && (here.room || here.holds)) {
                    // What a group holds already is not put anywhere else.
                    let score = if here.holds { u64::MAX } else { Groups::score(&key, &here.group, here.seat) };
                    if self.walk_best(op).is_none_or(|(_, best)| score > best) && !self.walk_refused(op, &here.group) {
                        self.walk_better(op, here.group, score);
                        self.told_contacts(op, &from, &located);
                        self.put_told(op, here);
                    }
                }
            }
        }
        self.op_step(op);
    }

    /// A contact does not answer: the group it was asked for is told, so that the next lookup does not wait for it.
    fn walk_contact_gone(&mut self, op: Handle, at: u8, id: &NodeId) {
        let Some(entry) = self.retrieve.ops.get(op) else { return };
        let Some(walk) = &entry.walk else { return };
        let (secret, at) = (self.env.index_secret, 4 * usize::from(at));
        let tag = self.env.buffers.bytes(&entry.scratch).get(at..at + 4);
        let other = |group: &GroupId| tag.is_none_or(|tag| *tag != Asked::tag(secret, &group.0));
        let group =
            self.groups.candidates(&walk.key, walk.bytes, false, &mut |group| other(group)).first().map(|c| c.group);
        if let Some(group) = group {
            self.group_contact_lost(&group, id);
        }
    }

    /// Whether a group is the one that this walk is not to end at.
    fn walk_refused(&self, op: Handle, group: &GroupId) -> bool {
        match self.retrieve.ops.get(op).map(|op| &op.work) {
            Some(Work::Put(put)) => put.refused == Some(*group),
            _ => false,
        }
    }

    /// The bytes of a body, wherever they are.
    pub(crate) fn body_bytes<'a>(&'a self, body: &'a Body<'_>) -> &'a [u8] {
        match body {
            Body::Packet(bytes) => bytes,
            Body::Buffer(buffer) => self.env.buffers.bytes(buffer),
        }
    }
}

//! Two cold groups that fit one seat become one (PROTOCOL §5.11); and the two halves of a split group find each other.
//!
//! A member of the group with the larger id asks a member of the other one to be taken in. If it is, its seat changes over:
//! it keeps its items, leaves the old group, and both sides fetch what they lack as always. The others of the old group do the same.

use serde::{Deserialize, Serialize};

use super::descriptor::{self, live_entry, merge_entry};
use super::{Notice, Phase, part, seat_blocks};
use crate::exchange::{Body, Failure, Owner, Served, Status};
use crate::id::{GroupId, NodeId};
use crate::node::{Node, PeerId};
use crate::route::internal;
use crate::table::Handle;
use crate::wire::{BLOCK, Descriptor, GroupHint, MemberEntry, MemberState, Writer};

/// Milliseconds to be taken in.
const MERGE_MS: u32 = 3_000;

/// A request to be taken into a group with what we hold.
#[derive(Serialize, Deserialize)]
pub(super) struct MergeRequest {
    pub group: GroupId,
    pub bytes: u64,
}

impl Node<'_> {
    /// A cold group that finds nobody looks for another one to go into: a cold one with a smaller id, or, when it has waited
    /// longer, any with room, which trims its surplus later.
    pub(super) fn merge_step(&mut self, handle: Handle, waited: bool) {
        let Some(seat) = self.groups.seats.get(handle) else { return };
        let (bytes, own) = (seat.set.bytes, (seat.id, seat.size));
        let room = u64::from(seat_blocks(seat.size)) * BLOCK as u64;
        let fits = |hint: &GroupHint| {
            // `free` is rounded down, so that this errs on the safe side.
            let free = (1u64 << hint.free.min(40)) * BLOCK as u64;
            hint.seat == own.1 && bytes <= free.min(room)
        };
        let cold = |hint: &GroupHint| hint.live < hint.wanted;
        let first = self.groups.known_hints().find(|hint| fits(hint) && cold(hint) && hint.id < own.0);
        let second = || self.groups.known_hints().find(|hint| waited && fits(hint) && !cold(hint));
        let Some(hint) = first.or_else(second).cloned() else { return };
        let request = MergeRequest { group: hint.id, bytes };
        for (id, addr) in &hint.contacts {
            let owner = Owner::Seat(handle, part::MERGE);
            let peer = self.dial(id, Some(*addr));
            if peer.and_then(|peer| self.ask(peer, internal::MERGE, owner, MERGE_MS, |w| w.value(&request))).is_some() {
                return;
            }
        }
    }

    /// A request to be taken into a cold group of ours. The answer is the group's descriptor, in which the asker is live.
    pub(crate) fn serve_merge(&mut self, peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let Some(request) = self.decode::<MergeRequest>(body) else { return Served::Refuse(Status::Bad) };
        let Some(from) = self.peers.get(peer).map(|p| p.id) else { return Served::Refuse(Status::Failed) };
        let Some(handle) = self.groups.seat_of(&request.group) else { return Served::Refuse(Status::NotFound) };
        let leaving = self.groups.leaving.is_some();
        let Some(seat) = self.groups.seats.get_mut(handle) else { return Served::Refuse(Status::NotFound) };
        let member = live_entry(&seat.members, &from).is_some();
        // A few more than wanted do no harm: the surplus leaves when all hold the same.
        let crowded = seat.live() >= usize::from(seat.wanted) + 2;
        if !member && (leaving || crowded || seat.free_bytes() < request.bytes) {
            return Served::Refuse(Status::Busy);
        }
        if !member {
            let incarnation = descriptor::next_incarnation(&seat.members, &from);
            let entry = MemberEntry { id: from, incarnation, state: MemberState::Live, addr: Default::default() };
            merge_entry(&mut seat.members, &entry);
            self.env.counters.recruits += 1;
            self.seat_changed(handle, true);
        }
        let written = self.describe(handle).is_some_and(|descriptor| reply.value(&descriptor));
        if written { Served::Reply } else { Served::Refuse(Status::Failed) }
    }

    pub(super) fn merge_answered(&mut self, handle: Handle, from: NodeId, result: Result<Body<'_>, Failure>) {
        let told = result.ok().and_then(|body| self.decode::<Descriptor>(body)).filter(descriptor::plausible);
        let Some(told) = told else { return };
        let me = self.env.me;
        let already = self.groups.seat_of(&told.id).is_some();
        let Some(seat) = self.groups.seats.get_mut(handle).filter(|seat| seat.phase == Phase::Member) else { return };
        let taken = live_entry(&told.members, &me).is_some() && told.seat == seat.size;
        if !taken || already || seat.cold_since.is_none() {
            return;
        }
        let old = seat.members.clone();
        let (prefix, formerly) = (seat.prefix(), seat.id);
        crate::log::debug!("group {:?} goes into {:?}", seat.id, told.id);
        for member in descriptor::live(&old).filter(|m| m.id != me) {
            if let Some(peer) = self.peer_of(&member.id) {
                self.tell(peer, Notice::NotMember(prefix));
            }
        }
        self.sync_stop(handle);
        let Some(seat) = self.groups.seats.get_mut(handle) else { return };
        seat.id = told.id;
        seat.wanted = told.wanted;
        (seat.version, seat.writer) = (told.version, told.writer);
        seat.members = told.members;
        seat.digests.clear();
        (seat.cold_since, seat.hot_since) = (None, None);
        seat.recruit = Default::default();
        seat.sync = Default::default();
        seat.saved.merged(formerly);
        self.groups.forget(&self.env, &told.id);
        self.env.counters.groups_merged += 1;
        self.seat_changed(handle, true);
        for member in &old {
            self.partner_drop_unless_needed(&member.id);
        }
        self.seat_forget(formerly);
        self.sync_from(handle, from);
    }

    /// Somebody tells of a group that we are in. Contacts that we take for dead, or do not know, are the other half of a split
    /// group: each half tells the other who it thinks is in it (§5.3).
    pub(super) fn hint_of_ours(&mut self, handle: Handle, hint: &GroupHint) {
        let me = self.env.me;
        let Some(seat) = self.groups.seats.get(handle) else { return };
        let unknown =
            hint.contacts.iter().find(|(id, _)| *id != me && live_entry(&seat.members, id).is_none()).copied();
        if let Some((id, addr)) = unknown
            && let Some(peer) = self.dial(&id, addr.is_unicast().then_some(addr))
        {
            self.tell(peer, Notice::Group(handle));
        }
    }
}

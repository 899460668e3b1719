//! Who is in a group: merging what different members know (PROTOCOL §5.3).

use heapless::Vec;

use crate::crypto::Crypto;
use crate::id::{GroupId, NodeId};
use crate::wire::{Descriptor, MEMBERS_MAX, MemberEntry, MemberState};

/// The members of a group, gone ones included, in the order of their ids.
pub(crate) type Members = Vec<MemberEntry, MEMBERS_MAX>;

/// Incarnations are below this.
const INCARNATION_MAX: u32 = u32::MAX / 2;

/// Merges one entry into a list: per id the larger incarnation wins, then the larger state. Returns whether the list changed
/// in what counts (an address does not). A full list makes room by dropping the gone member of the
/// least incarnation; a live member is never dropped.
pub(crate) fn merge_entry(members: &mut Members, entry: &MemberEntry) -> bool {
    match members.binary_search_by(|m| m.id.cmp(&entry.id)) {
        Ok(at) => {
            let mine = &mut members[at];
            if entry.addr.is_unicast() {
                mine.addr = entry.addr;
            }
            let (told, known) = ((entry.incarnation, entry.state), (mine.incarnation, mine.state));
            if told > known || (cfg!(feature = "mutant-old-incarnation") && told != known) {
                mine.incarnation = entry.incarnation;
                mine.state = entry.state;
                return true;
            }
            false
        }
        Err(_) => {
            if members.is_full() {
                let gone = members.iter().enumerate().filter(|(_, m)| m.state != MemberState::Live);
                let Some((at, least)) = gone.min_by_key(|(_, m)| (m.incarnation, m.id)) else { return false };
                if entry.state != MemberState::Live && (entry.incarnation, entry.id) <= (least.incarnation, least.id) {
                    return false;
                }
                members.remove(at);
            }
            let at = members.partition_point(|m| m.id < entry.id);
            members.insert(at, *entry).is_ok()
        }
    }
}

/// The live ones.
pub(crate) fn live(members: &[MemberEntry]) -> impl Iterator<Item = &MemberEntry> {
    members.iter().filter(|m| m.state == MemberState::Live)
}

/// The live entry of a node.
pub(crate) fn live_entry<'a>(members: &'a [MemberEntry], id: &NodeId) -> Option<&'a MemberEntry> {
    live(members).find(|m| m.id == *id)
}

/// The epoch: the first 4 bytes of the hash of the membership, which changes whenever a member joins, leaves or dies.
pub(crate) fn epoch(crypto: &dyn Crypto, id: &GroupId, members: &[MemberEntry]) -> [u8; 4] {
    let mut bytes = [0; 16 + MEMBERS_MAX * 37];
    bytes[..16].copy_from_slice(&id.0);
    let mut len = 16;
    for (member, out) in members.iter().zip(bytes[16..].chunks_exact_mut(37)) {
        out[..32].copy_from_slice(&member.id.0);
        out[32..36].copy_from_slice(&member.incarnation.to_le_bytes());
        out[36] = member.state as u8;
        len += 37;
    }
    let hash = crypto.hash(&[b"epoch", &bytes[..len]]);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// How early a member acts in an epoch: the smaller goes first. Every member computes the same.
pub(super) fn precedence(group: &GroupId, epoch: [u8; 4], id: &NodeId) -> u64 {
    let salt = u64::from(u32::from_le_bytes(epoch));
    super::mix(super::word(&group.0) ^ salt.rotate_left(32), super::word(&id.0)) ^ super::word(&id.0[8..])
}

/// How many live members come before this one in an epoch: 0 is the leader.
pub(crate) fn rank(group: &GroupId, epoch: [u8; 4], members: &[MemberEntry], id: &NodeId) -> usize {
    let own = precedence(group, epoch, id);
    live(members).filter(|m| m.id != *id && precedence(group, epoch, &m.id) < own).count()
}

/// The member that has the say what the group takes: of the live ones the senior, which was admitted first. Newcomers never
/// take over from it, so that who is asked holds what the group holds, and all who put ask the same.
pub(crate) fn leader(members: &[MemberEntry]) -> Option<NodeId> {
    live(members).min_by_key(|m| (m.incarnation, m.id)).map(|m| m.id)
}

/// The incarnation of a node that is admitted: above all others, so that seniority can be told.
pub(super) fn next_incarnation(members: &[MemberEntry], id: &NodeId) -> u32 {
    let own = members.iter().find(|m| m.id == *id).map_or(0, |m| m.incarnation);
    // Who tells absurd numbers loses the order by seniority, not the group.
    let highest = members.iter().map(|m| m.incarnation).filter(|n| *n < INCARNATION_MAX / 2).max().unwrap_or(0);
    own.max(highest).min(INCARNATION_MAX - 2) + 1
}

/// Whether what a descriptor says can be true: its members in order, none twice, sane numbers.
pub(crate) fn plausible(descriptor: &Descriptor) -> bool {
    descriptor.seat < super::SIZES as u8
        && (1..=8).contains(&descriptor.wanted)
        && descriptor.members.windows(2).all(|pair| pair[0].id < pair[1].id)
        // An incarnation near the end could not be overtaken.
        && descriptor.members.iter().all(|m| m.incarnation < INCARNATION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Addr;
    use crate::rng::Rng;

    fn entry(rng: &mut Rng, ids: u32) -> MemberEntry {
        let state = [MemberState::Live, MemberState::Left, MemberState::Dead][rng.below(3) as usize];
        let id = NodeId([rng.below(ids) as u8 + 1; 32]);
        MemberEntry { id, incarnation: rng.below(4), state, addr: Addr::default() }
    }

    #[test]
    fn s5_3_merging_in_any_order_gives_the_same() {
        for seed in 0..200 {
            let mut rng = Rng::new([seed + 1; 16]);
            let mut entries: Vec<MemberEntry, 40> = (0..40).map(|_| entry(&mut rng, MEMBERS_MAX as u32)).collect();
            let mut first = Members::new();
            for entry in &entries {
                merge_entry(&mut first, entry);
            }
            for i in (1..entries.len()).rev() {
                entries.swap(i, rng.below(i as u32 + 1) as usize);
            }
            let mut second = Members::new();
            for entry in entries.iter().chain(&entries) {
                merge_entry(&mut second, entry);
            }
            assert_eq!(first, second, "seed {seed}");
        }
    }

    #[test]
    fn s5_3_a_full_list_keeps_all_live_members() {
        let mut rng = Rng::new([5; 16]);
        let mut members = Members::new();
        for i in 0..MEMBERS_MAX as u8 {
            let state = if i % 2 == 0 { MemberState::Live } else { MemberState::Dead };
            let id = NodeId([i; 32]);
            merge_entry(&mut members, &MemberEntry { id, incarnation: 1, state, addr: Addr::default() });
        }
        for _ in 0..1000 {
            let mut dead = entry(&mut rng, 200);
            dead.state = MemberState::Dead;
            dead.id.0[0] = 77;
            merge_entry(&mut members, &dead);
            assert_eq!(live(&members).count(), MEMBERS_MAX / 2);
            assert!(members.windows(2).all(|pair| pair[0].id < pair[1].id));
        }
    }
}

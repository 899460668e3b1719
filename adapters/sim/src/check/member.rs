//! What a member says of its groups, from one change to the next.

use std::collections::BTreeMap;

use butter_core::id::{GroupId, NodeId};
use butter_core::node::SeatId;
use butter_core::wire::{MEMBERS_MAX, MemberEntry, MemberState};

/// An entry, by the first bytes of the id.
type Short = ([u8; 8], u32, MemberState);

/// The members of all groups that a node is in, as it last told.
#[derive(Default)]
pub struct Seats {
    seats: BTreeMap<SeatId, (GroupId, Vec<Short>)>,
}

fn short(id: &NodeId) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&id.0[..8]);
    short
}

impl Seats {
    /// A seat has changed.
    ///
    /// # Errors
    /// Its list is older than it was: an incarnation or a state went back, or a member was forgotten.
    pub fn changed(&mut self, seat: SeatId, there: Option<(GroupId, &[MemberEntry])>) -> Result<(), String> {
        let Some((group, members)) = there else {
            self.seats.remove(&seat);
            return Ok(());
        };
        let now: Vec<Short> = members.iter().map(|m| (short(&m.id), m.incarnation, m.state)).collect();
        let before = self.seats.insert(seat, (group, now));
        let Some((_, before)) = before.filter(|(id, list)| *id == group && list.len() < MEMBERS_MAX) else {
            return Ok(());
        };
        // A full list makes room by forgetting, and may hear of the forgotten again.
        if members.len() == MEMBERS_MAX {
            return Ok(());
        }
        for (id, incarnation, state) in before {
            match members.iter().find(|m| short(&m.id) == id) {
                Some(m) if (m.incarnation, m.state) >= (incarnation, state) => {}
                Some(m) => {
                    let (new, new_state) = (m.incarnation, m.state);
                    return Err(format!(
                        "in group {group:?}, {:?} was {state:?} in incarnation {incarnation}, now {new_state:?} in {new}",
                        m.id
                    ));
                }
                None => return Err(format!("group {group:?} has forgotten the member {id:02x?}")),
            }
        }
        Ok(())
    }
}

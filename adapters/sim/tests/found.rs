//! What the swarm has found, each with its story. A run of one of these seeds broke a rule before it was put right.

use butter_sim::swarm::{Kind, Less, run};

fn holds(seed: u64, without: &[Kind]) {
    let less = Less { without: without.to_vec(), ..Less::default() };
    if let Err(violation) = run(seed, &less) {
        panic!("seed {seed}: {violation}");
    }
}

/// A walk was given up while the disk kept a block of it (§5.8). The index never heard of the block, and the last copy of its
/// item was forgotten with the seat.
#[test]
fn s5_8_a_block_kept_after_its_walk_was_given_up_is_held() {
    holds(50, &[Kind::Disk]);
}

/// A leader of microcontrollers that looked in vain for one more wanted one more, did not, and did again, without time
/// passing (§5.12).
#[test]
fn s5_12_a_group_that_grows_in_vain_waits() {
    holds(2, &[]);
}

/// A caller that had been told to wait asked again when its answer was forgotten, and its request was run twice (§8.3).
#[test]
fn s8_3_an_answer_is_kept_as_long_as_it_may_be_asked_for() {
    for seed in [7, 13, 91] {
        holds(seed, &[]);
    }
}

/// A microcontroller's index was full before its seat, so that it could never hold what its fellows held (§5.1).
#[test]
fn s5_1_all_members_can_hold_the_same_small_items() {
    for seed in [11, 25, 29] {
        holds(seed, &[]);
    }
}

/// Puts that were given up left items without all their blocks, which took the seat's room for ever (§5.1).
#[test]
fn s5_1_items_that_nobody_completes_make_room() {
    holds(54, &[]);
}

//! Looks for a smaller case that still fails: with fewer kinds of things done, fewer nodes, less time.

use super::Failure;
use super::draw::{Draw, Kind, Less};
use super::one::Ended;
use crate::check::Violation;

/// Runs spent at most.
const TRIES: u32 = 60;

/// The smallest failing case found; the one given if there is none smaller.
pub fn shrink(failure: Failure, run: &dyn Fn(u64, &Less) -> Result<Ended, Violation>) -> Failure {
    let mut best = failure;
    let mut tries = 0;
    let attempt = |best: &mut Failure, less: Less, tries: &mut u32| {
        if *tries == TRIES || less == best.less {
            return false;
        }
        *tries += 1;
        // Another rule that is broken would be another case.
        let Err(violation) = run(best.seed, &less) else { return false };
        let same = violation.rule == best.violation.rule;
        if same {
            *best = Failure { seed: best.seed, less, violation };
        }
        same
    };
    loop {
        let before = best.less.clone();
        // Time first, since all later tries gain by it: what broke later than that is not there.
        let mut for_ms = Draw::of(best.seed, &best.less).for_ms;
        while for_ms > 2_000 {
            for_ms = for_ms / 4 * 3;
            let less = Less { for_ms: Some(for_ms), ..best.less.clone() };
            if !attempt(&mut best, less, &mut tries) {
                break;
            }
        }
        for kind in Kind::ALL {
            let on = Draw::of(best.seed, &best.less).gaps_ms.iter().any(|(other, _)| *other == kind);
            if on {
                let mut less = best.less.clone();
                less.without.push(kind);
                attempt(&mut best, less, &mut tries);
            }
        }
        let mut nodes = Draw::of(best.seed, &best.less).nodes;
        while nodes > 2 {
            nodes = (nodes / 2).max(2);
            let less = Less { nodes: Some(nodes), ..best.less.clone() };
            if !attempt(&mut best, less, &mut tries) {
                break;
            }
        }
        if best.less == before || tries == TRIES {
            return best;
        }
    }
}

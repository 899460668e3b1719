//! One node, looked at from outside.

use butter_core::Node;
use butter_core::storage::StoreOp;
use butter_core::time::Instant;

use super::member::Seats;

/// Wake-ups per virtual second that a node may need, over at least [`WAKES_OVER_MS`].
const WAKES_PER_S: u64 = 400;
/// Virtual milliseconds over which wake-ups are counted at least.
const WAKES_OVER_MS: u64 = 5_000;

/// What is remembered of one life of a node.
#[derive(Default)]
pub struct Watched {
    pub heard: u64,
    pub said: u64,
    /// Sessions begun less sessions ended.
    pub sessions: i64,
    /// Whether events were lost, so that `sessions` says nothing.
    pub lost: bool,
    pub seats: Seats,
    /// Storage operations under way that change something.
    pub storing: Vec<StoreOp>,
    pub paused_ms: u64,
    /// When wake-ups were last counted, and how many there had been.
    wakes: Option<(Instant, u64)>,
}

fn within(table: &'static str, n: usize, limit: usize) -> Result<(), (&'static str, String)> {
    if n <= limit { Ok(()) } else { Err(("limits", format!("{n} {table}, of at most {limit}"))) }
}

fn counted(what: &'static str, counter: u32, done: u64) -> Result<(), (&'static str, String)> {
    // Counters wrap.
    if counter == done as u32 {
        Ok(())
    } else {
        Err(("counters", format!("{what} is {counter}, and should be {done}")))
    }
}

impl Watched {
    /// Looks at the node.
    ///
    /// # Errors
    /// The rule that is broken, and how.
    pub fn look(
        &mut self,
        now: Instant,
        node: &Node<'_>,
        wakes: u64,
        paused: bool,
    ) -> Result<(), (&'static str, String)> {
        let (limits, counters) = (node.limits(), node.counters());
        within("known hosts", node.hosts_known(), limits.hosts)?;
        within("groups", node.groups_known(), limits.known + limits.seats)?;
        within("items", node.items_held(), limits.items)?;
        within("peers", node.peers().count(), limits.peers)?;
        let (small, large) = node.buffers_in_use();
        within("small buffers", small, limits.small_buffers)?;
        within("large buffers", large, limits.large_buffers)?;
        let (mut seats, mut blocks) = (0, 0);
        for group in node.groups() {
            seats += 1;
            blocks += group.bytes.div_ceil(butter_core::wire::BLOCK as u64);
            within("live members", group.members.len(), butter_core::wire::MEMBERS_MAX)?;
            if !group.members.contains(&node.id()) {
                return Err(("limits", format!("is not a member of its group {:?}", group.id)));
            }
        }
        within("seats", seats, limits.seats)?;
        within("blocks", blocks as usize, node.config().storage_blocks as usize)?;
        counted("packets_in", counters.packets_in, self.heard)?;
        counted("packets_out", counters.packets_out, self.said)?;
        counted("groups_joined less groups_left", counters.groups_joined - counters.groups_left, seats as u64)?;
        if counters.doubts_cleared + counters.deaths > counters.doubts {
            let (doubts, cleared, deaths) = (counters.doubts, counters.doubts_cleared, counters.deaths);
            return Err(("counters", format!("{doubts} doubts, of which {cleared} were cleared and {deaths} true")));
        }
        let up = node.peers().filter(|(_, peer)| peer.up).count() as i64;
        if !self.lost && !paused && counters.events_dropped == 0 && up != self.sessions {
            return Err(("sessions", format!("{up} are up, of {} that began and did not end", self.sessions)));
        }
        let (since, before) = *self.wakes.get_or_insert((now, wakes));
        let ms = now.since(since) / 1000;
        if ms >= WAKES_OVER_MS {
            self.wakes = Some((now, wakes));
            let n = wakes - before;
            if n * 1000 > WAKES_PER_S * ms {
                return Err(("wakes", format!("{n} wake-ups within {ms} ms; the next: {:?}", node.deadline())));
            }
        }
        Ok(())
    }
}

//! What a board does for the network besides keeping items, and what it says.

use core::fmt::Write as _;

use butter_core::exchange::Status;
use butter_core::id::{NodeId, RouteId, route};
use butter_embassy::{Error, Node};
use embassy_time::{Duration, Instant, Ticker};
use heapless::{Deque, String};

use crate::log::{info, warning};

/// The answer is the request, backwards.
pub const OHCE: RouteId = route("ohce/1");
/// The answer is the sensor's reading: a text.
pub const SENSOR: RouteId = route("sensor/1");

/// The longest text of a reading, in bytes.
const TEXT: usize = 96;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Hosts greeted last, which are not greeted again.
const GREETED: usize = 16;
/// How long others may be heard whose packets make no sense, before that is said.
const STRANGE: Duration = Duration::from_secs(15);

/// Serves `ohce/1`.
pub async fn ohce(node: Node<'static>) -> Result<(), Error> {
    let mut requests = node.serve(OHCE)?;
    loop {
        requests
            .answer(|request, reply| {
                let body = request.body;
                match reply.room().get_mut(..body.len()) {
                    Some(room) => {
                        room.iter_mut().zip(body.iter().rev()).for_each(|(to, from)| *to = *from);
                        reply.advance(body.len());
                    }
                    None => reply.status(Status::Failed),
                }
            })
            .await;
    }
}

fn reading(id: NodeId, millis: i32) -> String<TEXT> {
    let mut text = String::new();
    let [a, b, c, d, ..] = id.0;
    let seconds = Instant::now().as_secs();
    let (sign, whole, rest) =
        (if millis < 0 { "-" } else { "" }, millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    // It fits: 30 characters and three numbers.
    let _ = writeln!(text, "board {a:02x}{b:02x}{c:02x}{d:02x} at {seconds} s: {sign}{whole}.{rest:03}");
    text
}

/// Serves `sensor/1`: `read` gives the value in thousandths.
pub async fn sensor(node: Node<'static>, mut read: impl FnMut() -> i32) -> Result<(), Error> {
    let mut requests = node.serve(SENSOR)?;
    let id = node.id();
    loop {
        requests
            .answer(|_, reply| {
                if !reply.write(reading(id, read()).as_bytes()) {
                    reply.status(Status::Failed);
                }
            })
            .await;
    }
}

/// Stores a reading in the network every so often: others keep it when the board is gone.
pub async fn readings(node: Node<'static>, every: Duration, mut read: impl FnMut() -> i32) {
    let mut ticker = Ticker::every(every);
    loop {
        ticker.next().await;
        let text = reading(node.id(), read());
        match node.put(text.as_bytes(), 1).await {
            Ok(stored) => {
                let key = stored.key.text();
                info!("reading stored, {} copies: {}", stored.replicas, core::str::from_utf8(&key).unwrap_or_default());
            }
            Err(error) => warning!("the reading is not stored, and lost: {}", error),
        }
    }
}

/// Says what the node comes to: link, hosts, groups, items; and greets every new host by a call of its `ohce/1`.
pub async fn show(node: Node<'static>) -> Result<(), Error> {
    let mut changes = node.changes()?;
    let mut greeted: Deque<NodeId, GREETED> = Deque::new();
    let mut last = None;
    loop {
        let state = node.state();
        if last != Some(state) {
            info!(
                "state: link {}, {} peers, {} hosts, {} groups of {}, {} items",
                state.link, state.peers, state.hosts, state.groups, state.members, state.items
            );
            last = Some(state);
        }
        let new = node.read(|core| {
            core.peers()
                .map(|(_, peer)| peer)
                .find(|peer| peer.up && !greeted.iter().any(|id| *id == peer.id))
                .map(|peer| peer.id)
        });
        match new {
            Some(id) => {
                if greeted.is_full() {
                    greeted.pop_front();
                }
                let _ = greeted.push_back(id);
                greet(&node, id).await;
            }
            None => changes.changed().await,
        }
    }
}

/// Calls a host's `ohce/1`, and says what came of it.
async fn greet(node: &Node<'static>, id: NodeId) {
    let name = id.text();
    let name = core::str::from_utf8(&name).unwrap_or_default();
    let (asked, begun) = (b"butter", Instant::now());
    let mut answer = [0; 16];
    match node.call(id, OHCE, asked, ANSWER, &mut answer).await {
        Ok(length) if answer.get(..length).is_some_and(|answer| answer.iter().rev().eq(asked.iter())) => {
            info!("met {}: it answered ohce/1 in {} us", name, begun.elapsed().as_micros());
        }
        Ok(_) => warning!("met {}: it answered ohce/1 wrongly", name),
        // Most programs serve no such route: that is an answer, too.
        Err(Error::Call(butter_core::exchange::Failure::Refused(Status::NoRoute))) => info!("met {}", name),
        Err(error) => warning!("met {}: ohce/1 failed: {}", name, error),
    }
}

/// Says when there is no link for long, and, once, when packets come but none that this network's secret opens, while there is
/// nobody to talk with. Ends at the first session.
pub async fn warn_of_strangers(node: Node<'static>) {
    let (mut cut, mut told) = (false, false);
    loop {
        embassy_time::Timer::after(STRANGE).await;
        let link = node.state().link;
        if !link && !cut {
            warning!("no link, or no address: is the cable plugged in, and the switch on?");
        }
        cut = !link;
        let (strange, alone) =
            node.read(|core| (core.counters().packets_unopened, core.peers().all(|(_, peer)| !peer.up)));
        if !alone {
            return;
        }
        if strange > 0 && !told {
            warning!("packets come that this network's secret does not open: are its name and secret the right ones?");
            told = true;
        }
    }
}

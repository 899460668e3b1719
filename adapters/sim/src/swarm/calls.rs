//! Calls between nodes: each ends once, within its deadline, and is run at most once in one life of its server.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use butter_core::Node;
use butter_core::exchange::Status;
use butter_core::id::RouteId;
use butter_core::node::{CallId, Event};
use butter_core::time::Instant;

use crate::world::{Who, World};

/// What is served.
const ROUTE: RouteId = butter_core::id::route("swarm/1");
/// Milliseconds by which an answer may be late: the timer that ends a call is served at its time.
const SLACK_MS: u32 = 100;

#[derive(Default)]
struct Books {
    /// Calls under way: the number in the body, and the world's time at which it must have ended.
    open: BTreeMap<(Who, CallId), (u64, Instant)>,
    /// (server, number) of what was run in the present life of the server.
    run: BTreeSet<(Who, u64)>,
    /// Milliseconds by which nodes that stood still, or whose clocks jumped, may answer later.
    late_ms: BTreeMap<Who, u32>,
    number: u64,
    answered: u64,
    failed: u64,
    wrong: Option<(Who, String)>,
}

/// All calls of a run.
#[derive(Clone, Default)]
pub struct Calls(Rc<RefCell<Books>>);

impl Calls {
    /// Serves and answers calls in a world from now on.
    pub fn hook(&self, world: &mut World<'_>) {
        let books = self.0.clone();
        world.set_hook(move |clock, who, event, node| books.borrow_mut().event(clock, who, event, node));
    }

    /// A node has started: it serves.
    pub fn serve(&self, world: &mut World<'_>, who: Who) {
        self.died(who);
        world.call(who, |_, node| node.serve_route(ROUTE).is_ok());
    }

    /// What a node had under way ends with it.
    pub fn died(&self, who: Who) {
        let mut books = self.0.borrow_mut();
        books.open.retain(|(of, _), _| *of != who);
        books.run.retain(|(of, _)| *of != who);
    }

    /// One node calls another, which it may not know.
    pub fn call(&self, world: &mut World<'_>, from: Who, to: Who, len: usize, deadline_ms: u32) {
        let number = {
            let mut books = self.0.borrow_mut();
            books.number += 1;
            books.number
        };
        let id = world.id(to);
        let mut body = number.to_le_bytes().to_vec();
        body.resize(8 + len, number as u8);
        let call = world.call(from, |clock, node| {
            node.call(clock, id, ROUTE, &body, deadline_ms).inspect(|call| {
                let until = Instant::from_micros(u64::from(deadline_ms) * 1000);
                self.0.borrow_mut().open.insert((from, *call), (number, until));
            })
        });
        // Refused is an answer, too.
        if let Some(Ok(call)) = call
            && let Some((_, until)) = self.0.borrow_mut().open.get_mut(&(from, call))
        {
            *until = world.now().plus_ms(deadline_ms + SLACK_MS);
        }
    }

    /// What was found wrong.
    pub fn wrong(&self, world: &World<'_>) -> Option<(Who, String)> {
        let books = self.0.borrow();
        if books.wrong.is_some() {
            return books.wrong.clone();
        }
        let late_ms = |who: &Who| books.late_ms.get(who).copied().unwrap_or(0);
        let late = books
            .open
            .iter()
            .find(|((who, _), (_, until))| world.now() > until.plus_ms(late_ms(who)) && !world.is_paused(*who));
        late.map(|((who, _), (number, until))| (*who, format!("call {number} was to end by {until:?} and has not")))
    }

    /// A node that stands still for so long, or whose clock jumps by so much, may answer later by as much.
    pub fn late(&self, who: Who, ms: u32) {
        *self.0.borrow_mut().late_ms.entry(who).or_default() += ms;
    }

    /// Calls answered, and calls that failed visibly.
    pub fn counts(&self) -> (u64, u64) {
        let books = self.0.borrow();
        (books.answered, books.failed)
    }
}

impl Books {
    fn event(&mut self, clock: Instant, who: Who, event: Event, node: &mut Node<'_>) {
        match event {
            Event::Request(serve) => {
                let Some(request) = node.request(serve) else { return };
                let body = request.body.to_vec();
                let number = body.first_chunk().map(|number| u64::from_le_bytes(*number));
                // A server whose tables are full forgets kept answers, and says so.
                if !self.run.insert((who, number.unwrap_or(0))) && node.counters().answers_evicted == 0 {
                    self.wrong = Some((who, format!("call {number:?} was run twice")));
                }
                // Every 16th is never answered: the caller's deadline ends it.
                if number.is_some_and(|number| number % 16 != 0) {
                    let _ = node.respond(clock, serve, Status::Ok, &body);
                }
            }
            Event::Answered(call) => {
                let Some((number, _)) = self.open.remove(&(who, call)) else { return };
                match node.answer(call) {
                    Some(Ok(body)) => {
                        self.answered += 1;
                        if body.first_chunk() != Some(&number.to_le_bytes()) {
                            self.wrong = Some((who, format!("call {number} was answered with something else")));
                        }
                    }
                    Some(Err(_)) => self.failed += 1,
                    None => self.wrong = Some((who, format!("call {number} has ended without a result"))),
                }
                node.cancel(clock, call);
            }
            _ => {}
        }
    }
}

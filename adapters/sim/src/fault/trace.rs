//! Churn as it was measured: a file that says when each node came and went.
//!
//! One event a line: seconds since the start, the node's number, and `up` or `down`. Nodes are numbered from 0 in the order
//! in which they first come. Empty lines and what follows `#` are ignored.
//!
//! ```text
//! 0     0 up
//! 0     1 up    # a second node
//! 12.5  0 down
//! 60    0 up    # and back
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use butter_core::time::Instant;

use crate::scenario::units::Time;
use crate::world::{Spec, What, Who, World};

/// Lines of a trace, at most.
pub const TRACE_LINES_MAX: usize = 10_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Event {
    at: Time,
    node: u32,
    up: bool,
}

/// When nodes come and go, checked: every node that comes goes before it comes again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    events: Rc<[Event]>,
    nodes: u32,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// What is wrong with it, and in which line: a hole is where a line must be missing.
    pub fn read(text: &str) -> Result<Trace, String> {
        let mut events: Vec<Event> = Vec::new();
        // Of each node, whether it is up and which line said so.
        let mut seen: Vec<(bool, usize)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            let wrong = |why: String| Err(format!("line {number}: {why}"));
            if number > TRACE_LINES_MAX {
                return wrong(format!("a trace has at most {TRACE_LINES_MAX} lines"));
            }
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let [seconds, node, state] = words[..] else {
                if words.is_empty() {
                    continue;
                }
                return wrong(format!("`{}` is not a time in seconds, a node's number, and up or down", line.trim()));
            };
            let at = match format!("{seconds} s").parse::<Time>() {
                Ok(at) => at,
                Err(why) => return wrong(why),
            };
            let Ok(node) = node.parse::<u32>() else { return wrong(format!("`{node}` is no node's number")) };
            let up = match state {
                "up" => true,
                "down" => false,
                _ => return wrong(format!("`{state}` is neither up nor down")),
            };
            if let Some(last) = events.last().filter(|last| last.at > at) {
                return wrong(format!("{at} is before {}, when the line before it is", last.at));
            }
            let known = seen.len();
            match seen.get_mut(node as usize) {
                Some((was_up, line)) if *was_up == up => {
                    let (now, missing) = if up { ("comes", "went") } else { ("goes", "came") };
                    return wrong(format!(
                        "node {node} {now}, as it did in line {line}: when it {missing} in between is missing"
                    ));
                }
                Some(state) => *state = (up, number),
                None if node as usize == known && up => seen.push((true, number)),
                None if up => return wrong(format!("node {node} comes, but node {} never did", known)),
                None => return wrong(format!("node {node} goes, but it never came")),
            }
            events.push(Event { at, node, up });
        }
        if events.is_empty() {
            return Err("the trace is empty".into());
        }
        Ok(Trace { events: events.into(), nodes: seen.len() as u32 })
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// When its last event is.
    pub fn lasts(&self) -> Time {
        self.events.last().map_or(Time::default(), |last| last.at)
    }
}

/// A trace that the world follows.
pub(crate) struct Following {
    trace: Trace,
    spec: Rc<Spec>,
    keep_disk: bool,
    began: Instant,
    next: usize,
    nodes: BTreeMap<u32, Who>,
}

impl World<'_> {
    /// Lets nodes of one kind come and go from now on as a trace says; ends a trace that is being followed. A node that
    /// comes again is the same one, with or without its disk.
    pub fn follow(&mut self, trace: &Trace, spec: &Spec, keep_disk: bool) {
        let (trace, spec) = (trace.clone(), Rc::new(spec.clone()));
        let first = self.now.plus_us(trace.events[0].at.us());
        self.following = Some(Following { trace, spec, keep_disk, began: self.now, next: 0, nodes: BTreeMap::new() });
        self.queue.push(first, What::Follow);
    }

    pub(crate) fn follow_on(&mut self) {
        while let Some(following) = &mut self.following {
            let Some(event) = following.trace.events.get(following.next).copied() else { return };
            let at = following.began.plus_us(event.at.us());
            if at > self.now {
                self.queue.push(at, What::Follow);
                return;
            }
            following.next += 1;
            let (spec, keep_disk) = (following.spec.clone(), following.keep_disk);
            match following.nodes.get(&event.node).copied() {
                None => {
                    let who = self.add_one(spec, self.now, None);
                    if let Some(following) = &mut self.following {
                        following.nodes.insert(event.node, who);
                    }
                }
                Some(who) if event.up => self.restart(who, keep_disk),
                Some(who) => self.kill(who),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_and_a_hole_named_with_its_line() {
        let trace = Trace::read("# measured\n0 0 up\n0 1 up # two\n\n12.5 0 down\n60 0 up\n").unwrap();
        assert_eq!((trace.nodes(), trace.lasts()), (2, Time::from_s(60)));
        for (text, why) in [
            ("", "the trace is empty"),
            ("0 0 up\n5 0 up", "line 2: node 0 comes, as it did in line 1: when it went in between is missing"),
            (
                "0 0 up\n1 0 down\n5 0 down",
                "line 3: node 0 goes, as it did in line 2: when it came in between is missing",
            ),
            ("0 0 up\n0 2 up", "line 2: node 2 comes, but node 1 never did"),
            ("0 0 down", "line 1: node 0 goes, but it never came"),
            ("9 0 up\n5 0 down", "line 2: 5 s is before 9 s, when the line before it is"),
            ("0 0 up\n1 0", "line 2: `1 0` is not a time in seconds, a node's number, and up or down"),
            ("-1 0 up", "line 1: `-1 s` is negative"),
            ("0 x up", "line 1: `x` is no node's number"),
            ("0 0 away", "line 1: `away` is neither up nor down"),
        ] {
            assert_eq!(Trace::read(text), Err(why.into()), "{text}");
        }
    }
}

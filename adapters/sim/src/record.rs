//! Writing down what a node is given, to be replayed on another machine.

use butter_core::Node;
use butter_core::time::Instant;
use butter_replay::{Bench, Call, LIMITS, Replayed, Start, Step, config};

use crate::machine::Machine;
use crate::world::{Who, World};

/// What is written down of one node since it last started.
#[derive(Default)]
pub(crate) struct Recorder {
    bytes: Vec<u8>,
    pub bench: Bench,
    last: Instant,
    calls: u32,
}

impl Recorder {
    /// The node starts: what was written down before is forgotten.
    pub fn start(&mut self, machine: &Machine, start: &Start<'_>) {
        let same = format!("{:?}", machine.config) == format!("{:?}", config());
        assert!(same && machine.limits == LIMITS, "only nodes of the machine `tiny` can be recorded");
        *self = Recorder::default();
        self.frame(postcard::to_stdvec(start));
    }

    /// The node is called, `now` by its own clock.
    pub fn call(&mut self, now: Instant, call: &Call<'_>) {
        let after_us = now.as_micros().wrapping_sub(self.last.as_micros()) as i64;
        self.last = now;
        self.calls += 1;
        self.frame(postcard::to_stdvec(&Step { after_us, call: *call }));
    }

    fn frame(&mut self, frame: Result<Vec<u8>, postcard::Error>) {
        let frame = frame.expect("a vector has room");
        self.bytes.extend((frame.len() as u16).to_le_bytes());
        self.bytes.extend(frame);
    }

    fn play(&mut self, now: Instant, call: &Call<'_>, node: &mut Node<'_>, buffer: &mut [u8]) {
        self.call(now, call);
        self.bench.play(now, call, node, buffer);
    }
}

/// What was written down of a node.
#[derive(Clone, Debug)]
pub struct Recording {
    /// For [`butter_replay::replay`].
    pub bytes: Vec<u8>,
    /// What the node said, and so what every replay must come to.
    pub replayed: Replayed,
}

impl World<'_> {
    /// Writes down what a node is given from its next start on, and takes its events ([`butter_replay::Bench`]). Only
    /// [`Machine::tiny`] in an open network, with a world on [`butter_crypto::RustCrypto`]. From then on it is to be called by
    /// [`World::play`] alone, or what it is called is not written down. Costs memory for all that it is given.
    pub fn record(&mut self, who: Who) {
        self.slots[who.index()].recorder = Some(Box::default());
    }

    /// Calls a recorded node. What it then has to send is sent. False when it does not run, or is not recorded.
    pub fn play(&mut self, who: Who, call: &Call<'_>) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock.read(self.now);
        let (Some(node), Some(recorder)) = (slot.node.as_deref_mut(), &mut slot.recorder) else { return false };
        recorder.play(clock, call, node, &mut self.buffer);
        self.pump(who);
        true
    }

    /// What was written down of a node that runs, up to now, its whole state read at the end. `None` when it does not run,
    /// or is not recorded.
    pub fn recording(&mut self, who: Who) -> Option<Recording> {
        self.play(who, &Call::Read).then_some(())?;
        let Recorder { bytes, bench, calls, .. } = self.slots[who.index()].recorder.as_deref()?;
        let replayed = Replayed { trace: bench.trace(), outputs: bench.outputs(), calls: *calls };
        Some(Recording { bytes: bytes.clone(), replayed })
    }
}

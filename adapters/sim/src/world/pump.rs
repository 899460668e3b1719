//! What nodes are given and what they have to say: packets, wake-ups, storage, events.

use butter_core::node::Destination;
use butter_core::storage::{StoreDone, StoreTicket};
use butter_core::time::Instant;
use butter_core::wire::MTU;
use butter_replay::Call;
use twox_hash::XxHash3_128;

use super::packets::{Origin, PacketId};
use super::queue::What;
use super::slot::LINK;
use super::{Who, World};
use crate::net::Hop;

/// Rounds of polling after one input, and wake-ups at one moment, past which a node is taken to spin.
const SPIN: u32 = 10_000;
/// Packets that wait for a paused node, as in a socket's buffer; more are lost.
const BACKLOG: usize = 256;

impl World<'_> {
    pub(super) fn arrive(&mut self, to: Who, packet: PacketId) {
        let slot = &mut self.slots[to.index()];
        if slot.paused && slot.backlog.len() < BACKLOG {
            slot.backlog.push(packet);
            return;
        }
        let (origin, _) = self.packets.origin(packet);
        let len = self.packets.take(packet, &mut self.buffer);
        let clock = slot.clock.read(self.now);
        let Some(node) = slot.node.as_mut().filter(|_| !slot.paused) else {
            self.checks.vanished += 1;
            return;
        };
        self.checks.heard(to);
        if let Some(recorder) = &mut slot.recorder {
            recorder.call(clock, &Call::Datagram { from: origin.seen, bytes: &self.buffer[..len] });
        }
        node.handle_datagram(clock, LINK, origin.seen, &mut self.buffer[..len]);
        self.pump(to);
    }

    /// A packet arrives in front of a host.
    pub(super) fn enter(&mut self, hop: Hop, packet: PacketId) {
        let (Origin { from, seen }, len) = self.packets.origin(packet);
        match self.net.enter(self.now, hop, from, seen, len) {
            Some((to, 0)) => self.arrive(to, packet),
            Some((to, us)) => self.queue.push(self.now.plus_us(us), What::Packet { to, packet }),
            None => {
                self.packets.take(packet, &mut self.buffer);
            }
        }
    }

    pub(super) fn wake(&mut self, who: Who) {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock.read(self.now);
        let Some(node) = slot.node.as_mut().filter(|_| !slot.paused) else { return };
        slot.wakes += 1;
        slot.spin = if slot.spin.0 == self.now { (self.now, slot.spin.1 + 1) } else { (self.now, 0) };
        assert!(slot.spin.1 < SPIN, "{who:?} spins at {clock:?}: {:?}", node.deadline());
        if let Some(recorder) = &mut slot.recorder {
            recorder.call(clock, &Call::Timeout);
        }
        node.handle_timeout(clock);
        self.pump(who);
    }

    /// Everything that a node has to say after an input, and its next wake-up.
    pub(crate) fn pump(&mut self, who: Who) {
        for round in 0.. {
            assert!(round < SPIN, "{who:?} never falls silent at {:?}", self.now);
            let events = self.pump_events(who);
            let packets = self.pump_packets(who);
            let stored = self.pump_store(who);
            if !(events || packets || stored) {
                break;
            }
        }
        let slot = &mut self.slots[who.index()];
        let deadline = slot.node.as_ref().filter(|_| !slot.paused).and_then(|node| node.deadline());
        if let Some(recorder) = slot.recorder.as_mut().filter(|_| slot.node.is_some() && !slot.paused) {
            recorder.call(slot.clock.read(self.now), &Call::Deadline);
            recorder.bench.deadline(deadline);
        }
        let at = deadline.map(|deadline| slot.clock.when(deadline.at).max(self.now));
        self.queue.arm(who, at);
    }

    fn pump_events(&mut self, who: Who) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock.read(self.now);
        let Some(node) = slot.node.as_deref_mut().filter(|_| !slot.paused) else { return false };
        let mut any = false;
        if let Some(recorder) = &mut slot.recorder {
            recorder.call(clock, &Call::Events);
        }
        while let Some(event) = node.poll_event() {
            any = true;
            self.checks.event(self.now, who, event, node);
            if let Some(recorder) = &mut slot.recorder {
                recorder.bench.event(clock, event, node);
            } else if !self.jobs.event(self.now, clock, who, event, node)
                && let Some(hook) = &mut self.hook
            {
                hook(clock, who, event, node);
            }
        }
        any
    }

    fn pump_packets(&mut self, who: Who) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock.read(self.now);
        let Some(node) = slot.node.as_deref_mut().filter(|_| !slot.paused) else { return false };
        let mut any = false;
        if let Some(recorder) = &mut slot.recorder {
            recorder.call(clock, &Call::Packets);
        }
        loop {
            let transmit = node.poll_transmit(clock, LINK, &mut self.buffer[..MTU]);
            if let Some(recorder) = &mut slot.recorder {
                recorder.bench.packet(transmit, &self.buffer);
            }
            let Some(transmit) = transmit else { return any };
            any = true;
            self.checks.said(who);
            let bytes = &self.buffer[..transmit.len];
            self.trace = traced(self.trace, self.now, who, transmit.to, bytes);
            self.sent.clear();
            let seen = self.net.send(self.now, who, transmit.to, bytes.len(), &mut self.sent);
            if self.sent.is_empty() {
                continue;
            }
            let packet = self.packets.keep(bytes, Origin { from: who, seen }, self.sent.len() as u32);
            for sent in &self.sent {
                let what = match sent.to {
                    Hop::Host(to) => What::Packet { to, packet },
                    hop => What::Gate { hop, packet },
                };
                self.queue.push(self.now.plus_us(sent.after_us), what);
            }
        }
    }

    fn pump_store(&mut self, who: Who) -> bool {
        let mut any = false;
        loop {
            let slot = &mut self.slots[who.index()];
            let Some(node) = slot.node.as_deref_mut().filter(|_| !slot.paused) else { return any };
            let op = node.poll_store(&mut self.buffer);
            if let Some(recorder) = &mut slot.recorder {
                recorder.call(slot.clock.read(self.now), &Call::Store);
                recorder.bench.storing(op, &self.buffer);
            }
            let Some(op) = op else { return any };
            any = true;
            let ends = slot.disk.begin(self.now, op, &self.buffer);
            self.checks.storing(who, op);
            if ends == self.now {
                self.end_stored(who, op.ticket());
            } else {
                self.queue.push(ends, What::Stored { at: who, boot: slot.boots, ticket: op.ticket() });
            }
        }
    }

    pub(super) fn end_stored(&mut self, who: Who, ticket: StoreTicket) -> bool {
        let slot = &mut self.slots[who.index()];
        let clock = slot.clock.read(self.now);
        let (Some(node), Some(result)) = (slot.node.as_deref_mut(), slot.disk.end(ticket, &mut self.disk_rng)) else {
            return false;
        };
        self.checks.stored(self.now, who, ticket, result.is_ok(), node);
        if let Some((recorder, number)) = slot.recorder.as_mut().and_then(|r| r.bench.stored(ticket).map(|n| (r, n))) {
            recorder.call(clock, &Call::Stored { number, result: result.map_err(Into::into) });
        }
        node.handle_store(clock, StoreDone { ticket, result });
        true
    }

    /// Hands a resumed node what has waited for it.
    pub(crate) fn drain_backlog(&mut self, who: Who) {
        for packet in std::mem::take(&mut self.slots[who.index()].backlog) {
            self.arrive(who, packet);
        }
    }

    /// Forgets what has waited for a node that died.
    pub(crate) fn drop_backlog(&mut self, who: Who) {
        for packet in std::mem::take(&mut self.slots[who.index()].backlog) {
            self.packets.take(packet, &mut self.buffer);
            self.checks.vanished += 1;
        }
    }
}

fn traced(trace: u128, now: Instant, from: Who, to: Destination, bytes: &[u8]) -> u128 {
    let mut head = [0; 64];
    head[..16].copy_from_slice(&trace.to_le_bytes());
    head[16..24].copy_from_slice(&now.as_micros().to_le_bytes());
    head[24..28].copy_from_slice(&from.0.to_le_bytes());
    match to {
        Destination::Addr(addr) => {
            head[29..45].copy_from_slice(&addr.ip);
            head[45..47].copy_from_slice(&addr.port.to_le_bytes());
            head[47..49].copy_from_slice(&addr.slot.to_le_bytes());
        }
        Destination::Multicast => head[28] = 1,
        Destination::Broadcast => head[28] = 2,
    }
    head[49..57].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    let seed = XxHash3_128::oneshot(&head);
    XxHash3_128::oneshot_with_seed(seed as u64, bytes) ^ seed >> 64
}

//! What a node sits on while it is recorded or replayed: the same application, and a hash over all that it says.

use core::fmt::{self, Debug, Write};

use butter_core::Node;
use butter_core::addr::{LinkId, LinkState};
use butter_core::crypto::Crypto as _;
use butter_core::exchange::Status;
use butter_core::id::{RouteId, route};
use butter_core::node::{Deadline, Event, PutId, Transmit};
use butter_core::storage::{StoreDone, StoreOp, StoreTicket};
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, MTU};
use butter_crypto::RustCrypto;

use crate::call::Call;

/// The route that the application serves and calls.
pub const ROUTE: RouteId = route("replay/1");

const LINK: LinkId = LinkId(0);
/// Puts under way whose bytes are known, and storage operations that can be completed: more than [`crate::LIMITS`] allows.
const PUTS: usize = 4;
const JOBS: usize = 8;
/// Milliseconds within which calls are to be answered.
const ASK_MS: u32 = 5_000;

/// The application of a recorded node, its storage's tickets, and the trace: a hash (BLAKE2s-256) over everything the node
/// has said, in order. Outputs are hashed as their `Debug` shows them, with the bytes that belong to them.
#[derive(Default)]
pub struct Bench {
    hash: [u8; 32],
    outputs: u32,
    /// The puts under way, and the number of each one's object.
    puts: [Option<(PutId, u32)>; PUTS],
    objects: u32,
    /// The storage operations under way, and the number of each.
    jobs: [Option<(StoreTicket, u32)>; JOBS],
    jobs_begun: u32,
}

/// A text of bounded length, cut where it is longer.
struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(text.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}

impl Bench {
    /// The hash over all outputs so far.
    pub fn trace(&self) -> [u8; 32] {
        self.hash
    }

    /// Outputs so far.
    pub fn outputs(&self) -> u32 {
        self.outputs
    }

    /// Takes an output, and the bytes that belong to it.
    fn said(&mut self, what: &dyn Debug, bytes: &[u8]) {
        let mut text = Text { bytes: [0; 512], len: 0 };
        let _ = write!(text, "{what:?}");
        let text = text.bytes.get(..text.len).unwrap_or_default();
        let lens = [text.len() as u32, bytes.len() as u32].map(u32::to_le_bytes);
        self.hash = RustCrypto.hash(&[&self.hash, &lens[0], text, &lens[1], bytes]);
        self.outputs += 1;
    }

    /// The node has this packet to send, or none.
    pub fn packet(&mut self, transmit: Option<Transmit>, buffer: &[u8]) {
        let bytes = transmit.and_then(|transmit| buffer.get(..transmit.len)).unwrap_or_default();
        self.said(&transmit, bytes);
    }

    /// The node asks this of its storage, or nothing.
    pub fn storing(&mut self, op: Option<StoreOp>, buffer: &[u8]) {
        let bytes = match op {
            Some(StoreOp::Put { len, .. } | StoreOp::Seat { len, .. }) => buffer.get(..len).unwrap_or_default(),
            _ => &[],
        };
        self.said(&op, bytes);
        if let (Some(op), Some(free)) = (op, self.jobs.iter_mut().find(|job| job.is_none())) {
            *free = Some((op.ticket(), self.jobs_begun));
            self.jobs_begun += 1;
        }
    }

    /// The number of a storage operation that has ended. It is forgotten.
    pub fn stored(&mut self, ticket: StoreTicket) -> Option<u32> {
        let job = self.jobs.iter_mut().find(|job| job.is_some_and(|(other, _)| other == ticket))?;
        job.take().map(|(_, number)| number)
    }

    /// The node wants to be woken then, or never.
    pub fn deadline(&mut self, deadline: Option<Deadline>) {
        self.said(&deadline, &[]);
    }

    /// The node tells the application something; what that calls in answer is the same wherever it runs.
    pub fn event(&mut self, now: Instant, event: Event, node: &mut Node<'_>) {
        self.said(&event, &[]);
        match event {
            Event::PutWants { put, block } => {
                let Some(status) = node.put_status(put) else { return };
                let Some((_, object)) = self.puts.iter().flatten().find(|(other, _)| *other == put) else { return };
                let from = u64::from(block) * BLOCK as u64;
                let len = status.bytes_total.saturating_sub(from).min(BLOCK as u64) as usize;
                let mut bytes = [0; BLOCK];
                made_up(*object, from, &mut bytes);
                let taken = node.put_block(now, put, block, bytes.get(..len).unwrap_or_default());
                self.said(&taken, &[]);
            }
            Event::PutDone(put) => {
                self.said(&node.put_status(put), &[]);
                node.put_free(now, put);
                self.puts.iter_mut().filter(|of| of.is_some_and(|(other, _)| other == put)).for_each(|of| *of = None);
            }
            Event::GetHas { get, block } => {
                let mut bytes = [0; BLOCK];
                let len = node.got_block(now, get, block, &mut bytes);
                self.said(&len, bytes.get(..len.unwrap_or(0)).unwrap_or_default());
            }
            Event::GetDone(get) => {
                self.said(&node.get_status(get), &[]);
                node.get_free(now, get);
            }
            Event::Answered(call) => {
                let answer = node.answer(call);
                self.said(
                    &answer.map(|answer| answer.map(<[u8]>::len)),
                    answer.and_then(Result::ok).unwrap_or_default(),
                );
                node.cancel(now, call);
            }
            Event::Request(serve) => {
                let mut body = [0; 64];
                let mut len = 0;
                if let Some(request) = node.request(serve) {
                    self.said(&(request.from, request.route, request.deadline), request.body);
                    len = request.body.len().min(body.len());
                    body.iter_mut().zip(request.body).for_each(|(to, from)| *to = *from);
                }
                let done = node.respond(now, serve, Status::Ok, body.get(..len).unwrap_or_default());
                self.said(&done, &[]);
            }
            _ => {}
        }
    }

    /// Makes a call of a node. `buffer` is a packet's or a block's, whichever is longer.
    pub fn play(&mut self, now: Instant, call: &Call<'_>, node: &mut Node<'_>, buffer: &mut [u8]) {
        match *call {
            Call::Link => node.handle_link(now, LINK, LinkState::Up { mtu: MTU as u16 }),
            Call::Remember(record) => node.remember(now, &record, LINK),
            Call::Datagram { from, bytes } => {
                if let Some(data) = buffer.get_mut(..bytes.len()) {
                    data.copy_from_slice(bytes);
                    node.handle_datagram(now, LINK, from, data);
                }
            }
            Call::Timeout => node.handle_timeout(now),
            Call::Stored { number, result } => {
                let job = self.jobs.iter_mut().find(|job| job.is_some_and(|(_, other)| other == number));
                let ticket = job.and_then(Option::take).map_or(StoreTicket::NONE, |(ticket, _)| ticket);
                node.handle_store(now, StoreDone { ticket, result: result.map_err(Into::into) });
            }
            Call::Events => {
                while let Some(event) = node.poll_event() {
                    self.event(now, event, node);
                }
            }
            Call::Packets => loop {
                let packet = buffer.get_mut(..MTU).unwrap_or_default();
                let transmit = node.poll_transmit(now, LINK, packet);
                self.packet(transmit, packet);
                if transmit.is_none() {
                    break;
                }
            },
            Call::Store => {
                let op = node.poll_store(buffer);
                self.storing(op, buffer);
            }
            Call::Deadline => self.deadline(node.deadline()),
            Call::Put(length) => {
                let put = node.put(now, length, 1);
                self.said(&put, &[]);
                if let (Ok(put), Some(free)) = (put, self.puts.iter_mut().find(|of| of.is_none())) {
                    *free = Some((put, self.objects));
                    self.objects += 1;
                }
            }
            Call::Get(key) => self.said(&node.get(now, key, 0), &[]),
            Call::Serve => self.said(&node.serve_route(ROUTE), &[]),
            Call::Ask(to) => self.said(&node.call(now, to, ROUTE, &to.0, ASK_MS), &[]),
            Call::Read => self.read(node),
        }
    }

    fn read(&mut self, node: &Node<'_>) {
        node.counters().iter().for_each(|count| self.said(&count, &[]));
        node.hosts().for_each(|host| self.said(&host, &[]));
        node.groups().for_each(|group| self.said(&group, &[]));
        node.peers().for_each(|peer| self.said(&peer, &[]));
        self.said(&(node.hosts_known(), node.groups_known(), node.items_held(), node.buffers_in_use()), &[]);
    }
}

/// The bytes of an object from `from` on: no two blocks are alike.
fn made_up(object: u32, from: u64, bytes: &mut [u8]) {
    for (at, byte) in (from..).zip(bytes) {
        let mixed = (at as u32 ^ object << 24).wrapping_mul(0x9e37_79b1);
        *byte = (mixed >> 24) as u8;
    }
}

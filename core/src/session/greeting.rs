//! Greetings: packets that open under the network's key alone (PROTOCOL §2.2).
//!
//! ```text
//! greeting = nonce (12, random) ‖ sealed (kind (1) ‖ body) ‖ tag (16)
//! Ping  1  id (32) ‖ boot (8) ‖ token (8) ‖ seeking (1) ‖ count (1) ‖ count × short (3) ‖ zeros up to 256 bytes of packet
//! Pong  2  id (32) ‖ boot (8) ‖ token (8) ‖ observed address (postcard) ‖ cookie (8) ‖ Facts (postcard) ‖ HostRecord*
//! Hello 3  cookie (8) ‖ sender's index (4) ‖ first Noise message (see `handshake`)
//! Via   4  slot, u16 little-endian (2) ‖ packet      to a relay: forward it to the client in this slot
//! Via   5  slot, u16 little-endian (2) ‖ packet      from a relay: it came from the client in this slot
//! ```
//!
//! The nonce is random under a key as old as the network. With 96 bits, the chance that any two of n greetings of one
//! network share a nonce is below n² / 2⁹⁷: 2⁻³³ after 2³² greetings. A repetition tells an outsider the XOR of two
//! greetings and lets it forge greetings, which never carry content and prove nothing but knowledge of the network.
//! A node sends few of them: dials retry with doubling time-outs, Pongs answer Pings, discovery is paced.
//!
//! A *short* of a host is three bytes of its id, from byte `token[0] % 30` on: who is silenced by a collision once is
//! not silenced for ever.

#[cfg(test)]
mod vectors;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::{Held, Peer, Step, Stray, want};
use crate::addr::{Addr, LinkId};
use crate::crypto::TAG_LEN;
use crate::discover::MEET_MAX;
use crate::hosts::{HostInfo, Standing};
use crate::id::NodeId;
use crate::node::{Destination, Env, Node, Transmit};
use crate::wire::{Facts, HostRecord, VIA_OVERHEAD, Writer};

/// Bytes of a Ping, and the most of a Pong.
pub const PING_LEN: usize = 256;
/// Milliseconds for which a cookie secret and a ping token are the newest; they are valid twice that long.
pub(crate) const COOKIE_MS: u32 = 120_000;
/// Hosts that a Ping can list.
const KNOWN_MAX: usize = 56;
/// Hosts that a Pong tells of.
const TOLD_MAX: usize = 4;

const NONCE_LEN: usize = 12;
/// Before the packet in an envelope: nonce, kind, slot.
pub(super) const VIA_HEAD: usize = NONCE_LEN + 3;
const _: () = assert!(VIA_HEAD + TAG_LEN <= VIA_OVERHEAD);
/// Bytes of kind and body in a Ping.
const PING_BODY: usize = PING_LEN - NONCE_LEN - TAG_LEN;

/// Kinds of greetings.
mod kind {
    pub const PING: u8 = 1;
    pub const PONG: u8 = 2;
    pub const HELLO: u8 = 3;
    pub const VIA: u8 = 4;
    pub const VIA_FROM: u8 = 5;
}

#[derive(Serialize, Deserialize)]
struct Ping {
    id: NodeId,
    #[serde(with = "crate::wire::bytes")]
    boot: [u8; 8],
    #[serde(with = "crate::wire::bytes")]
    token: [u8; 8],
    seeking: bool,
    known: Vec<[u8; 3], KNOWN_MAX>,
}

#[derive(Serialize, Deserialize)]
struct Pong {
    id: NodeId,
    #[serde(with = "crate::wire::bytes")]
    boot: [u8; 8],
    #[serde(with = "crate::wire::bytes")]
    token: [u8; 8],
    observed: Addr,
    #[serde(with = "crate::wire::bytes")]
    cookie: [u8; 8],
    facts: Facts,
}

/// What makes cookies and recognises answers without remembering whom we asked.
#[derive(Debug, Default)]
pub(crate) struct Greeter {
    /// The newest cookie secret and the one before.
    cookies: [[u8; 16]; 2],
    /// The newest token of our Pings and the one before.
    tokens: [[u8; 8]; 2],
}

impl Greeter {
    /// Draws a new secret and token; those before the previous ones are void.
    pub fn rotate(&mut self, env: &mut Env<'_>) {
        let fresh = env.secrets.next(env.crypto);
        self.cookies = [first(&fresh), self.cookies[0]];
        self.tokens = [first(&fresh[16..]), self.tokens[0]];
    }

    fn cookie(secret: &[u8; 16], env: &Env<'_>, link: LinkId, addr: &Addr) -> [u8; 8] {
        let (port, slot) = (addr.port.to_le_bytes(), addr.slot.to_le_bytes());
        first(&env.crypto.hash(&[b"butter cookie", secret, &[link.0], &addr.ip, &port, &slot]))
    }

    /// Whether a cookie is one that we gave to this address.
    pub fn is_valid(&self, env: &Env<'_>, link: LinkId, addr: &Addr, cookie: &[u8]) -> bool {
        self.cookies.iter().any(|secret| {
            let expected = Self::cookie(secret, env, link, addr);
            // All bytes are compared, so that time tells nothing.
            cookie.len() == 8 && expected.iter().zip(cookie).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
        })
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// A token of ours ends with the milliseconds since the start, modulo 2^16, at which the Ping was written, so that its Pong
/// tells how long the way is.
fn split_token(token: &[u8; 8]) -> (&[u8], u16) {
    let (secret, sent) = token.split_at(6);
    (secret, u16::from_le_bytes(sent.try_into().unwrap_or_default()))
}

fn short(token: &[u8; 8], id: &NodeId) -> [u8; 3] {
    first(&id.0[usize::from(token[0] % 30)..])
}

/// Seals the `len` bytes of kind and body that stand after room for the nonce; returns the packet's length.
pub(super) fn seal(env: &mut Env<'_>, buf: &mut [u8], len: usize) -> Option<usize> {
    let nonce: [u8; NONCE_LEN] = first(&env.secrets.next(env.crypto));
    let (head, rest) = buf.split_at_mut_checked(NONCE_LEN)?;
    let (body, tail) = rest.split_at_mut_checked(len)?;
    let room = tail.get_mut(..TAG_LEN)?;
    head.copy_from_slice(&nonce);
    let tag = env.crypto.seal(&env.identity.network.greeting, &nonce, &[], body);
    room.copy_from_slice(&tag);
    Some(NONCE_LEN + len + TAG_LEN)
}

/// Where an inner packet for `to` begins in the caller's buffer, and how long it may be.
pub(super) fn frame(to: &Addr, mtu: usize) -> (usize, usize) {
    if to.slot == 0 { (0, mtu) } else { (VIA_HEAD, mtu.saturating_sub(VIA_OVERHEAD)) }
}

/// Puts the inner packet, already in its place, into an envelope if `to` is behind a relay.
/// `relayed`: we are that relay, and the slot is the sender's.
pub(super) fn finish(env: &mut Env<'_>, to: Addr, relayed: bool, buf: &mut [u8], len: usize) -> Option<Transmit> {
    let mut total = len;
    if to.slot != 0 {
        *buf.get_mut(NONCE_LEN)? = if relayed { kind::VIA_FROM } else { kind::VIA };
        buf.get_mut(NONCE_LEN + 1..VIA_HEAD)?.copy_from_slice(&to.slot.to_le_bytes());
        total = seal(env, buf, VIA_HEAD - NONCE_LEN + len)?;
    }
    Some(Transmit { to: Destination::Addr(to), len: total })
}

impl Node<'_> {
    /// Encodes a Ping; returns its length.
    pub(crate) fn write_ping(&mut self, buf: &mut [u8], seeking: bool) -> Option<usize> {
        let mut token = self.peers.greeter.tokens[0];
        token[6..].copy_from_slice(&self.env.uptime_ms16().to_le_bytes());
        let mut ping = Ping { id: self.env.me, boot: self.env.boot.to_le_bytes(), token, seeking, known: Vec::new() };
        let skip = self.env.rng.below(self.hosts.len() as u32);
        if seeking && self.peers.up() > 0 {
            // Whoever knows nobody well wants to hear from all.
            let up = self.peers.iter().filter(|(_, peer)| peer.up).map(|(_, peer)| peer.id);
            let skip = skip.saturating_sub(KNOWN_MAX as u32) as usize;
            // Whoever has few peers wants to meet those, too, that it only heard of.
            let few = self.peers.up() < MEET_MAX;
            let silent = |host: &HostInfo| !few || host.standing == Standing::Met;
            ping.known = up
                .chain(self.hosts().filter(|host| !host.up).skip(skip).filter(silent).map(|host| host.id))
                .map(|id| short(&token, &id))
                .take(KNOWN_MAX)
                .collect();
        }
        let body = buf.get_mut(NONCE_LEN..)?.get_mut(..PING_BODY)?;
        let mut writer = Writer::new(body);
        if !(writer.bytes(&[kind::PING]) && writer.value(&ping)) {
            return None;
        }
        writer.pad(PING_BODY);
        seal(&mut self.env, buf, PING_BODY)
    }

    /// Encodes a Pong; returns its length.
    pub(super) fn write_pong(&mut self, buf: &mut [u8], link: LinkId, to: Addr, token: [u8; 8]) -> Option<usize> {
        let pong = Pong {
            id: self.env.me,
            boot: self.env.boot.to_le_bytes(),
            token,
            observed: to,
            cookie: Greeter::cookie(&self.peers.greeter.cookies[0], &self.env, link, &to),
            facts: self.facts(),
        };
        let skip = self.env.rng.below(self.peers.len() as u32) as usize;
        let body = buf.get_mut(NONCE_LEN..)?.get_mut(..PING_BODY)?;
        let mut writer = Writer::new(body);
        if !(writer.bytes(&[kind::PONG]) && writer.value(&pong)) {
            return None;
        }
        // A few of our peers, from a random one on.
        let (peers, now) = (&self.peers, self.env.now);
        for (_, peer) in
            peers.iter().skip(skip).chain(peers.iter().take(skip)).filter(|(_, peer)| peer.up).take(TOLD_MAX)
        {
            let Some(addr) = peer.addr.filter(|addr| addr.slot == 0 && *addr != to) else { continue };
            let age_s = (now.ms_since(peer.last_heard) / 1000).min(u16::MAX.into()) as u16;
            if !writer.value(&HostRecord { id: peer.id, addr, facts: peer.facts, age_s }) {
                break;
            }
        }
        let len = writer.len();
        seal(&mut self.env, buf, len)
    }

    /// Encodes what stands around the first Noise message: the caller has written the latter at `HELLO_AT`.
    pub(super) fn finish_hello(&mut self, buf: &mut [u8], cookie: [u8; 8], local: u32, noise: usize) -> Option<usize> {
        *buf.get_mut(NONCE_LEN)? = kind::HELLO;
        buf.get_mut(NONCE_LEN + 1..NONCE_LEN + 9)?.copy_from_slice(&cookie);
        buf.get_mut(NONCE_LEN + 9..HELLO_AT)?.copy_from_slice(&local.to_le_bytes());
        seal(&mut self.env, buf, HELLO_AT - NONCE_LEN + noise)
    }

    /// Takes what may be a greeting. `nested`: it came in an envelope.
    pub(super) fn greeting(&mut self, link: LinkId, from: Addr, data: &mut [u8], nested: bool) {
        if self.discover.is_stopped() {
            return; // Who is about to go makes no acquaintances.
        }
        let len = data.len();
        let Some((nonce, rest)) = data.split_first_chunk_mut::<NONCE_LEN>() else {
            self.env.counters.packets_malformed += 1;
            return;
        };
        let Some((body, tag)) = rest.split_last_chunk_mut::<TAG_LEN>() else {
            self.env.counters.packets_malformed += 1;
            return;
        };
        if self.env.crypto.open(&self.env.identity.network.greeting, nonce, &[], body, tag).is_err() {
            self.env.counters.packets_unopened += 1;
            return;
        }
        let Some((kind, body)) = body.split_first_mut() else {
            self.env.counters.packets_malformed += 1;
            return;
        };
        let taken = match *kind {
            kind::PING if len == PING_LEN => self.ping(link, from, body),
            kind::PONG => self.pong(link, from, body),
            kind::HELLO => self.hello(link, from, body),
            kind::VIA if !nested => self.forward(link, from, body),
            kind::VIA_FROM if !nested => self.relayed(link, from, body),
            _ => None,
        };
        if taken.is_none() {
            self.env.counters.packets_malformed += 1;
        }
    }

    fn ping(&mut self, link: LinkId, from: Addr, body: &[u8]) -> Option<()> {
        let ping: Ping = crate::wire::value(body)?;
        let me = self.env.me;
        if ping.id == me {
            return Some(()); // Our own, heard back.
        }
        self.discover_heard();
        if let Some(peer) = self.peer_of(&ping.id) {
            self.notice_boot(peer.0.index, u64::from_le_bytes(ping.boot), link, from, None);
        }
        if ping.seeking {
            self.discover_sought(link, from, ping.token, ping.known.contains(&short(&ping.token, &me)));
        } else {
            self.queue_pong(link, from, ping.token);
        }
        Some(())
    }

    pub(crate) fn queue_pong(&mut self, link: LinkId, to: Addr, token: [u8; 8]) {
        let _ = self.peers.stray(&mut self.env, link, Stray::Pong { to, token });
    }

    /// Queues a Ping; `seeking`: hosts that we know may stay silent. False when there is no room.
    pub(crate) fn queue_ping(&mut self, link: LinkId, to: Destination, seeking: bool) -> bool {
        self.peers.stray(&mut self.env, link, Stray::Ping { to, seeking }).is_ok()
    }

    fn pong(&mut self, link: LinkId, from: Addr, body: &[u8]) -> Option<()> {
        let (pong, mut rest) = postcard::take_from_bytes::<Pong>(body).ok()?;
        let (secret, sent) = split_token(&pong.token);
        let ours = self.peers.greeter.tokens.iter().any(|token| split_token(token).0 == secret);
        if !ours || pong.id == self.env.me {
            self.env.counters.messages_unexpected += 1;
            return Some(());
        }
        self.discover_heard();
        let record = HostRecord { id: pong.id, addr: from, facts: pong.facts, age_s: 0 };
        self.hosts.learn(&mut self.env, &record, link, None);
        let boot = u64::from_le_bytes(pong.boot);
        self.discover_found(&pong.id, link, from, pong.observed);
        if let Some(peer) = self.peer_of(&pong.id) {
            let slot = peer.0.index;
            self.notice_boot(slot, boot, link, from, Some(pong.cookie));
            let dialled = |peer: &&mut Peer| peer.step == Step::Ping || peer.step == Step::Introduce;
            if let Some(peer) = self.peers.at_mut(slot).filter(dialled) {
                peer.answered = true;
                peer.pong_ms = self.env.uptime_ms16().wrapping_sub(sent);
                self.say_hello(slot, link, from, pong.cookie);
            }
        }
        for _ in 0..TOLD_MAX {
            let Ok((told, more)) = postcard::take_from_bytes::<HostRecord>(rest) else { break };
            rest = more;
            if told.id != self.env.me && told.addr.is_unicast() {
                self.hosts.learn(&mut self.env, &told, link, Some(pong.id));
                self.discover_told(&told, link);
            }
        }
        Some(())
    }

    /// A peer that shows another boot than its session's has restarted: begin anew at once (§2.7).
    fn notice_boot(&mut self, slot: u16, boot: u64, link: LinkId, from: Addr, cookie: Option<[u8; 8]>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if !peer.up || peer.boot == boot || peer.step != Step::Idle {
            return;
        }
        peer.dial = (from, link, [0; 8]);
        peer.alternate = None;
        match cookie {
            Some(cookie) => self.say_hello(slot, link, from, cookie),
            None => self.begin_step(slot, Step::Ping, want::PING),
        }
    }

    /// A packet for a client of ours, from another one (§2.8).
    fn forward(&mut self, link: LinkId, from: Addr, body: &[u8]) -> Option<()> {
        let (slot, packet) = body.split_first_chunk::<2>()?;
        let Some((to, over)) = self.relay_target(link, &from, u16::from_le_bytes(*slot), packet.len()) else {
            self.env.counters.relays_refused += 1;
            return Some(());
        };
        let Some(buffer) = self.env.buffers.alloc_from(packet) else {
            self.env.counters.buffers_refused += 1;
            return Some(());
        };
        match self.peers.stray(&mut self.env, over, Stray::Packet { to, packet: Held(buffer), relayed: true }) {
            Err(Stray::Packet { packet, .. }) => self.env.buffers.free(packet.0),
            _ => self.env.counters.packets_relayed += 1,
        }
        Some(())
    }

    /// A packet that a relay passes on to us: it comes from whoever is behind that slot.
    fn relayed(&mut self, link: LinkId, from: Addr, body: &mut [u8]) -> Option<()> {
        let (slot, packet) = body.split_first_chunk_mut::<2>()?;
        let slot = u16::from_le_bytes(*slot);
        if slot == 0 {
            return None;
        }
        self.packet(link, from.with_slot(slot), packet, true);
        Some(())
    }

    pub(crate) fn cookies_timeout(&mut self) {
        self.peers.greeter.rotate(&mut self.env);
        self.env.timers.set(crate::node::Timer::Cookies, self.env.now.plus_ms(COOKIE_MS));
    }
}

/// Where the first Noise message stands in a Hello.
pub(super) const HELLO_AT: usize = NONCE_LEN + 1 + 8 + 4;

//! Hello and Welcome (PROTOCOL §2.3): Noise IKpsk1 with indices and boots.
//!
//! ```text
//! Hello    greeting: cookie (8) ‖ sender's index (4) ‖ Noise message 1, payload: id (32) ‖ boot (8)
//! Welcome  receiver's index (4) ‖ sender's index (4) ‖ Noise message 2, payload: boot (8)
//! ```
//!
//! The prologue is [`PROLOGUE`]. The id must be the one whose X25519 form is the Noise static key. The responder goes
//! on with its old keys until the first packet under the new ones proves that the initiator has them too.
//!
//! Simultaneous opens: whoever has a Hello under way takes a Hello only from a lower NodeId and then gives up its own;
//! a higher one's is ignored unless our own was sent more than twice in vain, and not just now.

use super::greeting::HELLO_AT;
use super::peers::which;
use super::{Epoch, GRACE_MS, Handshake, Notice, Peer, Step, want};
use crate::addr::{Addr, LinkId};
use crate::crypto::{HANDSHAKE_PAYLOAD_MAX, HELLO_OVERHEAD, HandshakeKeys, HandshakeState, WELCOME_OVERHEAD};
use crate::id::NodeId;
use crate::log::trace;
use crate::node::{Env, Node, Out, PeerId};

/// What both sides mix in first: protocol and version.
pub const PROLOGUE: &[u8] = b"butter 1";
/// Milliseconds until a Hello that found no room in the table of handshakes is tried again.
pub(super) const NO_ROOM_MS: u32 = 50;
/// Milliseconds for which a peer must be unused to make room for one that comes to us.
const STRANGER_MS: u32 = 1_000;
/// Id and boot.
const HELLO_PAYLOAD: usize = 40;

fn keys<'a>(env: &'a Env<'_>) -> HandshakeKeys<'a> {
    HandshakeKeys { me: &env.identity.secret, id: &env.me, psk: &env.identity.network.psk, prologue: PROLOGUE }
}

impl Peer {
    /// The session will go through a relay: the direct address is tried now and then.
    fn remember_direct(&mut self, relay: &Addr) {
        let direct = self.dial.0;
        if relay.slot != 0 && direct.slot == 0 && direct.is_unicast() {
            self.alternate = Some(direct);
        }
    }
}

impl Node<'_> {
    /// A cookie has come: the dial goes on with a Hello.
    pub(super) fn say_hello(&mut self, slot: u16, link: LinkId, to: Addr, cookie: [u8; 8]) {
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.remember_direct(&to);
            peer.dial = (to, link, cookie);
            self.begin_step(slot, Step::Hello, want::HELLO);
        }
    }

    /// Encodes a Hello with a new ephemeral key; returns its length. Two Diffie-Hellmans.
    pub(super) fn write_hello(&mut self, slot: u16, buf: &mut [u8]) -> Option<usize> {
        self.peers.drop_handshake(slot);
        if self.peers.handshakes.is_full() {
            self.retry_after(slot, NO_ROOM_MS);
            return None;
        }
        let local = self.peers.draw_local(&mut self.env);
        let ephemeral = self.env.secrets.next(self.env.crypto);
        let peer = self.peers.at(slot)?;
        let (to, (addr, link, cookie)) = (peer.id, peer.dial);
        let mut payload = [0; HELLO_PAYLOAD];
        payload[..32].copy_from_slice(&self.env.me.0);
        payload[32..].copy_from_slice(&self.env.boot.to_le_bytes());
        let mut state = HandshakeState::default();
        let out = buf.get_mut(HELLO_AT..)?;
        let written = self.env.crypto.write_hello(keys(&self.env), &to, &ephemeral, &payload, out, &mut state);
        let Ok(noise) = written else {
            // Nobody can have this id.
            self.env.counters.handshakes_failed += 1;
            self.dial_failed(slot);
            return None;
        };
        let handshake = Handshake { state, ours: true, remote: 0, addr, link, boot: 0 };
        let handle = self.peers.handshakes.insert(handshake).ok()?;
        self.peers.at_mut(slot)?.handshake = Some(handle);
        self.peers.set_local(slot, which::HELLO, local);
        self.env.counters.handshakes_begun += 1;
        self.finish_hello(buf, cookie, local, noise)
    }

    /// Takes a Hello: at most two Diffie-Hellmans, and none without a valid cookie.
    pub(super) fn hello(&mut self, link: LinkId, from: Addr, body: &[u8]) -> Option<()> {
        let (cookie, rest) = body.split_first_chunk::<8>()?;
        let (remote, noise) = rest.split_first_chunk::<4>()?;
        if noise.len() != HELLO_OVERHEAD + HELLO_PAYLOAD {
            return None;
        }
        if !self.peers.greeter.is_valid(&self.env, link, &from, cookie) {
            self.env.counters.cookies_bad += 1;
            return Some(());
        }
        if self.peers.handshakes.is_full() {
            self.env.counters.handshakes_refused += 1;
            return Some(());
        }
        let mut payload = [0; HANDSHAKE_PAYLOAD_MAX];
        let mut state = HandshakeState::default();
        let read = self.env.crypto.read_hello(keys(&self.env), noise, &mut payload, &mut state);
        let (id, boot) = payload[..HELLO_PAYLOAD].split_at(32);
        let id = NodeId(id.try_into().unwrap_or_default());
        let boot = u64::from_le_bytes(boot.try_into().unwrap_or_default());
        let genuine = read.is_ok_and(|(len, key)| {
            len == HELLO_PAYLOAD && id != self.env.me && self.env.crypto.exchange_key(&id) == Some(key)
        });
        if !genuine {
            self.env.counters.handshakes_failed += 1;
            return Some(());
        }
        let (now, retry_ms) = (self.env.now, self.env.config.handshake_retry_ms);
        let known = self.peer_of(&id);
        if let Some(peer) = known.and_then(|peer| self.peers.get(peer)) {
            let ours = peer.locals[which::HELLO] != 0;
            // After two in vain, theirs may be the only way; but not while our last one may still arrive, or both sides
            // would give up their own at the same moment, again and again.
            let waits = peer.tries <= 2 || peer.due.ms_since(now) > retry_ms;
            if ours && self.env.me < id && waits {
                // Ours wins: they give theirs up when it arrives. Whatever way theirs came: a Pong came from where ours went, and
                // hosts with IPv4 and IPv6 open over one each at the same moment.
                self.env.counters.handshakes_refused += 1;
                return Some(());
            }
        }
        let Some(peer) = known.or_else(|| self.peer_new(id, link, STRANGER_MS)) else { return Some(()) };
        let slot = peer.0.index;
        self.peers.drop_handshake(slot);
        let remote = u32::from_le_bytes(*remote);
        let handshake = Handshake { state, ours: false, remote, addr: from, link, boot };
        let Ok(handle) = self.peers.handshakes.insert(handshake) else { return Some(()) };
        let peer = self.peers.at_mut(slot)?;
        peer.handshake = Some(handle);
        peer.want |= want::WELCOME;
        peer.remember_direct(&from);
        if peer.step == Step::Hello {
            // Theirs may yet fail: ours is tried again if so, after what it would have waited anyway.
            peer.want &= !want::HELLO;
            peer.due = now.plus_ms(GRACE_MS / 4);
        }
        self.await_proof(slot);
        self.peers.list(slot);
        self.schedule(slot);
        Some(())
    }

    /// Encodes a Welcome and keeps the new keys until the initiator uses them; returns its length and where it goes.
    /// Two Diffie-Hellmans and a key.
    pub(super) fn write_welcome(&mut self, slot: u16, buf: &mut [u8]) -> Option<usize> {
        let handle = self.peers.at_mut(slot)?.handshake.take()?;
        let mut handshake = self.peers.handshakes.remove(handle)?;
        let ephemeral = self.env.secrets.next(self.env.crypto);
        let boot = self.env.boot.to_le_bytes();
        let out = buf.get_mut(8..)?;
        let crypto = self.env.crypto;
        let written = crypto.write_welcome(keys(&self.env), &ephemeral, &boot, out, &mut handshake.state);
        let Ok((noise, session)) = written else {
            self.env.counters.handshakes_failed += 1;
            return None;
        };
        let local = self.peers.draw_local(&mut self.env);
        buf.get_mut(..4)?.copy_from_slice(&handshake.remote.to_le_bytes());
        buf.get_mut(4..8)?.copy_from_slice(&local.to_le_bytes());
        let epoch = Epoch {
            keys: session,
            remote: handshake.remote,
            boot: handshake.boot,
            counter: 0,
            window: Default::default(),
            since: self.env.now,
            ours: false,
        };
        self.peers.set_other(slot, local, epoch, self.env.now.plus_ms(GRACE_MS));
        let peer = self.peers.at_mut(slot)?;
        if !peer.up {
            peer.addr = Some(handshake.addr);
            peer.link = handshake.link;
        }
        self.schedule(slot);
        Some(8 + noise)
    }

    /// Takes a Welcome: two Diffie-Hellmans.
    pub(super) fn welcome(&mut self, slot: u16, data: &[u8]) {
        let crypto = self.env.crypto;
        let Some(peer) = self.peers.at(slot) else { return };
        let id = peer.id;
        let Some(handshake) = peer.handshake.and_then(|handle| self.peers.handshakes.get(handle)) else { return };
        let parts = data.get(4..).and_then(|rest| rest.split_first_chunk::<4>());
        let Some((remote, noise)) = parts.filter(|(_, noise)| noise.len() == WELCOME_OVERHEAD + 8 && handshake.ours)
        else {
            self.env.counters.packets_malformed += 1;
            return;
        };
        let mut payload = [0; HANDSHAKE_PAYLOAD_MAX];
        let read = crypto.read_welcome(keys(&self.env), &id, noise, &mut payload, &handshake.state);
        let Ok((8, session)) = read else {
            // Forged or damaged: the genuine one may still come.
            self.env.counters.handshakes_failed += 1;
            return;
        };
        let boot = u64::from_le_bytes(payload[..8].try_into().unwrap_or_default());
        let (addr, link) = (handshake.addr, handshake.link);
        let remote = u32::from_le_bytes(*remote);
        let local = peer.locals[which::HELLO];
        self.peers.drop_handshake(slot);
        let epoch = Epoch {
            keys: session,
            remote,
            boot,
            counter: 0,
            window: Default::default(),
            since: self.env.now,
            ours: true,
        };
        self.peers.set_other(slot, local, epoch, self.env.now.plus_ms(GRACE_MS));
        self.promote(slot, Some((addr, link)));
        // Something is sent at once, until an answer shows that the other side uses the keys too.
        if let Some(peer) = self.peers.handle_at(slot) {
            self.send(peer, Out::Path(Notice::Facts));
            self.begin_step(slot, Step::Confirm, 0);
        }
    }

    /// Makes the keys to come current: the session begins, or goes on under them.
    pub(super) fn promote(&mut self, slot: u16, path: Option<(Addr, LinkId)>) {
        self.peers.swap(slot);
        let handshake = self.peers.at(slot).and_then(|peer| self.peers.handshakes.get(peer.handshake?));
        if handshake.is_some_and(|handshake| handshake.ours) {
            // Theirs came first: nobody waits for the Welcome to ours any more, and its place is soon needed.
            self.peers.drop_handshake(slot);
        }
        let (now, rekey_ms) = (self.env.now, self.env.config.rekey_ms);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let Some(current) = &peer.current else { return };
        let (ours, boot) = (current.ours, current.boot);
        // Whoever began is the first to renew, so that both do not at once.
        let due = current.since.plus_ms(if ours { rekey_ms } else { rekey_ms.saturating_add(rekey_ms / 8) });
        peer.other_next = false;
        peer.other_until = now.plus_ms(GRACE_MS);
        peer.last_heard = now;
        if let Some((addr, link)) = path {
            peer.addr = Some(addr);
            peer.link = link;
        }
        let (was_up, restarted) = (peer.up, peer.up && peer.boot != boot);
        let (id, addr) = (peer.id, peer.addr);
        peer.boot = boot;
        peer.step = Step::Idle;
        peer.want &= want::WELCOME;
        (peer.tries, peer.asked) = (0, 0);
        peer.due = due;
        (peer.closing, peer.doubted) = (false, 0);
        self.settle_path(slot);
        self.peers.set_up(slot);
        if restarted {
            // Its memory of us is gone, and so is everything that was under way between us.
            self.peers.drop_other(slot);
            self.env.counters.sessions_ended += 1;
            self.restarted(slot);
        }
        if !was_up || restarted {
            self.env.counters.sessions_begun += 1;
            trace!("session with {:?} at {:?}", id, addr);
            if let Some(peer) = self.peers.handle_at(slot) {
                self.peer_up(peer);
            }
        }
        self.peers.list(slot);
        self.schedule(slot);
    }

    /// The peer lives a new life: the one before is down.
    fn restarted(&mut self, slot: u16) {
        let Some(old) = self.peers.handle_at(slot) else { return };
        let Some(id) = self.peers.get(old).map(|peer| peer.id) else { return };
        self.relays.forget(old);
        let renewed: Option<PeerId> = self.peers.renew(&mut self.env, old);
        debug_assert!(renewed.is_some(), "a slot was just freed");
        self.peer_down(old, id, true, false, false);
    }
}

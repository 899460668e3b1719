//! Session packets: sealing, opening, and the messages in them (PROTOCOL §2.4).
//!
//! ```text
//! data = receiver's index (4) ‖ counter, u64 little-endian (8) ‖ sealed messages ‖ tag (16)
//! ```
//!
//! The nonce is four zero bytes and the counter; the 12 bytes before the sealed part are authenticated too.

use super::peers::which;
use super::{Held, Notice, REKEY_PACKETS, Step, Stray};
use crate::addr::{Addr, LINKS_MAX, LinkId};
use crate::crypto::TAG_LEN;
use crate::node::{Node, Out, PeerId};
use crate::wire::{DATA_HEADER, DATA_OVERHEAD, Message, Reader, Writer};

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl Node<'_> {
    pub(crate) fn receive(&mut self, link: LinkId, from: Addr, data: &mut [u8]) {
        if usize::from(link.0) < LINKS_MAX {
            self.packet(link, from, data, false);
        }
    }

    /// Takes a packet. `nested`: it came in an envelope.
    pub(super) fn packet(&mut self, link: LinkId, from: Addr, data: &mut [u8], nested: bool) {
        let index = data.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        let Some(index) = index.filter(|_| data.len() >= DATA_OVERHEAD) else {
            self.env.counters.packets_malformed += 1;
            return;
        };
        match self.peers.session(index) {
            Some((slot, which::HELLO)) => self.welcome(slot, data),
            Some((slot, which)) => self.data(slot, which == which::OTHER, link, from, data),
            None => self.greeting(link, from, data, nested),
        }
    }

    fn data(&mut self, slot: u16, other: bool, link: LinkId, from: Addr, data: &mut [u8]) {
        let Some((header, rest)) = data.split_first_chunk_mut::<DATA_HEADER>() else { return };
        let Some((body, tag)) = rest.split_last_chunk_mut::<TAG_LEN>() else { return };
        let Some(counter) = header.last_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)) else { return };
        let (crypto, now) = (self.env.crypto, self.env.now);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let epoch = if other { &mut peer.other } else { &mut peer.current };
        let Some(epoch) = epoch else { return };
        if !epoch.window.fresh(counter) {
            self.env.counters.packets_replayed += 1;
            return;
        }
        if crypto.open(&epoch.keys.receive, &nonce(counter), header, body, tag).is_err() {
            self.env.counters.packets_unopened += 1;
            return;
        }
        let skipped = epoch.window.mark(counter);
        peer.loss.heard(skipped);
        peer.last_heard = now;
        if other && peer.other_next {
            // The initiator uses the new keys: so do we, and say something at once so that it knows.
            self.promote(slot, None);
            if let Some(peer) = self.peers.handle_at(slot) {
                self.send(peer, Out::Path(Notice::Facts));
            }
        } else if !other && (peer.step == Step::Confirm || peer.doubted > 0 && peer.step == Step::Ping) {
            self.confirmed(slot);
        }
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.doubted = 0;
        }
        let Some(id) = self.peers.handle_at(slot) else { return };
        let moved = self.peers.get(id).is_some_and(|peer| peer.addr != Some(from) || peer.link != link);
        if moved {
            self.challenge(id, link, from);
        }
        let mut reader = Reader::new(body);
        while let Some(message) = reader.next() {
            match message {
                Ok(Message::PathChallenge { token }) => self.challenged(id, link, from, token),
                Ok(message) => self.message(id, message),
                Err(()) => self.env.counters.messages_skipped += 1,
            }
        }
    }

    /// Seals the `len` bytes of messages that stand after room for the header; returns the packet's length.
    pub(super) fn seal_data(&mut self, slot: u16, buf: &mut [u8], len: usize) -> Option<usize> {
        let (crypto, now) = (self.env.crypto, self.env.now);
        let peer = self.peers.at_mut(slot)?;
        let epoch = peer.current.as_mut()?;
        let (header, rest) = buf.split_first_chunk_mut::<DATA_HEADER>()?;
        let (body, tail) = rest.split_at_mut_checked(len)?;
        let room = tail.get_mut(..TAG_LEN)?;
        header[..4].copy_from_slice(&epoch.remote.to_le_bytes());
        header[4..].copy_from_slice(&epoch.counter.to_le_bytes());
        let tag = crypto.seal(&epoch.keys.send, &nonce(epoch.counter), header, body);
        room.copy_from_slice(&tag);
        epoch.counter += 1;
        peer.last_sent = now;
        if epoch.counter == REKEY_PACKETS && peer.step == Step::Idle {
            peer.due = now;
            self.schedule(slot);
        }
        Some(DATA_OVERHEAD + len)
    }

    /// Encodes one message alone; returns the packet's length.
    pub(super) fn seal_message(&mut self, slot: u16, buf: &mut [u8], message: &Message<'_>) -> Option<usize> {
        let mut writer = Writer::new(buf.get_mut(DATA_HEADER..)?);
        if !writer.message(message) {
            return None;
        }
        let len = writer.len();
        self.seal_data(slot, buf, len)
    }

    /// Queues a last packet to a peer that is about to go, if there is room for it.
    pub(super) fn say_bye(&mut self, peer: PeerId) {
        let Some(gone) = self.peers.get(peer).filter(|peer| peer.up) else { return };
        let (Some(to), link) = (gone.addr, gone.link) else { return };
        let mut packet = [0; DATA_OVERHEAD + 8];
        let Some(len) = self.seal_message(peer.0.index, &mut packet, &Message::Bye) else { return };
        let Some(buffer) = self.env.buffers.alloc_from(&packet[..len]) else { return };
        let stray = Stray::Packet { to, packet: Held(buffer), relayed: false };
        if let Err(Stray::Packet { packet, .. }) = self.peers.stray(&mut self.env, link, stray) {
            self.env.buffers.free(packet.0);
        }
    }
}

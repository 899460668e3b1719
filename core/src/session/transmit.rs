//! What is sent next over a link: strangers' answers, path probes, discovery, then peers in turn (PROTOCOL §2.4).

use super::greeting::{finish, frame};
use super::{Notice, Stray, want};
use crate::addr::{Addr, LinkId, LinkState};
use crate::crypto::TAG_LEN;
use crate::exchange::Frame;
use crate::node::{Destination, Node, Out, PeerId, Transmit, Wrote};
use crate::wire::{DATA_HEADER, MTU, MTU_MIN, Writer};

/// Messages that one packet takes at most, so that encoding is bounded.
const MESSAGES_MAX: usize = 64;

impl Out {
    /// Whether it may wait for all others: parts of long bodies.
    fn is_bulk(&self) -> bool {
        matches!(self, Out::Call(Frame::Request(_) | Frame::Response(_)))
    }
}

impl Node<'_> {
    /// Queues a message. It is sent when the session is up; dropped when the peer goes. False when the outbox is full
    /// or the peer is gone: then nothing was queued.
    pub(crate) fn send(&mut self, peer: PeerId, out: Out) -> bool {
        let Some(to) = self.peers.peers.get_mut(peer.0) else { return false };
        let queue = if out.is_bulk() { &mut to.bulk } else { &mut to.urgent };
        if !self.env.outbox.push(queue, out) {
            self.env.counters.outbox_dropped += 1;
            return false;
        }
        self.peers.list(peer.0.index);
        true
    }

    pub(crate) fn transmit(&mut self, link: LinkId, buf: &mut [u8]) -> Option<Transmit> {
        let at = usize::from(link.0);
        let mtu = usize::from(self.peers.links.get(at)?.mtu).min(buf.len()).min(MTU);
        if mtu < usize::from(MTU_MIN) {
            return None;
        }
        while let Some(stray) = self.peers.links.get_mut(at).and_then(|link| self.peers.strays.pop(&mut link.strays)) {
            if let Some(transmit) = self.write_stray(stray, link, buf, mtu) {
                return Some(transmit);
            }
        }
        if !self.peers.probes.is_idle()
            && let Some(transmit) = self.write_probe(link, buf, mtu)
        {
            return Some(transmit);
        }
        if self.discover.sweeps(link)
            && let Some(transmit) = self.discover_transmit(link, buf)
        {
            return Some(transmit);
        }
        // Each turn takes something from the peer's queue, so that this ends.
        while let Some(slot) = self.peers.pop_listed(at) {
            let transmit = self.write_peer(slot, link, buf, mtu);
            self.peers.list(slot);
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    fn write_stray(&mut self, stray: Stray, link: LinkId, buf: &mut [u8], mtu: usize) -> Option<Transmit> {
        match stray {
            Stray::Ping { to, seeking } => {
                let at = match to {
                    Destination::Addr(addr) => frame(&addr, mtu).0,
                    _ => 0,
                };
                let len = self.write_ping(buf.get_mut(at..)?, seeking)?;
                match to {
                    Destination::Addr(addr) => finish(&mut self.env, addr, false, buf, len),
                    _ => Some(Transmit { to, len }),
                }
            }
            Stray::Pong { to, token } => {
                let len = self.write_pong(buf.get_mut(frame(&to, mtu).0..)?, link, to, token)?;
                finish(&mut self.env, to, false, buf, len)
            }
            Stray::Packet { to, packet, relayed } => {
                let bytes = self.env.buffers.bytes(&packet.0);
                let len = bytes.len();
                let at = frame(&to, mtu).0;
                // Only what fits the link: the sender took the envelope into account.
                let room = buf.get_mut(..mtu).and_then(|buf| buf.get_mut(at..at + len));
                let fits = room.map(|room| room.copy_from_slice(bytes)).is_some();
                self.env.buffers.free(packet.0);
                if fits { finish(&mut self.env, to, relayed, buf, len) } else { None }
            }
        }
    }

    fn write_peer(&mut self, slot: u16, link: LinkId, buf: &mut [u8], mtu: usize) -> Option<Transmit> {
        let peer = self.peers.at_mut(slot)?;
        if peer.want & want::WELCOME != 0 {
            peer.want &= !want::WELCOME;
            // While something waited for the link, the timer did not run.
            self.schedule(slot);
            let peer = self.peers.at(slot)?;
            let to = peer.handshake.and_then(|handle| self.peers.handshakes.get(handle))?.addr;
            let len = self.write_welcome(slot, buf.get_mut(frame(&to, mtu).0..)?)?;
            return finish(&mut self.env, to, false, buf, len);
        }
        let (dial, alternate) = (peer.dial.0, peer.alternate);
        for (bit, to) in [(want::HELLO, Some(dial)), (want::PING, Some(dial)), (want::PING_ALTERNATE, alternate)] {
            let peer = self.peers.at_mut(slot)?;
            if peer.want & bit == 0 {
                continue;
            }
            peer.want &= !bit;
            self.schedule(slot);
            let Some(to) = to else { continue };
            let inner = buf.get_mut(frame(&to, mtu).0..)?;
            let len = match bit {
                want::HELLO => self.write_hello(slot, inner)?,
                _ => self.write_ping(inner, false)?,
            };
            if bit != want::PING_ALTERNATE {
                self.tried(slot);
            }
            return finish(&mut self.env, to, false, buf, len);
        }
        let peer = self.peers.at(slot)?;
        if peer.up && peer.link == link { self.write_data(slot, buf, mtu) } else { None }
    }

    fn write_data(&mut self, slot: u16, buf: &mut [u8], mtu: usize) -> Option<Transmit> {
        let id = self.peers.handle_at(slot)?;
        let to: Addr = self.peers.get(id)?.addr?;
        let (at, room) = frame(&to, mtu);
        let mut writer = Writer::new(buf.get_mut(at + DATA_HEADER..at + room - TAG_LEN)?);
        let mut bye = false;
        for _ in 0..MESSAGES_MAX {
            let peer = self.peers.get(id)?;
            let urgent = !peer.urgent.is_empty();
            let queue = if urgent { peer.urgent } else { peer.bulk };
            let Some(out) = self.env.outbox.front(&queue) else { break };
            let wrote = self.write(id, out, &mut writer);
            if wrote == Wrote::NoRoom {
                if !writer.is_empty() {
                    break;
                }
                self.env.counters.messages_too_long += 1;
            }
            let peer = self.peers.peers.get_mut(id.0)?;
            let queue = if urgent { &mut peer.urgent } else { &mut peer.bulk };
            self.env.outbox.pop(queue);
            if wrote == Wrote::More {
                // Its place was just freed.
                self.env.outbox.push(queue, out);
            }
            if matches!(out, Out::Path(Notice::Bye)) && peer.closing {
                bye = true;
                break;
            }
        }
        let len = writer.len();
        if len == 0 {
            return None;
        }
        let len = self.seal_data(slot, buf.get_mut(at..)?, len)?;
        if bye {
            self.end_peer(id, false);
        }
        finish(&mut self.env, to, false, buf, len)
    }

    pub(crate) fn link_changed(&mut self, link: LinkId, state: LinkState) {
        let Some(entry) = self.peers.links.get_mut(usize::from(link.0)) else { return };
        match state {
            LinkState::Up { mtu } if mtu >= MTU_MIN => {
                entry.mtu = mtu;
                self.discover_restart();
            }
            // No packet of ours fits through a narrower one.
            LinkState::Up { .. } | LinkState::Down => {
                entry.mtu = 0;
                while let Some(stray) = self.peers.strays.pop(&mut entry.strays) {
                    self.env.counters.strays_dropped += 1;
                    if let Stray::Packet { packet, .. } = stray {
                        self.env.buffers.free(packet.0);
                    }
                }
                // Nobody can be dialled there; a session may go on over another link.
                for slot in 0..self.peers.peers.used() {
                    let Some(id) = self.peers.handle_at(slot) else { continue };
                    let Some(peer) = self.peers.get(id) else { continue };
                    let (up, dials) = (peer.up, peer.dial.1 == link && peer.want & !want::WELCOME != 0);
                    let handshake = peer.handshake.and_then(|handle| self.peers.handshakes.get(handle));
                    if handshake.is_some_and(|handshake| handshake.link == link) {
                        self.peers.drop_handshake(slot);
                    }
                    if !up && self.peers.get(id).is_some_and(|peer| peer.dial.1 == link) {
                        self.end_peer(id, false);
                    } else if up && dials {
                        // What waits for this link would keep everything else of the peer waiting.
                        self.dial_given_up(slot);
                    }
                    self.peers.list(slot);
                    self.schedule(slot);
                }
            }
        }
    }
}

//! Relaying for others: slots, envelopes, introductions (PROTOCOL §2.8, §9).

use crate::addr::{Addr, LinkId};
use crate::id::NodeId;
use crate::node::{Env, Node, Out, PeerId};
use crate::session::Notice;
use crate::table::{Slot, Slots, Store};
use crate::time::Instant;

/// Milliseconds after which a slot that nothing was relayed for may be given to another client.
const SLOT_IDLE_MS: u32 = 120_000;

/// A client for which we relay.
#[derive(Debug)]
pub struct Relay {
    peer: PeerId,
    used: Instant,
}

/// All clients. Policy when full: the longest idle one makes room if it is idle for two minutes, else refuse.
#[derive(Debug)]
pub(crate) struct Relays<'m> {
    clients: Slots<'m, Relay>,
    /// Bytes that may be relayed now.
    tokens: u32,
    filled: Instant,
}

impl<'m> Relays<'m> {
    pub fn new(clients: Store<'m, Slot<Relay>>) -> Self {
        Relays { clients: Slots::new(clients), tokens: 0, filled: Instant::ZERO }
    }

    /// Frees the slot of a peer that is gone.
    pub fn forget(&mut self, peer: PeerId) {
        if self.clients.is_empty() {
            return;
        }
        let of_peer = self.clients.iter().find(|(_, client)| client.peer == peer).map(|(handle, _)| handle);
        if let Some(handle) = of_peer {
            self.clients.remove(handle);
        }
    }

    /// The slot of a client, given to it now if need be; 0 when we do not relay for it. Cost: a look at every client.
    fn slot(&mut self, env: &mut Env<'_>, peer: PeerId) -> u16 {
        if let Some((handle, _)) = self.clients.iter().find(|(_, client)| client.peer == peer) {
            return handle.index + 1;
        }
        if self.clients.is_full() {
            let oldest = self.clients.iter().min_by_key(|(_, client)| client.used);
            match oldest.filter(|(_, client)| env.now.ms_since(client.used) >= SLOT_IDLE_MS).map(|(handle, _)| handle) {
                Some(handle) => drop(self.clients.remove(handle)),
                None => {
                    env.counters.relays_refused += 1;
                    return 0;
                }
            }
        }
        match self.clients.insert(Relay { peer, used: env.now }) {
            Ok(handle) if handle.index < u16::MAX => handle.index + 1,
            _ => 0,
        }
    }

    /// Takes bytes from what may be relayed now: a token bucket that holds one second's worth.
    fn spend(&mut self, env: &Env<'_>, bytes: usize) -> bool {
        let rate = u64::from(env.config.relay_rate);
        let earned = env.now.since(self.filled).min(1_000_000) * rate / 1_000_000;
        if earned > 0 {
            self.tokens = (u64::from(self.tokens) + earned).min(rate) as u32;
            self.filled = env.now;
        }
        match u32::try_from(bytes).ok().and_then(|bytes| self.tokens.checked_sub(bytes)) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

impl Node<'_> {
    /// Where a packet that a client sent for the client in `slot` goes: its address with the sender's slot, and the link.
    /// `None`: the sender is no client, there is no such client, it is not reached directly, or the rate is used up.
    pub(crate) fn relay_target(
        &mut self,
        link: LinkId,
        from: &Addr,
        slot: u16,
        bytes: usize,
    ) -> Option<(Addr, LinkId)> {
        let peers = &self.peers;
        let is_sender = |client: &Relay| {
            peers.get(client.peer).is_some_and(|peer| peer.up && peer.link == link && peer.addr == Some(*from))
        };
        let (sender, _) = self.relays.clients.iter().find(|(_, client)| is_sender(client))?;
        let target = self.relays.clients.handle_at(slot.checked_sub(1)?).filter(|target| *target != sender)?;
        let client = self.relays.clients.get(target)?;
        let peer = peers.get(client.peer).filter(|peer| peer.up)?;
        let addr = peer.addr.filter(|addr| addr.slot == 0)?;
        let over = peer.link;
        if !self.relays.spend(&self.env, bytes) {
            return None;
        }
        for handle in [sender, target] {
            if let Some(client) = self.relays.clients.get_mut(handle) {
                client.used = self.env.now;
            }
        }
        Some((addr.with_slot(sender.index + 1), over))
    }

    /// A peer asks to be introduced to a host: tell both where the other is, if it is a peer too (§9.1).
    pub(crate) fn introduce(&mut self, asker: PeerId, id: &NodeId) {
        let Some(other) = self.peer_of(id).filter(|other| *other != asker) else { return };
        let path = |peer: PeerId| {
            let peer = self.peers.get(peer).filter(|peer| peer.up)?;
            peer.addr.map(|addr| (peer.id, addr))
        };
        let (Some((asker_id, asker_addr)), Some((other_id, other_addr))) = (path(asker), path(other)) else { return };
        let asker_slot = self.relays.slot(&mut self.env, asker);
        let other_slot = self.relays.slot(&mut self.env, other);
        // One without a slot could not be answered.
        let (asker_slot, other_slot) =
            if asker_slot == 0 || other_slot == 0 { (0, 0) } else { (asker_slot, other_slot) };
        self.send(asker, Out::Path(Notice::Introduction(other_id, other_addr, other_slot)));
        self.send(other, Out::Path(Notice::Introduction(asker_id, asker_addr, asker_slot)));
        self.env.counters.introductions += 1;
    }
}

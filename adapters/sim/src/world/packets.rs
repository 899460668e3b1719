//! Packets under way, shared by all who are to receive them.

use butter_core::addr::Addr;

use super::Who;

/// Which packet.
pub type PacketId = u32;

/// Where a packet comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Who sent it.
    pub from: Who,
    /// As whose address it is seen.
    pub seen: Addr,
}

struct Packet {
    bytes: Vec<u8>,
    origin: Origin,
    /// Deliveries still to come; 0 is free.
    left: u32,
}

/// A pool whose buffers are used again, so that sending allocates nothing once the world has warmed up.
#[derive(Default)]
pub struct Packets {
    all: Vec<Packet>,
    free: Vec<PacketId>,
    owed: u64,
}

impl Packets {
    /// Keeps bytes for `deliveries` (at least 1) takers.
    pub fn keep(&mut self, bytes: &[u8], origin: Origin, deliveries: u32) -> PacketId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.all.push(Packet { bytes: Vec::new(), origin, left: 0 });
            self.all.len() as PacketId - 1
        });
        let packet = &mut self.all[id as usize];
        packet.bytes.clear();
        packet.bytes.extend_from_slice(bytes);
        (packet.origin, packet.left) = (origin, deliveries);
        self.owed += u64::from(deliveries);
        id
    }

    /// Takes one delivery: copies the bytes to `out` and returns how many.
    pub fn take(&mut self, id: PacketId, out: &mut [u8]) -> usize {
        let packet = &mut self.all[id as usize];
        let len = packet.bytes.len();
        out[..len].copy_from_slice(&packet.bytes);
        packet.left -= 1;
        self.owed -= 1;
        if packet.left == 0 {
            self.free.push(id);
        }
        len
    }

    /// Where a packet under way comes from, and how long it is.
    pub fn origin(&self, id: PacketId) -> (Origin, usize) {
        let packet = &self.all[id as usize];
        (packet.origin, packet.bytes.len())
    }

    /// Deliveries under way.
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Packets under way.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_free_after_its_last_delivery() {
        let (mut packets, mut out) = (Packets::default(), [0; 8]);
        let origin = Origin { from: Who(3), seen: Addr::default() };
        let both = packets.keep(b"both", origin, 2);
        assert_eq!(packets.origin(both), (origin, 4));
        assert_eq!(packets.take(both, &mut out), 4);
        let other = packets.keep(b"other", origin, 1);
        assert_ne!(both, other);
        assert_eq!((packets.take(both, &mut out), &out[..4]), (4, &b"both"[..]));
        assert_eq!(packets.len(), 1);
        assert_eq!(packets.keep(b"again", origin, 1), both);
    }
}

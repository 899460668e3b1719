//! Packets under way, shared by all who are to receive them.

/// Which packet.
pub type PacketId = u32;

#[derive(Default)]
struct Packet {
    bytes: Vec<u8>,
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
    pub fn keep(&mut self, bytes: &[u8], deliveries: u32) -> PacketId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.all.push(Packet::default());
            self.all.len() as PacketId - 1
        });
        let packet = &mut self.all[id as usize];
        packet.bytes.clear();
        packet.bytes.extend_from_slice(bytes);
        packet.left = deliveries;
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
        let both = packets.keep(b"both", 2);
        assert_eq!(packets.take(both, &mut out), 4);
        let other = packets.keep(b"other", 1);
        assert_ne!(both, other);
        assert_eq!((packets.take(both, &mut out), &out[..4]), (4, &b"both"[..]));
        assert_eq!(packets.len(), 1);
        assert_eq!(packets.keep(b"again", 1), both);
    }
}

//! A host's access to the network: so much up and down, and a queue in front of each.

use butter_core::time::Instant;
use serde::Deserialize;

use crate::scenario::units::{Bandwidth, Size};

/// What a datagram has around it: IPv4 and UDP headers.
const HEADERS: u64 = 28;

/// How a host is connected. The default has no limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// What it can send; `None` is no limit.
    pub up: Option<Bandwidth>,
    /// What it can receive; `None` is no limit.
    pub down: Option<Bandwidth>,
    /// Bytes that wait in front of each; what comes when it is full is lost. Default: 64 KiB.
    pub queue: Size,
}

impl Default for Access {
    fn default() -> Self {
        Access { up: None, down: None, queue: Size::from_bytes(65_536) }
    }
}

/// One direction: first in, first out.
#[derive(Clone, Copy, Default)]
pub(super) struct Pipe {
    busy_until: Instant,
}

impl Pipe {
    /// Puts a datagram in, and says in how many microseconds it is through; `None`: the queue is full.
    pub fn push(&mut self, now: Instant, len: usize, rate: Bandwidth, queue: Size) -> Option<u64> {
        let bytes = len as u64 + HEADERS;
        let waiting_us = self.busy_until.since(now);
        if waiting_us > 0 && waiting_us + rate.us_for(bytes) > rate.us_for(queue.bytes().max(1)) {
            return None;
        }
        self.busy_until = self.busy_until.max(now).plus_us(rate.us_for(bytes));
        Some(self.busy_until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_in_turn_at_the_rate_and_a_full_queue_drops() {
        let (mut pipe, rate, queue) = (Pipe::default(), Bandwidth::from_bits_per_s(8_000_000), Size::from_bytes(5_000));
        // 1,000 bytes take 1 ms; five fit.
        let all: Vec<_> = (0..7).map(|_| pipe.push(Instant::ZERO, 972, rate, queue)).collect();
        assert_eq!(all, [Some(1_000), Some(2_000), Some(3_000), Some(4_000), Some(5_000), None, None]);
        let later = Instant::from_micros(4_500);
        assert_eq!(pipe.push(later, 972, rate, queue), Some(1_500));
        assert_eq!(pipe.push(Instant::from_micros(1_000_000), 972, rate, queue), Some(1_000), "idle again");
        let mut narrow = Pipe::default();
        assert_eq!(narrow.push(Instant::ZERO, 972, rate, Size::from_bytes(10)), Some(1_000), "one always goes");
    }
}

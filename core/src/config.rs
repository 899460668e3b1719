//! Timings and policies. Every field has a unit in its name, a default, and bounds that [`Config::check`] enforces.

use core::fmt;

/// Timings and policies of a node. All nodes of a network may differ in all of them.
#[derive(Clone, Debug)]
pub struct Config {
    /// What we say of our power supply and willingness: bits of [`crate::wire::Facts`].
    pub flags: u8,
    /// The place of this node, for diversity; 0 is not set.
    pub place: u16,

    /// Whether hosts are looked for on the local network by multicast, broadcast and probes. Default true.
    pub lan: bool,
    /// Milliseconds between discovery pings once hosts are known. Default 30,000.
    pub ping_interval_ms: u32,
    /// Milliseconds without an answer after which discovery tries broadcast and unicast. Default 1,000.
    pub multicast_wait_ms: u32,
    /// Milliseconds between exchanges with a random known host while things change; stretches to 8 times that. Default 10,000.
    pub exchange_interval_ms: u32,
    /// Milliseconds after which the first handshake message is sent again; doubles. Default 250.
    pub handshake_retry_ms: u32,
    /// Tries of one handshake or path before the next address is tried. Default 4.
    pub handshake_tries: u8,
    /// Milliseconds of silence after which an unused session is closed. Default 60,000.
    pub session_idle_ms: u32,
    /// Milliseconds after which keys are renewed. Default 3,600,000.
    pub rekey_ms: u32,
    /// Bytes per second that we relay for all others together. Default 1,000,000.
    pub relay_rate: u32,

    /// Milliseconds between beats. Default 1,000.
    pub beat_ms: u32,
    /// Copies wanted of every item: the members wanted in a group. Default 3.
    pub replicas: u8,
    /// The most copies: groups want more than `replicas` while their members have not lived long, or die often, as far as
    /// there are seats to spare. Default 3: no more than `replicas`.
    pub replicas_max: u8,
    /// What such groups are to stand: a chance of less than 1 in 10^`durability` to be lost within an hour. Default 4.
    pub durability: u8,
    /// Milliseconds by which each lower rank waits before it acts. Default 250.
    pub rank_step_ms: u32,
    /// Probes sent when a member is doubted. Default 3.
    pub probes: u8,
    /// Blocks of storage given to the network. Default: see [`crate::memory::Limits::seats`] and the adapter.
    pub storage_blocks: u32,

    /// Whether what is stored outlives a restart: then the node stores its seats, too. Default false.
    pub durable: bool,

    /// Milliseconds before a request is sent again the first time, when the round trip is unknown. Default 300.
    pub call_retry_ms: u32,
    /// The most times a request is sent. Default 6.
    pub call_tries: u8,
    /// Milliseconds that an answer is kept for repeated requests. Default 10,000.
    pub answer_kept_ms: u32,

    /// Contacts asked at the same time by one lookup. Default 3.
    pub lookup_parallel: u8,
    /// The most contacts asked by one lookup. Default 64.
    pub lookup_budget: u16,
    /// Groups ranking high that are told where an item is, 0 to 5, where there are more groups than the table of known ones
    /// holds; else a third as many. More make lookups shorter. Default 5.
    pub pointers: u8,
    /// Milliseconds after which they are told again; they forget after three times that. Default 600,000.
    pub pointer_refresh_ms: u32,
    /// Items per second that are looked at for that, at most. Default 64.
    pub pointer_rate: u16,
    /// Milliseconds for which a put waits for recruits that do not come. Default 2,000.
    pub recruit_wait_ms: u32,
    /// The most block transfers of one put or get under way. Default 16.
    pub transfer_window: u8,
    /// Seconds for which an item is kept unless it is renewed. Default 30 days.
    pub lease_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            flags: crate::wire::Facts::MAINS,
            place: 0,
            lan: true,
            ping_interval_ms: 30_000,
            multicast_wait_ms: 1_000,
            exchange_interval_ms: 10_000,
            handshake_retry_ms: 250,
            handshake_tries: 4,
            session_idle_ms: 60_000,
            rekey_ms: 3_600_000,
            relay_rate: 1_000_000,
            beat_ms: 1_000,
            replicas: 3,
            replicas_max: 3,
            durability: 4,
            rank_step_ms: 250,
            probes: 3,
            storage_blocks: 262_144,
            durable: false,
            call_retry_ms: 300,
            call_tries: 6,
            answer_kept_ms: 10_000,
            lookup_parallel: 3,
            lookup_budget: 64,
            pointers: 5,
            pointer_refresh_ms: 600_000,
            pointer_rate: 64,
            recruit_wait_ms: 2_000,
            transfer_window: 16,
            lease_s: 30 * 24 * 3600,
        }
    }
}

/// A configuration that cannot work. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConfigError {
    /// `replicas` is not within 1..=8, or `replicas_max` above 8.
    Replicas,
    /// `pointers` is above 5.
    Pointers,
    /// An interval is below 10 ms or above a day.
    Interval,
    /// A number of tries, parallel contacts or items per second is 0.
    Tries,
    /// The limits have no room for even one peer, host, call or buffer.
    Limits,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::Replicas => "replicas must be 1 to 8, and replicas_max at most 8",
            ConfigError::Pointers => "pointers must be 0 to 5",
            ConfigError::Interval => "every interval must be between 10 ms and 24 h",
            ConfigError::Tries => "tries, probes, parallel contacts and rates must be at least 1",
            ConfigError::Limits => "the limits must have room for at least one of everything a node needs",
        })
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Says whether a node can run with this.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=8).contains(&self.replicas) || self.replicas_max > 8 {
            return Err(ConfigError::Replicas);
        }
        if usize::from(self.pointers) > crate::content::TOLD {
            return Err(ConfigError::Pointers);
        }
        let intervals = [
            self.ping_interval_ms,
            self.multicast_wait_ms,
            self.exchange_interval_ms,
            self.handshake_retry_ms,
            self.session_idle_ms,
            self.rekey_ms,
            self.beat_ms,
            self.rank_step_ms,
            self.call_retry_ms,
            self.answer_kept_ms,
            self.recruit_wait_ms,
            self.pointer_refresh_ms,
        ];
        if intervals.iter().any(|ms| !(10..=86_400_000).contains(ms)) {
            return Err(ConfigError::Interval);
        }
        let tries = [self.handshake_tries, self.probes, self.call_tries, self.lookup_parallel, self.transfer_window];
        if tries.contains(&0) || self.lookup_budget == 0 || self.pointer_rate == 0 {
            return Err(ConfigError::Tries);
        }
        Ok(())
    }
}

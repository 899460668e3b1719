//! Settings of a node that a scenario may change: [`butter_core::config::Config`] with units, and
//! [`butter_core::memory::Limits`].

use butter_core::config::Config;
use butter_core::memory::Limits;
use serde::Deserialize;

use super::units::{Bandwidth, Size, Time};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $ty:ty => |$value:ident, $config:ident| $set:expr;)*) => {
        /// Timings and policies, where they differ from the machine's. The core's `Config` explains each, and its default.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[$doc])* pub $name: Option<$ty>,)*
        }

        impl Settings {
            /// All names.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];

            /// Makes the changes.
            pub fn change(&self, config: &mut Config) {
                $(if let Some($value) = self.$name {
                    let $config = &mut *config;
                    $set;
                })*
            }
        }
    };
}

settings! {
    /// Time between beats.
    beat: Time => |v, c| c.beat_ms = v.ms_u32();
    /// Copies wanted of every item.
    replicas: u8 => |v, c| c.replicas = v;
    /// The most copies, while members have not lived long or die often.
    replicas_max: u8 => |v, c| c.replicas_max = v;
    /// What groups that want more are to stand.
    durability: u8 => |v, c| c.durability = v;
    /// Storage given to the network.
    storage: Size => |v, c| c.storage_blocks = v.blocks().try_into().unwrap_or(u32::MAX);
    /// Flags told of the node: bits of the core's `Facts`.
    flags: u8 => |v, c| c.flags = v;
    /// Whether hosts are looked for on the local network.
    lan: bool => |v, c| c.lan = v;
    /// Time between discovery pings once hosts are known.
    ping_interval: Time => |v, c| c.ping_interval_ms = v.ms_u32();
    /// Time without an answer after which discovery tries broadcast and unicast.
    multicast_wait: Time => |v, c| c.multicast_wait_ms = v.ms_u32();
    /// Time between exchanges while things change.
    exchange_interval: Time => |v, c| c.exchange_interval_ms = v.ms_u32();
    /// Time after which the first handshake message is sent again.
    handshake_retry: Time => |v, c| c.handshake_retry_ms = v.ms_u32();
    /// Tries of one handshake.
    handshake_tries: u8 => |v, c| c.handshake_tries = v;
    /// Silence after which an unused session is closed.
    session_idle: Time => |v, c| c.session_idle_ms = v.ms_u32();
    /// Time after which keys are renewed.
    rekey: Time => |v, c| c.rekey_ms = v.ms_u32();
    /// What is relayed for all others together.
    relay_rate: Bandwidth => |v, c| c.relay_rate = (v.bits_per_s() / 8).try_into().unwrap_or(u32::MAX);
    /// Time by which each lower rank waits before it acts.
    rank_step: Time => |v, c| c.rank_step_ms = v.ms_u32();
    /// Probes sent when a member is doubted.
    probes: u8 => |v, c| c.probes = v;
    /// Time before a request is sent again the first time, when the round trip is unknown.
    call_retry: Time => |v, c| c.call_retry_ms = v.ms_u32();
    /// The most times a request is sent.
    call_tries: u8 => |v, c| c.call_tries = v;
    /// Time that an answer is kept for repeated requests.
    answer_kept: Time => |v, c| c.answer_kept_ms = v.ms_u32();
    /// Contacts asked at the same time by one lookup.
    lookup_parallel: u8 => |v, c| c.lookup_parallel = v;
    /// The most contacts asked by one lookup.
    lookup_budget: u16 => |v, c| c.lookup_budget = v;
    /// Better-ranked groups that are told where an item is.
    pointers: u8 => |v, c| c.pointers = v;
    /// Time after which they are told again.
    pointer_refresh: Time => |v, c| c.pointer_refresh_ms = v.ms_u32();
    /// Items per second that are looked at for that.
    pointer_rate: u16 => |v, c| c.pointer_rate = v;
    /// Time for which a put waits for recruits that do not come.
    recruit_wait: Time => |v, c| c.recruit_wait_ms = v.ms_u32();
    /// The most block transfers of one put or get under way.
    transfer_window: u8 => |v, c| c.transfer_window = v;
    /// Time for which an item is kept unless it is renewed.
    lease: Time => |v, c| c.lease_s = (v.ms() / 1000).try_into().unwrap_or(u32::MAX);
}

macro_rules! tables {
    ($($name:ident)*) => {
        /// Limits of tables, in entries, where they differ from the machine's. The core's `Limits` explains each.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Tables {
            $(#[allow(missing_docs, reason = "the core's limits say it")] pub $name: Option<usize>,)*
        }

        impl Tables {
            /// All names.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];

            /// Makes the changes.
            pub fn change(&self, limits: &mut Limits) {
                $(if let Some(n) = self.$name {
                    limits.$name = n;
                })*
            }
        }
    };
}

tables! {
    hosts peers handshakes outbox strays relays calls serves small_buffers large_buffers large_bytes seats known items pointers
    operations jobs events
}

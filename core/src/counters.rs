//! Every drop, refusal and eviction has a name and a number.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since start, for people and tests. Each wraps at 2³².
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct Counters {
            $($(#[$doc])* pub $name: u32,)*
        }

        impl Counters {
            /// All counters by name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    // Packets.
    /// Datagrams given to the node.
    packets_in,
    /// Packets encoded.
    packets_out,
    /// Bytes of datagrams given to the node.
    bytes_in,
    /// Bytes of packets encoded.
    bytes_out,
    /// Datagrams that opened under no key: strangers, damage, other networks.
    packets_unopened,
    /// Datagrams too short or too long to be anything.
    packets_malformed,
    /// Session packets seen before, or too old to tell.
    packets_replayed,
    /// Messages malformed or of an unknown kind, skipped.
    messages_skipped,
    /// Messages that made no sense in the state they met, ignored.
    messages_unexpected,
    /// An earlier `now` was given and clamped.
    time_clamped,

    // Sessions.
    /// Handshakes begun by us.
    handshakes_begun,
    /// Sessions established.
    sessions_begun,
    /// Sessions ended by silence, a restart or [`crate::wire::Message::Bye`].
    sessions_ended,
    /// Sessions tried anew because nothing came any more.
    sessions_doubted,
    /// Hellos without a valid cookie, dropped.
    cookies_bad,
    /// Hellos or Welcomes that failed.
    handshakes_failed,
    /// Handshakes refused because no room was left, dropped.
    handshakes_refused,
    /// Peers evicted to make room.
    peers_evicted,
    /// Peers refused because all others are in use.
    peers_refused,
    /// Sessions that moved to another address.
    peers_roamed,
    /// Answers to strangers (of our network) dropped because their queue was full.
    strays_dropped,
    /// Packets relayed for others.
    packets_relayed,
    /// Packets not relayed: no slot, no room, or over the rate.
    relays_refused,
    /// Introductions made for others.
    introductions,

    // Output.
    /// Messages not sent because the outbox was full.
    outbox_dropped,
    /// Messages too long for an empty packet, dropped.
    messages_too_long,
    /// Events lost because the application did not poll.
    events_dropped,

    // Known hosts.
    /// Hosts dropped to make room for better ones.
    hosts_evicted,
    /// Hosts not taken.
    hosts_refused,
    /// Heard-of hosts not taken because too many have their address prefix.
    hosts_crowded,
    /// Hosts found dead: dropped, or kept as vanished.
    hosts_dead,
    /// Exchanges of known hosts that we began.
    exchanges,

    // Calls.
    /// Calls refused: no room.
    calls_refused,
    /// Requests refused: no room.
    serves_refused,
    /// Requests that nobody answered before the caller's deadline.
    serves_expired,
    /// Kept answers dropped early to make room.
    answers_evicted,
    /// Requests for a route that nobody serves.
    routes_unknown,
    /// Requests seen again and answered from memory, or ignored while being worked on.
    requests_repeated,
    /// Requests sent again.
    requests_retried,
    /// Calls that ended without an answer.
    calls_failed,
    /// No buffer was free.
    buffers_refused,

    // Groups.
    /// Groups founded.
    groups_founded,
    /// Groups joined.
    groups_joined,
    /// Cold groups of ours that went into another.
    groups_merged,
    /// Groups left, of our will or because we were surplus.
    groups_left,
    /// Members doubted.
    doubts,
    /// Doubts that ended with a sign of life.
    doubts_cleared,
    /// Members found dead.
    deaths,
    /// Members recruited.
    recruits,
    /// Recruits refused: no seat.
    seats_refused,
    /// Known groups dropped to make room.
    known_evicted,
    /// Requests for groups not known yet.
    pulls,
    /// Beats sent.
    beats_out,
    /// Probes sent.
    probes_out,

    // Content.
    /// Items refused: no room.
    items_refused,
    /// Blocks whose hash was wrong.
    blocks_corrupt,
    /// Lookups begun: walks to the group of an item.
    lookups,
    /// Lookups that ended with *not found*.
    not_found,
    /// Batches of pointers told to others.
    pointer_batches,
    /// Pointers dropped before their time to make room.
    pointers_evicted,
    /// Lookups of others answered with a pointer.
    pointers_used,
    /// Storage operations that failed.
    store_failed,
    /// Storage operations refused: the queue was full.
    store_refused,
    /// Puts and gets refused: no room.
    operations_refused,
}

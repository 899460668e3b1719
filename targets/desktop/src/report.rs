//! What a node tells about itself: the results of `peers`, `groups`, `status`, `put` and `get`, as they are printed with `--json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A known host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: String,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// `connected`, `met`, `heard` or `vanished`.
    pub state: String,
    /// What it says of itself.
    pub quality: Quality,
    /// Of what it has more than the mean, such as `uptime+ free- hosts+`.
    pub class: String,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Seconds since it was last heard.
    pub last_seen_s: u32,
}

/// What a host says of itself; its numbers are rounded down to powers of two.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quality {
    /// Minutes since its start.
    pub uptime_min: u64,
    /// Free storage.
    pub free_bytes: u64,
    /// Hosts it knows.
    pub hosts: u64,
    /// `mains` or `battery`.
    pub power: String,
    /// Whether it introduces hosts to each other and relays for them.
    pub ambassador: bool,
    /// `none`, `tiny` or `any`: what seats it gives.
    pub storage: String,
    /// Where it stands; 0 is not said.
    pub place: u16,
}

/// A group that the node is a member of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// `cold`, `goldilocks` or `hot`.
    pub state: String,
    /// Ids of its live members, the node included.
    pub members: Vec<String>,
    /// Live members wanted.
    pub wanted: u8,
    /// Other members with the same items at their last beat.
    pub agreeing: u8,
    /// Items held here.
    pub items: u32,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that still fit.
    pub free: u64,
}

/// How many groups are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Groups {
    /// With fewer members than wanted.
    pub cold: usize,
    /// With just as many.
    pub goldilocks: usize,
    /// With more.
    pub hot: usize,
    /// Others that the node knows of.
    pub known: usize,
}

/// How the node is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub id: String,
    /// Its network's name.
    pub network: String,
    /// Whether the network has a secret.
    pub closed: bool,
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What others join by.
    pub ticket: String,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Hosts with which there is a session.
    pub peers: usize,
    /// Hosts known and not found dead.
    pub hosts: usize,
    /// Groups by state.
    pub groups: Groups,
    /// Items held here.
    pub items: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes given and not used.
    pub free: u64,
    /// Bytes given to the network.
    pub storage: u64,
    /// Everything counted since start.
    pub counters: BTreeMap<String, u32>,
}

/// What was stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The object's id.
    pub id: String,
    /// Its length.
    pub bytes: u64,
    /// Its blocks of data.
    pub blocks: u32,
    /// The fewest nodes that hold each of them.
    pub replicas: u8,
    /// Nodes that should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u8>,
    /// How long it took.
    pub seconds: f64,
    /// The file that was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What was fetched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// The object's id.
    pub id: String,
    /// Its length.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// The file it is in.
    pub file: String,
}

/// A node that has just started: what `butter run --json` prints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// Its network's name.
    pub network: String,
    /// Whether the network has a secret.
    pub closed: bool,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What others join by.
    pub ticket: String,
    /// The socket by which the other commands reach it; `null` where there is none.
    pub control: Option<String>,
}

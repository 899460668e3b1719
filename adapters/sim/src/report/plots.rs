//! Which plots a page has: what each shows, in which unit, and how it was counted.

use serde::Serialize;

/// How a plot draws its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Lines from zero.
    Lines,
    /// Lines in per cent: from the least value to 100.
    Share,
    /// Areas on top of each other.
    Stack,
}

/// A plot of series over time.
pub struct Spec {
    pub title: &'static str,
    pub unit: &'static str,
    /// The counting rule.
    pub rule: &'static str,
    pub shape: Shape,
    /// Series by their names in `sample`, what each is called for people, and its colour in the style sheet.
    pub lines: &'static [(&'static str, &'static str, &'static str)],
}

pub const PLOTS: [Spec; 9] = [
    Spec {
        title: "Retention",
        unit: "% of items",
        rule: "Acknowledged items of which at least one running node has the first block on its disk. Whether a fresh node \
               also finds them is in the table of figures.",
        shape: Shape::Share,
        lines: &[("held", "held by a running node", "c0")],
    },
    Spec {
        title: "Replicas",
        unit: "% of items",
        rule: "Acknowledged items by the number of running nodes that have their first block on disk.",
        shape: Shape::Stack,
        lines: &[
            ("0", "lost", "lost"),
            ("1", "1 copy", "one"),
            ("2", "2 copies", "two"),
            ("3", "3", "three"),
            ("4", "4", "four"),
            ("5", "5", "five"),
            ("6 or more", "6 or more", "six"),
        ],
    },
    Spec {
        title: "Groups",
        unit: "% of seats",
        rule: "Seats of running nodes, by what the node says of its group: fewer members than wanted, as many, or more.",
        shape: Shape::Stack,
        lines: &[("cold", "cold", "cold"), ("goldilocks", "goldilocks", "gold"), ("hot", "hot", "hot")],
    },
    Spec {
        title: "Nodes",
        unit: "nodes",
        rule: "Nodes that run, paused ones included; and the mean, over them, of how many hosts each knows and has not found \
               dead.",
        shape: Shape::Lines,
        lines: &[("nodes", "running", "c0"), ("known hosts", "known hosts per node", "c1")],
    },
    Spec {
        title: "Traffic",
        unit: "bytes sent per node and second",
        rule: "UDP payloads, counted when they are sent. Inside of packets only the simulator's own cryptography can see; \
               with real cryptography there is one sum.",
        shape: Shape::Stack,
        lines: &[
            ("signs of life", "signs of life", "c0"),
            ("groups", "groups", "c1"),
            ("calls", "calls", "c2"),
            ("sessions", "sessions", "c3"),
            ("greetings", "greetings", "c4"),
            ("headers, tags, handshakes, padding", "headers, tags, handshakes, padding", "c7"),
            ("all bytes", "all", "c0"),
        ],
    },
    Spec {
        title: "Signs of life",
        unit: "per node and second",
        rule: "Packets, beats and probes sent; wake-ups are deadlines that came due. Probes are not counted among beats.",
        shape: Shape::Lines,
        lines: &[
            ("packets", "packets", "c7"),
            ("wake-ups", "wake-ups", "c4"),
            ("beats", "beats", "c0"),
            ("probes", "probes", "c1"),
        ],
    },
    Spec {
        title: "Repair",
        unit: "per node and second",
        rule: "What members count: others doubted, others found dead (each member counts for itself), recruits taken, groups \
               left or merged.",
        shape: Shape::Lines,
        lines: &[
            ("doubts", "doubts", "c1"),
            ("deaths", "deaths found", "hot"),
            ("recruits", "recruits", "three"),
            ("left", "groups left", "c0"),
            ("merged", "groups merged", "c5"),
        ],
    },
    Spec {
        title: "Upkeep and use",
        unit: "per node and second",
        rule: "Handshakes and exchanges of known hosts begun, batches of pointers told, lookups begun.",
        shape: Shape::Lines,
        lines: &[
            ("handshakes", "handshakes", "c4"),
            ("exchanges", "exchanges", "c2"),
            ("pointer batches", "pointer batches", "c3"),
            ("lookups", "lookups", "c0"),
        ],
    },
    Spec {
        title: "Diversity of the tables",
        unit: "% of known hosts",
        rule: "Met and heard-of hosts in all tables by class: whether uptime (u), free storage (f) and hosts known (h) are \
               above the mean of the table they are in.",
        shape: Shape::Stack,
        lines: &[
            ("---", "none above", "k0"),
            ("u--", "u", "k1"),
            ("-f-", "f", "k2"),
            ("uf-", "u f", "k3"),
            ("--h", "h", "k4"),
            ("u-h", "u h", "k5"),
            ("-fh", "f h", "k6"),
            ("ufh", "u f h", "k7"),
        ],
    },
];

//! Results for people: aligned, with units.

use std::fmt::Write;
use std::time::Duration;

use crate::report::{Group, Peer, Status};
use crate::units::{count, duration, size};

/// Characters of an id that tell one from another at a glance.
const SHORT: usize = 12;

/// Rows below a title, each column as wide as its widest cell. The last column is not padded.
fn table(title: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = title.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut title.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Known hosts.
pub fn peers(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "no host is known yet\n".to_owned();
    }
    let row = |peer: &Peer| {
        let quality = &peer.quality;
        vec![
            peer.id.clone(),
            peer.state.clone(),
            peer.rtt_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms")),
            format!("{} ago", duration(Duration::from_secs(peer.last_seen_s.into()))),
            duration(Duration::from_secs(quality.uptime_min.saturating_mul(60))),
            if quality.storage == "none" { "none".to_owned() } else { size(quality.free_bytes) },
            quality.hosts.to_string(),
            peer.class.clone(),
            peer.addresses.join(", "),
        ]
    };
    let title = ["ID", "STATE", "ROUND TRIP", "SEEN", "UPTIME", "FREE", "HOSTS", "CLASS", "ADDRESSES"];
    table(&title, &peers.iter().map(row).collect::<Vec<_>>())
}

/// Groups that the node is in.
pub fn groups(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "the node is in no group yet: groups are founded when something is put\n".to_owned();
    }
    let row = |group: &Group| {
        vec![
            group.id.clone(),
            group.state.clone(),
            format!("{} of {}", group.members.len(), group.wanted),
            group.items.to_string(),
            size(group.bytes),
            size(group.free),
            group.members.iter().map(|id| short(id)).collect::<Vec<_>>().join(" "),
        ]
    };
    let title = ["ID", "STATE", "LIVE", "ITEMS", "HELD", "FREE", "MEMBERS"];
    table(&title, &groups.iter().map(row).collect::<Vec<_>>())
}

/// How the node is.
pub fn status(status: &Status) -> String {
    let counter = |name| status.counters.get(name).copied().unwrap_or(0);
    let traffic =
        |bytes, packets| format!("{} in {}", size(counter(bytes).into()), count(counter(packets).into(), "packet"));
    let groups = &status.groups;
    let rows = [
        ("id", status.id.clone()),
        ("network", format!("{} ({})", status.network, if status.closed { "closed" } else { "open" })),
        ("addresses", status.addresses.join(", ")),
        ("ticket", status.ticket.clone()),
        (
            "running",
            format!(
                "{}, process {}, version {}",
                duration(Duration::from_secs(status.uptime_s)),
                status.pid,
                status.version
            ),
        ),
        ("hosts", format!("{} connected, {} known", status.peers, status.hosts)),
        (
            "groups",
            format!(
                "{} goldilocks, {} cold, {} hot; {} known",
                groups.goldilocks, groups.cold, groups.hot, groups.known
            ),
        ),
        ("content", format!("{}, {}", count(status.items as u64, "item"), size(status.bytes))),
        ("storage", format!("{} free of {}", size(status.free), size(status.storage))),
        ("received", traffic("bytes_in", "packets_in")),
        ("sent", traffic("bytes_out", "packets_out")),
    ];
    rows.iter().fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "{name:9}  {value}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".into(), "long cell".into(), "x".into()], vec!["bbb".into(), "ü".into(), String::new()]];
        assert_eq!(table(&["A", "B", "C"], &rows), "A    B          C\na    long cell  x\nbbb  ü\n");
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert!(peers(&[]).contains("no host"));
        assert!(groups(&[]).contains("no group"));
    }

    #[test]
    fn a_group_is_one_line() {
        let group = Group {
            id: "00ff".into(),
            state: "cold".into(),
            members: vec!["y".repeat(52)],
            wanted: 3,
            agreeing: 0,
            items: 2,
            bytes: 2048,
            free: 1 << 30,
        };
        let text = groups(&[group]);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(
            line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>(),
            ["00ff", "cold", "1 of 3", "2", "2.00 KiB", "1.00 GiB", "yyyyyyyyyyyy"]
        );
    }
}

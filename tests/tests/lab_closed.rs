//! A closed network tells those without its secret nothing, not even that it is there.
#![cfg(target_os = "linux")]

use std::net::IpAddr;
use std::time::Duration;

use butter_tests::lab::{Capture, Datagram, Host, Lab};
use butter_tests::node::{Build, Node, Nodes, all_connected, tell, until};

const PORT: u16 = 4000;
/// Within which members know each other.
const LIMIT: Duration = Duration::from_secs(20);
/// How long strangers try: they ping by multicast, broadcast, sweep and by an address given by hand.
const TRY: Duration = Duration::from_secs(12);

/// Datagrams to a host alone, not to a group or everybody, but for those from `strangers`.
fn replies(seen: &[Datagram], host: &Host, strangers: &[IpAddr]) -> Vec<String> {
    let to_it = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4 == host.ip4(),
        // Its link-local address, too.
        IpAddr::V6(v6) => !v6.is_multicast(),
    };
    let replies = seen.iter().filter(|d| to_it(d.to.ip()) && !strangers.contains(&d.from.ip()));
    replies.map(|d| format!("{} to {}, {} bytes", d.from, d.to, d.data.len())).collect()
}

/// How many datagrams a host sent to groups, and to single hosts.
fn sent(seen: &[Datagram], host: &Host) -> (usize, usize) {
    let own = seen.iter().filter(|d| d.from.ip() == IpAddr::from(host.ip4()));
    own.fold((0, 0), |(groups, single), d| match d.to.ip() {
        IpAddr::V4(v4) if v4.is_multicast() => (groups + 1, single),
        _ => (groups, single + 1),
    })
}

/// A node whose host's interface is recorded.
struct Watched {
    host: Host,
    node: Node,
    capture: Capture,
}

#[test]
fn who_lacks_the_secret_learns_nothing_and_gets_no_reply() {
    let Some(lab) = Lab::new() else { return };
    let nodes = Nodes::new(Build::Release);
    let lan = lab.lan();
    let secret = |name: &str, digit: &str| {
        let path = nodes.file(name, digit.repeat(64).as_bytes());
        path.to_string_lossy().into_owned()
    };
    let (right, wrong) = (secret("right", "a"), secret("wrong", "b"));
    let member = ["--network", "home", "--secret-file", right.as_str()];
    let hosts = (0..3).map(|_| lan.host()).collect::<Vec<_>>();
    let first = format!("0.0.0.0:{PORT}");
    let mut members = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let mut args = member.to_vec();
        if number == 0 {
            args.extend(["--listen", first.as_str()]);
        }
        members.push(nodes.start(&args, |command| host.spawn(command)));
    }
    let known = members.iter().collect::<Vec<_>>();
    until("the members know each other", LIMIT, || all_connected(&known));

    let join = format!("{}:{PORT}", hosts[0].ip4());
    let watch = |args: &[&str]| {
        let host = lan.host();
        let capture = host.capture();
        let args = [args, &["--join", &join]].concat();
        let node = nodes.start(&args, |command| host.spawn(command));
        Watched { host, node, capture }
    };
    let strangers = [
        ("with a wrong secret", watch(&["--network", "home", "--secret-file", &wrong])),
        ("with none", watch(&["--network", "home"])),
    ];
    // One with the secret, to show that this test would see replies.
    let friend = watch(&member);
    until("a late member knows the others", LIMIT, || {
        let up = friend.node.connected()?;
        let missing = known.iter().find(|member| !up.iter().any(|id| id == member.id()));
        missing.map_or(Ok(()), |member| Err(format!("not node {}", member.number())))
    });
    std::thread::sleep(TRY);

    // They ping each other, too, when they try every address.
    let theirs = strangers.each_ref().map(|(_, stranger)| IpAddr::from(stranger.host.ip4()));
    for (what, stranger) in strangers {
        let (peers, status) = (stranger.node.json("peers"), stranger.node.json("status"));
        assert_eq!(peers.as_array().map(Vec::len), Some(0), "a node {what} knows {peers}");
        assert_eq!(status["hosts"], 0, "a node {what} knows hosts");
        assert_eq!(status["groups"]["known"], 0, "a node {what} knows groups");
        let seen = stranger.capture.datagrams();
        let (groups, single) = sent(&seen, &stranger.host);
        assert!(groups > 0 && single > 0, "a node {what} sent {groups} to groups, {single} to hosts");
        tell(&format!("a node {what} sent {groups} datagrams to groups, {single} to hosts, and got no reply"));
        assert_eq!(replies(&seen, &stranger.host, &theirs), Vec::<String>::new(), "a node {what} got replies");
    }
    let friendly = replies(&friend.capture.datagrams(), &friend.host, &theirs);
    assert!(!friendly.is_empty(), "this test sees no replies even to a member");
    for member in &members {
        let known = member.json("peers");
        assert_eq!(known.as_array().map(Vec::len), Some(3), "node {} knows {known}", member.number());
    }
}

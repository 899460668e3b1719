//! The network lab does what it says, or every test that stands on it would mean nothing.
#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use butter_tests::lab::{Cable, Host, Lab};

const PORT: u16 = 5005;
const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 83);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Long enough for a packet to cross a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// Long enough to say that nothing came.
const NEVER: Duration = Duration::from_millis(300);

fn bind(host: &Host, address: impl Into<IpAddr> + Send, port: u16) -> UdpSocket {
    host.run(|| UdpSocket::bind((address.into(), port)).unwrap())
}

/// The next datagram within `limit`.
fn receive(socket: &UdpSocket, limit: Duration) -> Option<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(limit)).unwrap();
    let mut buffer = [0; 2048];
    match socket.recv_from(&mut buffer) {
        Ok((n, from)) => Some((buffer[..n].to_vec(), from)),
        Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => None,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn hosts_of_a_lan_reach_each_other_at_once() {
    let Some(lab) = Lab::new() else { return };
    let lan = lab.lan();
    let hosts = [lan.host(), lan.host(), lan.host()];
    for (address, sender) in [
        (IpAddr::from(hosts[2].ip4()), IpAddr::from(hosts[0].ip4())),
        (IpAddr::from(hosts[2].ip6()), IpAddr::from(hosts[0].ip6())),
    ] {
        let to = bind(&hosts[2], address, PORT);
        let from = bind(&hosts[0], sender, PORT);
        from.send_to(b"hi", (address, PORT)).unwrap();
        assert_eq!(receive(&to, SOON), Some((b"hi".to_vec(), SocketAddr::new(sender, PORT))));
    }
}

#[test]
fn labs_and_hosts_are_apart() {
    let Some(lab) = Lab::new() else { return };
    let (a, b) = (lab.lan().host(), lab.lan().host());
    let to = bind(&b, b.ip4(), PORT);
    let from = bind(&a, a.ip4(), PORT);
    // No route leads there: the system may say so at once.
    let _ = from.send_to(b"hi", (b.ip4(), PORT));
    assert_eq!(receive(&to, NEVER), None);
    let seen = a.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let names = seen.lines().skip(2).filter_map(|l| l.split(':').next().map(str::trim));
    assert!(names.clone().all(|n| n == "lo" || n == "eth0"), "{:?}", names.collect::<Vec<_>>());
}

#[test]
fn multicast_and_broadcast_pass_until_blocked() {
    let Some(lab) = Lab::new() else { return };
    let lan = lab.lan();
    let (a, b) = (lan.host(), lan.host());
    let to4 = bind(&b, Ipv4Addr::UNSPECIFIED, PORT);
    to4.join_multicast_v4(&GROUP4, &b.ip4()).unwrap();
    let to6 = bind(&b, Ipv6Addr::UNSPECIFIED, PORT + 1);
    let from4 = bind(&a, a.ip4(), 0);
    from4.set_broadcast(true).unwrap();
    let from6 = bind(&a, Ipv6Addr::UNSPECIFIED, 0);
    let group6 = SocketAddrV6::new(GROUP6, PORT + 1, 0, a.interface_index());
    let multicast = || {
        // No route leads to the group: the address that the socket is bound to names the interface.
        from4.set_multicast_loop_v4(false).unwrap();
        from4.send_to(b"4", (GROUP4, PORT)).unwrap();
        from6.send_to(b"6", group6).unwrap();
    };
    let broadcast = || from4.send_to(b"b", (lan.ip4(255), PORT)).unwrap();
    multicast();
    assert_eq!(receive(&to4, SOON).map(|r| r.0), Some(b"4".to_vec()));
    assert_eq!(receive(&to6, SOON).map(|r| r.0), Some(b"6".to_vec()));
    broadcast();
    assert_eq!(receive(&to4, SOON).map(|r| r.0), Some(b"b".to_vec()));
    lan.block_multicast(true);
    multicast();
    assert_eq!(receive(&to4, NEVER), None);
    assert_eq!(receive(&to6, NEVER), None);
    broadcast();
    assert_eq!(receive(&to4, SOON).map(|r| r.0), Some(b"b".to_vec()));
    lan.block_broadcast(true);
    broadcast();
    assert_eq!(receive(&to4, NEVER), None);
    lan.block_multicast(false);
    multicast();
    assert_eq!(receive(&to4, SOON).map(|r| r.0), Some(b"4".to_vec()));
}

#[test]
fn a_wire_takes_its_time_and_loses_its_share() {
    let Some(lab) = Lab::new() else { return };
    let cable = Cable { latency: Duration::from_millis(20), jitter: Duration::from_millis(10), loss_permille: 200 };
    let (wire, hosts) = lab.wire(3, cable, 1);
    let to = bind(&hosts[1], hosts[1].ip4(), PORT);
    let from = bind(&hosts[0], hosts[0].ip4(), PORT);
    let sent = Instant::now();
    let mut first = None;
    while first.is_none() && sent.elapsed() < SOON {
        from.send_to(b"first", (hosts[1].ip4(), PORT)).unwrap();
        first = receive(&to, NEVER);
    }
    assert!(first.is_some(), "nothing arrives");
    assert!(sent.elapsed() >= cable.latency, "it came after {:?}", sent.elapsed());
    let mut arrived = 0u32;
    for _ in 0..50 {
        for _ in 0..10 {
            from.send_to(b"x", (hosts[1].ip4(), PORT)).unwrap();
        }
        while receive(&to, Duration::from_millis(40)).is_some() {
            arrived += 1;
        }
    }
    // 400 of 500 are expected, with a standard deviation of 9.
    assert!((350..=450).contains(&arrived), "{arrived} of 500 arrived at a loss of 20 %");
    assert!(wire.packets().1 > 50, "{:?}", wire.packets());
}

#[test]
fn a_router_hides_and_forwards() {
    let Some(lab) = Lab::new() else { return };
    let (home, world) = (lab.lan(), lab.lan());
    let early = home.host();
    let router = home.route(&world, &[&early]);
    let (late, server) = (home.host(), world.host());
    let service = bind(&server, server.ip4(), PORT);
    for host in [&early, &late] {
        let inside = bind(host, host.ip4(), PORT);
        inside.send_to(b"out", (server.ip4(), PORT)).unwrap();
        let (data, seen) = receive(&service, SOON).expect("what leaves arrives");
        assert_eq!((data.as_slice(), seen.ip()), (b"out".as_slice(), router.ip4().into()));
        service.send_to(b"back", seen).unwrap();
        assert_eq!(receive(&inside, SOON).map(|r| r.0), Some(b"back".to_vec()));
    }
    let stranger = bind(&server, server.ip4(), PORT + 1);
    let inside = bind(&late, late.ip4(), PORT + 2);
    stranger.send_to(b"in", (router.ip4(), PORT + 3)).unwrap();
    assert_eq!(receive(&inside, NEVER), None);
    router.forward(PORT + 3, &late, PORT + 2);
    // From another port, so that nothing the router remembers is in the way.
    let caller = bind(&server, server.ip4(), PORT + 4);
    caller.send_to(b"in", (router.ip4(), PORT + 3)).unwrap();
    let (_, seen) = receive(&inside, SOON).expect("a forwarded port leads inside");
    inside.send_to(b"answer", seen).unwrap();
    let answer = receive(&caller, SOON).expect("the answer leads back");
    assert_eq!(answer, (b"answer".to_vec(), SocketAddr::new(router.ip4().into(), PORT + 3)));
}

#[test]
fn a_capture_sees_both_directions_and_no_other_host() {
    let Some(lab) = Lab::new() else { return };
    let lan = lab.lan();
    let (a, b, c) = (lan.host(), lan.host(), lan.host());
    let (at_b, at_c) = (b.capture(), c.capture());
    let (sa, sb) = (bind(&a, a.ip4(), PORT), bind(&b, b.ip4(), PORT));
    sa.send_to(b"ask", (b.ip4(), PORT)).unwrap();
    let (_, from) = receive(&sb, SOON).expect("it arrives");
    sb.send_to(b"tell", from).unwrap();
    receive(&sa, SOON).expect("it is answered");
    let seen = at_b.datagrams();
    let parts = seen.iter().map(|d| (d.from.ip(), d.to.ip(), d.data.as_slice())).collect::<Vec<_>>();
    let (ia, ib) = (IpAddr::from(a.ip4()), IpAddr::from(b.ip4()));
    assert_eq!(parts, [(ia, ib, b"ask".as_slice()), (ib, ia, b"tell".as_slice())]);
    assert!(at_c.datagrams().iter().all(|d| d.data != b"ask" && d.data != b"tell"));
}

#[test]
fn a_pulled_cable_carries_nothing() {
    let Some(lab) = Lab::new() else { return };
    let lan = lab.lan();
    let (a, b) = (lan.host(), lan.host());
    let (sa, sb) = (bind(&a, a.ip4(), PORT), bind(&b, b.ip4(), PORT));
    b.link(false);
    sa.send_to(b"1", (b.ip4(), PORT)).unwrap();
    assert_eq!(receive(&sb, NEVER), None);
    b.link(true);
    let end = Instant::now() + SOON;
    while Instant::now() < end {
        // The first one may find the neighbour still unknown.
        let _ = sa.send_to(b"2", (b.ip4(), PORT));
        if receive(&sb, NEVER).is_some() {
            return;
        }
    }
    panic!("the cable is in again, but nothing passes");
}

#[test]
fn processes_run_on_their_host_and_leave_logs() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.lan().host();
    let mut show = Command::new("ip");
    show.args(["-4", "-o", "addr", "show", "eth0"]);
    let mut shown = host.spawn(show);
    assert!(shown.wait(SOON).expect("it ends").success());
    assert!(shown.output().contains(&host.ip4().to_string()), "{}", shown.output());
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let mut sleeper = host.spawn(sleep);
    let proc = format!("/proc/{}", sleeper.id());
    assert!(Path::new(&proc).exists());
    assert!(sleeper.wait(Duration::ZERO).is_none());
    sleeper.kill();
    assert!(!Path::new(&proc).exists());
}

/// The names of our namespaces that a process made.
fn namespaces_of(process: u32) -> Vec<String> {
    let ours = format!("butter-lab-{process}-");
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = names.filter_map(|e| e.file_name().into_string().ok());
    names.filter(|n| n.starts_with(&ours)).collect()
}

#[test]
fn nothing_is_left_after_a_panic_or_a_dead_test() {
    let Some(lab) = Lab::new() else { return };
    let me = std::process::id();
    assert_eq!(namespaces_of(me), Vec::<String>::new(), "one lab at a time");
    let panic = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let host = lab.lan().host();
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let sleeper = host.spawn(sleep);
        std::panic::panic_any(sleeper.id());
    }));
    let pid = *panic.unwrap_err().downcast::<u32>().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(namespaces_of(me), Vec::<String>::new());
    drop(lab);

    // A process that is no more, as a killed test is: its namespaces go when the next lab starts.
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let name = format!("butter-lab-{}-0-left", dead.id());
    assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
    let _lab = Lab::new().unwrap();
    assert_eq!(namespaces_of(dead.id()), Vec::<String>::new());
}

//! §2: handshakes, keys and the life of sessions.

use butter_core::config::Config;
use butter_core::memory::Limits;
use butter_core::node::Event;

use crate::world::{Fate, LINK, World, addr, config, node};

/// Two nodes without multicast, of which each looks for the other at its address.
fn both_dial() -> World {
    let mut world = World::new();
    let lan = false;
    for i in 0..2 {
        world.add(&format!("10.0.{i}.1:5000"), i, Config { lan, ..config() });
    }
    for (at, other) in [(0, "10.0.1.1:5000"), (1, "10.0.0.1:5000")] {
        let now = world.now;
        world.members[at].node.meet(now, LINK, addr(other)).unwrap();
    }
    world
}

/// One node that looks for the other.
fn one_dials(config: Config) -> World {
    let mut world = World::new();
    for i in 0..2 {
        world.add(&format!("10.0.{i}.1:5000"), i, Config { lan: false, ..config.clone() });
    }
    let now = world.now;
    world.members[0].node.meet(now, LINK, addr("10.0.1.1:5000")).unwrap();
    world
}

#[test]
fn s2_3_a_session_takes_ping_pong_hello_welcome_and_a_packet() {
    let mut world = one_dials(config());
    world.run_ms(10);
    assert!(world.linked(0, 1));
    let lengths: Vec<_> = world.log.iter().take(4).map(|packet| packet.bytes.len()).collect();
    assert_eq!(lengths[0], 256, "a Ping");
    assert!(lengths[1] <= 256, "a Pong");
    assert_eq!((lengths[2], lengths[3]), (177, 64), "a Hello and a Welcome");
    for member in &world.members {
        assert!(matches!(member.events[..], [Event::PeerUp(_)]), "{:?}", member.events);
        assert_eq!(member.node.counters().sessions_begun, 1);
    }
}

#[test]
fn s2_3_the_loss_of_any_one_packet_only_delays() {
    for lost in 0..16 {
        for mut world in [one_dials(config()), both_dial(), World::lan(2)] {
            world.rule = Box::new(move |packet| if packet.number == lost { Fate::Lose } else { Fate::Pass });
            world.run_ms(3_000);
            assert!(world.linked(0, 1), "packet {lost}");
            let downs = world.members.iter().flat_map(|member| &member.events);
            assert_eq!(downs.filter(|event| matches!(event, Event::PeerDown(_))).count(), 0, "packet {lost}");
        }
    }
}

#[test]
fn s2_3_heavy_loss_duplicates_and_disorder_only_delay() {
    for seed in 0..40u64 {
        for mut world in [one_dials(config()), both_dial(), World::lan(2)] {
            let mut state = seed * 2 + 1;
            world.rule = Box::new(move |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match state >> 60 {
                    0..=4 => Fate::Lose,
                    5..=7 => Fate::Twice,
                    8..=10 => Fate::Late(20_000),
                    _ => Fate::Pass,
                }
            });
            world.run_ms(60_000);
            // A session may have been doubted just now.
            let linked = (0..300).any(|_| {
                world.run_ms(100);
                world.linked(0, 1)
            });
            assert!(linked, "seed {seed}");
        }
    }
}

#[test]
fn s2_3_simultaneous_opens_end_in_one_session() {
    let mut world = both_dial();
    world.run_ms(1_000);
    assert!(world.linked(0, 1));
    for member in &world.members {
        assert!(matches!(member.events[..], [Event::PeerUp(_)]), "{:?}", member.events);
        let counters = member.node.counters();
        assert_eq!((counters.sessions_begun, counters.handshakes_begun), (1, 1));
    }
}

/// Found by five real processes: one opened over IPv4, the other over IPv6, both gave their own up for the other's, and both waited.
#[test]
fn s2_3_simultaneous_opens_over_two_families_end_in_one_session_at_once() {
    let mut world = World::new();
    for i in 0..2 {
        let at = world.add(&format!("10.0.{i}.1:5000"), i, Config { lan: false, ..config() });
        world.members[at].second = Some(addr(&format!("[fd00::{i}]:5000")));
    }
    for (at, other) in [(0, "10.0.1.1:5000"), (1, "[fd00::0]:5000")] {
        let now = world.now;
        world.members[at].node.meet(now, LINK, addr(other)).unwrap();
    }
    world.run_ms(20);
    assert!(world.linked(0, 1));
    assert_eq!(world.log.iter().filter(|packet| packet.bytes.len() == 177).count(), 2, "each said Hello once");
}

#[test]
fn s2_6_keys_are_renewed_without_a_break() {
    let mut world = one_dials(Config { rekey_ms: 2_000, ..config() });
    world.run_ms(60_000);
    assert!(world.linked(0, 1));
    let begun: u32 = world.members.iter().map(|member| member.node.counters().handshakes_begun).sum();
    assert!((25..=31).contains(&begun), "{begun} handshakes in 30 periods");
    for member in &world.members {
        assert!(matches!(member.events[..], [Event::PeerUp(_)]), "{:?}", member.events);
        assert_eq!(member.node.counters().packets_unopened, 0);
    }
}

#[test]
fn s2_6_renewal_survives_loss() {
    let mut world = one_dials(Config { rekey_ms: 2_000, ..config() });
    world.rule = Box::new(|packet| if packet.number % 3 == 2 { Fate::Lose } else { Fate::Pass });
    world.run_ms(120_000);
    assert!(world.linked(0, 1));
    for member in &world.members {
        assert!(matches!(member.events[..], [Event::PeerUp(_)]), "{:?}", member.events);
    }
}

#[test]
fn s2_7_a_restarted_host_is_recognised_at_once() {
    for lan in [true, false] {
        let mut world = if lan { World::lan(2) } else { one_dials(config()) };
        world.run_ms(5_000);
        assert!(world.linked(0, 1));
        // Whoever dials is the one that restarts: with the same secret, but another seed and so another boot.
        let again = node(1, 77, "test", Config { lan, ..config() }, &Limits::DESKTOP, world.now);
        world.members[0].node = again;
        world.members[0].events.clear();
        let now = world.now;
        let state = butter_core::addr::LinkState::Up { mtu: 1400 };
        world.members[0].node.handle_link(now, LINK, state);
        if !lan {
            world.members[0].node.meet(now, LINK, addr("10.0.1.1:5000")).unwrap();
        }
        world.run_ms(300);
        assert!(world.linked(0, 1), "lan {lan}");
        use Event::{PeerDown, PeerUp};
        assert!(matches!(world.members[1].events[..], [PeerUp(a), PeerDown(b), PeerUp(c)] if a == b && a != c));
    }
}

#[test]
fn s2_7_a_peer_at_a_new_address_is_challenged_and_followed() {
    let mut world = one_dials(config());
    world.run_ms(1_000);
    world.members[0].addr = addr("10.0.0.1:6000");
    world.run_ms(25_000); // It keeps the session with whom it joined, and so sends something.
    assert!(world.linked(0, 1));
    assert_eq!(world.path(1, 0), Some(addr("10.0.0.1:6000")));
    assert_eq!(world.members[1].node.counters().peers_roamed, 1);
}

#[test]
fn s2_7_a_packet_copied_from_elsewhere_moves_nothing() {
    let mut world = one_dials(config());
    world.run_ms(1_000);
    // The first copy to arrive comes from an attacker's address.
    let fake = addr("10.0.0.66:6000");
    world.rule = Box::new(|packet| if packet.to == 1 { Fate::Late(1) } else { Fate::Pass });
    let before = world.log.len();
    world.run_ms(19_990);
    let copy = loop {
        if let Some(packet) = world.log[before..].iter().find(|packet| packet.to == 1) {
            break packet.clone();
        }
        world.run_ms(1);
    };
    world.inject(1, fake, copy.bytes);
    world.run_ms(5_000);
    assert_eq!(world.path(1, 0), Some(addr("10.0.0.1:5000")));
    assert_eq!(world.members[1].node.counters().peers_roamed, 0);
    assert!(world.linked(0, 1));
}

#[test]
fn s2_7_unused_sessions_end_on_both_sides_and_kept_ones_stay() {
    let lan = World::lan(2);
    let idle_ms = 2 * config().session_idle_ms;
    let mut world = lan;
    for member in &mut world.members {
        // Nobody exchanges known hosts in this time.
        member.node = node(member.addr.ip[15], 9, "test", quiet(), &Limits::DESKTOP, world.now);
        member.node.handle_link(world.now, LINK, butter_core::addr::LinkState::Up { mtu: 1400 });
    }
    world.run_ms(500);
    assert!(world.linked(0, 1));
    world.run_ms(idle_ms);
    for member in &world.members {
        assert!(matches!(member.events[..2], [Event::PeerUp(_), Event::PeerDown(_)]), "{:?}", member.events);
        assert_eq!(member.node.counters().hosts_dead, 0, "a Bye is no death");
    }
    let mut world = one_dials(quiet());
    world.run_ms(idle_ms);
    assert!(world.linked(0, 1));
}

fn quiet() -> Config {
    Config { exchange_interval_ms: 86_400_000, ping_interval_ms: 86_400_000, ..config() }
}

#[test]
fn s2_7_a_node_that_stops_says_so() {
    let mut world = World::lan(3);
    world.run_ms(500);
    let now = world.now;
    world.members[0].node.shutdown(now);
    world.run_ms(10);
    assert!(!world.is_up(1, 0) && !world.is_up(2, 0) && world.linked(1, 2));
    assert_eq!(world.members[0].node.peers().count(), 0);
    world.run_ms(10_000);
    assert!(!world.is_up(1, 0), "and stays silent");
}

#[test]
fn s2_a_peer_and_a_handshake_fit_a_small_node() {
    let peer = size_of::<butter_core::session::Peer>();
    let handshake = size_of::<butter_core::session::Handshake>();
    for (name, bytes) in Limits::TINY.table_bytes() {
        println!("{name} {bytes}");
    }
    println!(
        "all {}, Peer {peer}, Handshake {handshake}, Stray {}",
        Limits::TINY.bytes(),
        size_of::<butter_core::session::Stray>()
    );
    assert!(peer <= 464 && handshake <= 400);
}

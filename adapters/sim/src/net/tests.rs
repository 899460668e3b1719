//! The network as a whole.

use super::*;
use crate::scenario::units::{Bandwidth, Share, Size};
use std::collections::BTreeSet;

fn net(path: Path) -> (Net, SegmentId, SegmentId) {
    let mut net = Net::new(1, &Path::INTERNET);
    let (a, b) = (net.add_segment(&path), net.add_segment(&path));
    for who in 0..6 {
        let segment = if who < 4 { a } else { b };
        let addr = net.next_addr(segment, who % 2 == 0, None);
        net.joined(Who(who), None);
        net.attach(Who(who), Plug { segment, ..Plug::default() }, addr);
    }
    (net, a, b)
}

fn loss(ppm: u32) -> Loss {
    Loss::Independent(Share::from_ppm(ppm))
}

fn heard(net: &mut Net, from: Who, to: Destination) -> Vec<u32> {
    let mut out = Vec::new();
    net.send(Instant::ZERO, from, to, 100, &mut out);
    out.iter().map(|sent| if let Hop::Host(who) = sent.to { who.0 } else { panic!("{sent:?}") }).collect()
}

#[test]
fn multicast_stays_in_its_segment_and_unicast_reaches_all() {
    let (mut net, a, _) = net(Path::LAN);
    assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [1, 2, 3]);
    assert_eq!(heard(&mut net, Who(4), Destination::Broadcast), [5]);
    let far = Destination::Addr(net.addr(Who(5)).unwrap().with_slot(3));
    net.set_internet(&Path { loss: Path::LAN.loss, ..Path::INTERNET });
    assert_eq!(heard(&mut net, Who(0), far), [5]);
    net.set_casts(a, false, true);
    assert!(heard(&mut net, Who(0), Destination::Multicast).is_empty());
    net.detach(Who(5));
    assert!(heard(&mut net, Who(0), far).is_empty());
    assert_eq!(net.counters().unreachable, 2);
}

#[test]
fn partitions_stop_packets_until_they_heal() {
    let (mut net, a, _) = net(Path::LAN);
    let alone = net.partition(&[Who(1)], None, Way::Both).unwrap();
    net.partition(&[Who(0)], Some(&[Who(2)]), Way::Out).unwrap();
    assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [3]);
    assert_eq!(heard(&mut net, Who(2), Destination::Multicast), [0, 3]);
    assert!(net.heal(alone));
    assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [1, 3]);
    net.heal_all();
    let here = net.on_segment(a).to_vec();
    net.partition(&here, None, Way::Both).unwrap();
    assert_eq!(heard(&mut net, Who(0), Destination::Multicast), [1, 2, 3]);
    let far = Destination::Addr(net.addr(Who(5)).unwrap());
    assert!(heard(&mut net, Who(0), far).is_empty());
    assert_eq!(net.counters().cut, 5);
}

#[test]
fn loss_and_duplicates_have_their_rates() {
    let (mut net, ..) = net(Path { loss: loss(200_000), duplicate: Share::from_ppm(100_000), ..Path::LAN });
    let to = Destination::Addr(net.addr(Who(1)).unwrap());
    let mut out = Vec::new();
    (0..10_000).for_each(|_| {
        net.send(Instant::ZERO, Who(0), to, 100, &mut out);
    });
    let counters = net.counters();
    assert!((1_880..2_120).contains(&counters.lost), "{counters:?}");
    assert!((710..890).contains(&counters.duplicated), "{counters:?}");
    assert_eq!(counters.delivered, 10_000 - counters.lost + counters.duplicated);
    assert!(out.iter().all(|sent| (200..=500).contains(&sent.after_us)));
}

#[test]
fn addresses_are_new_and_public_when_asked() {
    let (mut net, a, b) = net(Path::LAN);
    let mut all = BTreeSet::new();
    for _ in 0..1000 {
        let (public, private) = (net.next_addr(a, true, None), net.next_addr(b, false, None));
        assert!(public.is_public() && !private.is_public());
        assert!(all.insert(public) && all.insert(private));
    }
    let of = |net: &mut Net, prefix| net.next_addr(a, true, Some(prefix));
    let together: Vec<Addr> = (0..254).map(|_| of(&mut net, 9)).collect();
    assert!(together.iter().all(|addr| addr.is_public() && all.insert(*addr)));
    assert!(together.iter().all(|addr| addr.prefix() == together[0].prefix()));
    assert_ne!(of(&mut net, 10).prefix(), together[0].prefix());
}

/// When packets sent at `now` arrive, in microseconds from then.
fn after(net: &mut Net, now: Instant, from: Who, to: Who, len: usize) -> Vec<u64> {
    let (mut out, to) = (Vec::new(), Destination::Addr(net.addr(to).unwrap()));
    net.send(now, from, to, len, &mut out);
    out.iter().map(|sent| sent.after_us).collect()
}

#[test]
fn a_way_is_as_long_there_as_back_and_each_has_its_own_length() {
    let mut net = Net::new(1, &Path { jitter: Path::LAN.delay, loss: loss(0), ..Path::CONTINENTAL });
    for who in 0..100 {
        let addr = net.next_addr(SegmentId::NONE, true, None);
        net.joined(Who(who), None);
        net.attach(Who(who), Plug { segment: SegmentId::NONE, ..Plug::default() }, addr);
    }
    let one = |net: &mut Net, a, b| after(net, Instant::ZERO, Who(a), Who(b), 100)[0];
    assert_eq!(one(&mut net, 3, 7), one(&mut net, 7, 3));
    assert_eq!(one(&mut net, 3, 7), one(&mut net, 3, 7));
    let mut all: Vec<u64> =
        (0..100).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| one(&mut net, a, b)).collect();
    all.sort();
    let at = |percent: usize| all[all.len() * percent / 100];
    assert!((16_000..18_500).contains(&at(50)), "{}", at(50));
    assert!((9_500..11_500).contains(&at(5)) && (30_000..35_000).contains(&at(95)), "{} {}", at(5), at(95));
}

#[test]
fn regions_are_as_far_apart_as_they_were_measured() {
    let mut net = Net::new(1, &Path::INTERNET);
    net.set_regions(Regions::earth());
    let name = |net: &Net, who: u32| net.regions().unwrap().names()[(who % 6) as usize].clone();
    for who in 0..120 {
        let addr = net.next_addr(SegmentId::NONE, true, None);
        let plug = Plug { segment: SegmentId::NONE, region: (who % 6) as u8, ..Plug::default() };
        net.attach(Who(who), plug, addr);
    }
    let mut mean = |a: u32, b: u32| {
        let pairs = (0..20).flat_map(|i| (0..20).map(move |j| (a + 6 * i, b + 6 * j))).filter(|(a, b)| a != b);
        let all: Vec<u64> = pairs.flat_map(|(a, b)| after(&mut net, Instant::ZERO, Who(a), Who(b), 100)).collect();
        all.iter().sum::<u64>() / all.len() as u64
    };
    // Half of 32, 11, 237 and 322 ms, and 1 ms of jitter.
    assert!((16_000..19_000).contains(&mean(0, 0)));
    assert!((5_500..8_000).contains(&mean(1, 1)));
    assert!((117_000..127_000).contains(&mean(1, 3)) && (117_000..127_000).contains(&mean(3, 1)));
    assert!((158_000..172_000).contains(&mean(2, 5)));
    assert_eq!(name(&net, 3), "asia-pacific");
}

#[test]
fn a_narrow_access_queues_in_turn_both_ways() {
    let (mut net, a, _) = net(Path { jitter: Path::LAN.delay, ..Path::LAN });
    let rate = Some(Bandwidth::from_bits_per_s(800_000));
    let narrow = |up, down| Access { up, down, queue: Size::from_bytes(3_000) };
    let addr = net.addr(Who(1)).unwrap();
    net.attach(Who(1), Plug { segment: a, region: 0, access: narrow(rate, None) }, addr);
    // 1,000 bytes take 10 ms; the way 0.4 ms.
    let sent: Vec<_> = (0..5).flat_map(|_| after(&mut net, Instant::ZERO, Who(1), Who(2), 972)).collect();
    assert_eq!(sent, [10_400, 20_400, 30_400]);
    assert_eq!(net.counters().overflowed, 2);
    net.attach(Who(1), Plug { segment: a, region: 0, access: narrow(None, rate) }, addr);
    let before = net.counters().delivered;
    let mut out = Vec::new();
    net.send(Instant::ZERO, Who(2), Destination::Addr(addr), 972, &mut out);
    assert_eq!(out[0], Sent { to: Hop::Access(Who(1)), after_us: 400 });
    let entered: Vec<_> = (0..4).map(|_| net.enter(Instant::ZERO, out[0].to, Who(2), Addr::default(), 972)).collect();
    assert_eq!(entered, [Some((Who(1), 10_000)), Some((Who(1), 20_000)), Some((Who(1), 30_000)), None]);
    assert_eq!(net.counters().delivered, before, "one was sent, and one of four dropped");
}

#[test]
fn hosts_behind_a_nat_are_heard_where_they_have_spoken() {
    let (mut net, a, b) = net(Path::LAN);
    net.set_internet(&Path { loss: loss(0), ..Path::INTERNET });
    let outer = net.set_nat(b, NatModel::new(NatKind::PortRestricted));
    // 1 is private in a, 5 private in b, 0 and 2 public in a.
    let (inner, open) = (net.addr(Who(5)).unwrap(), net.addr(Who(0)).unwrap());
    assert!(!inner.is_public() && open.is_public() && outer.is_public());
    assert!(heard(&mut net, Who(0), Destination::Addr(inner)).is_empty(), "a private address means nothing outside");
    assert_eq!(heard(&mut net, Who(4), Destination::Addr(inner)), [5], "and is what it was inside");
    let mut out = Vec::new();
    let seen = net.send(Instant::ZERO, Who(5), Destination::Addr(open), 100, &mut out);
    assert_eq!((seen.ip, out.len()), (outer.ip, 1));
    let back = |net: &mut Net, from: Who| {
        let (mut out, addr) = (Vec::new(), net.addr(from).unwrap());
        net.send(Instant::ZERO, from, Destination::Addr(seen), 100, &mut out);
        net.enter(Instant::ZERO, out[0].to, from, addr, 100)
    };
    assert_eq!(back(&mut net, Who(0)), Some((Who(5), 0)));
    assert_eq!(back(&mut net, Who(2)), None);
    assert_eq!(net.counters().filtered, 1);
    net.partition(&[Who(5)], None, Way::In).unwrap();
    assert_eq!(back(&mut net, Who(0)), None);
    assert!(heard(&mut net, Who(4), Destination::Addr(Addr { port: seen.port, ..outer })).is_empty(), "no way back in");
    let _ = a;
}

#[test]
fn what_is_longer_than_the_path_carries_is_lost() {
    let (mut net, ..) = net(Path { mtu: 600, ..Path::LAN });
    assert!(after(&mut net, Instant::ZERO, Who(0), Who(1), 601).is_empty());
    assert_eq!(after(&mut net, Instant::ZERO, Who(0), Who(1), 600).len(), 1);
    assert_eq!(net.counters().too_long, 1);
}

//! A board with embassy-net over a network in memory: an echo of UDP, with the wrapper and without it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::task::{Context, Waker};

use butter_neighbour::{Counters, Neighbour};
use embassy_net::driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Config, Ipv4Cidr, Ipv6Cidr, StackResources, StaticConfigV4, StaticConfigV6};
use embassy_time::{Duration, Instant, Timer};
use futures_lite::future::{block_on, or};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;

const BOARD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const BOARD_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const BOARD_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const PORT: u16 = 7;

/// Host number `n` of the network, with IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Peer(u8, bool);

impl Peer {
    fn mac(self) -> EthernetAddress {
        EthernetAddress([2, 0, 0, 0, 1, self.0])
    }

    fn ip(self) -> IpAddr {
        if self.1 {
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, self.0.into()).into()
        } else {
            Ipv4Addr::new(10, 0, 0, self.0).into()
        }
    }

    fn board(self) -> IpAddr {
        if self.1 { BOARD_V6.into() } else { BOARD_V4.into() }
    }
}

/// What hangs on the board's Ethernet.
#[derive(Default)]
struct Wire {
    to_board: RefCell<VecDeque<Vec<u8>>>,
    waker: RefCell<Option<Waker>>,
    /// Hosts that answer when they are asked for.
    alive: RefCell<Vec<Peer>>,
    /// Whom datagrams reached, by MAC and IP address.
    reached: RefCell<Vec<(EthernetAddress, IpAddr)>>,
    questions: Cell<usize>,
}

fn frame(from: EthernetAddress, to: EthernetAddress, ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    EthernetRepr { src_addr: from, dst_addr: to, ethertype }.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    bytes[14..].copy_from_slice(payload);
    bytes
}

impl Wire {
    fn push(&self, frame: Vec<u8>) {
        self.to_board.borrow_mut().push_back(frame);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// A datagram of a peer to the board's echo.
    fn say(&self, peer: Peer) {
        let data = b"hello";
        let udp = UdpRepr { src_port: 99, dst_port: PORT };
        let ip = IpRepr::new(peer.ip().into(), peer.board().into(), IpProtocol::Udp, 8 + data.len(), 64);
        let mut bytes = vec![0; ip.buffer_len() + 8 + data.len()];
        let all = ChecksumCapabilities::default();
        ip.emit(&mut bytes[..], &all);
        udp.emit(
            &mut UdpPacket::new_unchecked(&mut bytes[ip.header_len()..]),
            &ip.src_addr(),
            &ip.dst_addr(),
            data.len(),
            |room| room.copy_from_slice(data),
            &all,
        );
        let ethertype = if peer.1 { EthernetProtocol::Ipv6 } else { EthernetProtocol::Ipv4 };
        self.push(frame(peer.mac(), EthernetAddress(BOARD_MAC), ethertype, &bytes));
    }

    /// The other hosts take a frame of the board.
    fn take(&self, bytes: &[u8]) {
        let ethernet = EthernetFrame::new_checked(bytes).unwrap();
        let all = ChecksumCapabilities::default();
        let alive = |ip: IpAddr| self.alive.borrow().iter().find(|peer| peer.ip() == ip).copied();
        match ethernet.ethertype() {
            EthernetProtocol::Arp => {
                let arp = ArpRepr::parse(&ArpPacket::new_checked(ethernet.payload()).unwrap()).unwrap();
                let ArpRepr::EthernetIpv4 {
                    operation,
                    source_hardware_addr,
                    source_protocol_addr,
                    target_protocol_addr,
                    ..
                } = arp
                else {
                    return;
                };
                self.questions.set(self.questions.get() + 1);
                assert_eq!(operation, ArpOperation::Request);
                let Some(peer) = alive(target_protocol_addr.into()) else { return };
                let reply = ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Reply,
                    source_hardware_addr: peer.mac(),
                    source_protocol_addr: target_protocol_addr,
                    target_hardware_addr: source_hardware_addr,
                    target_protocol_addr: source_protocol_addr,
                };
                let mut payload = vec![0; reply.buffer_len()];
                reply.emit(&mut ArpPacket::new_unchecked(&mut payload[..]));
                self.push(frame(peer.mac(), source_hardware_addr, EthernetProtocol::Arp, &payload));
            }
            EthernetProtocol::Ipv4 => {
                let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                if ip.next_header() == IpProtocol::Udp {
                    self.reached.borrow_mut().push((ethernet.dst_addr(), ip.dst_addr().into()));
                }
            }
            EthernetProtocol::Ipv6 => {
                let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
                let from = ip.src_addr();
                match ip.next_header() {
                    IpProtocol::Udp => self.reached.borrow_mut().push((ethernet.dst_addr(), ip.dst_addr().into())),
                    IpProtocol::Icmpv6 => {
                        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
                        let message = Icmpv6Repr::parse(&from, &ip.dst_addr(), &icmp, &all);
                        let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. })) = message else {
                            return;
                        };
                        self.questions.set(self.questions.get() + 1);
                        let Some(peer) = alive(target_addr.into()) else { return };
                        let answer = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
                            flags: NdiscNeighborFlags::SOLICITED,
                            target_addr,
                            lladdr: Some(peer.mac().into()),
                        });
                        let header = Ipv6Repr {
                            src_addr: target_addr,
                            dst_addr: from,
                            next_header: IpProtocol::Icmpv6,
                            payload_len: answer.buffer_len(),
                            hop_limit: 255,
                        };
                        let mut payload = vec![0; 40 + answer.buffer_len()];
                        header.emit(&mut Ipv6Packet::new_unchecked(&mut payload[..]));
                        answer.emit(&target_addr, &from, &mut Icmpv6Packet::new_unchecked(&mut payload[40..]), &all);
                        self.push(frame(peer.mac(), ethernet.src_addr(), EthernetProtocol::Ipv6, &payload));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// How many datagrams really reached a peer.
    fn answers(&self, peer: Peer) -> usize {
        self.reached.borrow().iter().filter(|to| **to == (peer.mac(), peer.ip())).count()
    }
}

/// The board's end of the wire.
struct Port(Rc<Wire>);
struct Received(Vec<u8>);
struct ToSend(Rc<Wire>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

impl TxToken for ToSend {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.take(&frame);
        result
    }
}

impl Driver for Port {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received, ToSend)> {
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        let frame = self.0.to_board.borrow_mut().pop_front()?;
        Some((Received(frame), ToSend(self.0.clone())))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<ToSend> {
        Some(ToSend(self.0.clone()))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(BOARD_MAC)
    }
}

/// Runs a board that echoes while `script` goes on; whom the script names in `greet` the board sends a datagram to by itself.
fn board(driver: impl Driver, greet: &RefCell<Option<Peer>>, script: impl Future<Output = ()>) {
    let mut resources = StackResources::<2>::new();
    let mut config = Config::default();
    config.ipv4 = embassy_net::ConfigV4::Static(StaticConfigV4 {
        address: Ipv4Cidr::new(BOARD_V4, 24),
        gateway: None,
        dns_servers: Default::default(),
    });
    config.ipv6 = embassy_net::ConfigV6::Static(StaticConfigV6 {
        address: Ipv6Cidr::new(BOARD_V6, 64),
        gateway: None,
        dns_servers: Default::default(),
    });
    let (stack, mut runner) = embassy_net::new(driver, config, &mut resources, 1);
    let (mut rx_meta, mut tx_meta) = ([PacketMetadata::EMPTY; 32], [PacketMetadata::EMPTY; 32]);
    let (mut rx, mut tx) = ([0; 4096], [0; 4096]);
    let mut socket = UdpSocket::new(stack, &mut rx_meta, &mut rx, &mut tx_meta, &mut tx);
    socket.bind(PORT).unwrap();
    let echo = async {
        let mut data = [0; 512];
        loop {
            let (len, from) = socket.recv_from(&mut data).await.unwrap();
            socket.send_to(&data[..len], from.endpoint).await.unwrap();
        }
    };
    let greeting = async {
        loop {
            let peer = greet.borrow_mut().take();
            if let Some(peer) = peer {
                socket.send_to(b"hi", (peer.ip(), 99)).await.unwrap();
            }
            Timer::after_millis(5).await;
        }
    };
    let network = async {
        runner.run().await;
    };
    block_on(or(or(network, echo), or(greeting, script)));
}

/// Waits until `done`, for at most `ms`; whether it was.
async fn within(ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_millis(ms);
    while !done() {
        if Instant::now() > end {
            return false;
        }
        Timer::after_millis(5).await;
    }
    true
}

/// One packet with the source address of a host that is not there; then a healthy host speaks ten times a second. Returns
/// how many of 20 datagrams were answered.
fn after_a_forged_packet(wire: &Rc<Wire>, driver: impl Driver, v6: bool) -> usize {
    let healthy = Peer(9, v6);
    wire.alive.borrow_mut().push(healthy);
    board(driver, &RefCell::new(None), async {
        Timer::after_millis(50).await;
        wire.say(Peer(66, v6));
        for _ in 0..20 {
            Timer::after_millis(100).await;
            wire.say(healthy);
        }
        Timer::after_millis(100).await;
    });
    wire.answers(healthy)
}

#[test]
fn one_forged_packet_silences_a_board_without_the_wrapper() {
    for v6 in [false, true] {
        let wire = Rc::new(Wire::default());
        assert_eq!(after_a_forged_packet(&wire, Port(wire.clone()), v6), 0, "IPv6: {v6}");
    }
}

#[test]
fn one_forged_packet_silences_nobody() {
    for v6 in [false, true] {
        let wire = Rc::new(Wire::default());
        let counters = Counters::new();
        let driver = Neighbour::<_, 8>::new(Port(wire.clone()), &counters);
        assert_eq!(after_a_forged_packet(&wire, driver, v6), 20, "IPv6: {v6}");
        assert!(counters.learned() >= 2, "{counters:?}");
    }
}

#[test]
fn a_silent_address_that_the_board_writes_to_delays_others_by_a_second() {
    for v6 in [false, true] {
        let wire = Rc::new(Wire::default());
        let (healthy, silent) = (Peer(9, v6), Peer(77, v6));
        wire.alive.borrow_mut().push(healthy);
        let counters = Counters::new();
        let greet = RefCell::new(Some(silent));
        board(Neighbour::<_, 8>::new(Port(wire.clone()), &counters), &greet, async {
            assert!(within(1_000, || wire.questions.get() > 0).await);
            wire.say(healthy);
            assert!(within(1_500, || wire.answers(healthy) == 1).await, "IPv6 {v6}: {counters:?}");
            assert_eq!(counters.given_up(), 1);
            for n in 2..30 {
                wire.say(healthy);
                assert!(within(200, || wire.answers(healthy) == n).await);
            }
            assert_eq!(wire.answers(silent), 0);
            // It comes to life, and is written to at once.
            wire.alive.borrow_mut().push(silent);
            wire.say(silent);
            assert!(within(200, || wire.answers(silent) == 1).await, "{counters:?}");
        });
    }
}

#[test]
fn a_host_that_answers_is_written_to_at_once() {
    for v6 in [false, true] {
        let wire = Rc::new(Wire::default());
        let peer = Peer(9, v6);
        wire.alive.borrow_mut().push(peer);
        let counters = Counters::new();
        let greet = RefCell::new(Some(peer));
        board(Neighbour::<_, 8>::new(Port(wire.clone()), &counters), &greet, async {
            assert!(within(500, || wire.answers(peer) == 1).await, "IPv6 {v6}: {counters:?}");
        });
        assert_eq!((counters.asked(), counters.given_up()), (1, 0));
    }
}

#[test]
fn twenty_hosts_at_once_are_all_answered() {
    for v6 in [false, true] {
        let wire = Rc::new(Wire::default());
        let peers: Vec<Peer> = (100..120).map(|n| Peer(n, v6)).collect();
        wire.alive.borrow_mut().extend(&peers);
        let counters = Counters::new();
        board(Neighbour::<_, 32>::new(Port(wire.clone()), &counters), &RefCell::new(None), async {
            Timer::after_millis(50).await;
            peers.iter().for_each(|peer| wire.say(*peer));
            let all = || peers.iter().all(|peer| wire.answers(*peer) == 1);
            // The board has sent nothing yet: by its first question the wrapper learns its IPv4 address, and tells all.
            assert!(within(1_500, all).await, "IPv6 {v6}: {:?} {counters:?}", wire.reached.borrow().len());
            peers.iter().for_each(|peer| wire.say(*peer));
            let all = || peers.iter().all(|peer| wire.answers(*peer) == 2);
            assert!(within(200, all).await, "IPv6 {v6}: {counters:?}");
        });
        assert_eq!((counters.learned(), counters.evicted()), (20, 0));
    }
}

#[test]
fn noise_and_cut_frames_do_no_harm() {
    let wire = Rc::new(Wire::default());
    let healthy = Peer(9, false);
    wire.alive.borrow_mut().push(healthy);
    let counters = Counters::new();
    board(Neighbour::<_, 4>::new(Port(wire.clone()), &counters), &RefCell::new(None), async {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        Timer::after_millis(20).await;
        let genuine: Vec<Vec<u8>> = [Peer(3, false), Peer(4, true)]
            .into_iter()
            .map(|peer| {
                wire.say(peer);
                wire.to_board.borrow_mut().pop_back().unwrap()
            })
            .collect();
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = genuine[round % 2].clone();
            bytes.truncate(random() % (bytes.len() + 1));
            for _ in 0..random() % 6 {
                if !bytes.is_empty() {
                    let at = random() % bytes.len();
                    bytes[at] = random() as u8;
                }
            }
            wire.push(bytes);
            if round % 100 == 0 {
                Timer::after_millis(1).await;
            }
        }
        assert!(within(2_000, || wire.to_board.borrow().is_empty()).await);
        // Addresses that noise made up may cost a second each time that the stack asks for one.
        let heard = || {
            wire.say(healthy);
            wire.answers(healthy) > 0
        };
        assert!(within(5_000, heard).await, "{counters:?}");
    });
}

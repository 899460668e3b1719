//! Two nodes in superloops, on a cable in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::exchange::Status;
use butter_core::id::{Key, RouteId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::retrieve::Progress;
use butter_core::storage::{StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::{Event, Node};
use butter_crypto::RustCrypto;
use butter_driver::Immediate;
use butter_smoltcp::{Butter, Parts};
use butter_store::Array;
use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

butter_core::static_memory!(struct Tables, Limits::TINY);

const OHCE: RouteId = route("ohce/1");

type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;
type Apply = Box<dyn FnMut(&StoreOp, &mut [u8]) -> Result<usize, StoreError>>;
type Disk = Immediate<Apply>;

/// One end of the cable.
struct Port {
    incoming: Frames,
    outgoing: Frames,
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a Frames);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.borrow_mut().push_back(frame);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Rx, Tx<'_>)> {
        Some((Rx(self.incoming.borrow_mut().pop_front()?), Tx(&self.outgoing)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Tx<'_>> {
        Some(Tx(&self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        (caps.max_transmission_unit, caps.medium) = (1514, Medium::Ethernet);
        caps
    }
}

struct Board {
    port: Port,
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    node: Node<'static>,
    disk: Disk,
    butter: Butter,
    plugged: bool,
    events: Vec<Event>,
    next: Option<Instant>,
    polls: u32,
}

impl Board {
    fn new(n: u8, addresses: &[&str], incoming: &Frames, outgoing: &Frames) -> Board {
        let mut port = Port { incoming: incoming.clone(), outgoing: outgoing.clone() };
        let mac = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, n]));
        let mut iface = Interface::new(IfaceConfig::new(mac), &mut port, smoltcp::time::Instant::ZERO);
        iface.update_ip_addrs(|all| {
            addresses
                .iter()
                .for_each(|cidr| all.push(cidr.parse::<IpCidr>().expect("an address")).expect("there is room"));
        });
        let buffer = |packets: usize| PacketBuffer::new(vec![PacketMetadata::EMPTY; packets], vec![0; packets * 1232]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(Socket::new(buffer(4), buffer(2)));
        let network = Network::open(&RustCrypto, "pair");
        let identity = Identity { secret: SecretKey([n; 32]), network };
        let memory = Memory { ..Box::leak(Box::new(Tables::new())).lend() };
        let config = Config { storage_blocks: 8, replicas: 2, ..Config::default() };
        let mut node = Node::new(Instant::ZERO, config, identity, [n; 32], &RustCrypto, memory).expect("it can run");
        node.serve_route(OHCE).expect("there is room");
        let mut store = Box::new(Array::<10>::NEW);
        let apply: Apply = Box::new(move |op, buf| store.apply(op, buf));
        Board {
            port,
            iface,
            sockets,
            handle,
            node,
            disk: Immediate::new(apply),
            butter: Butter::new(handle),
            plugged: true,
            events: Vec::new(),
            next: Some(Instant::ZERO),
            polls: 0,
        }
    }

    fn poll(&mut self, now: Instant) {
        let Board { port, iface, sockets, node, disk, butter, events, .. } = self;
        let parts = Parts { iface, device: port, sockets, node, disk };
        self.next = butter.poll(now, self.plugged, parts, |node, now, event| match event {
            Event::Request(serve) => {
                let mut body = node.request(serve).expect("it waits").body.to_vec();
                body.reverse();
                node.respond(now, serve, Status::Ok, &body).expect("it waits");
            }
            other => events.push(other),
        });
        self.polls += 1;
    }
}

/// Both boards, and their time. A board is polled when it has said, or when a frame has come, and at no other time.
struct Pair {
    boards: [Board; 2],
    now: Instant,
}

impl Pair {
    fn new(addresses: [&[&str]; 2]) -> Pair {
        let (ab, ba) = (Frames::default(), Frames::default());
        let boards = [Board::new(1, addresses[0], &ba, &ab), Board::new(2, addresses[1], &ab, &ba)];
        Pair { boards, now: Instant::ZERO }
    }

    /// Until it is so, at most this long.
    fn run(&mut self, ms: u32, mut until: impl FnMut(&mut [Board; 2]) -> bool) -> bool {
        let end = self.now.plus_ms(ms);
        loop {
            if until(&mut self.boards) {
                return true;
            }
            for board in &mut self.boards {
                if !board.port.incoming.borrow().is_empty() {
                    board.next = Some(self.now);
                }
            }
            let next = self.boards.iter().filter_map(|board| board.next).min().unwrap_or(end).max(self.now);
            if next >= end {
                self.now = end;
                return false;
            }
            self.now = next.max(self.now.plus_us(10));
            for board in self.boards.iter_mut().filter(|board| board.next.is_some_and(|at| at <= self.now)) {
                board.poll(self.now);
            }
        }
    }

    /// The verbs were used: the boards are to be polled.
    fn kick(&mut self) {
        self.boards.iter_mut().for_each(|board| board.next = Some(self.now));
    }

    fn meet(&mut self) {
        assert!(
            self.run(5_000, |boards| boards.iter().all(|b| b.events.iter().any(|e| matches!(e, Event::PeerUp(_)))))
        );
    }

    fn put(&mut self, bytes: &'static [u8]) -> Key {
        let now = self.now;
        let put = self.boards[0].node.put(now, bytes.len() as u64, 2).expect("there is room");
        self.kick();
        let mut key = None;
        self.run(10_000, |boards| {
            let board = &mut boards[0];
            let wants = board.events.iter().any(|event| matches!(event, Event::PutWants { .. }));
            if wants {
                board.events.retain(|event| !matches!(event, Event::PutWants { .. }));
                let _ = board.node.put_block(now, put, 0, bytes);
                board.next = Some(Instant::ZERO);
            }
            if let Some(status) = board.node.put_status(put).filter(|status| status.progress == Progress::Done) {
                assert_eq!(status.replicas, 2);
                key = status.key;
            }
            key.is_some()
        });
        key.expect("it is put")
    }
}

const BOTH: [&[&str]; 2] = [&["10.0.0.1/24", "fe80::1/64"], &["10.0.0.2/24", "fe80::2/64"]];

#[test]
fn two_boards_meet_call_put_and_get() {
    let families: [[&[&str]; 2]; 3] = [BOTH, [&["10.0.0.1/24"], &["10.0.0.2/24"]], [&["fe80::1/64"], &["fe80::2/64"]]];
    for addresses in families {
        let mut pair = Pair::new(addresses);
        pair.meet();
        let (now, to) = (pair.now, pair.boards[1].node.id());
        assert!(now < Instant::from_micros(2_000_000), "{addresses:?}: they met after {now:?}");
        let call = pair.boards[0].node.call(now, to, OHCE, b"butter", 5_000).expect("there is room");
        pair.kick();
        assert!(pair.run(5_000, |boards| boards[0].events.contains(&Event::Answered(call))), "{addresses:?}");
        assert_eq!(pair.boards[0].node.answer(call), Some(Ok(b"rettub".as_slice())));
        let key = pair.put(b"kept on both");
        assert_eq!(pair.boards.each_ref().map(|board| board.node.items_held()), [1, 1]);
        let now = pair.now;
        let get = pair.boards[1].node.get(now, key, 0).expect("there is room");
        pair.kick();
        assert!(pair.run(5_000, |boards| boards[1].events.iter().any(|event| matches!(event, Event::GetHas { .. }))));
        let mut bytes = [0; 4096];
        let now = pair.now;
        let len = pair.boards[1].node.got_block(now, get, 0, &mut bytes);
        assert_eq!(len.map(|len| &bytes[..len]), Some(b"kept on both".as_slice()));
    }
}

#[test]
fn an_idle_board_sleeps_until_the_moment_it_has_said() {
    let mut pair = Pair::new(BOTH);
    pair.meet();
    pair.run(30_000, |_| false);
    let before = pair.boards.each_ref().map(|board| board.polls);
    pair.run(60_000, |_| false);
    let polls = pair.boards.each_ref().map(|board| board.polls);
    for (polls, before) in polls.into_iter().zip(before) {
        println!("{} polls in an idle minute", polls - before);
        assert!(polls - before < 60, "{}", polls - before);
    }
}

#[test]
fn a_link_that_goes_and_comes_and_another_address_are_told() {
    let mut pair = Pair::new(BOTH);
    pair.meet();
    let to = pair.boards[1].node.id();
    pair.boards[0].plugged = false;
    pair.kick();
    pair.run(1_000, |_| false);
    pair.boards[0].plugged = true;
    // As DHCP does it.
    pair.boards[0].iface.update_ip_addrs(|all| all[0] = "10.0.0.77/24".parse().expect("an address"));
    pair.kick();
    // Discovery has now asked the addresses of the network, of which most are nobody's.
    pair.run(5_000, |_| false);
    let now = pair.now;
    let call = pair.boards[0].node.call(now, to, OHCE, b"again", 5_000).expect("there is room");
    pair.kick();
    assert!(pair.run(6_000, |boards| boards[0].events.contains(&Event::Answered(call))));
    assert_eq!(pair.boards[0].node.answer(call), Some(Ok(b"niaga".as_slice())));
    assert!(pair.boards[0].sockets.get::<Socket<'_>>(pair.boards[0].handle).is_open());
}

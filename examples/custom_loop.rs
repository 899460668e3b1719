//! The core alone, in a loop of blocking sockets: `custom_loop ADDRESS` serves reverse echo; `custom_loop ADDRESS PEER TEXT`
//! asks the node at address PEER once. All memory of the loop is on the stack.

use std::time::{Duration, Instant as Time};

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::id::{RouteId, route};
use butter_core::node::{Destination, Event, Node};
use butter_core::route::{Reply, Request, Routes};
use butter_core::storage::StoreDone;
use butter_core::{config::Config, crypto::SecretKey, identity, memory, time::Instant, wire};
use butter_crypto::RustCrypto;

const OHCE: RouteId = route("ohce/1");
const ROUTES: Routes<()> = Routes(&[(OHCE, ohce)]);
const LINK: LinkId = LinkId(0);

fn ohce(_: &mut (), request: Request<'_>, reply: &mut Reply<'_>) {
    request.body.iter().rev().for_each(|byte| assert!(reply.write(&[*byte])));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, ask @ ..] = &args[..] else { return Err("custom_loop ADDRESS [PEER TEXT]".into()) };
    let socket = std::net::UdpSocket::bind(listen)?;
    let start = Time::now();
    let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
    let (mut secret, mut seed) = ([0; 32], [0; 32]);
    getrandom::fill(&mut secret)?;
    getrandom::fill(&mut seed)?;
    let network = identity::Network::open(&RustCrypto, "loops");
    let me = identity::Identity { secret: SecretKey(secret), network };
    let memory = memory::Memory::heap(&memory::Limits::TINY);
    let mut node = Node::new(now(), Config::default(), me, seed, &RustCrypto, memory)?;
    let mut store = butter_store::Array::<8>::NEW;
    node.handle_link(now(), LINK, LinkState::Up { mtu: wire::MTU as u16 });
    ROUTES.serve(&mut node)?;
    if let [peer, _] = ask {
        node.meet(now(), LINK, Addr::from(peer.parse::<std::net::SocketAddr>()?))?;
    }
    let (mut packet, mut block) = ([0; wire::MTU], [0; wire::BLOCK]);
    loop {
        while let Some(event) = node.poll_event() {
            match (event, ask) {
                (Event::Request(serve), _) => drop(ROUTES.dispatch(&mut (), &mut node, now(), serve)),
                (Event::PeerUp(peer), [_, text]) => {
                    let Some(info) = node.peer_info(peer) else { continue };
                    node.call(now(), info.id, OHCE, text.as_bytes(), 5_000)?;
                }
                (Event::Answered(call), _) => {
                    let answer = node.answer(call).ok_or("no answer")?;
                    println!("{}", String::from_utf8_lossy(answer.map_err(|failure| format!("{failure:?}"))?));
                    return Ok(());
                }
                _ => {}
            }
        }
        while let Some(op) = node.poll_store(&mut block) {
            let result = store.apply(&op, &mut block).map(|len| &block[..len]);
            node.handle_store(now(), StoreDone { ticket: op.ticket(), result });
        }
        while let Some(transmit) = node.poll_transmit(now(), LINK, &mut packet) {
            if let Destination::Addr(addr) = transmit.to {
                // What cannot be sent is lost, as on any network.
                let _ = socket.send_to(&packet[..transmit.len], addr.socket());
            }
        }
        let wait = node.deadline().map_or(1_000_000, |deadline| deadline.at.since(now()));
        socket.set_read_timeout(Some(Duration::from_micros(wait.clamp(1, 1_000_000))))?;
        if let Ok((len, from)) = socket.recv_from(&mut packet) {
            node.handle_datagram(now(), LINK, from.into(), &mut packet[..len]);
        }
        node.handle_timeout(now());
    }
}

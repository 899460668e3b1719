//! The core alone, in a loop of blocking sockets: `custom_loop ADDRESS` serves reverse echo; `custom_loop ADDRESS PEER TEXT`
//! asks the node at address PEER once.

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use butter_core::addr::{LinkId, LinkState};
use butter_core::id::{RouteId, route};
use butter_core::node::{Destination, Event, Node};
use butter_core::route::Routes;
use butter_core::{config::Config, crypto::SecretKey, identity, memory, storage::StoreDone, time::Instant, wire};
use butter_crypto::RustCrypto;

const LINK: LinkId = LinkId(0);
const OHCE: RouteId = route("ohce/1");
const ROUTES: Routes<()> = Routes(&[(OHCE, |_, request, reply| {
    let _fits = request.body.iter().rev().all(|byte| reply.write(&[*byte]));
})]);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let socket = UdpSocket::bind(args.first().ok_or("custom_loop ADDRESS [PEER TEXT]")?)?;
    let start = std::time::Instant::now();
    let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
    let (mut secret, mut seed) = (SecretKey([0; 32]), [0; 32]);
    getrandom::fill(&mut secret.0)?;
    getrandom::fill(&mut seed)?;
    let me = identity::Identity { secret, network: identity::Network::open(&RustCrypto, "loops") };
    let memory = memory::Memory::heap(&memory::Limits::TINY);
    let mut node = Node::new(now(), Config::default(), me, seed, &RustCrypto, memory)?;
    let mut store = butter_store::Array::<8>::NEW;
    node.handle_link(now(), LINK, LinkState::Up { mtu: wire::MTU as u16 });
    ROUTES.serve(&mut node)?;
    if let Some(peer) = args.get(1) {
        node.meet(now(), LINK, peer.parse::<SocketAddr>()?.into())?;
    }
    let (mut packet, mut block) = ([0; wire::MTU], [0; wire::BLOCK]);
    loop {
        while let Some(event) = node.poll_event() {
            match (event, args.get(2)) {
                (Event::Request(serve), _) => drop(ROUTES.dispatch(&mut (), &mut node, now(), serve)),
                (Event::PeerUp(peer), Some(text)) => {
                    let peer = node.peer_info(peer).ok_or("the peer is gone")?.id;
                    node.call(now(), peer, OHCE, text.as_bytes(), 5_000)?;
                }
                (Event::Answered(call), _) => {
                    let answer = node.answer(call).ok_or("no such call")?.map_err(|failure| format!("{failure:?}"))?;
                    println!("{}", String::from_utf8_lossy(answer));
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
                let _ = socket.send_to(&packet[..transmit.len], addr.socket()); // Lost, as networks lose.
            }
        }
        let wait = node.deadline().map_or(u64::MAX, |deadline| deadline.at.since(now()));
        socket.set_read_timeout(Some(Duration::from_micros(wait.clamp(1, 1_000_000))))?;
        if let Ok((len, from)) = socket.recv_from(&mut packet) {
            node.handle_datagram(now(), LINK, from.into(), &mut packet[..len]);
        }
        node.handle_timeout(now());
    }
}

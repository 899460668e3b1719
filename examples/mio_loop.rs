//! The core inside an event loop that a program already has, here mio's: a TCP server that reverses the lines of its clients,
//! by asking another node. `mio_loop ADDRESS` serves reverse echo; `mio_loop ADDRESS PEER` also serves TCP clients at the same
//! address and asks the node at address PEER for them.

use std::collections::HashMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant as Time};

use butter_core::addr::{Addr, LinkId, LinkState};
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::id::{NodeId, RouteId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::{Limits, Memory};
use butter_core::node::{CallId, Destination, Event, Node, Transmit};
use butter_core::route::{Reply, Request, Routes};
use butter_core::storage::StoreDone;
use butter_core::time::Instant;
use butter_core::wire::{BLOCK, MTU};
use butter_crypto::RustCrypto;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

const OHCE: RouteId = route("ohce/1");
const ROUTES: Routes<Program> = Routes(&[(OHCE, ohce)]);
const LINK: LinkId = LinkId(0);
const UDP: Token = Token(0);
const LISTENER: Token = Token(1);

/// What the program had before: its clients. And what Butter adds to it.
#[derive(Default)]
struct Program {
    clients: HashMap<Token, TcpStream>,
    next: usize,
    peer: Option<NodeId>,
    calls: HashMap<CallId, Token>,
}

fn ohce(_: &mut Program, request: Request<'_>, reply: &mut Reply<'_>) {
    let _fits = request.body.iter().rev().all(|byte| reply.write(&[*byte]));
}

/// The node's part of the loop: call it after everything that the program does with the node.
struct Link {
    socket: UdpSocket,
    buffer: [u8; MTU],
    /// A packet that the socket had no room for. Nothing else is encoded until it is gone.
    held: Option<Transmit>,
    block: [u8; BLOCK],
    store: butter_store::Array<8>,
}

impl Link {
    fn flush(&mut self, node: &mut Node<'_>, now: Instant) {
        while let Some(op) = node.poll_store(&mut self.block) {
            let result = self.store.apply(&op, &mut self.block).map(|len| &self.block[..len]);
            node.handle_store(now, StoreDone { ticket: op.ticket(), result });
        }
        loop {
            self.held = self.held.or_else(|| node.poll_transmit(now, LINK, &mut self.buffer));
            let Some(Transmit { to, len }) = self.held else { return };
            if let Destination::Addr(addr) = to
                && let Err(error) = self.socket.send_to(&self.buffer[..len], addr.socket())
                && error.kind() == ErrorKind::WouldBlock
            {
                return;
            }
            self.held = None;
        }
    }

    fn receive(&mut self, node: &mut Node<'_>, now: Instant) {
        let mut packet = [0; MTU];
        while let Ok((len, from)) = self.socket.recv_from(&mut packet) {
            node.handle_datagram(now, LINK, from.into(), &mut packet[..len]);
        }
    }
}

impl Program {
    fn tell(&mut self, node: &mut Node<'_>, now: Instant) {
        while let Some(event) = node.poll_event() {
            match event {
                Event::PeerUp(peer) => self.peer = node.peer_info(peer).map(|info| info.id),
                Event::Request(serve) => drop(ROUTES.dispatch(self, node, now, serve)),
                Event::Answered(call) => {
                    if let Some(client) = self.calls.remove(&call).and_then(|token| self.clients.get_mut(&token)) {
                        let answer = node.answer(call).and_then(Result::ok).unwrap_or(b"no answer");
                        let _ = client.write_all(&[answer, b"\n"].concat());
                    }
                    node.cancel(now, call);
                }
                _ => {}
            }
        }
    }

    /// A line of a client becomes a call.
    fn line(&mut self, node: &mut Node<'_>, now: Instant, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let mut line = [0; 1024];
        match client.read(&mut line) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(len) if len > 0 => {
                let text = line[..len].trim_ascii_end();
                let call = self.peer.and_then(|peer| node.call(now, peer, OHCE, text, 5_000).ok());
                match call {
                    Some(call) => drop(self.calls.insert(call, token)),
                    None => drop(client.write_all(b"nobody to ask\n")),
                }
            }
            _ => drop(self.clients.remove(&token)),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listen: SocketAddr = args.next().ok_or("mio_loop ADDRESS [PEER]")?.parse()?;
    let mut poll = Poll::new()?;
    let mut link = Link {
        socket: UdpSocket::bind(listen)?,
        buffer: [0; MTU],
        held: None,
        block: [0; BLOCK],
        store: butter_store::Array::NEW,
    };
    poll.registry().register(&mut link.socket, UDP, Interest::READABLE | Interest::WRITABLE)?;

    let start = Time::now();
    let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
    let (mut secret, mut seed) = ([0; 32], [0; 32]);
    getrandom::fill(&mut secret)?;
    getrandom::fill(&mut seed)?;
    let identity = Identity { secret: SecretKey(secret), network: Network::open(&RustCrypto, "loops") };
    let memory = Memory::heap(&Limits::TINY);
    let mut node = Node::new(now(), Config::default(), identity, seed, &RustCrypto, memory)?;
    node.handle_link(now(), LINK, LinkState::Up { mtu: MTU as u16 });
    ROUTES.serve(&mut node)?;

    let mut listener = None;
    if let Some(peer) = args.next() {
        node.meet(now(), LINK, Addr::from(peer.parse::<SocketAddr>()?))?;
        let socket = listener.insert(TcpListener::bind(listen)?);
        poll.registry().register(socket, LISTENER, Interest::READABLE)?;
    }

    let mut program = Program { next: 2, ..Program::default() };
    let mut events = Events::with_capacity(64);
    loop {
        program.tell(&mut node, now());
        link.flush(&mut node, now());
        let wait = node.deadline().map(|deadline| Duration::from_micros(deadline.at.since(now())));
        poll.poll(&mut events, wait)?;
        node.handle_timeout(now());
        for event in &events {
            match event.token() {
                UDP => link.receive(&mut node, now()),
                LISTENER => {
                    while let Some(Ok((mut client, _))) = listener.as_ref().map(TcpListener::accept) {
                        let token = Token(program.next);
                        program.next += 1;
                        poll.registry().register(&mut client, token, Interest::READABLE)?;
                        program.clients.insert(token, client);
                    }
                }
                token => program.line(&mut node, now(), token),
            }
        }
    }
}

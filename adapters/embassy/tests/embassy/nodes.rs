//! What several tasks do with their nodes.

use std::future::Future;
use std::pin::pin;

use butter_core::addr::LinkId;
use butter_core::config::Config;
use butter_core::crypto::SecretKey;
use butter_core::exchange::{Failure, Status};
use butter_core::id::{Key, RouteId, route};
use butter_core::identity::{Identity, Network};
use butter_core::memory::Limits;
use butter_core::storage::{StoreError, StoreOp};
use butter_crypto::RustCrypto;
use butter_driver::Immediate;
use butter_embassy::{Error, Node, Resources, Runner};
use butter_store::Array;
use embassy_net::{Config as NetConfig, ConfigV4, ConfigV6, Ipv4Address, Ipv4Cidr, Ipv6Address, Ipv6Cidr};
use embassy_net::{StackResources, StaticConfigV4, StaticConfigV6};
use embassy_time::{Duration, Timer};
use futures_lite::future::{block_on, or, yield_now};

use super::cable::{Cable, Device};

const OHCE: RouteId = route("ohce/1");
/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

butter_core::static_memory!(struct Tables, Limits::TINY);

type Apply = Box<dyn FnMut(&StoreOp, &mut [u8]) -> Result<usize, StoreError>>;

/// A node with its stack; tests leak what a board has in statics.
struct Board {
    node: Node<'static>,
    stack: embassy_net::Stack<'static>,
    runner: Runner<'static, Immediate<Apply>>,
    net: embassy_net::Runner<'static, Device>,
}

fn v4(number: u8) -> ConfigV4 {
    let address = Ipv4Cidr::new(Ipv4Address::new(10, 9, 8, number), 24);
    ConfigV4::Static(StaticConfigV4 { address, gateway: None, dns_servers: Default::default() })
}

fn v6(number: u8) -> ConfigV6 {
    let address = Ipv6Cidr::new(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into()), 64);
    ConfigV6::Static(StaticConfigV6 { address, gateway: None, dns_servers: Default::default() })
}

fn board(cable: &Cable, number: u8, ip: fn(u8) -> NetConfig) -> Board {
    let resources = Box::leak(Box::new(StackResources::<3>::new()));
    let (stack, net) = embassy_net::new(cable.device(), ip(number), resources, number.into());
    let network = Network::open(&RustCrypto, "embassy test");
    let identity = Identity { secret: SecretKey([number; 32]), network };
    let config = Config { storage_blocks: 8, ..Config::default() };
    let memory = Box::leak(Box::new(Tables::new())).lend();
    let core = butter_core::Node::new(butter_embassy::now(), config, identity, [number; 32], &RustCrypto, memory);
    let core = Box::leak(Box::new(core.unwrap()));
    let mut store = Box::new(Array::<24>::NEW);
    let disk = Immediate::new(Box::new(move |op: &StoreOp, buf: &mut [u8]| store.apply(op, buf)) as Apply);
    let resources = Box::leak(Box::new(Resources::<4>::new()));
    let (node, runner) = butter_embassy::new(stack, core, disk, resources);
    Board { node, stack, runner, net }
}

/// Runs the boards until `test` ends.
fn run<R>(boards: Vec<Board>, test: impl AsyncFnOnce(&[Node<'static>]) -> R) -> R {
    let nodes: Vec<_> = boards.iter().map(|board| board.node).collect();
    let mut all = Vec::new();
    for Board { mut runner, mut net, .. } in boards {
        all.push(Box::pin(async move {
            let _ = runner.run().await;
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>);
        all.push(Box::pin(async move { net.run().await }));
    }
    let world = async {
        std::future::poll_fn(|cx| {
            all.iter_mut().for_each(|task| assert!(task.as_mut().poll(cx).is_pending()));
            std::task::Poll::<R>::Pending
        })
        .await
    };
    let timed = async {
        Timer::after(LIMIT).await;
        panic!("it takes longer than {LIMIT:?}")
    };
    block_on(or(test(&nodes), or(world, timed)))
}

/// Waits until all nodes have sessions with all others.
async fn meet(nodes: &[Node<'static>]) {
    for node in nodes {
        let mut changes = node.changes().unwrap();
        while usize::from(node.state().peers) < nodes.len() - 1 {
            changes.changed().await;
        }
    }
}

async fn serve(node: Node<'static>) -> ! {
    let mut requests = node.serve(OHCE).unwrap();
    loop {
        requests
            .answer(|request, reply| {
                reply.write(request.body);
                reply.room()[..request.body.len()].copy_from_slice(request.body);
                reply.advance(request.body.len());
            })
            .await;
    }
}

async fn ask(from: &Node<'static>, to: &Node<'static>, words: &[u8]) -> Result<Vec<u8>, Error> {
    let mut answer = [0; 100];
    let len = from.call(to.id(), OHCE, words, Duration::from_secs(5), &mut answer).await?;
    Ok(answer[..len].to_vec())
}

#[test]
fn nodes_find_each_other_and_call_over_ipv4() {
    let cable = Cable::default();
    let ip = |n| {
        NetConfig::ipv4_static(match v4(n) {
            ConfigV4::Static(config) => config,
            _ => unreachable!(),
        })
    };
    let boards = (1..=3).map(|n| board(&cable, n, ip)).collect();
    run(boards, async |nodes| {
        meet(nodes).await;
        let test = async {
            assert_eq!(ask(&nodes[1], &nodes[0], b"ohce").await.as_deref(), Ok(&b"ohceohce"[..]));
            let refused = Err(Error::Call(Failure::Refused(Status::NoRoute)));
            assert_eq!(ask(&nodes[0], &nodes[1], b"x").await, refused);
            let mut short = [0; 3];
            let answer = nodes[2].call(nodes[0].id(), OHCE, b"long", Duration::from_secs(5), &mut short).await;
            assert_eq!(answer, Err(Error::TooLong));
        };
        or(test, async { serve(nodes[0]).await }).await;
    });
}

#[test]
fn nodes_find_each_other_over_ipv6_alone() {
    let cable = Cable::default();
    let ip = |n| {
        NetConfig::ipv6_static(match v6(n) {
            ConfigV6::Static(config) => config,
            _ => unreachable!(),
        })
    };
    let boards = (1..=2).map(|n| board(&cable, n, ip)).collect();
    run(boards, async |nodes| {
        meet(nodes).await;
        let test = async { assert_eq!(ask(&nodes[1], &nodes[0], b"6").await.as_deref(), Ok(&b"66"[..])) };
        or(test, async { serve(nodes[0]).await }).await;
    });
}

#[test]
fn an_object_is_put_and_got() {
    let cable = Cable::default();
    let ip = |n| {
        NetConfig::ipv4_static(match v4(n) {
            ConfigV4::Static(config) => config,
            _ => unreachable!(),
        })
    };
    let boards = (1..=3).map(|n| board(&cable, n, ip)).collect();
    run(boards, async |nodes| {
        meet(nodes).await;
        let object = [7; 1000];
        let stored = nodes[0].put(&object, 3).await.unwrap();
        assert_eq!(stored.replicas, 3);
        let mut buf = [0; 4096];
        assert_eq!(nodes[2].get(stored.key, &mut buf).await, Ok(1000));
        assert_eq!(buf[..1000], object);
        assert_eq!(nodes[2].get(stored.key, &mut buf[..999]).await, Err(Error::TooLong));
        assert_eq!(nodes[1].get(Key([9; 32]), &mut buf).await, Err(Error::NotFound));
    });
}

#[test]
fn a_mailbox_is_full_and_free_again() {
    let cable = Cable::default();
    let boards = vec![board(&cable, 1, |_| NetConfig::default())];
    run(boards, async |nodes| {
        let kept: Vec<_> = (0..4).map(|_| nodes[0].changes().unwrap()).collect();
        assert_eq!(nodes[0].changes().map(drop), Err(Error::MailboxFull));
        drop(kept);
        assert!(nodes[0].changes().is_ok());
        // A call that is given up leaves nothing behind.
        {
            let mut answer = [0; 1];
            let stranger = butter_core::id::NodeId([3; 32]);
            let mut call = pin!(nodes[0].call(stranger, OHCE, b"", Duration::from_secs(5), &mut answer));
            let _ = or(async { Some(call.as_mut().await) }, async {
                yield_now().await;
                None
            })
            .await;
        }
        let all: Vec<_> = (0..4).map(|_| nodes[0].changes().unwrap()).collect();
        assert_eq!(all.len(), 4);
    });
}

#[test]
fn a_link_that_was_pulled_and_an_address_that_changed_are_followed() {
    let cable = Cable::default();
    let ip = |n| {
        NetConfig::ipv4_static(match v4(n) {
            ConfigV4::Static(config) => config,
            _ => unreachable!(),
        })
    };
    let boards: Vec<_> = (1..=2).map(|n| board(&cable, n, ip)).collect();
    let stack = boards[1].stack;
    run(boards, async |nodes| {
        meet(nodes).await;
        cable.plug(1, false);
        while stack.is_link_up() {
            Timer::after_millis(10).await;
        }
        assert!(ask(&nodes[1], &nodes[0], b"cut").await.is_err());
        // Another address, before the link is back.
        stack.set_config_v4(v4(77));
        cable.plug(1, true);
        let test = async { while ask(&nodes[1], &nodes[0], b"a").await.as_deref() != Ok(b"aa") {} };
        or(test, async { serve(nodes[0]).await }).await;
        let from = nodes[0].read(|core| core.peers().next().unwrap().1.addr.unwrap().ip());
        assert_eq!(from, std::net::IpAddr::from([10, 9, 8, 77]));
    });
}

/// Desktops tell of each other with addresses to which a board has no route, and of a board that was restarted with the address that
/// it has itself. The stack would keep what is sent there at the head
/// of the socket's queue for ever: a board that was told of one fell silent.
#[test]
fn addresses_without_a_route_silence_nobody() {
    let cable = Cable::default();
    let ip = |n| {
        let mut config = NetConfig::default();
        (config.ipv4, config.ipv6) = (v4(n), v6(n));
        config
    };
    let boards = (1..=2).map(|n| board(&cable, n, ip)).collect();
    run(boards, async |nodes| {
        meet(nodes).await;
        // The last two are its own: whoever had them before was another node.
        let away = ["[fd83::4]:28883", "192.0.2.1:28883", "[2001:db8::1]:28883"];
        for address in away.into_iter().chain(["10.9.8.2:28883", "[fe80::2]:28883"]) {
            let address: std::net::SocketAddr = address.parse().unwrap();
            nodes[1].with(|core, now| core.meet(now, LinkId(0), address.into()).unwrap());
        }
        Timer::after(Duration::from_millis(500)).await;
        let test = async { assert_eq!(ask(&nodes[1], &nodes[0], b"1").await.as_deref(), Ok(&b"11"[..])) };
        or(test, async { serve(nodes[0]).await }).await;
    });
}

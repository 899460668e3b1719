//! Several nodes on real sockets of one machine.

use std::time::{Duration, Instant};

use butter_async_std::core::exchange::Failure;
use butter_async_std::core::ticket::Ticket;
use butter_async_std::{Builder, Error, Event, Node, route};
use futures_lite::StreamExt;
use futures_lite::future::{block_on, or};

const WAIT: Duration = Duration::from_secs(20);

/// Fails a test that waits for ever.
fn within<T>(test: impl Future<Output = T>) -> T {
    let late = async {
        async_io::Timer::after(6 * WAIT).await;
        panic!("the test hangs");
    };
    block_on(or(test, late))
}

fn network(name: &str) -> String {
    format!("{name} {}", std::process::id())
}

/// Nodes that know each other by the first one's address alone.
async fn joined(name: &str, count: usize) -> Vec<Node> {
    let build = || Node::builder().network(&network(name)).lan(false).listen("127.0.0.1:0".parse().unwrap());
    let first = build().spawn().await.unwrap();
    let door = first.local_addrs()[0].to_string();
    let mut nodes = vec![first];
    for _ in 1..count {
        nodes.push(build().join(&door).spawn().await.unwrap());
    }
    for node in &nodes {
        wait_for_peers(node, 1.min(count - 1)).await;
    }
    nodes
}

async fn wait_for_peers(node: &Node, count: usize) {
    let end = Instant::now() + WAIT;
    while node.peers().await.unwrap().len() < count {
        assert!(Instant::now() < end, "{:?} has no {count} peers", node.id());
        async_io::Timer::after(Duration::from_millis(10)).await;
    }
}

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 253) as u8 ^ (i >> 12) as u8).collect()
}

#[test]
fn nodes_on_one_machine_find_each_other_by_multicast() {
    within(async {
        let build = || Node::builder().network(&network("multicast")).spawn();
        let start = Instant::now();
        let (a, b) = (build().await.unwrap(), build().await.unwrap());
        wait_for_peers(&a, 1).await;
        wait_for_peers(&b, 1).await;
        println!("two nodes met in {:?}", start.elapsed());
        assert_eq!(a.peers().await.unwrap()[0].id, b.id());
        a.shutdown().await;
    });
}

#[test]
fn nodes_of_other_networks_are_not_met() {
    within(async {
        let name = network("closed");
        let with = |builder: Builder| builder.network(&name).lan(false).listen("127.0.0.1:0".parse().unwrap());
        let open = with(Node::builder()).spawn().await.unwrap();
        let door = open.local_addrs()[0].to_string();
        let closed = with(Node::builder().secret([1; 32])).join(&door).spawn().await.unwrap();
        let other = with(Node::builder().secret([2; 32])).join(&door).spawn().await.unwrap();
        async_io::Timer::after(Duration::from_secs(1)).await;
        for node in [&open, &closed, &other] {
            assert!(node.peers().await.unwrap().is_empty());
        }
    });
}

#[test]
fn a_session_is_told_when_it_begins_and_ends() {
    within(async {
        let nodes = joined("events", 1).await;
        let mut events = nodes[0].events().await.unwrap();
        let door = nodes[0].local_addrs()[0].to_string();
        let at = "127.0.0.1:0".parse().unwrap();
        let other = Node::builder().network(&network("events")).lan(false).listen(at).join(door).spawn().await.unwrap();
        assert_eq!(events.next().await, Some(Event::PeerUp(other.id())));
        let id = other.id();
        other.shutdown().await;
        while let Some(event) = events.next().await {
            if event == Event::PeerDown(id) {
                return;
            }
        }
        panic!("not told");
    });
}

#[test]
fn a_ticket_is_all_that_is_needed_to_join() {
    within(async {
        let name = network("ticket");
        let build = || Node::builder().lan(false).listen("127.0.0.1:0".parse().unwrap());
        let first = build().network(&name).spawn().await.unwrap();
        let mut ticket = Ticket { network: name.as_str().try_into().unwrap(), ..Ticket::default() };
        ticket.hosts.push((first.id(), first.local_addrs()[0].into())).unwrap();
        let second = build().join(ticket.to_string()).spawn().await.unwrap();
        wait_for_peers(&second, 1).await;
        assert_eq!(second.peers().await.unwrap()[0].id, first.id());
    });
}

#[test]
fn a_node_that_leaves_hands_its_content_over() {
    within(async {
        let nodes = joined("leaving", 4).await;
        let stored = nodes[1].put(sample(5_000)).await.unwrap();
        let keeps = |node: &Node| {
            let node = node.clone();
            async move { !node.groups().await.unwrap().is_empty() }
        };
        assert!(keeps(&nodes[1]).await, "the putter keeps a copy, too");
        assert!(nodes[1].leave(WAIT).await.unwrap());
        nodes[1].shutdown().await;
        assert_eq!(nodes[0].get(stored.key).to_vec().await.unwrap(), sample(5_000));
    });
}

#[test]
fn long_calls_cross_the_network() {
    within(async {
        let nodes = joined("calls", 2).await;
        let echo = route("echo/1");
        nodes[1].serve(echo, |request| async move { Ok(request.body) }).await.unwrap();
        for length in [0, 1, 1_000, 5_000, 60_000] {
            let body = sample(length);
            let answer = nodes[0].call(nodes[1].id(), echo, body.clone(), WAIT).await.unwrap();
            assert!(answer == body, "{length} bytes");
        }
        let end = nodes[0].call(nodes[1].id(), route("none/1"), "", WAIT).await.unwrap_err();
        assert!(matches!(end, Error::Call(Failure::Refused(_))), "{end}");
    });
}

#[test]
fn content_outlives_the_node_that_put_it() {
    within(async {
        let nodes = joined("content", 4).await;
        let bytes = sample(1_000_000);
        let start = Instant::now();
        let stored = nodes[1].put(bytes.clone()).await.unwrap();
        println!("put {} bytes on {} of {} in {:?}", stored.bytes, stored.replicas, stored.wanted, start.elapsed());
        assert!(stored.replicas >= 2, "{stored:?}");
        nodes[1].shutdown().await;
        let start = Instant::now();
        let got = nodes[3].get(stored.key).to_vec().await.unwrap();
        println!("got it in {:?}", start.elapsed());
        assert!(got == bytes);
    });
}

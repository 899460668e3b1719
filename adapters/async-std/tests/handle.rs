//! What a handle does on one machine: set-up, its errors, calls to oneself, the end.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use butter_async_std::core::config::Config;
use butter_async_std::core::exchange::{Failure, Status};
use butter_async_std::core::retrieve::Reason;
use butter_async_std::core::ticket::Ticket;
use butter_async_std::{Error, Key, Node, Source, route};
use futures_lite::future::block_on;

const WAIT: Duration = Duration::from_secs(10);

/// A node that nobody else hears.
async fn alone() -> Node {
    Node::builder().lan(false).listen("127.0.0.1:0".parse().unwrap()).spawn().await.unwrap()
}

#[test]
fn a_route_is_served_by_an_async_closure() {
    block_on(async {
        let node = alone().await;
        let route = route("ohce/1");
        node.serve(route, |request| async move { Ok(request.body.into_iter().rev().collect()) }).await.unwrap();
        assert_eq!(node.call(node.id(), route, "butter", WAIT).await.unwrap(), b"rettub");
        node.stop_serving(route).await.unwrap();
        let refused = node.call(node.id(), route, "butter", WAIT).await.unwrap_err();
        assert!(matches!(refused, Error::Call(Failure::Refused(Status::NoRoute))), "{refused}");
        node.shutdown().await;
    });
}

#[test]
fn a_call_ends_by_its_timeout_and_its_handler_is_dropped() {
    struct Dropped(async_channel::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.try_send(());
        }
    }
    block_on(async {
        let node = alone().await;
        let (sender, dropped) = async_channel::bounded(1);
        node.serve(route("never/1"), move |_| {
            let guard = Dropped(sender.clone());
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok(Vec::new())
            }
        })
        .await
        .unwrap();
        let start = Instant::now();
        let error = node.call(node.id(), route("never/1"), "", Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, Error::Call(Failure::Deadline)), "{error}");
        assert!((190..2_000).contains(&start.elapsed().as_millis()));
        dropped.recv().await.unwrap();
    });
}

#[test]
fn a_dropped_call_is_given_up() {
    block_on(async {
        let node = alone().await;
        let (sender, begun) = async_channel::unbounded();
        node.serve(route("never/1"), move |_| {
            let _ = sender.try_send(());
            std::future::pending()
        })
        .await
        .unwrap();
        for _ in 0..2000 {
            let call = node.call(node.id(), route("never/1"), "", WAIT);
            let begun = async {
                begun.recv().await.unwrap();
                Err(Error::Stopped)
            };
            futures_lite::future::or(call, begun).await.unwrap_err();
        }
        // More than a table holds were begun; a last one finds room.
        node.serve(route("ok/1"), |_| async { Ok(Vec::new()) }).await.unwrap();
        node.call(node.id(), route("ok/1"), "", WAIT).await.unwrap();
    });
}

#[test]
fn a_node_that_stopped_says_so() {
    block_on(async {
        let node = alone().await;
        let other = node.clone();
        node.shutdown().await;
        other.stopped().await;
        assert!(matches!(other.peers().await, Err(Error::Stopped)));
        assert!(matches!(other.call(other.id(), route("x/1"), "", WAIT).await, Err(Error::Stopped)));
        other.shutdown().await;
    });
}

#[test]
fn a_port_is_free_again_after_the_end() {
    block_on(async {
        let node = alone().await;
        let at = node.local_addrs()[0];
        let taken = Node::builder().lan(false).listen(at).spawn().await.unwrap_err();
        assert!(matches!(taken, Error::Listen { .. }), "{taken}");
        node.shutdown().await;
        Node::builder().lan(false).listen(at).spawn().await.unwrap().shutdown().await;
    });
}

#[test]
fn a_data_directory_keeps_the_id_and_serves_one_node() {
    let path = std::env::temp_dir().join(format!("butter-handle-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    block_on(async {
        let build = || Node::builder().lan(false).data_dir(&path).spawn();
        let node = build().await.unwrap();
        let id = node.id();
        let second = build().await.unwrap_err();
        assert!(matches!(second, Error::InUse { .. }) && second.to_string().contains("another node"), "{second}");
        node.shutdown().await;
        let node = build().await.unwrap();
        assert_eq!(node.id(), id);
        node.shutdown().await;
        assert!(path.join("hosts").exists());
    });
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn dropping_the_last_handle_ends_the_node() {
    let path = std::env::temp_dir().join(format!("butter-drop-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    block_on(async {
        let build = || Node::builder().lan(false).data_dir(&path).spawn();
        drop(build().await.unwrap());
        let end = Instant::now() + WAIT;
        while build().await.is_err() {
            assert!(Instant::now() < end, "the node does not end");
            async_io::Timer::after(Duration::from_millis(20)).await;
        }
    });
    let _ = std::fs::remove_dir_all(&path);
}

#[test]
fn wrong_settings_are_named() {
    block_on(async {
        let unresolvable = Node::builder().lan(false).join("no-such-host.invalid:1").spawn().await.unwrap_err();
        assert!(unresolvable.to_string().contains("no-such-host.invalid:1"), "{unresolvable}");
        let malformed = Node::builder().lan(false).join("no port").spawn().await.unwrap_err();
        assert!(malformed.to_string().contains("no port"), "{malformed}");
        let torn = Node::builder().lan(false).join("butter:ybndrf").spawn().await.unwrap_err();
        assert!(matches!(torn, Error::Ticket(_)), "{torn}");
        let ticket = Ticket { network: "theirs".try_into().unwrap(), ..Ticket::default() };
        let theirs = Node::builder().lan(false).network("ours").join(ticket.to_string()).spawn().await.unwrap_err();
        assert!(theirs.to_string().contains("\"theirs\"") && theirs.to_string().contains("\"ours\""), "{theirs}");
        let nameless = Node::builder().network("").spawn().await.unwrap_err();
        assert!(matches!(nameless, Error::NetworkName), "{nameless}");
        let config = Config { replicas: 99, ..Config::default() };
        let wrong = Node::builder().lan(false).config(config).spawn().await.unwrap_err();
        assert!(wrong.to_string().contains("replicas"), "{wrong}");
        let file = std::env::temp_dir().join(format!("butter-file-{}", std::process::id()));
        std::fs::write(&file, b"").unwrap();
        let unusable = Node::builder().data_dir(file.join("below")).spawn().await.unwrap_err();
        assert!(unusable.to_string().contains("below"), "{unusable}");
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn a_lone_node_keeps_what_is_put_and_gives_it_back() {
    block_on(async {
        let node = alone().await;
        for length in [0, 1, 4096, 4097, 3_000_000] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| (i % 251) as u8 ^ (i >> 12) as u8).collect();
            let put = node.put(bytes.clone());
            let progress = put.progress();
            assert_eq!((progress.bytes_done(), progress.bytes_total()), (0, Some(length.into())));
            let stored = put.await.unwrap();
            assert_eq!((stored.bytes, stored.replicas), (length.into(), 1));
            assert_eq!(progress.bytes_done(), length.into());
            let mut get = node.get(stored.key);
            assert!(get.to_vec().await.unwrap() == bytes, "{length} bytes come back");
            assert_eq!(get.progress().bytes_done(), length.into());
            assert_eq!(get.to_vec().await.unwrap(), b"", "the end stays the end");
        }
        let missing = node.get(Key([9; 32])).to_vec().await.unwrap_err();
        assert!(matches!(missing, Error::NotFound), "{missing}");
    });
}

#[test]
fn a_reader_is_put_and_a_get_is_resumed_where_it_stopped() {
    block_on(async {
        let node = alone().await;
        let bytes: Vec<u8> = (0..2_500_000u32).map(|i| ((i * 7) >> 5) as u8).collect();
        let source = Source::reader(futures_lite::io::Cursor::new(bytes.clone()), bytes.len() as u64);
        let stored = node.put(source).await.unwrap();
        assert_eq!(stored.key, node.put(bytes.clone()).await.unwrap().key, "the same bytes are the same object");

        let mut first = node.get(stored.key);
        let mut all = Vec::new();
        while all.len() < 1_000_000 {
            all.extend(first.next().await.unwrap().unwrap());
        }
        let position = first.position();
        drop(first);
        let mut rest = Vec::new();
        node.get_from(stored.key, position).write_to(&mut rest).await.unwrap();
        all.extend(rest);
        assert!(all == bytes);
    });
}

#[test]
fn a_next_that_is_dropped_loses_nothing() {
    block_on(async {
        let node = alone().await;
        let bytes: Vec<u8> = (0..600_000u32).map(|i| (i >> 8) as u8).collect();
        let stored = node.put(bytes.clone()).await.unwrap();
        let mut get = node.get(stored.key);
        let mut all = Vec::new();
        loop {
            // Given up again and again, at every stage.
            let next = futures_lite::future::poll_once(get.next()).await;
            match next {
                None => futures_lite::future::yield_now().await,
                Some(next) => match next.unwrap() {
                    Some(more) => all.extend(more),
                    None => break,
                },
            }
        }
        assert!(all == bytes);
    });
}

#[test]
fn puts_and_gets_that_are_dropped_make_room() {
    block_on(async {
        let node = alone().await;
        let stored = node.put(vec![1; 100_000]).await.unwrap();
        for i in 0..1000 {
            // A source that never comes.
            let put = node.put(Source::reader(Never, 1_000_000));
            futures_lite::future::poll_once(put.into_future()).await.is_none().then_some(()).unwrap();
            let mut get = node.get(stored.key);
            if i % 2 == 0 {
                futures_lite::future::poll_once(get.next()).await;
            } else {
                get.next().await.unwrap();
            }
        }
        assert_eq!(node.put("room").await.unwrap().replicas, 1);
        assert_eq!(node.get(stored.key).to_vec().await.unwrap(), [1; 100_000]);
    });
}

#[test]
fn a_source_that_fails_fails_its_put() {
    block_on(async {
        let node = alone().await;
        let short = Source::reader(futures_lite::io::Cursor::new(vec![0; 10]), 5000);
        let error = node.put(short).await.unwrap_err();
        assert!(matches!(&error, Error::Io(_)), "{error}");
        let few = node.put("for two").min_replicas(2).await.unwrap_err();
        assert!(matches!(few, Error::Failed(Reason::TooFew)), "{few}");
    });
}

/// A reader from which nothing ever comes.
struct Never;

impl futures_lite::AsyncRead for Never {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Pending
    }
}

//! What a handle does on one machine: set-up, its errors, calls to oneself, the end.

use std::time::{Duration, Instant};

use butter_async_std::core::config::Config;
use butter_async_std::core::exchange::{Failure, Status};
use butter_async_std::{Error, Node, route};
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

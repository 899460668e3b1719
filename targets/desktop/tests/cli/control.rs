//! The control socket, in hands that do not know how to use it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::common::{LONG, Node, Temp, sample, until};

fn connect(node: &Node) -> UnixStream {
    let stream = UnixStream::connect(node.started["control"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// What the node answers to these bytes, until it closes the connection.
fn answer(node: &Node, bytes: &[u8]) -> String {
    let mut stream = connect(node);
    // It may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn bad_clients_are_told_and_do_no_harm() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("a"), &[]);
    for (bytes, says) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "not a request"),
        (b"{\"v\":2,\"do\":\"status\"}\n", "version 2"),
        (b"{\"v\":1,\"do\":\"dance\"}\n", "dance"),
        (b"{\"v\":1,\"do\":\"get\",\"id\":\"x\",\"from\":0}\n", "52 characters"),
        (b"{\"v\":1,\"do\":\"put\"}\n\xff\xff\xff\xff", "a chunk has at most"),
        (b"{\"v\":1,\"do\":\"put\",\"bytes\":99999999999999}\n", "an object has at most"),
        (&[b'x'; 100_000], "not a request"),
    ] {
        let text = answer(&node, bytes);
        assert!(text.starts_with("{\"error\":{\"kind\":\"request\"") || text.contains("\"failed\""), "{text}");
        assert!(text.contains(says), "{text}");
    }
    // Those that go in the midst of something are told nothing.
    for bytes in [
        &b""[..],
        b"{\"v\":1",
        b"{\"v\":1,\"do\":\"put\"}\n",
        b"{\"v\":1,\"do\":\"put\"}\n\x05\0\0\0abc",
        b"{\"v\":1,\"do\":\"put\",\"bytes\":10}\nabc",
    ] {
        let text = answer(&node, bytes);
        assert!(!text.contains("stored"), "{text}");
    }
    let text = answer(&node, b"{\"v\":1,\"do\":\"put\",\"bytes\":1000000}\nabc");
    assert!(text.is_empty() || text.contains("error"), "{text}");
    assert_eq!(node.butter(&["status", "--json"]).json()["items"], 0, "nothing was stored");
}

#[test]
fn requests_may_follow_each_other() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("a"), &[]);
    let large = sample(200_000);
    let mut bytes = b"{\"v\":1,\"do\":\"put\",\"bytes\":200000}\n".to_vec();
    bytes.extend(&large);
    bytes.extend(b"{\"v\":1,\"do\":\"put\",\"bytes\":2}\nhi{\"v\":1,\"do\":\"put\"}\n\x02\0\0\0hi\0\0\0\0{\"v\":1,\"do\":\"peers\"}\n");
    let text = answer(&node, &bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("progress")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("{\"stored\":") && lines[0].contains("\"bytes\":200000"), "{text}");
    let id = |line: &str| line.split("\"id\":\"").nth(1).unwrap()[..52].to_owned();
    assert_eq!(id(lines[1]), id(lines[2]), "{text}");
    assert_eq!(lines[3], "{\"peers\":[]}");
}

#[test]
fn more_connections_than_it_serves_are_refused_not_kept_waiting() {
    let temp = Temp::new();
    let node = Node::start(&temp.path("a"), &[]);
    let idle: Vec<UnixStream> = (0..64).map(|_| connect(&node)).collect();
    let refused = node.butter(&["status"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("64 commands are under way"), "{}", refused.err);
    drop(idle);
    until("there is room again", || (node.butter(&["status"]).code == Some(0)).then_some(()));
}

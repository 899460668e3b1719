//! What remains of a get that is interrupted: shown with a node that sends a part and then does as the test wants.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{Temp, end, program, signal, until};

const BYTES: usize = 10_000;
const SENT: usize = 8192;

/// A node that is none.
struct Fake {
    temp: Temp,
    listener: UnixListener,
    id: String,
}

impl Fake {
    fn new() -> Fake {
        let temp = Temp::new();
        let listener = UnixListener::bind(temp.path("control.sock")).unwrap();
        Fake { temp, listener, id: "y".repeat(52) }
    }

    fn get(&self) -> std::process::Child {
        let args = ["get", &self.id, "-o", &self.temp.text("file"), "--data", &self.temp.text("")];
        program().args(args).spawn().unwrap()
    }

    fn part(&self) -> PathBuf {
        self.temp.path(&format!("file.{}.part", self.id))
    }

    /// Takes a connection, and tells what it asks for.
    fn asked(&self) -> (UnixStream, Value) {
        let (stream, _) = self.listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (stream, serde_json::from_str(&line).unwrap())
    }

    /// Sends the object from `from` up to `to`.
    fn send(&self, mut stream: &UnixStream, from: usize, to: usize) {
        let mut bytes = format!("{{\"object\":{{\"bytes\":{BYTES},\"from\":{from}}}}}\n").into_bytes();
        bytes.extend(u32::try_from(to - from).unwrap().to_le_bytes());
        bytes.extend(vec![b'x'; to - from]);
        stream.write_all(&bytes).unwrap();
    }

    /// The get is gone on with, and completed.
    fn complete(&self) {
        let child = self.get();
        let (mut stream, asked) = self.asked();
        assert_eq!(asked, serde_json::json!({ "v": 1, "do": "get", "id": self.id, "from": SENT }));
        self.send(&stream, SENT, BYTES);
        stream.write_all(b"\0\0\0\0{\"done\":{}}\n").unwrap();
        let ended = end(child);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(fs::read(self.temp.path("file")).unwrap(), [b'x'; BYTES]);
        assert!(!self.part().exists());
    }
}

#[test]
fn by_the_user() {
    let fake = Fake::new();
    let child = fake.get();
    let (stream, asked) = fake.asked();
    assert_eq!(asked["from"], 0);
    fake.send(&stream, 0, SENT);
    until("the part is written", || {
        fs::metadata(fake.part()).is_ok_and(|meta| meta.len() == SENT as u64).then_some(())
    });
    signal("INT", &child);
    let ended = end(child);
    assert_eq!(ended.code, Some(130));
    assert!(ended.err.contains("8.00 KiB kept in") && ended.err.contains(".part"), "{}", ended.err);
    fake.complete();
}

#[test]
fn by_the_end_of_the_node() {
    let fake = Fake::new();
    let child = fake.get();
    let (stream, _) = fake.asked();
    fake.send(&stream, 0, SENT);
    drop(stream);
    let ended = end(child);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("8.00 KiB of 9.76 KiB are kept"), "{}", ended.err);
    fake.complete();
}

#[test]
fn by_the_network() {
    let fake = Fake::new();
    let child = fake.get();
    let (mut stream, _) = fake.asked();
    fake.send(&stream, 0, SENT);
    stream.write_all(b"\0\0\0\0{\"error\":{\"kind\":\"failed\",\"message\":\"a part is lost\"}}\n").unwrap();
    let ended = end(child);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("a part is lost. 8.00 KiB of 9.76 KiB are kept"), "{}", ended.err);
    fake.complete();
}

#[test]
fn an_answer_that_ends_early_is_not_taken_for_the_whole() {
    let fake = Fake::new();
    let child = fake.get();
    let (mut stream, _) = fake.asked();
    fake.send(&stream, 0, SENT);
    stream.write_all(b"\0\0\0\0{\"done\":{}}\n").unwrap();
    assert_eq!(end(child).code, Some(1));
    assert!(!fake.temp.path("file").exists());
    fake.complete();
}

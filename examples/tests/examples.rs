//! Runs every example as a user would: as processes that talk over real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

/// A running example. It is killed when dropped.
struct Example {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Example {
        let test = std::env::current_exe().expect("a test knows where it is");
        let built: PathBuf = test.ancestors().nth(2).expect("in a target folder").join("examples").join(name);
        let mut child = Command::new(&built)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", built.display()));
        let output = child.stdout.take().expect("piped");
        let input = child.stdin.take();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Example { child, input, lines }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed yet");
        writeln!(input, "{line}").expect("the example reads");
    }

    /// The next line that contains `wanted`.
    fn hear(&self, wanted: &str) -> String {
        let end = Instant::now() + WAIT;
        let mut others = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(wanted) {
                return line;
            }
            others.push(line);
        }
        panic!("no line with {wanted:?} among {others:#?}");
    }

    /// Closes the input, after which the example ends by itself, with success.
    fn end(mut self) {
        drop(self.input.take());
        let end = Instant::now() + WAIT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a child") {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the example does not end");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine that nobody uses.
fn free() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.local_addr().expect("bound").to_string()
}

#[test]
fn ohce_finds_its_peer_and_echoes_backwards() {
    let network = format!("ohce test {}", std::process::id());
    let mut a = Example::start("ohce", &[&network]);
    let mut b = Example::start("ohce", &[&network]);
    a.hear("met ");
    b.hear("met ");
    b.say("butter");
    b.hear("rettub");
    a.say("groß");
    a.hear("ßorg");
    a.end();
    b.end();
}

#[test]
fn a_custom_loop_talks_to_another() {
    let (server, client) = (free(), free());
    let _server = Example::start("custom_loop", &[&server]);
    let client = Example::start("custom_loop", &[&client, &server, "butter"]);
    client.hear("rettub");
    client.end();
}

#[test]
fn a_mio_loop_serves_its_clients_through_a_custom_loop() {
    let (server, gateway) = (free(), free());
    let _server = Example::start("custom_loop", &[&server]);
    let _gateway = Example::start("mio_loop", &[&gateway, &server]);
    let gateway: SocketAddr = gateway.parse().expect("an address");
    let end = Instant::now() + WAIT;
    loop {
        assert!(Instant::now() < end, "no answer");
        std::thread::sleep(Duration::from_millis(20));
        let Ok(mut client) = TcpStream::connect(gateway) else { continue };
        client.write_all(b"butter\n").expect("connected");
        client.set_read_timeout(Some(WAIT)).expect("a socket");
        let mut answer = [0; 32];
        let len = client.read(&mut answer).expect("an answer");
        match &answer[..len] {
            b"nobody to ask\n" => continue,
            answer => break assert_eq!(answer, b"rettub\n"),
        }
    }
}

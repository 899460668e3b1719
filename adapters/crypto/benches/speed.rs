//! Times the provider on this machine: `cargo bench -p butter-crypto` (add `--features fast` for tables).

use std::hint::black_box;
use std::time::{Duration, Instant};

use butter_core::crypto::{Crypto, HandshakeKeys, HandshakeState, SecretKey};
use butter_crypto::RustCrypto;

const PACKET: usize = 1200;

/// The best of ten rounds, which the rest of the machine disturbs least.
fn time(rounds: u32, mut work: impl FnMut()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed() / rounds
    };
    (0..10).map(round).min().unwrap_or_default()
}

fn rate(name: &str, took: Duration) {
    println!("{name:<28} {:>8.0} MB/s", PACKET as f64 / took.as_secs_f64() / 1e6);
}

fn main() {
    let (key, nonce) = ([1; 32], [2; 12]);
    let mut data = [3; PACKET];
    rate(
        "seal 1200 B",
        time(2000, || {
            black_box(RustCrypto.seal(&key, &nonce, b"header", black_box(&mut data)));
        }),
    );
    let mut sealed = [3; PACKET];
    let tag = RustCrypto.seal(&key, &nonce, b"header", &mut sealed);
    rate(
        "open 1200 B",
        time(2000, || {
            let mut data = black_box(sealed);
            RustCrypto.open(&key, &nonce, b"header", &mut data, &tag).expect("our own seal");
        }),
    );
    rate(
        "hash 1200 B",
        time(2000, || {
            black_box(RustCrypto.hash(&[black_box(&data)]));
        }),
    );

    let (a, b) = (SecretKey([1; 32]), SecretKey([2; 32]));
    let (a_id, b_id) = (RustCrypto.node_id(&a), RustCrypto.node_id(&b));
    let keys = |me, id| HandshakeKeys { me, id, psk: &key, prologue: b"bench" };
    let (a_keys, b_keys) = (keys(&a, &a_id), keys(&b, &b_id));
    let (mut a_state, mut b_state) = (HandshakeState::default(), HandshakeState::default());
    let (mut hello, mut welcome, mut payload) = ([0; 256], [0; 256], [0; 64]);

    let mut hello_len = 0;
    let took = time(50, || {
        hello_len = RustCrypto.write_hello(a_keys, &b_id, &[4; 32], b"hi", &mut hello, &mut a_state).expect("valid");
    });
    println!("{:<28} {took:>10.1?}", "write_hello");
    let mut took_read = Duration::MAX;
    let mut took_write = Duration::MAX;
    let mut welcome_len = 0;
    for _ in 0..500 {
        let start = Instant::now();
        RustCrypto.read_hello(b_keys, &hello[..hello_len], &mut payload, &mut b_state).expect("valid");
        took_read = took_read.min(start.elapsed());
        let start = Instant::now();
        (welcome_len, _) =
            RustCrypto.write_welcome(b_keys, &[5; 32], b"hi", &mut welcome, &mut b_state).expect("valid");
        took_write = took_write.min(start.elapsed());
    }
    println!("{:<28} {took_read:>10.1?}", "read_hello");
    println!("{:<28} {took_write:>10.1?}", "write_welcome");
    let welcome = &welcome[..welcome_len];
    let took_last = time(50, || {
        let keys = RustCrypto.read_welcome(a_keys, &b_id, welcome, &mut payload, &a_state);
        black_box(keys.expect("valid"));
    });
    println!("{:<28} {took_last:>10.1?}", "read_welcome");
    let whole = took + took_read + took_write + took_last;
    println!("{:<28} {whole:>10.1?}", "handshake, both sides");

    let signature = RustCrypto.sign(&a, &data[..64]);
    let took = time(50, || {
        black_box(RustCrypto.sign(&a, &data[..64]));
    });
    println!("{:<28} {took:>10.1?}", "sign 64 B");
    let took = time(50, || {
        assert!(RustCrypto.verify(&a_id, &data[..64], &signature));
    });
    println!("{:<28} {took:>10.1?}", "verify 64 B");
}

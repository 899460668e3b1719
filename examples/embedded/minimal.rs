//! The least firmware that is a whole node: it finds its network, keeps items for others, and tells by defmt what it comes to.
//! `cd targets/qemu-arm && cargo run --release --bin minimal` runs it in QEMU; `README.md` here says what your board changes.
#![no_std]
#![no_main]

#[allow(dead_code, reason = "a board's support has more than this uses")]
#[path = "../../targets/qemu-arm/src/bsp/mod.rs"]
mod bsp; // The board: clock, interrupts, executor, Ethernet. On yours this is embassy's HAL.

use butter_core::crypto::SecretKey;
use butter_embassy::{Node, Runner};
use butter_firmware::{Ip, NetRunner, Ram, Settings};
use butter_lan9118::Lan9118;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_net::Stack;
use semihosting::experimental::random;
use {defmt_semihosting as _, panic_halt as _};

#[cortex_m_rt::entry]
fn main() -> ! {
    bsp::time::start();
    bsp::executor::run(|spawner| node(spawner, network(spawner))) // Two functions: each gives its stack back.
}

#[inline(never)]
fn network(spawner: Spawner) -> Stack<'static> {
    let driver = bsp::chip::start().expect("the board has a LAN9118");
    let (stack, runner) = butter_firmware::network(driver, Ip::Dhcp, 1);
    spawner.spawn(net(runner).expect("it is started once"));
    stack
}

#[inline(never)]
fn node(spawner: Spawner, stack: Stack<'static>) {
    // 32 bytes that are the node's identity, to be kept; 32 that are new at every start. Both secret, from a hardware generator.
    let (mut secret, mut seed) = ([0; 32], [0; 32]);
    random::fill_bytes(&mut secret).and_then(|()| random::fill_bytes(&mut seed)).expect("the host gives random bytes");
    // The node, in the open network `butter`, with blocks in RAM.
    let started = butter_firmware::start(stack, &Settings::default(), SecretKey(secret), seed, Ram::take());
    let (node, runner) = started.expect("the default settings work");
    spawner.spawn(run(runner).expect("it is started once"));
    spawner.spawn(application(stack, node).expect("it is started once"));
}

#[embassy_executor::task]
async fn net(mut runner: NetRunner<Lan9118<bsp::chip::Bus>>) {
    runner.run().await
}

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Ram>) {
    runner.run().await;
}

#[embassy_executor::task]
async fn application(stack: Stack<'static>, node: Node<'static>) {
    // Yours: `node.call`, `node.put`, `node.get`, `node.serve`.
    let _ = join(butter_firmware::addresses(stack, node), butter_firmware::show(node)).await;
}

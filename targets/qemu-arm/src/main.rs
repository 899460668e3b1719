//! Butter's firmware on QEMU's Cortex-M3 board mps2-an385: see README.md.
#![no_std]
#![no_main]

mod bsp;

use butter_core::crypto::SecretKey;
use butter_embassy::{Node, Runner};
use butter_firmware::{Ip, NetRunner, Ram, Settings};
use butter_lan9118::Lan9118;
use cortex_m_rt::entry;
use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_net::Stack;
use embassy_time::{Duration, Instant, Timer};
use semihosting::experimental::env::Args;
use semihosting::experimental::{env, random};
use semihosting::process;
use static_cell::StaticCell;

use bsp::chip::Bus;
use bsp::{chip, executor, stack, time};

/// Bytes of the command line that QEMU was given.
const COMMAND_LINE: usize = 512;
/// How often the deepest stack is looked at. It is said when it has grown.
const LOOK: Duration = Duration::from_secs(5);
const NO_TASK: &str = "a task could not be started";

#[entry]
fn main() -> ! {
    stack::paint();
    time::start();
    executor::run(start)
}

/// Says why the firmware cannot run, and ends.
fn fail(why: &dyn core::fmt::Display) -> ! {
    defmt::error!("{}", defmt::Display2Format(why));
    process::exit(2)
}

/// Not a part of what runs for ever: what it takes of the stack is free again afterwards.
#[inline(never)]
fn start(spawner: Spawner) {
    static ARGS: StaticCell<Args<COMMAND_LINE>> = StaticCell::new();
    let args = env::args::<COMMAND_LINE>().unwrap_or_else(|_| fail(&"QEMU gives no command line of 511 bytes at most"));
    let mut settings = Settings::default();
    for setting in ARGS.init(args).skip(1) {
        match setting {
            Ok(setting) => settings.set(setting).unwrap_or_else(|wrong| fail(&wrong)),
            Err(_) => fail(&"the settings are not UTF-8"),
        }
    }
    // Apart from each other, as each takes much of the stack.
    let stack = start_network(spawner, settings.ip);
    start_node(spawner, stack, &settings);
}

#[inline(never)]
fn start_network(spawner: Spawner, ip: Ip) -> Stack<'static> {
    let driver = chip::start().unwrap_or_else(|error| fail(&error));
    let (stack, runner) = butter_firmware::network(driver, ip, Instant::now().as_ticks());
    spawner.spawn(net(runner).unwrap_or_else(|_| fail(&NO_TASK)));
    stack
}

#[inline(never)]
fn start_node(spawner: Spawner, stack: Stack<'static>, settings: &Settings<'_>) {
    // INSECURE on anything but a test bench: this stands for the random number generator that a board has, and the identity is
    // another one after every start, as there is no flash to keep it in.
    let mut seed = [0; 32];
    let mut secret = [0; 32];
    if random::fill_bytes(&mut seed).and_then(|()| random::fill_bytes(&mut secret)).is_err() {
        fail(&"the host gives no random bytes over semihosting");
    }
    let node = butter_firmware::start(stack, settings, SecretKey(secret), seed, Ram::take());
    let (node, runner) = node.unwrap_or_else(|error| fail(&error));
    defmt::info!(
        "node {} in network {}",
        core::str::from_utf8(&node.id().text()).unwrap_or_default(),
        settings.network
    );
    let spawned = (|| {
        spawner.spawn(run(runner)?);
        spawner.spawn(addresses(stack, node)?);
        spawner.spawn(ohce(node)?);
        spawner.spawn(sensor(node)?);
        spawner.spawn(show(node)?);
        spawner.spawn(strangers(node)?);
        spawner.spawn(depth()?);
        if let Some(every) = settings.reading {
            spawner.spawn(readings(node, every)?);
        }
        Ok::<(), embassy_executor::SpawnError>(())
    })();
    if spawned.is_err() {
        fail(&NO_TASK);
    }
}

/// A sensor: how warm it would be on this board, in thousandths of a degree.
fn temperature() -> i32 {
    let seconds = Instant::now().as_secs() as i32;
    20_000 + seconds % 600 * 5
}

#[embassy_executor::task]
async fn net(mut runner: NetRunner<Lan9118<Bus>>) {
    runner.run().await
}

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Ram>) {
    runner.run().await;
}

#[embassy_executor::task]
async fn addresses(stack: Stack<'static>, node: Node<'static>) {
    butter_firmware::addresses(stack, node).await;
}

#[embassy_executor::task]
async fn ohce(node: Node<'static>) {
    told("ohce/1", butter_firmware::ohce(node).await);
}

#[embassy_executor::task]
async fn sensor(node: Node<'static>) {
    told("sensor/1", butter_firmware::sensor(node, temperature).await);
}

#[embassy_executor::task]
async fn show(node: Node<'static>) {
    told("show", butter_firmware::show(node).await);
}

#[embassy_executor::task]
async fn strangers(node: Node<'static>) {
    butter_firmware::warn_of_strangers(node).await;
}

#[embassy_executor::task]
async fn readings(node: Node<'static>, every: Duration) {
    butter_firmware::readings(node, every, temperature).await;
}

/// A task that cannot begin says why; the others go on.
fn told(task: &str, ended: Result<(), butter_embassy::Error>) {
    if let Err(error) = ended {
        defmt::error!("{} has ended: {}", task, error);
    }
}

/// Says how deep the stack was at start, and then whenever it was deeper than ever.
#[embassy_executor::task]
async fn depth() {
    let (size, used) = stack::used();
    defmt::info!("stack at start: {} of {} bytes", used, size);
    if used == size {
        defmt::error!("the stack was full at start: give the board more RAM for it");
    }
    stack::paint();
    let mut deepest = 0;
    loop {
        Timer::after(LOOK).await;
        let (size, used) = stack::used();
        if used > deepest {
            deepest = used;
            defmt::info!("deepest stack: {} of {} bytes", used, size);
        }
        if used == size {
            defmt::error!("the stack is full, and has run over what is below it: give the board more RAM for it");
        }
    }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    process::exit(101)
}

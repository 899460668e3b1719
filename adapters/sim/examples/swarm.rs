//! The swarm by itself, for builds that have nothing else: `cargo xtask mutants` looks for deliberate bugs with it.
//!
//! ```sh
//! cargo run --release -p butter-sim --example swarm -- --seed 1 --seconds 60
//! ```

use std::process::exit;
use std::sync::atomic::AtomicBool;

use butter_sim::swarm::{Kind, Options, log, swarm};

const USAGE: &str = "\
swarm [--seed N] [--runs K] [--seconds S] [--threads N] [--without KIND,…] [--nodes N] [--for-ms MS] [--shrink] [--log FILE]
Ends with 1 when a rule was broken.";

fn wrong(message: &str) -> ! {
    eprintln!("swarm: {message}\n\n{USAGE}");
    exit(2)
}

fn number<T: std::str::FromStr>(arg: &str, value: &str) -> T {
    value.parse().unwrap_or_else(|_| wrong(&format!("{arg}: {value} is not such a number")))
}

fn main() {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| wrong(&format!("{arg} wants a value")));
        match arg.as_str() {
            "--swarm" => {}
            "--seed" => options.seed = number(&arg, &value()),
            "--runs" => options.runs = Some(number(&arg, &value())),
            "--seconds" => options.seconds = Some(number(&arg, &value())),
            "--threads" => options.threads = number(&arg, &value()),
            "--nodes" => options.less.nodes = Some(number(&arg, &value())),
            "--for-ms" => options.less.for_ms = Some(number(&arg, &value())),
            "--without" => {
                let kind = |name: &str| Kind::named(name).unwrap_or_else(|| wrong(&format!("there is no kind {name}")));
                options.less.without = value().split(',').map(kind).collect();
            }
            "--shrink" => options.shrink = true,
            "--log" => options.log = Some(value().into()),
            _ => wrong(&format!("what is {arg}?")),
        }
    }
    let (sum, failure) = swarm(&options, &AtomicBool::new(false), &|_| {});
    if let Err(error) = log(&options, &sum, failure.as_ref()) {
        wrong(&format!("the log cannot be written: {error}"));
    }
    println!("{}", sum.text());
    if let Some(failure) = failure {
        println!("\n{}", failure.text());
        exit(1);
    }
}

//! Everything CI does, as steps that can also be run one by one.

use std::time::Instant;

use crate::run::{Done, root, run, run_in};
use crate::setup::TARGETS;
use crate::{size, trace};

/// Datagrams thrown in CI, and the seconds within which that must be done.
const FUZZ: (u64, u32) = (10_000_000, 900);

/// One check.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Done,
}

/// The cheap ones first.
const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the code is formatted", run: fmt },
    Step { name: "clippy", what: "no warnings and no lints, with every feature of the core", run: clippy },
    Step { name: "test", what: "cargo test: all host tests but those that are steps of their own", run: test },
    Step {
        name: "features",
        what: "the core's tests pass with no feature and with those that hosts use",
        run: features,
    },
    Step { name: "tools", what: "the tests of the tools themselves", run: tools },
    Step { name: "no-std", what: "what runs on microcontrollers builds for them, without alloc", run: no_std },
    Step { name: "doc", what: "the documentation builds without warnings", run: doc },
    Step {
        name: "firmware",
        what: "packages outside the workspace are formatted, lint-free and link; boards in QEMU are one network with desktops, as root",
        run: firmware,
    },
    Step { name: "size", what: "flash and RAM of the core are within tests/size.toml", run: size_table },
    Step { name: "trace", what: "recorded nodes say the same on machines of 32 bits, in QEMU", run: trace::check },
    Step { name: "lab", what: "the tests on networks of namespaces, as root", run: lab_all },
    Step { name: "fuzz", what: "random, cut and altered datagrams do no harm", run: fuzz_ci },
];

/// Prints the steps.
pub fn list() {
    for step in STEPS {
        println!("{:10} {}", step.name, step.what);
    }
}

/// Runs all steps, or those named, until one fails.
pub fn ci(names: &[&str]) -> Done {
    if let Some(odd) = names.iter().find(|n| STEPS.iter().all(|s| s.name != **n)) {
        return Err(format!("no such step: {odd} (cargo xtask ci --list)"));
    }
    let mut times = String::new();
    let start = Instant::now();
    for step in STEPS.iter().filter(|s| names.is_empty() || names.contains(&s.name)) {
        println!("\n=== {}: {}", step.name, step.what);
        let began = Instant::now();
        (step.run)().map_err(|why| format!("step {}: {why}", step.name))?;
        let line = format!("{:10} {:7.1} s\n", step.name, began.elapsed().as_secs_f64());
        print!("=== {line}");
        times += &line;
    }
    println!("\n{times}{:10} {:7.1} s", "all", start.elapsed().as_secs_f64());
    Ok(())
}

fn exists(folder: &str) -> bool {
    root().join(folder).join("Cargo.toml").exists()
}

/// Folders of packages that are workspaces of their own: firmware.
fn standalone() -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("targets")).into_iter().flatten().flatten() {
        let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("\n[workspace]") {
            found.push(format!("targets/{}", entry.file_name().to_string_lossy()));
        }
    }
    found.sort();
    found
}

fn fmt() -> Done {
    run("cargo fmt --all --check")
}

fn clippy() -> Done {
    run("cargo clippy --locked --workspace --all-targets -- -D warnings")?;
    // Alone, and without its tests: a test binary with defmt would need a microcontroller's linker script.
    run("cargo clippy --locked -p butter-core --all-features -- -D warnings")?;
    run("cargo clippy --locked -p butter-core -- -D warnings")
}

fn test() -> Done {
    // The same command as in the README. The lab has a step of its own, where its figures are shown.
    run_in("", &[("BUTTER_LAB", "skip")], "cargo test")
}

fn features() -> Done {
    run("cargo test --locked -p butter-core")?;
    run("cargo test --locked -p butter-core --features alloc,log")
}

fn tools() -> Done {
    run("cargo test --locked -p xtask")?;
    run("cargo test --locked -p butter-fuzz")
}

fn no_std() -> Done {
    for target in TARGETS {
        for features in ["", " --features log", " --features defmt"] {
            run(&format!("cargo build --locked --target {target} -p butter-core{features}"))?;
        }
        for (folder, name) in [
            ("adapters/crypto", "butter-crypto"),
            ("adapters/driver", "butter-driver"),
            ("adapters/embassy", "butter-embassy"),
            ("adapters/neighbour", "butter-neighbour"),
            ("adapters/replay", "butter-replay"),
            ("adapters/store", "butter-store"),
            ("targets/devices/lan9118", "butter-lan9118"),
        ] {
            if exists(folder) {
                run(&format!("cargo build --locked --target {target} -p {name} --no-default-features"))?;
            }
        }
    }
    Ok(())
}

fn doc() -> Done {
    run_in("", &[("RUSTDOCFLAGS", "-D warnings")], "cargo doc --locked --workspace --no-deps")
}

fn firmware() -> Done {
    for folder in standalone() {
        run_in(&folder, &[], "cargo fmt --check")?;
        run_in(&folder, &[], "cargo clippy --locked --release -- -D warnings")?;
        run_in(&folder, &[], "cargo build --locked --release")?;
    }
    boards()
}

/// Real firmware in QEMU and desktop nodes, on one bridge. With CI set, what cannot run fails instead of being skipped.
fn boards() -> Done {
    run_in("", &[("CI", "true")], "cargo test --locked --test qemu* -- --nocapture --test-threads=1")
}

fn size_table() -> Done {
    size::check(false)
}

fn lab_all() -> Done {
    lab(None)
}

/// Test binaries whose name starts with `lab`, in any default member, one test at a time.
pub fn lab(filter: Option<&str>) -> Done {
    let filter = filter.unwrap_or_default();
    // With CI set, what cannot run fails instead of being skipped.
    run_in("", &[("CI", "true")], &format!("cargo test --locked --test lab* -- --nocapture --test-threads=1 {filter}"))
}

fn fuzz_ci() -> Done {
    let (datagrams, seconds) = FUZZ;
    run(&format!("{FUZZER} --datagrams {datagrams} --seconds {seconds}"))
}

/// The stable, deterministic fuzzer; `tests/fuzz` says how to run the same under cargo-fuzz.
const FUZZER: &str = "cargo run --locked --profile fuzz -p butter-fuzz --";

/// Fuzzes for a while.
pub fn fuzz(seconds: u32) -> Done {
    run(&format!("{FUZZER} --seconds {seconds}"))
}

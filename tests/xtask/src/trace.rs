//! The same inputs give the same outputs on machines of 32 bits (N7): nodes that are recorded here are replayed on
//! microcontrollers in QEMU.

use std::path::Path;
use std::process::Command;

use crate::run::{Done, root, run_in};

const FIRMWARE: &str = "targets/trace";
/// A Cortex-M3 executes the instructions of a Cortex-M0, too: one machine for both.
const TARGETS: &[&str] = &["thumbv7m-none-eabi", "thumbv6m-none-eabi"];
const QEMU: &str = "qemu-system-arm";
const MACHINE: &[&str] =
    &["-M", "mps2-an385", "-nographic", "-semihosting-config", "enable=on,target=native", "-kernel"];
/// Of the recorded world; any other does as well.
const SEED: &str = "1";
/// Seconds that one replay may take; it takes two.
const REPLAY_S: &str = "120";

/// Records, replays, compares.
pub fn check() -> Done {
    if Command::new(QEMU).arg("--version").output().is_err() {
        return Err(format!("{QEMU} does not start: cargo xtask setup installs it (Debian's package has that name)"));
    }
    let recordings = record()?;
    for target in TARGETS {
        run_in(FIRMWARE, &[], &format!("cargo build --locked --release --target-dir target --target {target}"))?;
        let image = root().join(FIRMWARE).join("target").join(target).join("release/butter-trace");
        for (folder, host) in &recordings {
            let here = replay(&image, folder)?;
            if here != *host {
                return Err(format!(
                    "{target} came to another trace of {folder}:\n  {here}, where the host came to\n  {host}"
                ));
            }
            println!("{target} came to the host's trace of {folder}: {host}");
        }
    }
    Ok(())
}

/// Folders with a recording each, and what their replays have to print.
fn record() -> Result<Vec<(String, String)>, String> {
    let line = format!("cargo run --locked -p butter-sim --example record -- {SEED} target/trace");
    println!("$ {line}");
    let output = Command::new("cargo").args(line.split(' ').skip(1)).current_dir(root()).output();
    let output = output.map_err(|e| format!("{e}: {line}"))?;
    if !output.status.success() {
        return Err(format!("{} from: {line}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let of_line = |line: &str| {
        // Folder, bytes, trace.
        let mut words = line.splitn(3, ' ');
        Some((words.next()?.to_owned(), words.nth(1)?.to_owned()))
    };
    let recordings = text.lines().map(of_line).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty());
    recordings.ok_or_else(|| format!("nothing was recorded by: {line}\n{text}"))
}

fn replay(image: &Path, folder: &str) -> Result<String, String> {
    // QEMU ends with the firmware; one that hangs is ended.
    let output = Command::new("timeout")
        .args([REPLAY_S, QEMU])
        .args(MACHINE)
        .arg(image)
        .current_dir(root().join(folder))
        .output()
        .map_err(|e| format!("{QEMU}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{} of {} with {folder} (124: not within {REPLAY_S} s):\n{said}\n{errors}",
        output.status,
        image.display()
    ))
}

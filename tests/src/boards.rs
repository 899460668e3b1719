//! Boards that QEMU emulates, on a network of the lab; what they say by defmt is read decoded.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use defmt_decoder::{DecodeError, Table};

use crate::lab::Tap;
use crate::node::until;
use crate::process::Process;
use crate::repo;

/// Firmware, built.
pub struct Firmware {
    image: PathBuf,
    table: Table,
    machine: &'static [&'static str],
}

impl Firmware {
    /// Builds the firmware of mps2-an385, a Cortex-M3.
    ///
    /// `None` without QEMU: then a line that starts with `SKIPPED` says so, and the test should return.
    ///
    /// # Panics
    /// When it cannot be built; and without QEMU where the environment has `CI=true`: there, a skipped test is a broken one.
    #[must_use]
    pub fn qemu_arm() -> Option<Firmware> {
        Firmware::of("qemu-arm", "butter-qemu-arm", "thumbv7m-none-eabi", &["qemu-system-arm", "-M", "mps2-an385"])
    }

    /// The same for the example `examples/embedded/minimal.rs`, which takes no settings.
    ///
    /// # Panics
    /// As [`Firmware::qemu_arm`].
    #[must_use]
    pub fn minimal() -> Option<Firmware> {
        Firmware::of("qemu-arm", "minimal", "thumbv7m-none-eabi", &["qemu-system-arm", "-M", "mps2-an385"])
    }

    fn of(folder: &str, name: &str, target: &str, machine: &'static [&'static str]) -> Option<Firmware> {
        let qemu = machine.first()?;
        if Command::new(qemu).arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{qemu} does not start");
            crate::node::tell(&format!("SKIPPED: {qemu} does not start (Debian's package has that name)"));
            return None;
        }
        let package = repo::root().join("targets").join(folder);
        let mut cargo = Command::new(env!("CARGO"));
        // Its folder of its own, whatever this build's is.
        cargo.args(["build", "--locked", "--release", "--target-dir", "target"]).current_dir(&package);
        // What cargo tells tests of their own package is not meant for another one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            cargo.env_remove(name);
        }
        let built = cargo.status().unwrap_or_else(|e| panic!("{cargo:?}: {e}"));
        assert!(built.success(), "{cargo:?} failed");
        let image = package.join("target").join(target).join("release").join(name);
        let bytes = std::fs::read(&image).unwrap_or_else(|e| panic!("{}: {e}", image.display()));
        let table = Table::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e}", image.display()));
        let table = table.unwrap_or_else(|| panic!("{} has no defmt in it", image.display()));
        Some(Firmware { image, table, machine })
    }

    /// Starts a board with this firmware; `settings` are those of its README.
    ///
    /// # Panics
    /// When QEMU cannot be started.
    #[must_use]
    pub fn start(&self, tap: Tap, settings: &[&str]) -> Board<'_> {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let process = self.spawn(&tap, &settings);
        Board { firmware: self, tap, settings, process }
    }

    fn spawn(&self, tap: &Tap, settings: &Vec<String>) -> Process {
        let mut semihosting = "enable=on,target=native,arg=butter".to_owned();
        for setting in settings {
            semihosting += &format!(",arg={setting}");
        }
        let [.., a, b] = tap.ip4().octets();
        let nic = format!("tap,ifname={},script=no,downscript=no,mac=52:54:00:00:{a:02x}:{b:02x}", tap.name());
        let mut qemu = Command::new(self.machine.first().copied().unwrap_or_default());
        qemu.args(self.machine.iter().skip(1)).args(["-display", "none", "-monitor", "none", "-serial", "none"]);
        qemu.arg("-kernel").arg(&self.image).args(["-semihosting-config", &semihosting, "-nic", &nic]);
        tap.spawn(qemu)
    }
}

/// A board that runs. Dropping it kills it.
pub struct Board<'a> {
    firmware: &'a Firmware,
    tap: Tap,
    settings: Vec<String>,
    process: Process,
}

impl Board<'_> {
    /// What it has said since its start, a line each; what cannot be decoded is left out.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        let mut decoder = self.firmware.table.new_stream_decoder();
        decoder.received(&std::fs::read(self.process.log()).unwrap_or_default());
        let mut lines = Vec::new();
        loop {
            match decoder.decode() {
                Ok(frame) => lines.push(frame.display(false).to_string()),
                Err(DecodeError::UnexpectedEof) => return lines,
                Err(DecodeError::Malformed) if self.firmware.table.encoding().can_recover() => {}
                Err(DecodeError::Malformed) => return lines,
            }
        }
    }

    /// Waits for a line that has this in it, for at most `limit`; returns what follows it there.
    ///
    /// # Panics
    /// When none comes; with the end of what it said.
    #[must_use]
    pub fn says(&self, words: &str, limit: Duration) -> String {
        until(&format!("a board says {words:?}"), limit, || {
            let log = self.log();
            let found = log.iter().rev().find_map(|line| line.split_once(words));
            found.map(|(_, rest)| rest.to_owned()).ok_or_else(|| log.join("\n"))
        })
    }

    /// Its node's id.
    ///
    /// # Panics
    /// When it does not say it within a minute.
    #[must_use]
    pub fn id(&self) -> String {
        let rest = self.says("INFO node ", Duration::from_secs(60));
        rest.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Kills it at once, as a power cut does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, as another node: emulated boards have no place to keep who they are.
    ///
    /// # Panics
    /// When QEMU cannot be started.
    pub fn restart(&mut self) {
        self.kill();
        self.process = self.firmware.spawn(&self.tap, &self.settings);
    }
}

impl Drop for Board<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::node::tell(&format!("--- board at {}\n{}", self.tap.ip4(), self.log().join("\n")));
        }
    }
}

//! Installs what the checks need, when asked to.

use crate::run::{Done, root, run, run_in};

/// The microcontroller targets that the core is built for.
pub const TARGETS: &[&str] =
    &["thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv7em-none-eabihf", "riscv32imc-unknown-none-elf"];

/// Debian packages (from `.ci/packages`) if `debian`, and the toolchain's targets.
pub fn setup(debian: bool) -> Done {
    if debian {
        let list = root().join(".ci/packages");
        let list = std::fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
        let names = list
            .lines()
            .filter_map(|l| l.split('#').next())
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
            .join(" ");
        run("apt-get update")?;
        run_in(
            "",
            &[("DEBIAN_FRONTEND", "noninteractive")],
            &format!("apt-get install -y --no-install-recommends {names}"),
        )?;
    }
    run(&format!("rustup target add {}", TARGETS.join(" ")))
}

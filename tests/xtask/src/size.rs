//! What the core costs on microcontrollers: images that are linked and measured, and the table that they may not outgrow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{Object as _, ObjectSection as _, SectionFlags};

use crate::run::{Done, root, run_in};

/// Where the images are built.
const IMAGES: &str = "targets/size";
/// What they are built for. One that does not fit its memory (`memory.x`) does not link.
const TARGETS: &[&str] = &["thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv7em-none-eabihf"];
/// The image that has nothing in it: what every program costs.
const EMPTY: &str = "empty";
/// The image with core, crypto and postcard, and the tables of the smallest limits.
const NODE: &str = "node";
/// Growth over the table that is let pass, in percent.
const SLACK_PERCENT: u64 = 2;
/// Growth that is let pass where the percentage of it would be less, in bytes.
const SLACK_BYTES: u64 = 16;
/// Where the table is.
const TABLE: &str = "tests/size.toml";

/// Section, entry, number: as in the table's file.
type Table = BTreeMap<String, BTreeMap<String, u64>>;

/// Builds, measures, prints, and compares with the committed table or writes it.
pub fn check(bless: bool) -> Done {
    let mut measured = Table::new();
    for target in TARGETS {
        run_in(IMAGES, &[], &format!("cargo build --locked --release --target {target}"))?;
        let (empty_flash, empty_ram) = measure(target, EMPTY)?;
        let (flash, ram) = measure(target, NODE)?;
        let mut note = |what: &str, bytes| {
            measured.entry(what.into()).or_default().insert((*target).into(), bytes);
        };
        note("flash", flash.saturating_sub(empty_flash));
        note("ram", ram.saturating_sub(empty_ram));
    }
    let table = if bless { Table::new() } else { read()? };
    let mut grown = Vec::new();
    println!("{:8} {:24} {:>9} {:>9} {:>8}", "", "", "bytes", "table", "change");
    for (section, entries) in &measured {
        for (entry, &bytes) in entries {
            let old = table.get(section).and_then(|s| s.get(entry)).copied();
            let change = old.map_or_else(String::new, |old| change(old, bytes));
            let old_text = old.map_or_else(|| "-".into(), |old| old.to_string());
            println!("{section:8} {entry:24} {bytes:>9} {old_text:>9} {change:>8}");
            if old.is_none_or(|old| bytes > old + SLACK_BYTES.max(old * SLACK_PERCENT / 100)) {
                grown.push(format!("{section} {entry}"));
            }
        }
    }
    if bless {
        let path = root().join(TABLE);
        return std::fs::write(&path, write(&measured)).map_err(|e| format!("{}: {e}", path.display()));
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than {SLACK_PERCENT} % over {TABLE}, or not in it: {}\nwhere that is worth it, say why in the commit and run: cargo xtask size --bless",
        grown.join(", ")
    ))
}

/// Bytes of flash and of RAM that an image takes, its stack not counted.
fn measure(target: &str, image: &str) -> Result<(u64, u64), String> {
    // The same variable that moves cargo's output moves where to look.
    let out = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join(IMAGES).join("target"), PathBuf::from);
    let path = out.join(target).join("release").join(image);
    let data = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    sizes(&data).map_err(|e| format!("{}: {e}", path.display()))
}

/// Flash is what the image brings along, initial values of variables included; RAM is what it can write to.
fn sizes(elf: &[u8]) -> Result<(u64, u64), object::Error> {
    let file = object::read::elf::ElfFile32::<object::Endianness>::parse(elf)?;
    let (mut flash, mut ram) = (0, 0);
    for section in file.sections() {
        let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
            continue;
        };
        if sh_flags.0 & SHF_ALLOC.0 == 0 {
            continue;
        }
        if sh_type != SHT_NOBITS {
            flash += section.size();
        }
        if sh_flags.0 & SHF_WRITE.0 != 0 {
            ram += section.size();
        }
    }
    Ok((flash, ram))
}

fn change(old: u64, new: u64) -> String {
    let permille = (i128::from(new) - i128::from(old)) * 1000 / i128::from(old.max(1));
    let sign = if permille < 0 { '-' } else { '+' };
    format!("{sign}{}.{} %", permille.abs() / 10, permille.abs() % 10)
}

fn read() -> Result<Table, String> {
    let path = root().join(TABLE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(table: &Table) -> String {
    let mut text = String::from(
        "# What the core costs, in bytes: written by `cargo xtask size --bless`, compared by `cargo xtask size`.\n\
         # Core, crypto and postcard with the smallest limits, less what an empty program costs.\n",
    );
    for (section, entries) in table {
        let _ = write!(text, "\n[{section}]\n");
        for (entry, bytes) in entries {
            let _ = writeln!(text, "{entry} = {bytes}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Table, change, write};

    #[test]
    fn what_is_written_is_read_back() {
        let mut table = Table::new();
        table.entry("flash".into()).or_default().insert("thumbv6m-none-eabi".into(), 12_345);
        assert_eq!(toml::from_str::<Table>(&write(&table)), Ok(table));
    }

    #[test]
    fn changes_have_a_sign() {
        assert_eq!(change(1000, 1015), "+1.5 %");
        assert_eq!(change(1000, 995), "-0.5 %");
    }
}

//! What the core costs on microcontrollers: images that are linked and measured, and the table that they may not outgrow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::read::elf::ElfFile32;
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SectionFlags};

use crate::panics;
use crate::run::{Done, root, run_in};

/// Where the images are built.
const IMAGES: &str = "targets/size";
/// What they are built for. One that does not fit its memory (`memory.x`) does not link.
const TARGETS: &[&str] = &["thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv7em-none-eabihf"];
/// The image that has nothing in it: what every program costs.
const EMPTY: &str = "empty";
/// The image with cryptography alone.
const CRYPTO: &str = "crypto";
/// The image with core, crypto and postcard, and the tables of the smallest limits.
const NODE: &str = "node";
/// The image whose symbols are sizes that the compiler knows, and the target that it is read for.
const FACTS: (&str, &str) = ("thumbv7m-none-eabi", "facts");
/// The table's section that has no slack.
const PANICS: &str = "panics";
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
    let measured = measured()?;
    let table = if bless { Table::new() } else { read()? };
    let mut grown = Vec::new();
    println!("{:12} {:24} {:>9} {:>9} {:>8}", "", "", "bytes", "table", "change");
    for (section, entries) in &measured {
        for (entry, &bytes) in entries {
            let old = table.get(section).and_then(|s| s.get(entry)).copied();
            let change = old.map_or_else(String::new, |old| change(old, bytes));
            let old_text = old.map_or_else(|| "-".into(), |old| old.to_string());
            println!("{section:12} {entry:24} {bytes:>9} {old_text:>9} {change:>8}");
            let slack = |old: u64| if section == PANICS { 0 } else { SLACK_BYTES.max(old * SLACK_PERCENT / 100) };
            if old.is_none_or(|old| bytes > old + slack(old)) {
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

/// Builds all images and measures them.
fn measured() -> Result<Table, String> {
    let mut measured = Table::new();
    let mut note = |section: &str, entry: &str, bytes| {
        measured.entry(section.into()).or_default().insert(entry.into(), bytes);
    };
    for target in TARGETS {
        run_in(IMAGES, &[], &format!("cargo build --locked --release --target {target}"))?;
        let (empty_flash, empty_ram) = image(target, EMPTY, footprint)?;
        let (crypto_flash, _) = image(target, CRYPTO, footprint)?;
        let (flash, ram) = image(target, NODE, footprint)?;
        note("flash", target, flash.saturating_sub(empty_flash));
        note("flash_crypto", target, crypto_flash.saturating_sub(empty_flash));
        note("ram", target, ram.saturating_sub(empty_ram));
    }
    for (section, entry, bytes) in image(FACTS.0, FACTS.1, facts)? {
        note(&section, &entry, bytes);
    }
    note(PANICS, "core", panics()?.values().sum());
    Ok(measured)
}

/// Functions of the core that could panic, with the number of places where they could.
fn panics() -> Result<BTreeMap<String, u64>, String> {
    image(FACTS.0, NODE, panics::callers)
}

/// Prints where the core could panic, by the image that was measured last.
pub fn print_panics() -> Done {
    for (function, places) in panics()? {
        println!("{places:4} {function}");
    }
    Ok(())
}

type Elf<'a> = ElfFile32<'a, Endianness>;

/// Reads an image that was built.
fn image<T>(target: &str, name: &str, read: impl FnOnce(&Elf<'_>) -> Result<T, object::Error>) -> Result<T, String> {
    // The same variable that moves cargo's output moves where to look.
    let out = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join(IMAGES).join("target"), PathBuf::from);
    let path = out.join(target).join("release").join(name);
    let data = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Elf::parse(data.as_slice()).and_then(|elf| read(&elf)).map_err(|e| format!("{}: {e}", path.display()))
}

/// Bytes of flash and of RAM, without the stack. Flash is what the image brings along, initial values of variables
/// included; RAM is what it can write to.
fn footprint(elf: &Elf<'_>) -> Result<(u64, u64), object::Error> {
    let (mut flash, mut ram) = (0, 0);
    for section in elf.sections() {
        let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else { continue };
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

/// The numbers in an image: each a 32-bit constant whose name is `SECTION__ENTRY`.
fn facts(elf: &Elf<'_>) -> Result<Vec<(String, String, u64)>, object::Error> {
    let mut found = Vec::new();
    for symbol in elf.symbols() {
        let Some((section, entry)) = fact(symbol.name()?) else { continue };
        let Some(index) = symbol.section_index() else { continue };
        let place = elf.section_by_index(index)?;
        let data = place.data()?;
        let at = usize::try_from(symbol.address().saturating_sub(place.address())).unwrap_or(usize::MAX);
        if let Some(bytes) = data.get(at..).and_then(<[u8]>::first_chunk) {
            found.push((section, entry, u32::from_le_bytes(*bytes).into()));
        }
    }
    Ok(found)
}

/// Finds `SECTION__ENTRY` in a symbol's mangled name.
fn fact(symbol: &str) -> Option<(String, String)> {
    let mut words = symbol.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let (section, entry) = words.find_map(|w| w.split_once("__").filter(|(a, b)| !a.is_empty() && !b.is_empty()))?;
    Some((section.to_lowercase(), entry.to_lowercase()))
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
         # flash: core, crypto and postcard; flash_crypto: the crypto in it; ram: static, with the smallest limits (each less\n\
         # what an empty program has); tables: all tables of a node full, by limits; size_of: on a 32-bit machine;\n\
         # panics: places where the core could panic, as linked for thumbv7m.\n",
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
    fn facts_are_found_in_mangled_names() {
        let fact = |s| super::fact(s).map(|(a, b)| format!("{a} {b}"));
        assert_eq!(fact("_ZN5facts14SIZE_OF__EVENT17h0123456789abcdefE").as_deref(), Some("size_of event"));
        assert_eq!(fact("_RNvCs1234_5facts12TABLES__TINY").as_deref(), Some("tables tiny"));
        assert_eq!(fact("__aeabi_memcpy"), None);
    }

    #[test]
    fn changes_have_a_sign() {
        assert_eq!(change(1000, 1015), "+1.5 %");
        assert_eq!(change(1000, 995), "-0.5 %");
    }
}

//! Where the core could panic, as the linker left it: calls of the panic machinery in the measured image.

use std::collections::BTreeMap;

use object::read::elf::ElfFile32;
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// Parts of the mangled names of functions that panic.
const PANICS: &[&str] =
    &["4core9panicking", "unwrap_failed", "expect_failed", "slice_index_fail", "len_mismatch_fail", "slice_error_fail"];

/// Functions of the core (or of the image's own, which what they call may be inlined into), each with the number of its
/// calls that panic. The image must be for Thumb-2.
pub fn callers(elf: &ElfFile32<'_, Endianness>) -> Result<BTreeMap<String, u64>, object::Error> {
    let mut panicking = Vec::new();
    let mut functions = Vec::new();
    for symbol in elf.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 0) {
        let name = symbol.name()?;
        // The lowest bit of an address only says that the code is Thumb.
        let start = symbol.address() & !1;
        if PANICS.iter().any(|p| name.contains(p)) {
            panicking.push(start);
        } else if (name.contains("butter_core") && !name.contains("butter_crypto")) || name.starts_with("_ZN4node") {
            functions.push((name, start, symbol.size(), symbol.section_index()));
        }
    }
    let mut found = BTreeMap::new();
    for (name, start, size, section) in functions {
        let Some(section) = section else { continue };
        let code = elf.section_by_index(section)?.data_range(start, size)?.unwrap_or_default();
        let calls = targets(start, code).filter(|to| panicking.contains(to)).count() as u64;
        if calls > 0 {
            *found.entry(readable(name)).or_default() += calls;
        }
    }
    Ok(found)
}

/// Where the calls and far jumps in `code` lead (BL and B.W; Arm v7-M Architecture Reference Manual, A7.7.12 and A7.7.18).
fn targets(start: u64, code: &[u8]) -> impl Iterator<Item = u64> {
    let mut halves = code.chunks_exact(2).map(|c| u32::from(u16::from_le_bytes([c[0], c[1]])));
    let mut at = start;
    std::iter::from_fn(move || {
        loop {
            let first = halves.next()?;
            let here = at;
            at += 2;
            // These five bits say that a second half follows.
            if first >> 11 < 0b11101 {
                continue;
            }
            let second = halves.next()?;
            at += 2;
            if first >> 11 == 0b11110 && second & 0b1001 << 12 == 0b1001 << 12 {
                let s = first >> 10 & 1;
                let i = |j: u32| 1 ^ (second >> j & 1) ^ s;
                let offset = s << 24 | i(13) << 23 | i(11) << 22 | (first & 0x3ff) << 12 | (second & 0x7ff) << 1;
                // 25 bits with a sign.
                let offset = i64::from((offset << 7).cast_signed() >> 7);
                return Some(here.wrapping_add(4).wrapping_add_signed(offset));
            }
        }
    })
}

/// The path in a mangled name, without the hash.
fn readable(mangled: &str) -> String {
    let mut rest = mangled.strip_prefix("_ZN").unwrap_or(mangled);
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0) {
        let length = rest[..digits].parse().unwrap_or(0);
        let Some(part) = rest.get(digits..digits + length) else { break };
        parts.push(part);
        rest = &rest[digits + length..];
    }
    if parts.len() > 1 {
        parts.pop();
    }
    if parts.is_empty() {
        return mangled.to_owned();
    }
    let escapes = [("_$LT$", "<"), ("$LT$", "<"), ("$GT$", ">"), ("$u20$", " "), ("..", "::")];
    escapes.iter().fold(parts.join("::"), |name, (from, to)| name.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::{readable, targets};

    #[test]
    fn calls_are_decoded() {
        // At 0x100: a move (2 bytes), a call 0x20 ahead of its end, a far jump 4 back from its end, a 4-byte load.
        let code = [0x00, 0x20, 0x00, 0xf0, 0x10, 0xf8, 0xff, 0xf7, 0xfe, 0xbf, 0xd0, 0xf8, 0x00, 0x00];
        assert_eq!(targets(0x100, &code).collect::<Vec<_>>(), [0x126, 0x106]);
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(readable("_ZN11butter_core4node4Node17h0123456789abcdefE"), "butter_core::node::Node");
        assert_eq!(readable("memcpy"), "memcpy");
    }
}

//! Sizes and times as people write and read them.

use std::time::Duration;

/// Suffixes of sizes and what they multiply by, smallest first.
const UNITS: [(&str, u64); 4] = [("K", 1), ("M", 2), ("G", 3), ("T", 4)];

/// Reads a size such as `4096`, `500M`, `1.5GB` or `10GiB`: K, M, G and T are powers of 1,000, Ki, Mi, Gi and Ti of 1,024; a B
/// may follow; capitals do not matter. `None`: this is not a size, or it is too large for 64 bits.
pub fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('I') {
        Some(letter) => (letter, 1024_u64),
        None => (unit, 1000),
    };
    let factor = if unit.is_empty() {
        1
    } else {
        let (_, power) = UNITS.iter().find(|(name, _)| *name == letter)?;
        base.pow(*power as u32)
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits than these say nothing of bytes; with them nothing below overflows.
    if whole.is_empty() || fraction.len() > 6 || (number.ends_with('.')) || (factor == 1 && !fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let part = match fraction {
        "" => 0,
        digits => {
            let parts = digits.parse::<u128>().ok()? * u128::from(factor) / 10_u128.pow(digits.len() as u32);
            u64::try_from(parts).ok()?
        }
    };
    whole.checked_add(part)
}

/// A size for people, with three digits or so: `999 B`, `1.50 KiB`, `23.4 GiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The unit is the largest of which there is at least one.
    let power = ((63 - bytes.leading_zeros()) / 10).min(4);
    let hundredths = (u128::from(bytes) * 100) >> (10 * power);
    let unit = ["B", "KiB", "MiB", "GiB", "TiB"].get(power as usize).copied().unwrap_or("TiB");
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 => format!("{whole}.{rest:02} {unit}"),
        10..100 => format!("{whole}.{} {unit}", rest / 10),
        _ => format!("{whole} {unit}"),
    }
}

/// A duration for people, in its two largest units: `3.2 s`, `5 min 10 s`, `2 d 4 h`.
pub fn duration(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s}.{} s", time.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// A number and its noun: `1 block`, `2 blocks`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("{n} {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512b", 512),
            ("500M", 500_000_000),
            ("500MB", 500_000_000),
            ("10GiB", 10 << 30),
            ("10gib", 10 << 30),
            ("10 GiB", 10 << 30),
            ("1.5Ki", 1536),
            ("0.5T", 500_000_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let bad = [
            "",
            "G",
            "-1",
            "1.5",
            "1.",
            ".5G",
            "1..5G",
            "1X",
            "1GG",
            "1iB",
            "99999999T",
            "20000000Ti",
            "1.0000001G",
            "1e9",
            "٣G",
        ];
        for text in bad {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (23 << 30, "23.0 GiB"),
            (999 << 20, "999 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (ms, text) in [
            (0, "0.0 s"),
            (3_250, "3.2 s"),
            (310_000, "5 min 10 s"),
            (3_600_000, "1 h 0 min"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }
}

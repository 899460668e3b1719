//! Quantities as scenario files write them: a number and its unit. A wrong unit is an error that says which are right.
//!
//! | type | written | kept as |
//! |---|---|---|
//! | [`Time`] | `"250 us"`, `"250 ms"`, `"30 s"`, `"5 min"`, `"2 h"`, `"1 d"` | microseconds |
//! | [`Rate`] | `"1/50 per s"`, `"0.02 per s"`, `"3 per min"`, `"10 per h"` | microseconds between two, on average |
//! | [`Size`] | `"4096 B"`, `"64 KiB"`, `"64 MiB"`, `"1 GB"`, `"8 blocks"` | bytes |
//! | [`Share`] | `"2 %"`, `"1 ‰"`, `0.02` | parts per million |
//! | [`Bandwidth`] | `"64 kbit/s"`, `"10 Mbit/s"`, `"1 Gbit/s"` | bits per second |
//!
//! Numbers are decimal with at most nine digits behind the point, and exact: no floating point decides anything in a run.

use std::fmt;

use butter_core::wire::BLOCK;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A time span. Unit: microseconds; at most 100 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(u64);

/// How often something happens. Unit: microseconds between two, on average; zero per second is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate(Option<u64>);

/// A number of bytes. A block is 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Size(u64);

/// A part of a whole, from 0 to 1. Unit: parts per million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Share(u32);

/// How much a wire carries. Unit: bits per second, at least 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bandwidth(u64);

/// The longest time span: 100 years of 365 days, in microseconds.
const TIME_US_MAX: u64 = 100 * 365 * 86_400 * 1_000_000;

/// Time units and their microseconds.
const TIMES: &[(&str, u64)] =
    &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("block", BLOCK as u64),
    ("blocks", BLOCK as u64),
];
const BANDWIDTHS: &[(&str, u64)] = &[("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

impl Time {
    /// From microseconds.
    pub const fn from_us(us: u64) -> Time {
        Time(us)
    }

    /// From milliseconds.
    pub const fn from_ms(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    /// From seconds.
    pub const fn from_s(s: u64) -> Time {
        Time(s * 1_000_000)
    }

    /// In microseconds.
    pub const fn us(self) -> u64 {
        self.0
    }

    /// In milliseconds, rounded up: what is not zero does not become zero.
    pub const fn ms(self) -> u64 {
        self.0.div_ceil(1_000)
    }

    /// In milliseconds, rounded up, as the core's settings have them; saturates at 49 days.
    pub fn ms_u32(self) -> u32 {
        u32::try_from(self.ms()).unwrap_or(u32::MAX)
    }

    /// In seconds.
    pub fn s(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Rate {
    /// So often that a mean time passes between two.
    pub const fn every(mean: Time) -> Rate {
        Rate(Some(mean.0))
    }

    /// The mean time between two; `None` is never.
    pub fn mean(self) -> Option<Time> {
        self.0.map(Time)
    }

    /// How many per second.
    pub fn per_s(self) -> f64 {
        self.0.map_or(0.0, |us| 1e6 / us as f64)
    }
}

impl Size {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    /// From blocks.
    pub const fn from_blocks(blocks: u64) -> Size {
        Size(blocks * BLOCK as u64)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In blocks, rounded up.
    pub const fn blocks(self) -> u64 {
        self.0.div_ceil(BLOCK as u64)
    }
}

impl Share {
    /// The whole.
    pub const ALL: Share = Share(1_000_000);

    /// From parts per million; more than a million is a million.
    pub const fn from_ppm(ppm: u32) -> Share {
        Share(if ppm > 1_000_000 { 1_000_000 } else { ppm })
    }

    /// In parts per million.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// From 0 to 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// How many of `n` it is, rounded to the nearest.
    pub const fn of(self, n: u64) -> u64 {
        ((n as u128 * self.0 as u128 + 500_000) / 1_000_000) as u64
    }
}

impl Bandwidth {
    /// From bits per second; 0 counts as 1.
    pub const fn from_bits_per_s(bits: u64) -> Bandwidth {
        Bandwidth(if bits == 0 { 1 } else { bits })
    }

    /// In bits per second.
    pub const fn bits_per_s(self) -> u64 {
        self.0
    }

    /// Microseconds that some bytes take, rounded up.
    pub const fn us_for(self, bytes: u64) -> u64 {
        (bytes as u128 * 8_000_000).div_ceil(self.0 as u128) as u64
    }
}

/// A decimal number: digits and a power of ten that divides them.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u64,
    over: u64,
}

impl Decimal {
    /// `12`, `0.5`; `None`: not such a number, or more than nine digits behind the point.
    fn read(text: &str) -> Option<Decimal> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(part) || part.len() > 9 {
            return None;
        }
        let over = 10u64.pow(part.len() as u32);
        let digits = whole.parse::<u64>().ok()?.checked_mul(over)?.checked_add(part.parse().ok()?)?;
        Some(Decimal { digits, over })
    }

    /// This many times `unit`; `None`: not a whole number of them, or more than 64 bits hold.
    fn times(self, unit: u64) -> Option<u64> {
        let product = u128::from(self.digits) * u128::from(unit);
        product.is_multiple_of(u128::from(self.over)).then(|| u64::try_from(product / u128::from(self.over)).ok())?
    }
}

/// Splits `"30 s"` at its unit. The space may be missing.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || ".-+/ ".contains(c))).unwrap_or(text.len());
    (text[..end].trim(), text[end..].trim())
}

/// A number that may not be negative, or why it is none.
fn number(text: &str, whole: &str) -> Result<Decimal, String> {
    match Decimal::read(text) {
        Some(number) => Ok(number),
        None if text.starts_with('-') => Err(format!("`{whole}` is negative")),
        None => Err(format!("`{whole}` does not begin with a number such as 2 or 0.5")),
    }
}

/// Reads a number and one of these units.
fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let (amount, unit) = split(text);
    let amount = number(amount, text)?;
    let names = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let wrong = if unit.is_empty() { format!("`{text}` has no unit") } else { format!("`{unit}` is no unit here") };
        return Err(format!("{wrong}: use one of {}", names()));
    };
    amount.times(*factor).ok_or_else(|| format!("`{text}` is too large, or finer than 1 {}", units[0].0))
}

/// What can be written as text in a scenario file.
trait Written: Sized {
    /// What is wanted, with an example.
    const WANTED: &'static str;
    fn read(text: &str) -> Result<Self, String>;
    /// A number without a unit.
    fn bare(number: f64) -> Result<Self, String> {
        Err(format!("{number} has no unit: write {}", Self::WANTED))
    }
}

impl Written for Time {
    const WANTED: &'static str = "a time such as \"30 s\" or \"250 ms\"";
    fn read(text: &str) -> Result<Self, String> {
        match quantity(text, TIMES)? {
            us if us > TIME_US_MAX => Err(format!("`{text}` is more than 100 years")),
            us => Ok(Time(us)),
        }
    }
}

impl Written for Rate {
    const WANTED: &'static str = "a rate such as \"1/50 per s\" or \"0.02 per s\"";
    fn read(text: &str) -> Result<Self, String> {
        let (amount, unit) = split(text);
        let unit = unit.strip_prefix("per").map(str::trim);
        let Some((_, us)) = unit.and_then(|unit| TIMES.iter().find(|(name, _)| *name == unit)) else {
            return Err(format!("`{text}` is no rate: write {}", Self::WANTED));
        };
        let (over, under) = amount.split_once('/').unwrap_or((amount, "1"));
        let (over, under) = (number(over.trim(), text)?, number(under.trim(), text)?);
        if under.digits == 0 {
            return Err(format!("`{text}` divides by zero"));
        }
        if over.digits == 0 {
            return Ok(Rate(None));
        }
        // The mean time is under / over of the unit.
        let [over_digits, over_over, under_digits, under_over, us] =
            [over.digits, over.over, under.digits, under.over, *us].map(u128::from);
        let top = under_digits.checked_mul(over_over).and_then(|top| top.checked_mul(us));
        let bottom = over_digits.checked_mul(under_over);
        let mean = top.zip(bottom).map(|(top, bottom)| (top + bottom / 2) / bottom);
        match mean.and_then(|us| u64::try_from(us).ok()) {
            Some(0) => Err(format!("`{text}` is more than a million per second")),
            Some(us) if us <= TIME_US_MAX => Ok(Rate(Some(us))),
            _ => Err(format!("`{text}` is less than once in 100 years: write \"0 per s\" for never")),
        }
    }
}

impl Written for Size {
    const WANTED: &'static str = "a size such as \"4096 B\", \"64 MiB\" or \"8 blocks\"";
    fn read(text: &str) -> Result<Self, String> {
        quantity(text, SIZES).map(Size)
    }
}

impl Written for Share {
    const WANTED: &'static str = "a share such as \"2 %\" or 0.02";
    fn read(text: &str) -> Result<Self, String> {
        match quantity(text, &[("%", 10_000), ("‰", 1_000)])? {
            ppm if ppm > 1_000_000 => Err(format!("`{text}` is more than the whole")),
            ppm => Ok(Share(ppm as u32)),
        }
    }
    fn bare(number: f64) -> Result<Self, String> {
        match number {
            0.0..=1.0 => Ok(Share((number * 1e6).round() as u32)),
            _ => Err(format!("{number} is no share: write {}", Self::WANTED)),
        }
    }
}

impl Written for Bandwidth {
    const WANTED: &'static str = "a bandwidth such as \"10 Mbit/s\"";
    fn read(text: &str) -> Result<Self, String> {
        match quantity(text, BANDWIDTHS)? {
            0 => Err(format!("`{text}` carries nothing: use a partition for that")),
            bits => Ok(Bandwidth(bits)),
        }
    }
}

/// Reads any of them from text, or from a bare number to say what is missing.
struct Reader<T>(std::marker::PhantomData<T>);

impl<T: Written> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::bare(number as f64).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        T::bare(number).map_err(E::custom)
    }
}

macro_rules! written {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                deserializer.deserialize_any(Reader(std::marker::PhantomData))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                <$name as Written>::read(text)
            }
        }
    )*};
}
written!(Time Rate Size Share Bandwidth);

impl fmt::Display for Time {
    /// In the largest unit of which it is a whole number: `30 s`, `1500 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = TIMES.iter().rev().find(|(_, us)| self.0 != 0 && self.0.is_multiple_of(*us));
        match whole {
            Some((name, us)) => write!(f, "{} {name}", self.0 / us),
            None => f.write_str("0 s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong<T: std::str::FromStr<Err = String>>(text: &str) -> String {
        text.parse::<T>().err().unwrap_or_else(|| panic!("{text} was taken"))
    }

    #[test]
    fn quantities_are_exact() {
        let time = |text: &str| text.parse::<Time>().unwrap().us();
        assert_eq!(
            ["250 us", "1.5ms", "30 s", "5 min", "2 h", "1 d"].map(time),
            [250, 1_500, 30_000_000, 300_000_000, 7_200_000_000, 86_400_000_000]
        );
        let rate = |text: &str| text.parse::<Rate>().unwrap().mean().map(Time::us);
        assert_eq!(rate("1/50 per s"), Some(50_000_000));
        assert_eq!(rate("0.02 per s"), Some(50_000_000));
        assert_eq!(rate("3 per min"), Some(20_000_000));
        assert_eq!(rate("0.3 per s"), Some(3_333_333));
        assert_eq!(rate("0 per s"), None);
        let size = |text: &str| text.parse::<Size>().unwrap().bytes();
        assert_eq!(
            ["4096 B", "1 block", "8 blocks", "64 MiB", "1.5 kB"].map(size),
            [4096, 4096, 32_768, 64 << 20, 1500]
        );
        let share = |text: &str| text.parse::<Share>().unwrap().ppm();
        assert_eq!(["2 %", "0.1%", "1 ‰", "100 %"].map(share), [20_000, 1_000, 1_000, 1_000_000]);
        assert_eq!("10 Mbit/s".parse::<Bandwidth>().unwrap().bits_per_s(), 10_000_000);
        assert_eq!(Bandwidth::from_bits_per_s(8_000_000).us_for(1500), 1500);
        assert_eq!(Share::from_ppm(333_333).of(6), 2);
    }

    #[test]
    fn what_is_wrong_is_named_and_what_is_right_told() {
        assert_eq!(wrong::<Time>("30"), "`30` has no unit: use one of us, ms, s, min, h, d");
        assert_eq!(wrong::<Time>("30 sec"), "`sec` is no unit here: use one of us, ms, s, min, h, d");
        assert_eq!(wrong::<Time>("-3 s"), "`-3 s` is negative");
        assert_eq!(wrong::<Time>("s"), "`s` does not begin with a number such as 2 or 0.5");
        assert_eq!(wrong::<Time>("1.5 us"), "`1.5 us` is too large, or finer than 1 us");
        assert_eq!(wrong::<Time>("40000 d"), "`40000 d` is more than 100 years");
        assert_eq!(wrong::<Rate>("-1/50 per s"), "`-1/50 per s` is negative");
        assert_eq!(wrong::<Rate>("1/0 per s"), "`1/0 per s` divides by zero");
        assert!(wrong::<Rate>("1/50 s").contains("write a rate such as"));
        assert!(wrong::<Rate>("2000001 per s").contains("more than a million"));
        assert!(wrong::<Size>("4096").starts_with("`4096` has no unit"));
        assert!(wrong::<Size>("0.5 B").contains("finer than 1 B"));
        assert_eq!(wrong::<Share>("101 %"), "`101 %` is more than the whole");
        assert!(wrong::<Bandwidth>("10 MB/s").contains("use one of bit/s"));
        assert!(wrong::<Bandwidth>("0 bit/s").contains("use a partition"));
    }

    #[test]
    fn files_say_what_is_wrong_and_where() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct File {
            life: Time,
            loss: Share,
        }
        let read = |text: &str| toml::from_str::<File>(text);
        let file = read("life = \"1 h\"\nloss = 0.02").unwrap();
        assert_eq!((file.life.us(), file.loss.ppm()), (3_600_000_000, 20_000));
        assert_eq!(read("life = \"1 h\"\nloss = 0").unwrap().loss.ppm(), 0);
        let error = read("loss = 0.02\nlife = 30").unwrap_err();
        assert_eq!(error.message(), "30 has no unit: write a time such as \"30 s\" or \"250 ms\"");
        assert_eq!(error.span(), Some(19..21));
        let error = read("life = \"1 h\"\nloss = 2").unwrap_err();
        assert_eq!(error.message(), "2 is no share: write a share such as \"2 %\" or 0.02");
        let error = read("life = \"1 h\"\nloss = true").unwrap_err();
        assert!(error.message().contains("expected a share such as"), "{error}");
        let error = read("life = \"1 h\"\nlos = 0.1").unwrap_err();
        assert_eq!(error.span(), Some(13..16), "the key");
    }

    #[test]
    fn times_are_shown_in_whole_units() {
        let show = |text: &str| text.parse::<Time>().unwrap().to_string();
        assert_eq!(["0 s", "90 s", "60 s", "1.5 s", "48 h"].map(show), ["0 s", "90 s", "1 min", "1500 ms", "2 d"]);
    }
}

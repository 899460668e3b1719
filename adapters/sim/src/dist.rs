//! How times are distributed: delays, lives, downtimes. Drawn in integers, by the quantile function.

use std::fmt;

use butter_core::rng::Rng;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::scenario::units::{Share, Time};
use crate::{chance, fixed};

/// How a time is distributed. In a scenario: `"20 ms"`, `"ipfs-sessions"` ([`Dist::ipfs_sessions`]), or a table with one key,
/// as in `{ uniform = ["20 ms", "40 ms"] }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dist {
    /// Always the same.
    Always(Time),
    /// From the first to the second, each as likely.
    Uniform(Time, Time),
    /// Exponential: what happens at a constant rate. `{ exponential = { mean = "50 s" } }`.
    Exponential {
        /// The mean.
        mean: Time,
    },
    /// Log-normal, as delays across networks are. `{ log-normal = { median = "30 ms", sigma = 0.5 } }`.
    LogNormal {
        /// The least: what is drawn comes on top.
        least: Time,
        /// The median of that.
        median: Time,
        /// The standard deviation of its natural logarithm, in millionths.
        sigma_ppm: u32,
    },
    /// Weibull; a shape below 1 has many short and few very long times, as sessions in file-sharing networks (Stutzbach and
    /// Rejaie, "Understanding churn in peer-to-peer networks", IMC 2006). `{ weibull = { scale = "40 min", shape = 0.5 } }`.
    Weibull {
        /// 63.2 % are below.
        scale: Time,
        /// In millionths.
        shape_ppm: u32,
    },
    /// By points (share, time): that share is at most that long; straight between, from 0 at 0 %. The last is 100 %.
    /// `{ table = [["50 %", "2 h"], ["100 %", "1 d"]] }`.
    Table(Vec<(Share, Time)>),
}

/// The parts of [`Dist`] that are tables in a scenario.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Uniform(Time, Time),
    Exponential {
        mean: Time,
    },
    LogNormal {
        #[serde(default)]
        least: Time,
        median: Time,
        sigma: f64,
    },
    Weibull {
        scale: Time,
        shape: f64,
    },
    Table(Vec<(Share, Time)>),
}

const MILLION: f64 = 1e6;

impl Dist {
    /// Sessions in IPFS, a public peer-to-peer network: half of the newcomers leave within 2 hours (ProbeLab, "RFM 2: Uptime
    /// and churn", 2022), 87.6 % of the sessions last less than 8 hours, and 2.5 % more than a day (Trautwein et al., "Design
    /// and Evaluation of IPFS", SIGCOMM 2022). The longest is set to 7 days.
    pub fn ipfs_sessions() -> Dist {
        let points = [(500_000, 2), (876_000, 8), (975_000, 24), (1_000_000, 168)];
        Dist::Table(points.map(|(ppm, hours)| (Share::from_ppm(ppm), Time::from_s(hours * 3600))).into())
    }

    /// Says why this is no distribution.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        let fine = |fine: bool, why: &str| if fine { Ok(()) } else { Err(why.to_owned()) };
        match self {
            Dist::Always(_) | Dist::Exponential { .. } => Ok(()),
            Dist::Uniform(least, most) => {
                fine(least <= most, "a uniform distribution goes from the shorter to the longer time")
            }
            Dist::LogNormal { sigma_ppm, .. } => fine(*sigma_ppm <= 10_000_000, "sigma must be 0 to 10"),
            Dist::Weibull { shape_ppm, .. } => {
                fine((50_000..=50_000_000).contains(shape_ppm), "a Weibull shape must be 0.05 to 50")
            }
            Dist::Table(points) => {
                fine(!points.is_empty(), "a table needs at least one point")?;
                let rises = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
                fine(rises, "in a table, shares and times must rise from point to point")?;
                fine(
                    points.last().is_some_and(|last| last.0 == Share::ALL),
                    "the last point of a table must be at 100 %",
                )
            }
        }
    }

    /// The time that a share of u / 2³² stays below, in microseconds.
    pub fn quantile_us(&self, u: u32) -> u64 {
        let between = |from: u64, to: u64, at: u64, of: u64| {
            let part = u128::from(to.saturating_sub(from)) * u128::from(at) / u128::from(of.max(1));
            from + part as u64
        };
        match self {
            Dist::Always(time) => time.us(),
            Dist::Uniform(least, most) => between(least.us(), most.us().saturating_add(1), u.into(), 1 << 32),
            Dist::Exponential { mean } => {
                let product = u128::from(mean.us()) * u128::from(fixed::exponential(u));
                u64::try_from(product >> 32).unwrap_or(u64::MAX)
            }
            Dist::LogNormal { least, median, sigma_ppm } => {
                // exp(σz) = 2^(σz · log2 e).
                let power = i128::from(fixed::normal(u)) * i128::from(*sigma_ppm) * 1_442_695 / 1_000_000_000_000;
                least.us().saturating_add(fixed::scaled(median.us(), power as i64))
            }
            Dist::Weibull { scale, shape_ppm } => {
                let exponential = fixed::exponential(u);
                if exponential == 0 {
                    return 0;
                }
                let power = i128::from(fixed::log2(exponential) - (32 << 32)) * 1_000_000 / i128::from(*shape_ppm);
                fixed::scaled(scale.us(), power as i64)
            }
            Dist::Table(points) => {
                let ppm_q32 = u64::from(u) * 1_000_000;
                let below = |point: &(Share, Time)| u64::from(point.0.ppm()) << 32 <= ppm_q32;
                let at = points.partition_point(below).min(points.len() - 1);
                let (from, start) = at.checked_sub(1).map_or((0, 0), |i| (points[i].0.ppm(), points[i].1.us()));
                let (to, end) = (points[at].0.ppm(), points[at].1.us());
                let [from, to] = [from, to].map(|ppm| u64::from(ppm) << 32);
                between(start, end, ppm_q32.saturating_sub(from), to - from)
            }
        }
    }

    /// Draws a time, in microseconds.
    pub fn draw_us(&self, rng: &mut Rng) -> u64 {
        match self {
            Dist::Always(time) => time.us(),
            Dist::Exponential { mean } => chance::exponential_us(rng, mean.us()),
            _ => self.quantile_us(rng.next_u32()),
        }
    }

    /// Draws what is left of a time that is under way, in microseconds: long ones are met more often, and at any point.
    /// By resampling: of 32 draws, one in proportion to its length.
    pub fn draw_rest_us(&self, rng: &mut Rng) -> u64 {
        if let Dist::Exponential { .. } = self {
            return self.draw_us(rng);
        }
        let draws: [u64; 32] = std::array::from_fn(|_| self.draw_us(rng));
        let all: u128 = draws.iter().map(|us| u128::from(*us)).sum();
        let mut at = (u128::from(rng.next_u64()) * all) >> 64;
        let found = draws.iter().find(|us| {
            let here = at < u128::from(**us);
            at = at.saturating_sub(u128::from(**us));
            here
        });
        let whole = u128::from(*found.unwrap_or(&0));
        ((u128::from(rng.next_u64()) * whole) >> 64) as u64
    }
}

impl<'de> Deserialize<'de> for Dist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dist, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Dist;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"20 ms\", or { uniform = [\"20 ms\", \"40 ms\"] }, or exponential, log-normal, weibull or table")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Dist, E> {
                if text == "ipfs-sessions" {
                    return Ok(Dist::ipfs_sessions());
                }
                Time::deserialize(de::value::StrDeserializer::new(text)).map(Dist::Always)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Dist, A::Error> {
                let ppm = |number: f64| {
                    let wrong = || de::Error::custom(format!("{number} is not between 0 and 1000"));
                    if (0.0..=1000.0).contains(&number) { Ok((number * MILLION).round() as u32) } else { Err(wrong()) }
                };
                let dist = match Written::deserialize(de::value::MapAccessDeserializer::new(map))? {
                    Written::Uniform(least, most) => Dist::Uniform(least, most),
                    Written::Exponential { mean } => Dist::Exponential { mean },
                    Written::LogNormal { least, median, sigma } => {
                        Dist::LogNormal { least, median, sigma_ppm: ppm(sigma)? }
                    }
                    Written::Weibull { scale, shape } => Dist::Weibull { scale, shape_ppm: ppm(shape)? },
                    Written::Table(points) => Dist::Table(points),
                };
                dist.check().map_err(de::Error::custom)?;
                Ok(dist)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// A distribution made ready to be drawn from for every packet: one random number, two loads, and a straight line between
/// them. The uppermost 1/256 has a table of its own; the uppermost 1/131,072 is cut off.
#[derive(Clone, Debug)]
pub struct Quick {
    body_us: [u32; 257],
    tail_us: [u32; 257],
}

impl Quick {
    /// The tables of a distribution; 71 minutes are the most.
    pub fn new(dist: &Dist) -> Quick {
        let at = |u: u64| u32::try_from(dist.quantile_us(u.min(0xffff_8000) as u32)).unwrap_or(u32::MAX);
        Quick {
            body_us: std::array::from_fn(|i| at((i as u64) << 24)),
            tail_us: std::array::from_fn(|i| at(0xff00_0000 + ((i as u64) << 16))),
        }
    }

    /// Draws a time, in microseconds.
    pub fn draw_us(&self, rng: &mut Rng) -> u32 {
        self.at_us(rng.next_u32())
    }

    /// The quantile at u / 2³².
    pub fn at_us(&self, u: u32) -> u32 {
        let (table, at, part, bits) = match u >> 24 {
            0xff => (&self.tail_us, (u >> 16) & 0xff, u & 0xffff, 16),
            at => (&self.body_us, at, u & 0xff_ffff, 24),
        };
        let (from, to) = (table[at as usize], table[at as usize + 1]);
        from + ((u64::from(to.saturating_sub(from)) * u64::from(part)) >> bits) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Dist, String> {
        #[derive(Deserialize, Debug)]
        struct File {
            dist: Dist,
        }
        toml::from_str::<File>(&format!("dist = {text}")).map(|file| file.dist).map_err(|e| e.message().to_owned())
    }

    fn moments(draws: impl Iterator<Item = u64>) -> (f64, f64) {
        let draws: Vec<f64> = draws.map(|us| us as f64 / 1e6).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let square = draws.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / draws.len() as f64;
        (mean, square.sqrt())
    }

    #[test]
    fn drawn_times_have_their_mean_and_deviation() {
        // Log-normal with median 1: mean exp(σ²/2), deviation mean · √(exp(σ²) − 1). Weibull of shape 1/2: mean 2, √20.
        let all = [
            (r#""2 s""#, 2.0, 0.0),
            (r#"{ uniform = ["1 s", "3 s"] }"#, 2.0, 0.5774),
            (r#"{ exponential = { mean = "1 s" } }"#, 1.0, 1.0),
            (r#"{ log-normal = { median = "1 s", sigma = 0.5 } }"#, 1.1331, 0.6039),
            (r#"{ log-normal = { least = "1 s", median = "1 s", sigma = 0.1 } }"#, 2.0050, 0.1007),
            (r#"{ weibull = { scale = "1 s", shape = 0.5 } }"#, 2.0, 4.4721),
            (r#"{ weibull = { scale = "1 s", shape = 2 } }"#, 0.8862, 0.4633),
            (r#"{ table = [["50 %", "1 s"], ["100 %", "3 s"]] }"#, 1.25, 0.8540),
        ];
        for (text, mean, deviation) in all {
            let dist = read(text).unwrap();
            let mut rng = chance::stream(1, "test", 0);
            let (got_mean, got_deviation) = moments((0..200_000).map(|_| dist.draw_us(&mut rng)));
            assert!((got_mean - mean).abs() < 0.01 + 0.02 * mean, "{text}: mean {got_mean}");
            assert!((got_deviation - deviation).abs() < 0.01 + 0.05 * deviation, "{text}: deviation {got_deviation}");
            let quick = Quick::new(&dist);
            let (quick_mean, quick_deviation) = moments((0..200_000).map(|_| quick.draw_us(&mut rng).into()));
            assert!((quick_mean - mean).abs() < 0.01 + 0.02 * mean, "{text}: quick mean {quick_mean}");
            assert!((quick_deviation - deviation).abs() < 0.01 + 0.1 * deviation, "{text}: quick {quick_deviation}");
        }
    }

    #[test]
    fn sessions_are_as_measured() {
        let (dist, mut rng) = (Dist::ipfs_sessions(), chance::stream(1, "test", 0));
        dist.check().unwrap();
        let hours: Vec<u64> = (0..100_000).map(|_| dist.draw_us(&mut rng) / 3_600_000_000).collect();
        let below = |most| hours.iter().filter(|h| **h < most).count();
        assert!((49_500..50_500).contains(&below(2)), "{}", below(2));
        assert!((87_200..88_000).contains(&below(8)), "{}", below(8));
        assert!((97_300..97_700).contains(&below(24)), "{}", below(24));
        assert_eq!(below(168), 100_000);
    }

    #[test]
    fn what_is_left_of_a_session_is_longer_than_half() {
        // The mean rest of a renewal process is E[L²] / 2E[L]: 1 for exponential, 6 for Weibull of shape 1/2 and scale 1.
        let mut rng = chance::stream(1, "test", 0);
        for (text, mean) in [
            (r#"{ exponential = { mean = "1 s" } }"#, 1.0),
            (r#"{ uniform = ["0 s", "3 s"] }"#, 1.0),
            (r#""2 s""#, 1.0),
        ] {
            let dist = read(text).unwrap();
            let (got, _) = moments((0..50_000).map(|_| dist.draw_rest_us(&mut rng)));
            assert!((got - mean).abs() < 0.05 * mean, "{text}: {got}");
        }
    }

    #[test]
    fn what_is_no_distribution_is_refused_with_a_reason() {
        for (text, why) in [
            (r#"{ uniform = ["3 s", "1 s"] }"#, "shorter to the longer"),
            (r#"{ weibull = { scale = "1 s", shape = 0 } }"#, "0.05 to 50"),
            (r#"{ log-normal = { median = "1 s", sigma = -1 } }"#, "between 0 and 1000"),
            (r#"{ table = [["50 %", "1 s"]] }"#, "100 %"),
            (r#"{ table = [["50 %", "2 s"], ["100 %", "1 s"]] }"#, "must rise"),
            (r#"{ gamma = { mean = "1 s" } }"#, "unknown variant"),
            (r#"{ exponential = { mean = "1 s", shape = 2 } }"#, "unknown field"),
            ("3", "a time such as"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

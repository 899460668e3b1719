//! How packets travel between two places: the model, and what is made of it to be fast.

use butter_core::rng::Rng;
use butter_core::time::Instant;
use butter_core::wire::MTU;
use serde::Deserialize;

use crate::chance;
use crate::dist::{Dist, Quick};
use crate::scenario::units::{Share, Time};

/// How packets travel between two places. All fields but those given are as in [`Path::LAN`].
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Path {
    /// How long the way is: drawn once for each two hosts, the same in both directions.
    pub delay: Dist,
    /// What each packet takes longer.
    pub jitter: Dist,
    /// Which packets are lost.
    pub loss: Loss,
    /// Of all packets, how many arrive twice.
    pub duplicate: Share,
    /// Of all packets, how many are held back, so that others overtake them.
    pub reorder: Share,
    /// For how long.
    pub reorder_by: Time,
    /// Bytes of UDP payload that a packet may have; longer ones are lost.
    pub mtu: u16,
}

impl Path {
    /// A wired local network: 0.2 to 0.5 ms, nothing lost.
    pub const LAN: Path = Path {
        delay: Dist::Always(Time::from_us(200)),
        jitter: Dist::Uniform(Time::from_us(0), Time::from_us(300)),
        loss: Loss::Independent(Share::from_ppm(0)),
        duplicate: Share::from_ppm(0),
        reorder: Share::from_ppm(0),
        reorder_by: Time::from_ms(2),
        mtu: MTU as u16,
    };
    /// A home with wireless hosts: 1 ms and some, now and then much more; 0.5 % lost, mostly several at a time.
    pub const HOME: Path = Path {
        delay: Dist::Always(Time::from_ms(1)),
        jitter: Dist::LogNormal { least: Time::from_us(0), median: Time::from_ms(1), sigma_ppm: 1_000_000 },
        loss: Loss::Bursts { mean: Share::from_ppm(5_000), packets: 3 },
        reorder: Share::from_ppm(1_000),
        ..Path::LAN
    };
    /// Across a continent: 20 to 40 ms, drawn for each packet, and 1 ‰ lost.
    pub const INTERNET: Path = Path {
        delay: Dist::Always(Time::from_ms(20)),
        jitter: Dist::Uniform(Time::from_us(0), Time::from_ms(20)),
        loss: Loss::Independent(Share::from_ppm(1_000)),
        reorder_by: Time::from_ms(10),
        ..Path::LAN
    };
    /// Across a continent, with ways of different lengths: 5 ms and a log-normal time of median 12 ms, so that nine of ten
    /// are between 10 and 32 ms; on top an exponential jitter of 1 ms; 1 ‰ lost.
    pub const CONTINENTAL: Path = Path {
        delay: Dist::LogNormal { least: Time::from_ms(5), median: Time::from_ms(12), sigma_ppm: 500_000 },
        jitter: Dist::Exponential { mean: Time::from_ms(1) },
        ..Path::INTERNET
    };

    /// A path with a delay from `latency_us` to `latency_us + jitter_us`, drawn for each packet, else as [`Path::LAN`].
    pub const fn uniform(latency_us: u32, jitter_us: u32) -> Path {
        Path {
            delay: Dist::Always(Time::from_us(latency_us as u64)),
            jitter: Dist::Uniform(Time::from_us(0), Time::from_us(jitter_us as u64)),
            ..Path::LAN
        }
    }
}

impl Default for Path {
    fn default() -> Self {
        Path::LAN
    }
}

/// Which packets are lost. In a scenario `"2 %"`, `{ bursts = { mean = "2 %", packets = 4 } }` or
/// `{ gilbert-elliott = { good = "10 s", bad = "500 ms", lost_good = "0 %", lost_bad = "80 %" } }`.
///
/// Bursts follow the two-state chains of Gilbert ("Capacity of a burst-noise channel", Bell System Technical Journal 39,
/// 1960), in which the bad state loses everything, and of Elliott ("Estimates of error rates for codes on burst-noise
/// channels", ibid. 42, 1963), in which both states lose a share. Each receiver has a chain of its own, as bursts mostly
/// come from its access to the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub enum Loss {
    /// Each packet alone.
    Independent(Share),
    /// Several at a time, counted in packets.
    Bursts {
        /// Of all packets, how many; below 1.
        mean: Share,
        /// How many in a row, on average; at least 1.
        packets: u16,
    },
    /// In good and bad times, both exponentially long.
    GilbertElliott {
        /// How long good times last, on average.
        good: Time,
        /// How long bad times last, on average.
        bad: Time,
        /// Of all packets in good times, how many.
        lost_good: Share,
        /// Of all packets in bad times, how many.
        lost_bad: Share,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Share(Share),
    Chain(Chain),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Chain {
    Bursts { mean: Share, packets: u16 },
    GilbertElliott { good: Time, bad: Time, lost_good: Share, lost_bad: Share },
}

impl TryFrom<Written> for Loss {
    type Error = String;

    fn try_from(written: Written) -> Result<Loss, String> {
        match written {
            Written::Share(share) => Ok(Loss::Independent(share)),
            Written::Chain(Chain::Bursts { mean, packets }) if mean < Share::ALL && packets > 0 => {
                Ok(Loss::Bursts { mean, packets })
            }
            Written::Chain(Chain::Bursts { .. }) => Err("bursts need a mean below 100 % and at least 1 packet".into()),
            Written::Chain(Chain::GilbertElliott { good, bad, lost_good, lost_bad })
                if good.us() > 0 && bad.us() > 0 =>
            {
                Ok(Loss::GilbertElliott { good, bad, lost_good, lost_bad })
            }
            Written::Chain(Chain::GilbertElliott { .. }) => Err("good and bad times must be longer than 0".into()),
        }
    }
}

/// The state of a receiver's chain.
#[derive(Clone, Copy, Default)]
pub(super) struct Channel {
    bad: bool,
    /// When the state ends, where it lasts a time.
    until: Instant,
}

/// True for this share of all cases; draws nothing when the answer is known.
fn share(rng: &mut Rng, share: Share) -> bool {
    share.ppm() > 0 && rng.below(1_000_000) < share.ppm()
}

impl Loss {
    /// Whether the next packet of a channel is lost.
    pub(super) fn loses(&self, rng: &mut Rng, now: Instant, channel: &mut Channel) -> bool {
        match *self {
            Loss::Independent(lost) => share(rng, lost),
            Loss::Bursts { mean, packets } => {
                // Bad ends with 1 / packets, and begins so often that a share `mean` of the packets meets it.
                let ends = 1_000_000 / u32::from(packets.max(1));
                let kept = u64::from(1_000_000 - mean.ppm().min(999_999));
                let begins = (u64::from(ends) * u64::from(mean.ppm()) / kept).min(1_000_000);
                let turns = if channel.bad { ends } else { begins as u32 };
                channel.bad ^= share(rng, Share::from_ppm(turns));
                channel.bad
            }
            Loss::GilbertElliott { good, bad, lost_good, lost_bad } => {
                let mean_us = |is_bad: bool| if is_bad { bad.us() } else { good.us() };
                let round_us = good.us().saturating_add(bad.us());
                // At first, and after a long silence, the state is drawn from the long run.
                if channel.until == Instant::ZERO || now.since(channel.until) / 16 > round_us {
                    let part = (u128::from(bad.us()) << 32) / u128::from(round_us.max(1));
                    channel.bad = u128::from(rng.next_u32()) < part;
                    channel.until = now.plus_us(chance::exponential_us(rng, mean_us(channel.bad)).max(1));
                }
                while channel.until <= now {
                    channel.bad = !channel.bad;
                    channel.until = channel.until.plus_us(chance::exponential_us(rng, mean_us(channel.bad)).max(1));
                }
                share(rng, if channel.bad { lost_bad } else { lost_good })
            }
        }
    }
}

/// A distribution as it is drawn from.
enum Drawn {
    Always(u32),
    Uniform(u32, u32),
    Other(Box<Quick>),
}

impl Drawn {
    fn new(dist: &Dist) -> Drawn {
        let us = |time: &Time| u32::try_from(time.us()).unwrap_or(u32::MAX);
        match dist {
            Dist::Always(time) => Drawn::Always(us(time)),
            Dist::Uniform(least, most) => Drawn::Uniform(us(least), us(most).saturating_sub(us(least))),
            other => Drawn::Other(Box::new(Quick::new(other))),
        }
    }

    /// For a packet.
    fn draw_us(&self, rng: &mut Rng) -> u64 {
        match self {
            Drawn::Always(us) => u64::from(*us),
            Drawn::Uniform(least, span) => u64::from(*least) + u64::from(chance::up_to(rng, *span)),
            Drawn::Other(quick) => quick.draw_us(rng).into(),
        }
    }

    /// For a pair of hosts, which has its own number.
    fn of_us(&self, number: impl FnOnce() -> u32) -> u64 {
        match self {
            Drawn::Always(us) => u64::from(*us),
            Drawn::Uniform(least, span) => u64::from(*least) + ((u64::from(number()) * (u64::from(*span) + 1)) >> 32),
            Drawn::Other(quick) => quick.at_us(number()).into(),
        }
    }
}

/// What becomes of one packet on its way.
pub(super) enum Fate {
    Lost,
    TooLong,
    /// Arrives after so many microseconds, and a second time after the others.
    Arrives {
        us: u64,
        held: u8,
        again_us: Option<u64>,
    },
}

/// A path, ready to be travelled.
pub(super) struct Line {
    delay: Drawn,
    jitter: Drawn,
    loss: Loss,
    duplicate: Share,
    reorder: Share,
    reorder_us: u64,
    mtu: usize,
}

impl Line {
    pub fn new(path: &Path) -> Line {
        Line {
            delay: Drawn::new(&path.delay),
            jitter: Drawn::new(&path.jitter),
            loss: path.loss,
            duplicate: path.duplicate,
            reorder: path.reorder,
            reorder_us: path.reorder_by.us(),
            mtu: path.mtu.into(),
        }
    }

    /// Draws what becomes of a packet. `pair` gives the number of the two hosts.
    pub fn travel(
        &self,
        rng: &mut Rng,
        now: Instant,
        len: usize,
        channel: &mut Channel,
        pair: impl FnOnce() -> u32,
    ) -> Fate {
        if len > self.mtu {
            return Fate::TooLong;
        }
        if self.loss.loses(rng, now, channel) {
            return Fate::Lost;
        }
        let twice = share(rng, self.duplicate);
        let way_us = self.delay.of_us(pair);
        let mut held = 0;
        let mut one = |rng: &mut Rng| {
            let mut us = way_us + self.jitter.draw_us(rng);
            if share(rng, self.reorder) {
                held += 1;
                us += self.reorder_us;
            }
            us
        };
        let us = one(rng);
        let again_us = twice.then(|| one(rng));
        Fate::Arrives { us, held, again_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(loss: Loss, packets: u64, apart_us: u64) -> (f64, f64) {
        let (mut rng, mut channel) = (chance::stream(1, "test", 0), Channel::default());
        let (mut all, mut bursts, mut before) = (0u32, 0u32, false);
        for n in 0..packets {
            let now = loss.loses(&mut rng, Instant::from_micros(n * apart_us), &mut channel);
            all += u32::from(now);
            bursts += u32::from(now && !before);
            before = now;
        }
        (f64::from(all) / packets as f64, f64::from(all) / f64::from(bursts.max(1)))
    }

    #[test]
    fn loss_has_its_rate_and_bursts_their_length() {
        let (rate, length) = lost(Loss::Independent(Share::from_ppm(200_000)), 200_000, 1);
        assert!((rate - 0.2).abs() < 0.005 && (length - 1.25).abs() < 0.02, "{rate} {length}");
        for packets in [1, 4, 20] {
            let (rate, length) = lost(Loss::Bursts { mean: Share::from_ppm(50_000), packets }, 1_000_000, 1);
            assert!((rate - 0.05).abs() < 0.005, "{packets}: {rate}");
            assert!((length / f64::from(packets) - 1.0).abs() < 0.07, "{packets}: {length}");
        }
    }

    #[test]
    fn bad_times_last_as_long_as_they_should() {
        let ge = |lost_good, lost_bad| Loss::GilbertElliott {
            good: Time::from_s(9),
            bad: Time::from_s(1),
            lost_good: Share::from_ppm(lost_good),
            lost_bad: Share::from_ppm(lost_bad),
        };
        // A packet every 10 ms: a tenth of the time is bad, and bad times are 100 packets long.
        let (rate, length) = lost(ge(0, 1_000_000), 3_000_000, 10_000);
        assert!((rate - 0.1).abs() < 0.01 && (length - 100.0).abs() < 8.0, "{rate} {length}");
        let (rate, _) = lost(ge(10_000, 500_000), 3_000_000, 10_000);
        assert!((rate - 0.059).abs() < 0.006, "{rate}");
        // A packet an hour: each meets a state of its own.
        let (rate, length) = lost(ge(0, 1_000_000), 100_000, 3_600_000_000);
        assert!((rate - 0.1).abs() < 0.005 && length < 1.2, "{rate} {length}");
    }

    #[test]
    fn paths_are_read_as_they_are_written() {
        let path: Path = toml::from_str(
            r#"
            delay = "5 ms"
            jitter = { exponential = { mean = "1 ms" } }
            loss = { bursts = { mean = "2 %", packets = 4 } }
            mtu = 600
            "#,
        )
        .unwrap();
        assert_eq!(path.loss, Loss::Bursts { mean: Share::from_ppm(20_000), packets: 4 });
        assert_eq!((path.mtu, path.duplicate, path.reorder_by), (600, Share::default(), Path::LAN.reorder_by));
        let loss = |text: &str| toml::from_str::<Path>(text).map(|path| path.loss).map_err(|e| e.message().to_owned());
        assert_eq!(loss("loss = \"2 %\""), Ok(Loss::Independent(Share::from_ppm(20_000))));
        assert!(loss("loss = { bursts = { mean = \"100 %\", packets = 4 } }").unwrap_err().contains("below 100 %"));
        assert!(loss("lost = \"2 %\"").unwrap_err().contains("unknown field"));
    }
}

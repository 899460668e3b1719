//! Regions of the world: how far they are from each other, and where hosts are.

use butter_core::rng::Rng;
use serde::Deserialize;

use super::path::{Line, Path};
use crate::dist::Dist;
use crate::scenario::units::{Share, Time};

/// A geographic model of the internet: which share of the hosts is where, and how long packets take between there.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Written")]
pub struct Regions {
    names: Vec<String>,
    shares: Vec<Share>,
    round_trips: Vec<Vec<Time>>,
    path: Path,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    names: Vec<String>,
    shares: Vec<Share>,
    round_trips: Vec<Vec<Time>>,
    #[serde(default)]
    path: Option<Path>,
}

impl TryFrom<Written> for Regions {
    type Error = String;

    fn try_from(written: Written) -> Result<Regions, String> {
        let Written { names, shares, round_trips, path } = written;
        let n = names.len();
        if n == 0 || n > 256 || shares.len() != n {
            return Err("regions need 1 to 256 names, and a share of the hosts for each".into());
        }
        let sum: u64 = shares.iter().map(|share| u64::from(share.ppm())).sum();
        if !(990_000..=1_010_000).contains(&sum) {
            return Err(format!("the shares of the regions add up to {} ‰, not to the whole", sum / 1_000));
        }
        if round_trips.len() != n || round_trips.iter().any(|row| row.len() != n) {
            return Err(format!("`round_trips` needs {n} rows of {n} times: from each region to each"));
        }
        if (0..n).any(|a| (0..a).any(|b| round_trips[a][b] != round_trips[b][a])) {
            return Err("`round_trips` must be the same there and back".into());
        }
        Ok(Regions { names, shares, round_trips, path: path.unwrap_or(Path::CONTINENTAL) })
    }
}

impl Regions {
    /// Six regions with the round trips and shares of Bitcoin's nodes in 2019, as measured for the simulator SimBlock (Aoki
    /// et al., "SimBlock: A Blockchain Network Simulator", 2019, and its `NetworkConfiguration`).
    pub fn earth() -> Regions {
        let names = ["north-america", "europe", "south-america", "asia-pacific", "japan", "australia"];
        let shares = [331_600, 499_800, 9_000, 117_700, 22_400, 19_500];
        let round_trips_ms = [
            [32, 124, 184, 198, 151, 189],
            [124, 11, 227, 237, 252, 294],
            [184, 227, 88, 325, 301, 322],
            [198, 237, 325, 85, 58, 198],
            [151, 252, 301, 58, 12, 126],
            [189, 294, 322, 198, 126, 16],
        ];
        Regions {
            names: names.map(str::to_owned).into(),
            shares: shares.map(Share::from_ppm).into(),
            round_trips: round_trips_ms.map(|row| row.map(Time::from_ms).into()).into(),
            path: Path::CONTINENTAL,
        }
    }

    /// Their names; a region's number is its place here.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Draws where a host is.
    pub fn draw(&self, rng: &mut Rng) -> u8 {
        let sum: u32 = self.shares.iter().map(|share| share.ppm()).sum();
        let mut at = rng.below(sum);
        for (region, share) in self.shares.iter().enumerate() {
            if at < share.ppm() {
                return region as u8;
            }
            at -= share.ppm();
        }
        0
    }

    /// A line from each region to each. Two hosts are half a round trip from each other, give or take: three quarters of
    /// that at least, and the last quarter log-normal with σ = 0.5.
    pub(super) fn lines(&self) -> Vec<Line> {
        let line = |round_trip: &Time| {
            let way_us = round_trip.us() / 2;
            let (least, median) = (Time::from_us(way_us * 3 / 4), Time::from_us(way_us / 4));
            let delay = Dist::LogNormal { least, median, sigma_ppm: 500_000 };
            Line::new(&Path { delay, ..self.path.clone() })
        };
        self.round_trips.iter().flatten().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance;

    #[test]
    fn hosts_are_where_their_shares_say() {
        let (earth, mut rng) = (Regions::earth(), chance::stream(1, "test", 0));
        let mut hosts = vec![0u32; earth.names().len()];
        (0..100_000).for_each(|_| hosts[usize::from(earth.draw(&mut rng))] += 1);
        assert!((32_500..33_800).contains(&hosts[0]) && (49_300..50_700).contains(&hosts[1]), "{hosts:?}");
        assert!((800..1_000).contains(&hosts[2]), "{hosts:?}");
    }

    #[test]
    fn regions_that_cannot_be_are_refused_with_a_reason() {
        let read = |text: &str| toml::from_str::<Regions>(text).map_err(|e| e.message().to_owned());
        let two = r#"names = ["a", "b"]
            shares = ["40 %", "60 %"]
            round_trips = [["10 ms", "90 ms"], ["90 ms", "20 ms"]]"#;
        assert_eq!(read(two).unwrap().lines().len(), 4);
        assert!(read(&two.replace("60 %", "50 %")).unwrap_err().contains("add up to 900 ‰"));
        assert!(read(&two.replace(r#"["90 ms", "#, r#"["80 ms", "#)).unwrap_err().contains("there and back"));
        assert!(read(&two.replace(r#", "20 ms"]"#, "]")).unwrap_err().contains("2 rows of 2 times"));
        assert!(read(&two.replace(r#""a", "#, "")).unwrap_err().contains("a share of the hosts for each"));
    }
}

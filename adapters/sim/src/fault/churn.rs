//! Churn: nodes that die and come, each at its own time.

use butter_core::rng::Rng;
use butter_core::time::Instant;
use serde::Deserialize;

use crate::chance;
use crate::dist::Dist;
use crate::scenario::units::{Rate, Time};
use crate::world::{What, Who, World};

/// What becomes of a node that churn killed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nothing comes in its place.
    Leave,
    /// After this time an empty node of the same kind, with a new identity and a new address, stands at its place.
    Replace(Dist),
    /// It comes back itself after this time.
    Return {
        /// How long it is down.
        down: Dist,
        /// Whether it finds its disk as it left it. See [`World::restart`].
        keep_disk: bool,
    },
}

/// How nodes die and come. In a scenario `{ rate = "1/50 per s", replace = true }`, or
/// `{ lives = { weibull = { scale = "40 min", shape = 0.5 } }, down = "10 min" }`:
///
/// | field | meaning | default |
/// |---|---|---|
/// | `rate` | deaths per node and time; lives are exponential | – |
/// | `lives` | instead of it: how long nodes live | – |
/// | `replace` | whether an empty node takes a dead one's place | `false` |
/// | `down` | after how long the dead one is replaced, or comes back itself | replaced at once, or never back |
/// | `keep_disk` | whether one that comes back finds its disk | `true` |
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Churn {
    /// How long nodes live. Of those that run when the churn begins, a part has passed already.
    pub lives: Dist,
    /// And then?
    pub then: Then,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rate: Option<Rate>,
    lives: Option<Dist>,
    #[serde(default)]
    replace: bool,
    down: Option<Dist>,
    keep_disk: Option<bool>,
}

impl TryFrom<Written> for Churn {
    type Error = String;

    fn try_from(written: Written) -> Result<Churn, String> {
        let lives = match (written.rate, written.lives) {
            (Some(rate), None) => match rate.mean() {
                Some(mean) => Dist::Exponential { mean },
                None => return Err("churn with rate 0 is no churn: leave it out".into()),
            },
            (None, Some(lives)) => lives,
            _ => return Err("churn needs either `rate` or `lives`".into()),
        };
        let then = match (written.replace, written.down, written.keep_disk) {
            (true, down, None) => Then::Replace(down.unwrap_or(Dist::Always(Time::default()))),
            (false, Some(down), keep_disk) => Then::Return { down, keep_disk: keep_disk.unwrap_or(true) },
            (false, None, None) => Then::Leave,
            _ => return Err("`keep_disk` is for nodes that come back: with `down`, and without `replace`".into()),
        };
        Ok(Churn { lives, then })
    }
}

impl Churn {
    /// Deaths per node and second, where lives are exponential: else they depend on age.
    pub fn rate(&self) -> Option<f64> {
        match self.lives {
            Dist::Exponential { mean } => Some(1.0 / mean.s()),
            _ => None,
        }
    }

    /// Nodes die at a constant rate, once in a mean life, and each is replaced at once by an empty one.
    pub fn replacing(mean_life: Time) -> Churn {
        Churn { lives: Dist::Exponential { mean: mean_life }, then: Then::Replace(Dist::Always(Time::default())) }
    }

    /// Nodes die at a constant rate, and nothing comes in their place.
    pub fn killing(mean_life: Time) -> Churn {
        Churn { lives: Dist::Exponential { mean: mean_life }, then: Then::Leave }
    }
}

pub(crate) struct Churning {
    rng: Rng,
    churn: Churn,
    until: Instant,
    killed: u32,
}

impl World<'_> {
    /// Begins to kill every node that runs, is replaced or comes back, each at its own time, for `lasts`. Ends a churn that
    /// is under way.
    pub fn churn(&mut self, churn: Churn, lasts: Time) {
        self.churns += 1;
        let rng = chance::stream(self.config.seed, "churn", self.churns.into());
        let until = self.now.plus_us(lasts.us());
        self.churn = Some(Churning { rng, churn, until, killed: 0 });
        for who in self.up().collect::<Vec<_>>() {
            self.doom(who, self.now, true);
        }
    }

    /// Nodes killed by the last churn so far.
    pub fn churned(&self) -> u32 {
        self.churn.as_ref().map_or(0, |churning| churning.killed)
    }

    /// Draws when a node that starts at `from`, or is under way, dies, if it does so while the churn lasts.
    fn doom(&mut self, who: Who, from: Instant, under_way: bool) {
        if let Some(Churning { rng, churn, until, .. }) = &mut self.churn {
            let life_us = if under_way { churn.lives.draw_rest_us(rng) } else { churn.lives.draw_us(rng) };
            let at = from.plus_us(life_us);
            if at <= *until {
                self.queue.push(at, What::Kill { who, churn: self.churns });
            }
        }
    }

    pub(crate) fn churn_kill(&mut self, who: Who, churn: u32) {
        if churn != self.churns || self.slots[who.index()].node.is_none() {
            return;
        }
        let Some(churning) = &mut self.churn else { return };
        churning.killed += 1;
        let (rng, now) = (&mut churning.rng, self.now);
        match &churning.churn.then {
            Then::Leave => self.remove(who),
            Then::Replace(after) => {
                let at = now.plus_us(after.draw_us(rng));
                let new = self.replace_at(who, at);
                self.doom(new, at, false);
            }
            Then::Return { down, keep_disk } => {
                let (down_us, keep_disk) = (down.draw_us(rng), *keep_disk);
                self.restart_after(who, keep_disk, Time::from_us(down_us));
                self.doom(who, now.plus_us(down_us), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Churn, String> {
        #[derive(Deserialize, Debug)]
        struct File {
            churn: Churn,
        }
        toml::from_str::<File>(&format!("churn = {text}")).map(|file| file.churn).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn churn_is_read_as_it_is_written() {
        let replacing = Churn::replacing(Time::from_s(50));
        assert_eq!(read(r#"{ rate = "1/50 per s", replace = true }"#), Ok(replacing));
        assert_eq!(read(r#"{ rate = "1/50 per s" }"#), Ok(Churn::killing(Time::from_s(50))));
        let back =
            read(r#"{ lives = "ipfs-sessions", down = { uniform = ["1 min", "1 h"] }, keep_disk = false }"#).unwrap();
        assert_eq!(back.lives, Dist::ipfs_sessions());
        assert!(matches!(back.then, Then::Return { down: Dist::Uniform(..), keep_disk: false }));
        assert!(read(r#"{ lives = "30 s", replace = true, down = "1 s" }"#).is_ok());
    }

    #[test]
    fn churn_that_cannot_be_is_refused_with_a_reason() {
        for (text, why) in [
            (r#"{ rate = "0 per s" }"#, "leave it out"),
            (r#"{ rate = "-1 per s" }"#, "negative"),
            ("{ }", "either `rate` or `lives`"),
            (r#"{ rate = "1 per s", lives = "1 s" }"#, "either `rate` or `lives`"),
            (r#"{ rate = "1 per s", replace = true, keep_disk = true }"#, "for nodes that come back"),
            (r#"{ rate = "1 per s", beats = 3 }"#, "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

//! What users do while a phase lasts.

use butter_core::id::Key;

use super::content::p99;
use super::play::{Play, Stopped};
use crate::load::{Doing, Ended, Load};
use crate::scenario::units::Time;

/// How long operations under way at the end of the phase are waited for, at most, and between two looks.
const WAIT: Time = Time::from_s(60);
const LOOK: Time = Time::from_ms(100);

impl Play<'_, '_> {
    /// Begins a load, on what was put by phases before.
    pub fn begin_load(&mut self, load: &Load, lasts: Time) {
        let objects: Vec<(Key, u64)> = self.keys.iter().copied().zip(self.hashes.iter().copied()).collect();
        self.world.load(load.clone(), lasts, &objects);
    }

    /// Waits for what is under way, and says what the load came to.
    pub fn end_load(&mut self, phase: &str, load: &Load) -> Result<(), Stopped> {
        let end = self.world.now().plus_us(WAIT.us());
        while self.world.loading() > 0 && self.world.now() < end {
            self.pass(LOOK)?;
        }
        let done = self.world.loaded();
        let name = |figure: &str| format!("{phase}_{figure}");
        let (mut begun, mut bad) = (0, 0);
        for (doing, word) in load.doings() {
            let tally = done.tallies.get(&doing).copied().unwrap_or_default();
            let (all, well) = (tally.begun + tally.of(Ended::Refused), tally.of(Ended::Well));
            (begun, bad) = (begun + all, bad + tally.of(Ended::Wrong));
            let (right, over) = match doing {
                Doing::Put => ("puts that were acknowledged", "that was acknowledged"),
                Doing::Get => ("gets that gave the object, as it was put", "that gave the object"),
                Doing::Absent => ("gets of what nobody has put that ended with not found", "that ended with not found"),
                Doing::Call => ("calls that were answered", "that was answered"),
            };
            let share = (all > 0).then(|| 100.0 * well as f64 / all as f64);
            let rule = format!("{right}, of all; what its node refused or did not live to see counts, too");
            self.record.figure(&name(&format!("{word}_well")), "%", share, &rule);
            let rule = format!("milliseconds from begin to end, per {word} {over}: mean");
            let per_well = |sum: u64| (well > 0).then(|| sum as f64 / well as f64);
            let took_ms = per_well(tally.took_us).map(|us| us / 1e3);
            self.record.figure(&name(&format!("{word}_ms")), "ms", took_ms, &rule);
            let mut took: Vec<f64> = done
                .operations
                .iter()
                .filter(|operation| operation.doing == doing && operation.ended == Ended::Well)
                .map(|operation| operation.took_us as f64 / 1e3)
                .collect();
            let rule = "the same: 99 % took less";
            self.record.figure(&name(&format!("{word}_ms_p99")), "ms", p99(&mut took), rule);
            if matches!(doing, Doing::Get | Doing::Absent) {
                let rule = format!("contacts asked where the object is, per get {over}; none where its node holds it");
                let contacts = per_well(tally.contacts);
                self.record.figure(&name(&format!("{word}_contacts")), "", contacts, &rule);
            }
        }
        for operation in done.operations.iter().filter(|operation| operation.doing == Doing::Get) {
            match operation.ended {
                Ended::Well if operation.contacts > 0 => self.sampler.lookup(Some(operation.contacts)),
                Ended::NotFound => self.sampler.lookup(None),
                _ => {}
            }
        }
        self.record.figure(&name("operations"), "", begun as f64, "puts, gets and calls of the load that were due");
        let rule = "operations that were due and not begun: too many were under way, or there was nothing to get yet";
        self.record.figure(&name("skipped"), "", done.skipped as f64, rule);
        let rule = "gets that gave other bytes than were put; this must never be";
        self.record.figure(&name("wrong"), "", bad as f64, rule);
        Ok(())
    }
}

//! What a run leaves behind: everything that tables, plots and comparisons are made of.

use serde::Serialize;

use crate::sample::Samples;

/// One run of one case. Everything but `wall_s` depends on the scenario and the seed alone.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Record {
    /// The seed that everything drawn came from.
    pub seed: u64,
    /// A hash over every packet: 32 hexadecimal digits.
    pub trace: String,
    /// Things that happened: packets arrived, wake-ups, storage operations, faults.
    pub steps: u64,
    /// Virtual seconds.
    pub virtual_s: f64,
    /// Seconds of the wall clock; different in every run.
    pub wall_s: f64,
    /// The phases, in order.
    pub phases: Vec<PhaseRecord>,
    /// The figures, in the order in which they are shown. All runs of a case have the same names in the same order.
    pub figures: Vec<Figure>,
    /// What was seen over time.
    pub samples: Samples,
    /// The rule that was broken, with its story; the run ended there.
    pub violation: Option<String>,
}

/// A phase, as it went.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct PhaseRecord {
    /// Its name in the scenario.
    pub name: String,
    /// When it began, in virtual seconds.
    pub from_s: f64,
    /// When it ended.
    pub to_s: f64,
    /// Whether what it waited for came to be; `None` when it waited for nothing but time.
    pub reached: Option<bool>,
}

/// A figure of one run.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Figure {
    /// Its name: lower case, words joined by `_`; the name by which targets and baselines speak of it.
    pub name: String,
    /// Its unit, such as `%`, `B/s`, `ms`; empty for a count.
    pub unit: String,
    /// The value; `None` where there was nothing to count (no get succeeded: no contacts).
    pub value: Option<f64>,
    /// The counting rule: what exactly was counted, in one sentence.
    pub rule: String,
}

impl Record {
    /// Adds a figure.
    pub fn figure(&mut self, name: &str, unit: &str, value: impl Into<Option<f64>>, rule: &str) {
        let (name, unit, rule) = (name.into(), unit.into(), rule.into());
        self.figures.push(Figure { name, unit, value: value.into(), rule });
    }

    /// A figure's value, by name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name)?.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_the_order_of_figures_and_writes_json() {
        let mut record = Record::default();
        record.figure("retention", "%", 99.5, "items got of those acknowledged");
        record.figure("contacts", "", None, "contacts per get that succeeded");
        assert_eq!((record.value("retention"), record.value("contacts")), (Some(99.5), None));
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["figures"][0]["name"], "retention");
        assert!(json["figures"][1]["value"].is_null());
    }
}

//! Which figures a scenario gives: their names are known before it is run, so that a target for another is a mistake.

use super::model::{Phase, Scenario, Until};
use crate::load::{Doing, Load};

/// Those of a phase that measures.
const MEASURED: &[&str] =
    &["beats", "probes", "packets", "bytes", "pointer_batches", "wakes", "beats_all", "verdicts", "node_hours"];

impl Load {
    /// What it does, with the word by which its figures begin.
    pub fn doings(&self) -> Vec<(Doing, &'static str)> {
        let all = [
            (self.put, Doing::Put, "put"),
            (self.get, Doing::Get, "get"),
            (self.absent, Doing::Absent, "absent"),
            (self.call, Doing::Call, "call"),
        ];
        all.into_iter().filter(|(share, ..)| share.ppm() > 0).map(|(_, doing, word)| (doing, word)).collect()
    }

    fn figures(&self) -> Vec<String> {
        let of = |(doing, word): (Doing, &str)| {
            let contacts = matches!(doing, Doing::Get | Doing::Absent);
            let parts = ["well", "ms", "ms_p99"].into_iter().chain(contacts.then_some("contacts"));
            parts.map(|part| format!("{word}_{part}")).collect::<Vec<_>>()
        };
        let sums = ["operations", "skipped", "wrong"].map(str::to_owned);
        self.doings().into_iter().flat_map(of).chain(sums).collect()
    }
}

/// Names of all figures, in no order.
pub fn figure_names(s: &Scenario) -> Vec<String> {
    let of = |phase: &Phase| {
        let put_or_goldilocks = phase.put.is_some() || phase.until == Some(Until::Goldilocks);
        let absent = phase.get.as_ref().is_some_and(|get| get.absent);
        let parts: [(bool, &[&str]); 9] = [
            (
                phase.put.is_some(),
                &["acknowledged", "objects", "replicas", "acknowledged_ms", "pointer_batches_per_object"],
            ),
            (phase.until.is_some(), &["reached", "took"]),
            (phase.churn.is_some(), &["killed"]),
            (phase.expect_loss, &["lost_expected"]),
            (phase.measure, MEASURED),
            (phase.kill.as_ref().is_some_and(|kill| kill.detect), &["detected_median", "detected_p99", "detected"]),
            (put_or_goldilocks, &["groups", "not_goldilocks"]),
            (phase.get.is_some(), &["contacts", "contacts_p99", "calls", "ms", "ms_p99", "gets"]),
            (phase.get.is_some(), if absent { &["not_found"] } else { &["got"] }),
        ];
        let names = parts.into_iter().filter(|(there, _)| *there).flat_map(|(_, names)| names);
        let load = phase.load.iter().flat_map(|load| load.figures());
        names
            .map(|name| (*name).to_owned())
            .chain(load)
            .map(|name| format!("{}_{name}", phase.name))
            .collect::<Vec<_>>()
    };
    let mut names: Vec<String> = s.phase.iter().flat_map(of).collect();
    if s.phase.iter().any(|phase| phase.put.is_some()) {
        names.extend(["held", "copies", "groups_known"].map(str::to_owned));
    }
    names
}

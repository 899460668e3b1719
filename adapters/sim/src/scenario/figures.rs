//! Which figures a scenario gives: their names are known before it is run, so that a target for another is a mistake.

use super::model::{Phase, Scenario, Until};

/// Names of all figures, in no order.
pub fn figure_names(s: &Scenario) -> Vec<String> {
    let of = |phase: &Phase| {
        let put_or_goldilocks = phase.put.is_some() || phase.until == Some(Until::Goldilocks);
        let absent = phase.get.as_ref().is_some_and(|get| get.absent);
        let parts: [(bool, &[&str]); 8] = [
            (phase.put.is_some(), &["acknowledged", "objects", "replicas", "acknowledged_ms"]),
            (phase.until.is_some(), &["reached", "took"]),
            (phase.churn.is_some(), &["killed"]),
            (phase.measure, &["beats", "probes", "packets", "bytes", "wakes", "beats_all", "verdicts", "node_hours"]),
            (phase.kill.as_ref().is_some_and(|kill| kill.detect), &["detected_median", "detected_p99", "detected"]),
            (put_or_goldilocks, &["groups", "not_goldilocks"]),
            (phase.get.is_some(), &["contacts", "contacts_p99", "ms", "ms_p99", "gets"]),
            (phase.get.is_some(), if absent { &["not_found"] } else { &["got"] }),
        ];
        let names = parts.into_iter().filter(|(there, _)| *there).flat_map(|(_, names)| names);
        names.map(|name| format!("{}_{name}", phase.name)).collect::<Vec<_>>()
    };
    let mut names: Vec<String> = s.phase.iter().flat_map(of).collect();
    if s.phase.iter().any(|phase| phase.put.is_some()) {
        names.extend(["held".to_owned(), "copies".to_owned()]);
    }
    names
}

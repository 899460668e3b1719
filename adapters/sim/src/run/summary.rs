//! What many runs come to: figures over runs, with what the scenario has beside them.

use super::record::Record;
use crate::report::{self, figures};
use crate::scenario::{Case, Scenario, Target};

/// The figures of all cases, with their targets and what stands beside them.
pub fn summary<'a>(cases: &'a [Case], records: &'a [Vec<Record>], seed: u64) -> Vec<report::Case<'a>> {
    let over = |(case, records): (&'a Case, &'a Vec<Record>)| {
        let mut all = figures(records, seed);
        all.iter_mut().for_each(|figure| stand_beside(figure, &case.scenario));
        report::Case { name: &case.name, figures: all, records }
    };
    cases.iter().zip(records).map(over).collect()
}

fn stand_beside(figure: &mut report::Figure, scenario: &Scenario) {
    let target = scenario.target.get(&figure.name);
    figure.target = target.map(|target| (words(target), figure.mean.is_some_and(|mean| target.reached(mean))));
    let beside = scenario.beside.get(&figure.name).into_iter().flatten();
    figure.beside = beside.map(|(name, value)| (name.replace('_', " "), *value)).collect();
    figure.shown = scenario.show.contains(&figure.name);
}

fn words(target: &Target) -> String {
    let bounds = [("≥", target.at_least), ("≤", target.at_most)];
    bounds.iter().filter_map(|(sign, bound)| Some(format!("{sign} {}", (*bound)?))).collect::<Vec<_>>().join(", ")
}

/// A hash over the traces of all runs: 32 hexadecimal digits.
pub fn trace(records: &[Record]) -> String {
    let traces = records.iter().map(|record| u128::from_str_radix(&record.trace, 16).unwrap_or(0));
    format!("{:032x}", traces.fold(0u128, |all, one| all.rotate_left(1) ^ one))
}

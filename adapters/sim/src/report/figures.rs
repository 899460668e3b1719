//! Figures over runs, and the table of them.

use std::fmt::Write;

use serde::Serialize;

use super::{bootstrap_95, mean};
use crate::run::record::Record;

/// A figure over all runs of a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as in [`Record`].
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// The mean over runs that have a value; `None` when none has.
    pub mean: Option<f64>,
    /// The 95 % interval of the mean by bootstrap over runs; `None` with less than two values.
    pub interval: Option<(f64, f64)>,
    /// How it was counted.
    pub rule: String,
    /// What it should be, in words, and whether it is.
    pub target: Option<(String, bool)>,
    /// Figures of others to compare with, by what they are.
    pub beside: Vec<(String, f64)>,
    /// Whether it is among the first to be shown. One with a target or something beside always is.
    pub shown: bool,
}

impl Figure {
    /// Whether it is among the first to be shown.
    pub fn leads(&self) -> bool {
        self.shown || self.target.is_some() || !self.beside.is_empty()
    }

    /// Its name for people.
    pub fn title(&self) -> String {
        self.name.replace('_', " ")
    }
}

/// The figures of all runs of a case, in the order of the first run. Deterministic: `seed` is for the bootstrap.
pub fn figures(records: &[Record], seed: u64) -> Vec<Figure> {
    let Some(first) = records.first() else { return Vec::new() };
    let over = |figure: &crate::run::record::Figure| {
        let values: Vec<f64> = records.iter().filter_map(|record| record.value(&figure.name)).collect();
        Figure {
            name: figure.name.clone(),
            unit: figure.unit.clone(),
            mean: (!values.is_empty()).then(|| mean(&values)),
            interval: (values.len() > 1).then(|| bootstrap_95(&values, seed)),
            rule: figure.rule.clone(),
            ..Figure::default()
        }
    };
    first.figures.iter().map(over).collect()
}

/// A case of a scenario: its runs and what they came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Case<'a> {
    /// What distinguishes it; empty when a scenario has no cases.
    pub name: &'a str,
    /// What came out, from [`figures`]. Figures of the same name stand together.
    pub figures: Vec<Figure>,
    /// Its runs.
    pub records: &'a [Record],
}

impl Case<'_> {
    /// What went wrong in its runs, a sentence each: rules broken, and phases that ended before what they waited for.
    pub fn troubles(&self) -> Vec<String> {
        let of = |record: &Record| Some(format!("Seed {}: {}", record.seed, record.violation.as_ref()?));
        let mut troubles: Vec<String> = self.records.iter().filter_map(of).collect();
        let phases = self.records.iter().map(|record| record.phases.len()).max().unwrap_or(0);
        for i in 0..phases {
            let missed = |record: &&Record| record.phases.get(i).is_some_and(|phase| phase.reached == Some(false));
            let name = self.records.iter().find_map(|record| record.phases.get(i)).map_or("", |phase| &phase.name);
            match self.records.iter().filter(missed).count() {
                0 => {}
                n => troubles.push(format!(
                    "Phase {name} ended without what it waited for in {n} of {} runs.",
                    self.records.len()
                )),
            }
        }
        troubles
    }
}

/// A number for people: four digits, or all that a small difference from 100 needs.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if !value.is_finite() => return "–".into(),
        _ if size >= 1000.0 || size == 0.0 => 0,
        _ if size > 100.0 => 1,
        _ if (99.99..100.0).contains(&size) => 5,
        _ if size >= 90.0 => 3,
        _ if size >= 10.0 => 2,
        _ if size >= 0.1 => 3,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// Names in the order in which they first come, each once.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    all.for_each(|name| {
        if !names.contains(&name) {
            names.push(name);
        }
    });
    names
}

/// The figures that lead as a table for a terminal: a block for each, a row for each case, and how they were counted.
/// `all` takes all figures. Lines end with a line feed.
pub fn table(cases: &[Case<'_>], all: bool) -> String {
    let chosen = |figure: &&Figure| all || figure.leads();
    let figures = || cases.iter().flat_map(|case| case.figures.iter().filter(chosen));
    let beside = names(figures().flat_map(|figure| figure.beside.iter().map(|(name, _)| &**name)));
    let many = cases.len() > 1;
    let mut head = vec!["".to_string(), "mean".into(), "95 % interval".into(), "target".into()];
    head.extend(beside.iter().map(|name| name.to_string()));
    let mut rows = vec![head];
    let order = names(figures().map(|figure| &*figure.name));
    for name in &order {
        let of_case = |case: &Case<'_>| case.figures.iter().find(|figure| figure.name == *name).cloned();
        let unit = |figure: &Figure| if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) };
        if let Some(figure) = cases.iter().find_map(of_case).filter(|_| many) {
            rows.push(vec![format!("{}{}", figure.title(), unit(&figure))]);
        }
        for case in cases {
            let Some(figure) = of_case(case) else { continue };
            let label = if many { format!("  {}", plain(case.name)) } else { figure.title() + &unit(&figure) };
            let interval = figure.interval.map(|(low, high)| format!("{} … {}", number(low), number(high)));
            let sign = |met| if met { "reached" } else { "MISSED" };
            let target = figure.target.as_ref().map(|(target, met)| format!("{} {}", plain(target), sign(*met)));
            let mut row = vec![label, figure.mean.map_or("–".into(), number)];
            row.extend([interval, target].map(Option::unwrap_or_default));
            let other =
                |name: &&str| figure.beside.iter().find(|(other, _)| other == name).map(|(_, value)| number(*value));
            row.extend(beside.iter().map(|name| other(name).unwrap_or_default()));
            rows.push(row);
        }
    }
    let mut out = aligned(&rows);
    for case in cases {
        let name = if many { format!("{}: ", plain(case.name)) } else { String::new() };
        for trouble in case.troubles() {
            let _ = writeln!(out, "! {name}{}", plain(&trouble));
        }
    }
    if !order.is_empty() {
        out.push_str("\nHow it was counted\n");
    }
    for name in order {
        if let Some(figure) = figures().find(|figure| figure.name == name) {
            let _ = writeln!(out, "  {}: {}", figure.title(), plain(&figure.rule));
        }
    }
    out
}

/// Text that cannot steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\n' { '\u{fffd}' } else { char }).collect()
}

/// Rows with their columns under each other, the first to the left and the others to the right, columns without content left out.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let wide = |row: &Vec<String>| row.get(column).map_or(0, |cell| cell.chars().count());
        let used = rows[1..].iter().any(|row| wide(row) > 0);
        if used { rows.iter().filter(|row| row.len() > 1).map(wide).max().unwrap_or(0) } else { 0 }
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for ((column, cell), width) in row.iter().enumerate().zip(&widths).filter(|(_, width)| **width > 0) {
            let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        let _ = writeln!(out, "{}", if row.len() == 1 { &row[0] } else { line.trim_end() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::PhaseRecord;

    fn records(values: &[Option<f64>]) -> Vec<Record> {
        let of = |value: &Option<f64>| {
            let mut record = Record::default();
            record.figure("retention_fresh", "%", *value, "items that a fresh node got");
            record.figure("groups", "", 12.0, "groups with a member");
            record
        };
        values.iter().map(of).collect()
    }

    #[test]
    fn runs_without_a_value_do_not_count() {
        let of = |values: &[Option<f64>]| figures(&records(values), 1).remove(0);
        let figure = of(&[Some(99.0), None, Some(97.0)]);
        assert_eq!((figure.mean, figure.title()), (Some(98.0), "retention fresh".into()));
        assert_eq!(figure.interval, Some((97.0, 99.0)));
        assert_eq!((of(&[None]).mean, of(&[Some(1.0)]).interval), (None, None));
        assert!(figures(&[], 1).is_empty());
    }

    #[test]
    fn the_table_has_a_row_for_each_case_and_says_what_went_wrong() {
        let mut records = records(&[Some(99.9987), Some(99.9989)]);
        records[1].violation = Some("an item\u{1b}[2J is lost".into());
        records[1].phases = vec![PhaseRecord { name: "form".into(), reached: Some(false), ..PhaseRecord::default() }];
        let mut found = figures(&records, 1);
        found[0].target = Some(("≥ 99.7".into(), true));
        found[0].beside = vec![("original".into(), 74.8)];
        let case = |name| Case { name, figures: found.clone(), records: &records };
        let two = table(&[case("p=1/50"), case("p=1/100 and more")], false);
        let expected = "\
            mean      95 % interval          target  original
retention fresh, %
  p=1/50            99.9988  99.9987 … 99.9989  ≥ 99.7 reached      74.8
  p=1/100 and more  99.9988  99.9987 … 99.9989  ≥ 99.7 reached      74.8
! p=1/50: Seed 0: an item\u{fffd}[2J is lost
! p=1/50: Phase form ended without what it waited for in 1 of 2 runs.
! p=1/100 and more: Seed 0: an item\u{fffd}[2J is lost
! p=1/100 and more: Phase form ended without what it waited for in 1 of 2 runs.

How it was counted
  retention fresh: items that a fresh node got
";
        assert_eq!(two.trim_start(), expected, "\n{two}");
        let one = table(&[case("")], true);
        assert!(one.contains("\ngroups                   12            12 … 12\n"), "\n{one}");
        assert_eq!(table(&[], true), "\n");
    }

    #[test]
    fn numbers_say_what_matters() {
        let cases = [
            (99.9987, "99.9987"),
            (99.7123, "99.712"),
            (0.0, "0"),
            (1234.5, "1234"),
            (12.3456, "12.35"),
            (0.000123, "0.00012"),
            (2.5, "2.5"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(f64::NAN), "–");
    }
}

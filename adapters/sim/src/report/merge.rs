//! Many runs as one picture: a common time axis, and what each plot shows of each case.

use serde::Serialize;

use super::mean;
use super::plots::{PLOTS, Shape};
use crate::sample::{Graph, Lookups, Samples};

/// The most points of a series in a page.
pub const POINTS_MAX: usize = 600;
/// The most graphs in a page, over all its cases (but each has at least 3).
const GRAPHS_MAX: usize = 24;

/// What a page shows of one case, as its script reads it.
#[derive(Debug, Serialize)]
pub struct Picture {
    name: String,
    /// Runs that were looked at, and all runs.
    runs: usize,
    of: usize,
    /// The moments, in virtual seconds.
    t: Vec<f64>,
    /// What each phase is called, and when it begins.
    phases: Vec<(String, f64)>,
    plots: Vec<Plot>,
    lookups: Lookups,
    graphs: Vec<Graph>,
}

#[derive(Debug, Serialize)]
struct Plot {
    title: &'static str,
    unit: &'static str,
    rule: &'static str,
    shape: Shape,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    label: &'static str,
    color: &'static str,
    mean: Vec<f32>,
    /// The 5th and the 95th percentile of the runs; empty with one run, and where parts of a whole are shown.
    low: Vec<f32>,
    high: Vec<f32>,
}

/// What the axes of several runs have in common: phases begin at the mean of when they began, and time within a phase is
/// stretched to fit, because a phase that ends by a condition takes another time in each run.
struct Axis {
    /// Begin of each phase and the end, on the common axis.
    bounds: Vec<f64>,
    /// The same of each run.
    of_runs: Vec<Vec<f64>>,
}

impl Axis {
    fn new(runs: &[&Samples]) -> Axis {
        let names = |run: &Samples| run.phases.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let alike = runs.iter().all(|run| names(run) == names(runs[0]));
        let bounds = |run: &Samples| {
            let phases = run.phases.iter().map(|(_, from)| *from).filter(|_| alike);
            std::iter::once(0.0).chain(phases).chain(run.at_s.last().copied()).collect::<Vec<_>>()
        };
        let of_runs: Vec<Vec<f64>> = runs.iter().map(|run| bounds(run)).collect();
        let len = of_runs.iter().map(Vec::len).min().unwrap_or(0);
        let common = |i: usize| mean(&of_runs.iter().map(|bounds| bounds[i]).collect::<Vec<_>>());
        Axis { bounds: (0..len).map(common).collect(), of_runs }
    }

    fn end(&self) -> f64 {
        self.bounds.last().copied().unwrap_or(0.0)
    }

    /// The time of a run that stands at a time of the common axis.
    fn in_run(&self, run: usize, at: f64) -> f64 {
        stretched(&self.bounds, &self.of_runs[run], at)
    }

    fn to_common(&self, run: usize, at: f64) -> f64 {
        stretched(&self.of_runs[run], &self.bounds, at)
    }
}

/// Where `at` of one axis stands on another, when the bounds of both coincide.
fn stretched(from: &[f64], to: &[f64], at: f64) -> f64 {
    let part = (1..from.len().min(to.len())).find(|i| at <= from[*i]);
    let Some(i) = part else { return to.last().copied().unwrap_or(at) };
    let length = from[i] - from[i - 1];
    let share = if length > 0.0 { (at - from[i - 1]) / length } else { 0.0 };
    to[i - 1] + share.max(0.0) * (to[i] - to[i - 1])
}

/// A series at a time, with straight lines between its moments; NaN where it has no value.
fn value(at_s: &[f64], values: &[f32], at: f64) -> f32 {
    let next = at_s.partition_point(|moment| *moment < at);
    match (values.get(next.wrapping_sub(1)), values.get(next)) {
        (Some(before), Some(after)) => {
            let share = (at - at_s[next - 1]) / (at_s[next] - at_s[next - 1]);
            if before.is_nan() || share >= 1.0 { *after } else { before + (after - before) * share as f32 }
        }
        (Some(only), None) | (None, Some(only)) => *only,
        (None, None) => f32::NAN,
    }
}

/// To four digits: more could not be seen, and would only make the page larger.
fn rounded(value: f32) -> f32 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The value with this share of the sorted values below it.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(f32::NAN)
}

fn line(runs: &[&Samples], axis: &Axis, t: &[f64], name: &str, bands: bool) -> Option<[Vec<f32>; 3]> {
    if runs.iter().all(|run| run.values(name).is_empty()) {
        return None;
    }
    let mut out = [Vec::new(), Vec::new(), Vec::new()];
    for at in t {
        let of_run = |(i, run): (usize, &&Samples)| value(&run.at_s, run.values(name), axis.in_run(i, *at));
        let mut values: Vec<f32> = runs.iter().enumerate().map(of_run).filter(|value| !value.is_nan()).collect();
        values.sort_by(f32::total_cmp);
        let sum: f64 = values.iter().map(|value| f64::from(*value)).sum();
        out[0].push(rounded((sum / values.len() as f64) as f32));
        if bands && runs.len() > 1 {
            out[1].push(rounded(quantile(&values, 0.05)));
            out[2].push(rounded(quantile(&values, 0.95)));
        }
    }
    Some(out)
}

/// At most `most` of them, evenly, the last one among them.
fn thinned<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let len = all.len();
    let keep = |i: usize| len <= most || (i + 1) * most / len > i * most / len;
    all.into_iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, one)| one).collect()
}

impl Picture {
    /// All runs of a case; `cases` is how many share the page. Runs that nobody looked at count only in the number of runs.
    pub fn new(name: &str, all: &[&Samples], cases: usize) -> Picture {
        let runs: Vec<&Samples> = all.iter().copied().filter(|run| !run.at_s.is_empty()).collect();
        let axis = Axis::new(&runs);
        let points = runs.iter().map(|run| run.at_s.len()).max().unwrap_or(0).min(POINTS_MAX);
        let t: Vec<f64> = (0..points).map(|i| axis.end() * i as f64 / (points.max(2) - 1) as f64).collect();
        let phases = runs.first().filter(|_| axis.bounds.len() > 2).map(|run| &run.phases);
        let phases = phases.into_iter().flatten().zip(&axis.bounds[1.min(axis.bounds.len())..]);
        let plots = PLOTS.iter().filter_map(|plot| {
            let lines = plot.lines.iter().filter_map(|(name, label, color)| {
                let [mean, low, high] = line(&runs, &axis, &t, name, plot.shape != Shape::Stack)?;
                Some(Line { label, color, mean, low, high })
            });
            let lines: Vec<Line> = lines.collect();
            let any = lines.iter().any(|line| line.mean.iter().any(|value| !value.is_nan()));
            any.then_some(Plot { title: plot.title, unit: plot.unit, rule: plot.rule, shape: plot.shape, lines })
        });
        let mut lookups = Lookups::default();
        for of in runs.iter().map(|run| &run.lookups) {
            lookups.missed += of.missed;
            lookups.found.resize(lookups.found.len().max(of.found.len()), 0);
            lookups.found.iter_mut().zip(&of.found).for_each(|(sum, n)| *sum += n);
        }
        let first = runs.iter().position(|run| !run.graphs.is_empty());
        let mut graphs = first.map_or(Vec::new(), |i| runs[i].graphs.clone());
        graphs.iter_mut().for_each(|graph| graph.at_s = axis.to_common(first.unwrap_or(0), graph.at_s));
        Picture {
            name: name.into(),
            runs: runs.len(),
            of: all.len(),
            plots: plots.collect(),
            phases: phases.map(|((name, _), at)| (name.clone(), *at)).collect(),
            t: t.iter().map(|at| (at * 1000.0).round() / 1000.0).collect(),
            lookups,
            graphs: thinned(graphs, (GRAPHS_MAX / cases.max(1)).max(3)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Series;

    fn run(at_s: &[f64], values: &[f32], churn: f64) -> Samples {
        Samples {
            at_s: at_s.to_vec(),
            phases: vec![("form".into(), 0.0), ("churn".into(), churn)],
            series: vec![Series { name: "nodes", values: values.to_vec() }],
            ..Samples::default()
        }
    }

    #[test]
    fn phases_coincide_whatever_they_took() {
        let runs = [run(&[0.0, 10.0, 20.0], &[0.0, 8.0, 0.0], 10.0), run(&[0.0, 20.0, 40.0], &[0.0, 4.0, 0.0], 20.0)];
        let runs = [&runs[0], &runs[1]];
        let axis = Axis::new(&runs);
        assert_eq!(axis.bounds, [0.0, 0.0, 15.0, 30.0]);
        assert_eq!((axis.in_run(0, 15.0), axis.in_run(1, 15.0)), (10.0, 20.0));
        assert_eq!((axis.to_common(0, 15.0), axis.to_common(1, 30.0)), (22.5, 22.5));
        let [mean, low, high] = line(&runs, &axis, &[0.0, 7.5, 15.0, 30.0], "nodes", true).unwrap();
        assert_eq!((mean, low, high[2]), (vec![0.0, 3.0, 6.0, 0.0], vec![0.0, 2.0, 4.0, 0.0], 8.0));
    }

    #[test]
    fn runs_with_other_phases_share_only_begin_and_end() {
        let mut other = run(&[0.0, 30.0], &[1.0, 1.0], 5.0);
        other.phases.pop();
        let axis = Axis::new(&[&run(&[0.0, 10.0], &[1.0, 1.0], 5.0), &other]);
        assert_eq!(axis.bounds, [0.0, 20.0]);
    }

    #[test]
    fn what_was_not_yet_there_is_no_value() {
        let runs = [&run(&[0.0, 1.0, 2.0, 3.0], &[f32::NAN, f32::NAN, 5.0, 7.0], 1.0)];
        let [mean, low, _] = line(&runs, &Axis::new(&runs), &[0.0, 1.0, 2.0, 2.5], "nodes", true).unwrap();
        assert!(mean[0].is_nan() && mean[1].is_nan() && mean[2..] == [5.0, 6.0], "{mean:?}");
        assert!(low.is_empty(), "one run has no band");
        assert!(line(&runs, &Axis::new(&runs), &[0.0], "beats", true).is_none());
    }

    #[test]
    fn a_picture_is_bounded() {
        let at_s: Vec<f64> = (0..5000).map(f64::from).collect();
        let mut long = run(&at_s, &vec![1.0; 5000], 9.0);
        long.graphs = (0..100).map(|i| Graph { at_s: f64::from(i), ..Graph::default() }).collect();
        let picture = Picture::new("long", &[&long, &Samples::default()], 4);
        assert_eq!((picture.runs, picture.of, picture.phases.len()), (1, 2, 2));
        assert_eq!((picture.t.len(), picture.graphs.len(), picture.plots.len()), (POINTS_MAX, 6, 1));
        assert_eq!((picture.t[599], picture.graphs[5].at_s), (4999.0, 99.0));
        assert_eq!(picture.phases, [("form".into(), 0.0), ("churn".into(), 9.0)]);
        let empty = Picture::new("nothing", &[], 1);
        assert!(empty.t.is_empty() && empty.plots.is_empty());
    }
}

//! Figures over runs, and the page that shows them.

mod figures;
mod merge;
mod page;
mod plots;

pub use figures::{Case, Figure, figures, number, table};
pub use page::Page;

use crate::chance;

/// Resamples drawn by [`bootstrap_95`].
const RESAMPLES: usize = 4000;

/// The mean of some figures; 0 for none.
pub fn mean(figures: &[f64]) -> f64 {
    if figures.is_empty() { 0.0 } else { figures.iter().sum::<f64>() / figures.len() as f64 }
}

/// The 95 % interval of the mean by bootstrap over runs (Efron's percentiles of 4000 resamples): items of one run share
/// its deaths, so that the run is what is resampled.
pub fn bootstrap_95(figures: &[f64], seed: u64) -> (f64, f64) {
    let mut rng = chance::stream(seed, "bootstrap", figures.len() as u64);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = figures.iter().map(|_| figures[rng.below(figures.len() as u32) as usize]);
            drawn.sum::<f64>() / figures.len().max(1) as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    (means[RESAMPLES / 40], means[RESAMPLES - RESAMPLES / 40 - 1])
}

/// The share of items that live after `seconds`, when each has `copies` that nobody repairs and that die with rate
/// `per_second`: 1 − (1 − e^(−pT))^copies. (Deaths drawn once a second would make it 1 − (1 − (1 − p)^T)^copies, slightly
/// less: 90.61 % instead of 90.82 % at p = 1/50 over 30 s with 3 copies.)
pub fn without_repair(per_second: f64, seconds: f64, copies: u32) -> f64 {
    1.0 - (1.0 - (-per_second * seconds).exp()).powi(copies as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_repair_figures_are_those_of_theory() {
        for (per_second, percent) in [(1.0 / 50.0, 90.815), (1.0 / 100.0, 98.259), (1.0 / 1000.0, 99.9974)] {
            let figure = without_repair(per_second, 30.0, 3) * 100.0;
            assert!((figure - percent).abs() < 0.001, "{figure} {percent}");
        }
    }

    #[test]
    fn the_interval_holds_the_mean_and_shrinks() {
        let figures: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let (low, high) = bootstrap_95(&figures, 1);
        assert!(low < 9.5 && 9.5 < high && high - low < 1.4, "{low} {high}");
        let (few_low, few_high) = bootstrap_95(&figures[..40], 1);
        assert!(few_high - few_low > high - low);
        assert_eq!(bootstrap_95(&figures, 1), (low, high));
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

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

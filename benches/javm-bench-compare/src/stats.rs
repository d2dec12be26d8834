//! Medians, ratios and their spread.

use std::time::Duration;

/// Times of the same thing, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<f64>);

/// How much longer one thing took than another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// Of the medians.
    pub(crate) median: f64,
    /// The smallest of one round.
    pub(crate) min: f64,
    /// The largest of one round.
    pub(crate) max: f64,
}

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// In seconds; `None` where nothing was measured.
    pub(crate) fn median(&self) -> Option<f64> {
        median(&self.0)
    }

    /// Over `other`, whose rounds were the same.
    pub(crate) fn ratio(&self, other: &Self) -> Option<Ratio> {
        let median = self.median()? / other.median()?;
        let rounds = || self.0.iter().zip(&other.0).map(|(a, b)| a / b);
        Some(Ratio { median, min: rounds().fold(f64::INFINITY, f64::min), max: rounds().fold(0.0, f64::max) })
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// The geometric mean; `None` of nothing.
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs = values.iter().map(|value| value.ln()).sum::<f64>();
    (!values.is_empty()).then(|| (logs / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: &[f64]) -> Times {
        Times(seconds.to_vec())
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(times(&[]).median(), None);
        assert_eq!(times(&[3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(times(&[4.0, 1.0, 2.0, 8.0]).median(), Some(3.0));
        let ratio = times(&[2.0, 9.0, 4.0]).ratio(&times(&[1.0, 3.0, 4.0])).unwrap();
        assert_eq!(ratio, Ratio { median: 4.0 / 3.0, min: 1.0, max: 3.0 });
        assert_eq!(times(&[1.0]).ratio(&times(&[])), None);
    }

    #[test]
    fn geometric_means() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[2.0, 8.0]).unwrap() - 4.0).abs() < 1e-9);
    }
}

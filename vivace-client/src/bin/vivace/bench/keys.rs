//! Which key an operation is on.

use rand_distr::{Distribution as _, Zipf};

/// Draws keys, numbered from 0.
pub enum Keys {
    Uniform(u32),
    Zipfian(Zipf<f64>),
}

impl Keys {
    /// `count` keys; with a skew, the k-th (from 1) in proportion to k to the power of
    /// minus the skew.
    pub fn new(count: u32, skew: Option<f64>) -> Self {
        match skew {
            None => Self::Uniform(count),
            Some(skew) => Self::Zipfian(
                Zipf::new(f64::from(count), skew).expect("both were checked to be in range"),
            ),
        }
    }

    /// One key.
    pub fn draw(&self) -> u32 {
        match self {
            Self::Uniform(count) => rand::random_range(0..*count),
            // It yields whole numbers from 1 to the count.
            Self::Zipfian(zipf) => zipf.sample(&mut rand::rng()) as u32 - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys: &Keys, of: u32) -> Vec<u32> {
        let mut counts = vec![0; of as usize];
        for _ in 0..100_000 {
            counts[keys.draw() as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_keys_are_drawn_alike() {
        let counts = counts(&Keys::new(10, None), 10);
        assert!(
            counts.iter().all(|n| n.abs_diff(10_000) < 600),
            "{counts:?}"
        );
    }

    #[test]
    fn zipfian_keys_follow_their_skew() {
        let counts = counts(&Keys::new(100, Some(1.0)), 100);
        let harmonic: f64 = (1..=100).map(|k| 1.0 / f64::from(k)).sum();
        for (k, &n) in (1..).zip(&counts[..5]) {
            let expected = 100_000.0 / f64::from(k) / harmonic;
            let apart = (f64::from(n) - expected).abs() / expected;
            assert!(apart < 0.1, "key {k}: {n}, expected {expected:.0}");
        }
        assert_eq!(counts.iter().sum::<u32>(), 100_000);
    }
}

//! Percentiles in cells of tables: which exist, and which are but the longest of too few.

use crate::step::WindowRecord;
use crate::step::record::Percentiles;

/// Fewer operations have no 99th percentile, and fewer no 99.9th.
const P99_LEAST: u64 = 100;
const P999_LEAST: u64 = 1000;

/// What stands below each table with such cells.
pub const BELOW: &str = "(max): the longest, for fewer than 100 operations have no p99, and fewer than 1000 no p99.9. A \
     failed operation counts with the time until it failed; where all failed, or none was kept, \
     there is no latency.";

/// A high percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// In ms.
    pub ms: f64,
    /// Whether there were too few operations, so that it is the longest of them.
    pub is_max: bool,
}

impl Tail {
    /// The 99th percentile.
    pub fn p99(of: &Percentiles) -> Self {
        Self {
            ms: of.p99_ms,
            is_max: of.n < P99_LEAST,
        }
    }

    /// The 99.9th percentile.
    pub fn p999(of: &Percentiles) -> Self {
        Self {
            ms: of.p999_ms,
            is_max: of.n < P999_LEAST,
        }
    }

    /// What `words` makes of it, and whether it is the longest of too few.
    pub fn cell(self, words: impl FnOnce(f64) -> String) -> String {
        words(self.ms) + if self.is_max { " (max)" } else { "" }
    }
}

/// A window's latencies without those that were set aside; none where no operation surely
/// succeeded, for then they are how long it took to give up.
pub fn kept(window: &WindowRecord) -> Option<&Percentiles> {
    of_some_success(&window.kept, window)
}

/// How many of a window's operations were set aside.
pub fn set_aside(window: &WindowRecord) -> u64 {
    window.all.n.saturating_sub(window.kept.n)
}

/// The same of all of a window's operations.
pub fn all(window: &WindowRecord) -> Option<&Percentiles> {
    of_some_success(&window.all, window)
}

fn of_some_success<'a>(of: &'a Percentiles, window: &WindowRecord) -> Option<&'a Percentiles> {
    (of.n > window.failed()).then_some(of)
}

/// A cell, empty where there is no latency.
pub fn cell_of<'a>(
    of: Option<&'a Percentiles>,
    words: impl FnOnce(&'a Percentiles) -> String,
) -> String {
    of.map_or(String::new(), words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::section::ms;

    #[test]
    fn a_percentile_that_too_few_operations_have_is_marked_as_the_longest() {
        let of = |n| Percentiles {
            n,
            p99_ms: 115.6,
            p999_ms: 116.2,
            ..Percentiles::default()
        };
        let cells = |n| [Tail::p99(&of(n)).cell(ms), Tail::p999(&of(n)).cell(ms)];
        assert_eq!(cells(99), ["116 (max)", "116 (max)"]);
        assert_eq!(cells(100), ["116", "116 (max)"]);
        assert_eq!(cells(999), ["116", "116 (max)"]);
        assert_eq!(cells(1000), ["116", "116"]);
    }
}

//! Which operations the machine spoilt: those during which the emulated WAN was late.

use std::time::Duration;

use crate::load::Sample;
use crate::step::WanSpec;
use crate::step::record::WindowLateness;
use crate::wan::Window;

/// What spoils operations, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A slice in which a packet was written later than this is spoilt, in µs: it is a
    /// tenth of the shortest round trip between sites.
    pub late_us: u64,
    /// Operations that took longer are never set aside: a packet that is late by
    /// milliseconds does not explain them, and to leave them out would flatter whoever is
    /// slow.
    pub operation_max: Duration,
}

impl Bounds {
    /// Those of a WAN in which time goes as in life.
    pub const LIFE: Self = Self {
        late_us: 2_000,
        operation_max: Duration::from_secs(1),
    };

    /// Those of a WAN.
    pub fn of(wan: &WanSpec) -> Self {
        Self {
            late_us: Self::LIFE.late_us * u64::from(wan.times_slower),
            operation_max: wan.slowed(Self::LIFE.operation_max),
        }
    }

    /// Whether a sample is to be set aside.
    pub fn is_spoilt(self, sample: &Sample, slices: &[Slice]) -> bool {
        let took = Duration::from_nanos(sample.end_ns - sample.begin_ns);
        let overlaps =
            |slice: &Slice| slice.begin_ns < sample.end_ns && sample.begin_ns < slice.end_ns;
        took <= self.operation_max
            && slices
                .iter()
                .any(|slice| self.spoils(slice) && overlaps(slice))
    }

    /// All slices in a few numbers.
    pub fn sum(self, slices: &[Slice]) -> WindowLateness {
        let most = |of: fn(&Slice) -> u64| slices.iter().map(of).max().unwrap_or(0);
        WindowLateness {
            slices: slices.len() as u64,
            spoilt: slices.iter().filter(|slice| self.spoils(slice)).count() as u64,
            p99_us: most(|slice| slice.late.p99_us),
            max_us: most(|slice| slice.late.max_us),
        }
    }

    fn spoils(self, slice: &Slice) -> bool {
        slice.late.max_us > self.late_us
    }
}

/// A part of a window, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// When it began.
    pub begin_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// How late packets were in it.
    pub late: Window,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(begin_ms: u64, end_ms: u64) -> Sample {
        Sample {
            begin_ns: begin_ms * 1_000_000,
            end_ns: end_ms * 1_000_000,
            failure: None,
        }
    }

    fn slice(begin_ms: u64, end_ms: u64, max_us: u64) -> Slice {
        let late = Window {
            count: 1,
            p99_us: max_us,
            max_us,
        };
        Slice {
            begin_ns: begin_ms * 1_000_000,
            end_ns: end_ms * 1_000_000,
            late,
        }
    }

    #[test]
    fn only_what_overlaps_a_spoilt_slice_and_is_short_is_set_aside() {
        let bounds = Bounds::LIFE;
        let slices = [
            slice(0, 250, 100),
            slice(250, 500, 2_001),
            slice(500, 750, 2_000),
        ];
        assert!(!bounds.is_spoilt(&sample(0, 250), &slices));
        assert!(bounds.is_spoilt(&sample(200, 251), &slices));
        assert!(bounds.is_spoilt(&sample(499, 600), &slices));
        assert!(!bounds.is_spoilt(&sample(500, 600), &slices));
        assert!(bounds.is_spoilt(&sample(0, 1_000), &slices));
        assert!(!bounds.is_spoilt(&sample(0, 1_001), &slices));
        let sum = bounds.sum(&slices);
        assert_eq!((sum.slices, sum.spoilt, sum.max_us), (3, 1, 2_001));
    }
}

//! The ends and ticks of a logarithmic axis.

use std::ops::Range;

/// Room on both sides of what is drawn, as a factor.
const MARGIN: f64 = 1.25;

/// An axis that holds all `values`, with some room; at least a factor of four long,
/// so that noise of a per cent does not fill it. None for no or non-positive values.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<Range<f64>> {
    let (least, most) = values
        .into_iter()
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0), |(least, most), value| {
            (value.min(least), value.max(most))
        });
    (most > 0.0).then(|| least / MARGIN..(most * MARGIN).max(least * 4.0))
}

/// Ticks at 1, 2 and 5 times powers of ten, or at powers alone on a long axis.
pub(super) fn ticks(range: &Range<f64>) -> Vec<f64> {
    let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let is_long = (range.end / range.start).log10() > 3.5;
    let steps: &[f64] = if is_long { &[1.0] } else { &[1.0, 2.0, 5.0] };
    decades
        .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
        .filter(|tick| range.contains(tick))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_its_values_and_has_round_ticks() {
        let axis = range([100.0, 3000.0, 0.0]).expect("there are values");
        assert_eq!(axis, 80.0..3750.0);
        assert_eq!(ticks(&axis), [100.0, 200.0, 500.0, 1000.0, 2000.0]);
        assert_eq!(range([]), None);
        assert_eq!(range([100.0]), Some(80.0..400.0));
    }
}

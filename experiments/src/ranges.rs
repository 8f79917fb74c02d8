//! Numbers on the command line, each with its range.

use std::fmt::Display;
use std::str::FromStr;

/// A parser of command-line numbers from `min` to `max`, in `unit` (which may be empty).
///
/// clap puts the flag's name in front of what it says.
pub fn within<T>(
    min: T,
    max: T,
    unit: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let right = || {
            format!("it must be {min} to {max} {unit}")
                .trim_end()
                .to_owned()
        };
        let value: T = text.parse().map_err(|_| right())?;
        // Written so that NaN is refused.
        if value >= min && value <= max {
            Ok(value)
        } else {
            Err(right())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn what_is_out_of_range_or_no_number_is_refused_with_the_range() {
        let seconds = within(0.5, 120.0, "s");
        assert_eq!(seconds("0.5"), Ok(0.5));
        assert_eq!(seconds("120"), Ok(120.0));
        for wrong in ["0", "-1", "120.1", "NaN", "inf", "ten", ""] {
            assert_eq!(
                seconds(wrong),
                Err("it must be 0.5 to 120 s".to_owned()),
                "{wrong}"
            );
        }
    }
}

//! Quantities as people write them: `20 Mbit/s`, `256 KB`, `100 ms`, `1 %`, `EF`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::{DELAY_MAX, RATE_MAX_BITS_PER_SECOND, RATE_MIN_BITS_PER_SECOND};

/// Why a quantity is refused: what it must look like, and what was found.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} is written {form}, not {found:?}")]
pub struct UnitError {
    what: &'static str,
    form: &'static str,
    found: String,
}

/// A TOML scalar before it is understood.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number or a text with a unit")]
pub(super) enum Scalar {
    Integer(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What differs between the quantities: a reader, and words for its refusal.
trait Quantity: Sized {
    const WHAT: &'static str;
    const FORM: &'static str;
    fn read(text: &str) -> Option<Self>;
}

macro_rules! quantity {
    ($type:ty) => {
        impl FromStr for $type {
            type Err = UnitError;

            fn from_str(text: &str) -> Result<Self, UnitError> {
                <Self as Quantity>::read(text.trim()).ok_or_else(|| UnitError {
                    what: <Self as Quantity>::WHAT,
                    form: <Self as Quantity>::FORM,
                    found: text.to_owned(),
                })
            }
        }

        impl TryFrom<Scalar> for $type {
            type Error = UnitError;

            fn try_from(scalar: Scalar) -> Result<Self, UnitError> {
                scalar.to_string().parse()
            }
        }
    };
}

/// Bits per second, within what a link may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub struct Rate(pub u64);

/// A buffer, in bytes or as the time that the link takes to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub enum Depth {
    /// Bytes.
    Bytes(u64),
    /// Time at the link's rate.
    Time(Duration),
}

/// A time, at most [`DELAY_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Scalar")]
pub struct Time(pub Duration);

/// A chance or a share, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Scalar")]
pub struct Share(pub f64);

/// A load as a multiple of a link's rate; may exceed 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load(pub f64);

/// A DSCP, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Scalar")]
pub struct Mark(pub u8);

/// What the priority class is held to.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Scalar")]
pub enum PoliceRate {
    /// Nothing.
    None,
    /// Bits per second.
    Absolute(u64),
    /// A share of the link's rate.
    Share(f64),
}

quantity!(Rate);
quantity!(Depth);
quantity!(Time);
quantity!(Share);
quantity!(Load);
quantity!(Mark);
quantity!(PoliceRate);

impl Quantity for Rate {
    const WHAT: &'static str = "a rate";
    const FORM: &'static str =
        r#"like "20Mbit" or "1.5 Gbit/s" (bit, kbit, Mbit, Gbit), 1 kbit/s to 1 Tbit/s"#;

    fn read(text: &str) -> Option<Self> {
        let rate = bits(text)?;
        (RATE_MIN_BITS_PER_SECOND..=RATE_MAX_BITS_PER_SECOND)
            .contains(&rate)
            .then_some(Self(rate))
    }
}

impl Quantity for Depth {
    const WHAT: &'static str = "a buffer";
    const FORM: &'static str = r#"like "256KB", "5 MB" or "512KiB" in bytes, or like "100ms""#;

    fn read(text: &str) -> Option<Self> {
        if let Some(time) = Time::read(text) {
            return Some(Self::Time(time.0));
        }
        bytes(text).map(Self::Bytes)
    }
}

impl Quantity for Time {
    const WHAT: &'static str = "a time";
    const FORM: &'static str = r#"like "50ms", "1.5 s" or "200us", at most an hour"#;

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let seconds = match unit {
            "s" => number,
            "ms" => number / 1e3,
            "us" | "µs" => number / 1e6,
            "" if number == 0.0 => 0.0,
            _ => return None,
        };
        // Whole microseconds, so that halves of a round trip add up again.
        let time = Duration::from_micros((seconds * 1e6).round() as u64);
        (time <= DELAY_MAX).then_some(Self(time))
    }
}

impl Quantity for Share {
    const WHAT: &'static str = "a share";
    const FORM: &'static str = r#"like "1%" or 0.01, 0 to 1"#;

    fn read(text: &str) -> Option<Self> {
        let Load(share) = Load::read(text)?;
        (share <= 1.0).then_some(Self(share))
    }
}

impl Quantity for Load {
    const WHAT: &'static str = "a load";
    const FORM: &'static str = r#"like "120%" or 1.2 of the link's rate; 0 for none"#;

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        match unit {
            "%" => Some(Self(number / 100.0)),
            "" => Some(Self(number)),
            _ => None,
        }
    }
}

impl Quantity for Mark {
    const WHAT: &'static str = "a DSCP";
    const FORM: &'static str = "0 to 63, or EF, CS0 to CS7, AF11 to AF43, LE or BE";

    fn read(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<u8>() {
            return (number < 64).then_some(Self(number));
        }
        let name = text.to_ascii_uppercase();
        let digits: Vec<u8> = name
            .bytes()
            .skip(2)
            .map(|byte| byte.wrapping_sub(b'0'))
            .collect();
        match (name.get(..2)?, digits.as_slice()) {
            ("EF", []) => Some(Self(46)),
            ("BE", []) => Some(Self(0)),
            ("LE", []) => Some(Self(1)),
            ("CS", &[class @ 0..=7]) => Some(Self(class * 8)),
            ("AF", &[class @ 1..=4, drop @ 1..=3]) => Some(Self(class * 8 + drop * 2)),
            _ => None,
        }
    }
}

impl Quantity for PoliceRate {
    const WHAT: &'static str = "the priority class's limit";
    const FORM: &'static str = r#"like "1Mbit", "5%" of the link's rate, or "none""#;

    fn read(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::None);
        }
        if text.ends_with('%') {
            let Share(share) = Share::read(text)?;
            return (share > 0.0).then_some(Self::Share(share));
        }
        let rate = bits(text)?;
        (1..=RATE_MAX_BITS_PER_SECOND)
            .contains(&rate)
            .then_some(Self::Absolute(rate))
    }
}

/// Bits per second; a bare number has no unit and is refused.
fn bits(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix("/s").unwrap_or(&unit);
    let factor = match unit {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        "tbit" => 1e12,
        _ => return None,
    };
    Some((number * factor).round() as u64)
}

/// Bytes, of a text such as `256KB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor).round() as u64)
}

/// A number that is not negative and not infinite, and what follows it.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    Some((number, unit.trim()))
}

/// Bytes of a text such as `6KB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub struct Bytes(pub u64);

quantity!(Bytes);

impl Quantity for Bytes {
    const WHAT: &'static str = "a size";
    const FORM: &'static str = r#"like "6KB" or "1500B""#;

    fn read(text: &str) -> Option<Self> {
        bytes(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_every_spelling_and_refused_without_a_unit() {
        for text in ["20Mbit", "20 Mbit/s", "20mbit", "0.02Gbit", "20000kbit/s"] {
            assert_eq!(text.parse(), Ok(Rate(20_000_000)), "{text}");
        }
        for text in [
            "", "20", "20 MB", "-1Mbit", "1bit", "2Tbit", "Mbit", "1e3Mbit",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_depth_is_bytes_or_time() {
        assert_eq!("256KB".parse(), Ok(Depth::Bytes(256_000)));
        assert_eq!("5 MB".parse(), Ok(Depth::Bytes(5_000_000)));
        assert_eq!("1KiB".parse(), Ok(Depth::Bytes(1024)));
        let time = Depth::Time(Duration::from_millis(100));
        assert_eq!("100ms".parse(), Ok(time));
        assert!("256".parse::<Depth>().is_err());
    }

    #[test]
    fn marks_have_numbers_and_names() {
        let read = |text: &str| text.parse::<Mark>().map(|mark| mark.0).ok();
        assert_eq!(read("46"), Some(46));
        assert_eq!(read("EF"), Some(46));
        assert_eq!(read("cs6"), Some(48));
        assert_eq!(read("AF41"), Some(34));
        assert_eq!(
            (read("LE"), read("BE"), read("CS0")),
            (Some(1), Some(0), Some(0))
        );
        for text in ["64", "-1", "", "E", "AF44", "AF50", "CS8", "EF1", "é1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn shares_end_at_one_and_loads_do_not() {
        assert_eq!("1%".parse(), Ok(Share(0.01)));
        assert_eq!("0.5".parse(), Ok(Share(0.5)));
        assert!("101%".parse::<Share>().is_err());
        assert_eq!("120%".parse(), Ok(Load(1.2)));
        assert!("NaN".parse::<Load>().is_err());
        // More digits than a number holds made a load without bounds.
        let endless = "9".repeat(400);
        assert!(endless.parse::<Load>().is_err());
        assert!(format!("{endless}KB").parse::<Depth>().is_err());
    }

    #[test]
    fn the_priority_limit_is_a_rate_a_share_or_none() {
        assert_eq!("none".parse(), Ok(PoliceRate::None));
        assert_eq!("5%".parse(), Ok(PoliceRate::Share(0.05)));
        assert_eq!("1Mbit".parse(), Ok(PoliceRate::Absolute(1_000_000)));
        assert!("0%".parse::<PoliceRate>().is_err());
    }
}

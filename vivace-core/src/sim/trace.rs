//! What happened, as text in columns or as one number.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// Where the lines of a run go: virtual time, who, what, details.
#[derive(Default)]
pub enum Trace {
    /// Nowhere; they are not even made.
    #[default]
    Off,
    /// Into one number that tells whether two runs were the same.
    Hash(DefaultHasher),
    /// Into memory.
    Lines(String),
    /// To whoever asked, one line at a time.
    Each(Box<dyn FnMut(&str)>),
}

impl Trace {
    /// A trace that only tells whether two runs were the same.
    pub fn hash() -> Self {
        Self::Hash(DefaultHasher::new())
    }

    /// A trace to read.
    pub fn lines() -> Self {
        Self::Lines(String::new())
    }

    /// A trace that `hear` gets line by line.
    pub fn each(hear: impl FnMut(&str) + 'static) -> Self {
        Self::Each(Box::new(hear))
    }

    /// The hash of all lines, where it was asked for.
    pub fn finish(&self) -> Option<u64> {
        match self {
            Self::Hash(hasher) => Some(hasher.finish()),
            Self::Off | Self::Lines(_) | Self::Each(_) => None,
        }
    }

    /// The lines, where they were asked for.
    pub fn text(&self) -> &str {
        match self {
            Self::Lines(text) => text,
            Self::Off | Self::Hash(_) | Self::Each(_) => "",
        }
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    pub(super) fn add(&mut self, at: Duration, who: &str, what: &str, details: &str) {
        let line = || {
            format!(
                "{:>16.9}  {who:<20} {what:<9} {details}\n",
                at.as_secs_f64()
            )
        };
        match self {
            Self::Off => {}
            Self::Hash(hasher) => hasher.write(line().as_bytes()),
            Self::Lines(text) => text.push_str(&line()),
            Self::Each(hear) => hear(&line()),
        }
    }
}

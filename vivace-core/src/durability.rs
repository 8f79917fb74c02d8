//! How many copies of a new value must be durable before its writer hears of success.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

/// Where a value is durable when its writer hears of success. Its timestamp is durable
/// at a majority of the replicas in any case, so that no reader ever takes an older
/// value for it; what differs is whether the value survives the loss of the site where
/// it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Durability {
    /// A majority of the local set (Vivace §3.2). No link between sites is waited for
    /// with a value. A site that burns down takes its newest values along.
    #[default]
    Local,
    /// And one replica in another site: the loss of a site loses nothing.
    Remote,
    /// A majority of the replicas, as ABD has it: the loss of any minority of replicas,
    /// and of the local set, loses nothing.
    Majority,
}

impl Durability {
    /// All levels, weakest first.
    pub const ALL: [Self; 3] = [Self::Local, Self::Remote, Self::Majority];

    /// The name in configuration files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Majority => "majority",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no durability; there are local, remote and majority")]
pub struct UnknownDurability(String);

impl FromStr for Durability {
    type Err = UnknownDurability;

    fn from_str(word: &str) -> Result<Self, UnknownDurability> {
        let mut levels = Self::ALL.into_iter();
        levels
            .find(|level| level.name() == word)
            .ok_or_else(|| UnknownDurability(word.into()))
    }
}

//! The starts that led to a data directory's present state. Each is drawn by lot: a mere
//! number is given out once more by a directory that was put back from an earlier time.

use std::fmt;

use vivace_core::Incarnation;

use super::DirectoryId;

/// So many starts a node tells of when it greets, the present one among them. It remembers all:
/// there are 65,535 at most.
pub const TOLD_MAX: usize = 64;

/// One start of a node, told from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartId(pub u64);

impl fmt::Display for StartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl StartId {
    /// The inverse of its `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok()?;
        is_hex.then_some(Self(number))
    }
}

/// A node's state as another node met it, by the start that was the last then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetState {
    /// Its data directory.
    pub directory: DirectoryId,
    /// The number of the start.
    pub life: Incarnation,
    /// Which start that was.
    pub start: StartId,
}

impl fmt::Display for MetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "start {} ({}) of data directory {}",
            self.life.0, self.start, self.directory
        )
    }
}

/// A data directory and the starts behind its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHistory {
    /// The directory.
    pub directory: DirectoryId,
    /// The starts, the present one last: all that are known, or the latest of them.
    pub starts: Vec<StartId>,
}

/// How a state stands to one that was met before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It holds all that the other did.
    Follows,
    /// It does not.
    Forgot,
    /// More starts came between than are told of here.
    TooLongAgo,
}

impl StateHistory {
    /// The same with no more starts than a node tells of when it greets.
    #[must_use]
    pub fn latest(&self) -> Self {
        let skipped = self.starts.len().saturating_sub(TOLD_MAX);
        Self {
            directory: self.directory,
            starts: self.starts[skipped..].to_vec(),
        }
    }

    /// How this state, of start number `now`, stands to what was `met` before: it follows where
    /// it is of the same directory and has that start behind it.
    pub fn succeeds(&self, now: Incarnation, met: &MetState) -> Succession {
        let Some(since) = now.0.checked_sub(met.life.0).map(usize::from) else {
            return Succession::Forgot;
        };
        if self.directory != met.directory {
            return Succession::Forgot;
        }
        match self.starts.iter().nth_back(since) {
            None => Succession::TooLongAgo,
            Some(&behind) if behind == met.start => Succession::Follows,
            Some(_) => Succession::Forgot,
        }
    }
}

/// Starts as text: 16 hex digits each, the oldest first.
pub(super) fn encode(starts: &[StartId]) -> String {
    if starts.is_empty() {
        return "none".into();
    }
    let starts: Vec<String> = starts.iter().map(StartId::to_string).collect();
    starts.join(" ")
}

pub(super) fn decode(text: &str) -> Option<Vec<StartId>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let starts: Option<Vec<StartId>> = text.split(' ').map(StartId::parse).collect();
    starts.filter(|starts| starts.len() <= usize::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(directory: u8, starts: &[u64]) -> StateHistory {
        StateHistory {
            directory: DirectoryId([directory; 16]),
            starts: starts.iter().copied().map(StartId).collect(),
        }
    }

    /// To a state of directory 1 whose third start was 12.
    fn stands(now: u16, of: &StateHistory) -> Succession {
        let met = MetState {
            directory: DirectoryId([1; 16]),
            life: Incarnation(3),
            start: StartId(12),
        };
        of.succeeds(Incarnation(now), &met)
    }

    #[test]
    fn a_state_follows_itself_and_what_it_grew_from() {
        for (now, starts) in [
            (3, &[10, 11, 12][..]),
            (4, &[11, 12, 13]),
            (6, &[12, 13, 14, 15]),
        ] {
            assert_eq!(stands(now, &state(1, starts)), Succession::Follows);
        }
    }

    #[test]
    fn a_state_put_back_does_not_follow_whatever_its_number() {
        for (now, starts) in [
            (2, &[10, 11][..]),
            (3, &[10, 11, 99]),
            (4, &[10, 11, 99, 98]),
            (5, &[10, 11, 99, 98, 12]),
        ] {
            assert_eq!(stands(now, &state(1, starts)), Succession::Forgot);
        }
        assert_eq!(stands(3, &state(2, &[10, 11, 12])), Succession::Forgot);
    }

    #[test]
    fn after_too_many_starts_only_who_knows_them_all_can_tell() {
        let mut starts: Vec<u64> = (10..13).chain(100..200).collect();
        let whole = state(1, &starts);
        assert_eq!(stands(103, &whole.latest()), Succession::TooLongAgo);
        assert_eq!(whole.latest().starts.len(), TOLD_MAX);
        assert_eq!(stands(103, &whole), Succession::Follows);
        starts[2] = 99;
        let put_back = state(1, &starts);
        assert_eq!(stands(103, &put_back.latest()), Succession::TooLongAgo);
        assert_eq!(stands(103, &put_back), Succession::Forgot);
    }

    #[test]
    fn all_starts_are_kept_and_read_again() {
        for count in [0, 1, 100, usize::from(u16::MAX)] {
            let starts: Vec<StartId> = (0..count as u64).map(StartId).collect();
            assert_eq!(decode(&encode(&starts)), Some(starts));
        }
        for wrong in [
            "",
            "0",
            "00000000000000zz",
            "none none",
            " 0000000000000001",
        ] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        let too_many = encode(&[StartId(1); 65_536]);
        assert_eq!(decode(&too_many), None);
    }
}

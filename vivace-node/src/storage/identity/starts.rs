//! The starts that led to a data directory's present state. Each is drawn by lot: a mere
//! number is given out once more by a directory that was put back from an earlier time.

use std::fmt;

use vivace_core::Incarnation;

use super::DirectoryId;

/// So many starts are remembered, the present one among them.
pub const STARTS_MAX: usize = 64;

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

/// A data directory and the starts behind its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHistory {
    /// The directory.
    pub directory: DirectoryId,
    /// The latest starts, the present one last; at most [`STARTS_MAX`].
    pub starts: Vec<StartId>,
}

/// How a state stands to one that was met before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It holds all that the other did.
    Follows,
    /// It does not.
    Forgot,
    /// More starts came between than are remembered.
    TooLongAgo,
}

impl StateHistory {
    /// How this state, of start number `now`, stands to one that was `met` before and was of
    /// start number `then`: it follows where it is of the same directory and has that start
    /// behind it.
    pub fn succeeds(&self, now: Incarnation, met: &Self, then: Incarnation) -> Succession {
        let Some(since) = now.0.checked_sub(then.0).map(usize::from) else {
            return Succession::Forgot;
        };
        if self.directory != met.directory {
            return Succession::Forgot;
        }
        match self.starts.iter().nth_back(since) {
            None => Succession::TooLongAgo,
            behind if behind == met.starts.last() => Succession::Follows,
            Some(_) => Succession::Forgot,
        }
    }
}

/// The latest starts as text: 16 hex digits each, the oldest first.
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
    starts.filter(|starts| starts.len() <= STARTS_MAX)
}

/// `starts` with another one, of which the oldest may be forgotten for it.
pub(super) fn with(starts: &[StartId], next: StartId) -> Vec<StartId> {
    let forgotten = (starts.len() + 1).saturating_sub(STARTS_MAX);
    let mut starts = starts[forgotten..].to_vec();
    starts.push(next);
    starts
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

    fn stands(now: u16, of: &StateHistory) -> Succession {
        of.succeeds(Incarnation(now), &state(1, &[10, 11, 12]), Incarnation(3))
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
    fn after_too_many_starts_nobody_can_tell() {
        assert_eq!(stands(6, &state(1, &[80, 81, 82])), Succession::TooLongAgo);
    }

    #[test]
    fn the_latest_starts_are_kept_and_read_again() {
        let mut starts = Vec::new();
        for number in 0..100 {
            starts = with(&starts, StartId(number));
            assert_eq!(decode(&encode(&starts)), Some(starts.clone()));
        }
        let latest: Vec<StartId> = (36..100).map(StartId).collect();
        assert_eq!(starts, latest);
        assert_eq!(decode("none"), Some(Vec::new()));
        for wrong in [
            "",
            "0",
            "00000000000000zz",
            "none none",
            " 0000000000000001",
        ] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        let too_many = encode(&[StartId(1); STARTS_MAX]) + " 0000000000000001";
        assert_eq!(decode(&too_many), None);
    }
}

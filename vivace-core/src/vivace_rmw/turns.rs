//! Whose turn it is at an object that several coordinators change at the same time.
//!
//! Rounds that chase each other win nothing: each promise spoils the round before it. So
//! a coordinator that has won leaves the object to those it met there, until each has had
//! its turn. Nobody's safety rests on this, and nobody waits long for who is silent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::forgetful::ForgetfulMap;
use crate::identity::NodeId;
use crate::key::Key;

/// Objects whose rivals are remembered at one node.
pub const TURNS_MAX: usize = 1024;

/// However many rivals there are, a winner waits no longer than this many turns.
const TURNS_AT_ONCE: u32 = 2;

/// A rival that was not met for this many turns has gone.
const MEMORY_TURNS: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Rival {
    met: Duration,
    /// Whether it has won since this node did.
    served: bool,
}

#[derive(Clone, Debug, Default)]
struct Rivals {
    by_node: BTreeMap<NodeId, Rival>,
    /// When this node goes on whatever they do, where it has won.
    until: Option<Duration>,
}

/// The coordinators that this node met at objects that it changes, for at most
/// [`TURNS_MAX`] objects.
#[derive(Clone, Debug, Default)]
pub struct Turns(ForgetfulMap<Rivals>);

impl Turns {
    /// Whether rivals were met at `key`.
    pub fn are_taken_at(&self, key: &Key) -> bool {
        self.0.get(key).is_some()
    }

    /// `node` is at `key`, too.
    pub fn meet(&mut self, key: &Key, node: NodeId, now: Duration) {
        if self.0.get(key).is_none() {
            while self.0.len() >= TURNS_MAX {
                self.0.forget_one();
            }
            self.0.insert(key, Rivals::default());
        }
        if let Some(rivals) = self.0.get_mut(key) {
            let rival = rivals.by_node.entry(node);
            let rival = rival.or_insert(Rival {
                met: now,
                served: false,
            });
            rival.met = now;
        }
    }

    /// A round of `node` was chosen.
    pub fn serve(&mut self, key: &Key, node: NodeId, now: Duration) {
        let rivals = self.0.get_mut(key);
        if let Some(rival) = rivals.and_then(|rivals| rivals.by_node.get_mut(&node)) {
            rival.met = now;
            rival.served = true;
        }
    }

    /// A round of this node was chosen; another's may take as long as `turn`.
    pub fn win(&mut self, key: &Key, now: Duration, turn: Duration) {
        let Some(rivals) = self.0.get_mut(key) else {
            return;
        };
        let oldest = now.saturating_sub(MEMORY_TURNS * turn);
        rivals.by_node.retain(|_, rival| rival.met >= oldest);
        if rivals.by_node.is_empty() {
            self.0.remove(key);
            return;
        }
        for rival in rivals.by_node.values_mut() {
            rival.served = false;
        }
        let turns = (rivals.by_node.len() as u32).min(TURNS_AT_ONCE);
        rivals.until = Some(now + turn * turns);
    }

    /// Until when this node leaves `key` to others; none where it is its turn.
    pub fn wait(&mut self, key: &Key, now: Duration) -> Option<Duration> {
        let rivals = self.0.get_mut(key)?;
        let until = rivals.until?;
        if until > now && rivals.by_node.values().any(|rival| !rival.served) {
            return Some(until);
        }
        // Who had a turn's time and did not use it is not waited for again.
        if until <= now {
            rivals.by_node.retain(|_, rival| rival.served);
        }
        rivals.until = None;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ContainerId;
    use crate::key::KeyName;

    const TURN: Duration = Duration::from_millis(100);

    fn key(number: usize) -> Key {
        let name = number.to_string();
        Key {
            container: ContainerId(1),
            name: KeyName::new(name).expect("a short name"),
        }
    }

    #[test]
    fn the_winner_waits_until_each_rival_had_its_turn() {
        let mut turns = Turns::default();
        let (k, now) = (key(0), Duration::from_secs(10));
        assert_eq!(turns.wait(&k, now), None);
        turns.meet(&k, NodeId(1), now);
        turns.meet(&k, NodeId(2), now);
        assert_eq!(turns.wait(&k, now), None);
        turns.win(&k, now, TURN);
        assert_eq!(turns.wait(&k, now), Some(now + 2 * TURN));
        turns.serve(&k, NodeId(2), now);
        assert!(turns.wait(&k, now).is_some());
        turns.serve(&k, NodeId(1), now);
        assert_eq!(turns.wait(&k, now), None);
    }

    #[test]
    fn a_silent_rival_is_waited_for_once() {
        let mut turns = Turns::default();
        let (k, now) = (key(0), Duration::from_secs(10));
        turns.meet(&k, NodeId(1), now);
        turns.win(&k, now, TURN);
        assert_eq!(turns.wait(&k, now + TURN), None);
        turns.win(&k, now + TURN, TURN);
        assert_eq!(turns.wait(&k, now + TURN), None);
        assert!(!turns.are_taken_at(&k));
    }

    #[test]
    fn the_objects_are_bounded() {
        let mut turns = Turns::default();
        for number in 0..2 * TURNS_MAX {
            turns.meet(&key(number), NodeId(1), TURN);
            assert!(turns.0.len() <= TURNS_MAX);
        }
        assert!(turns.are_taken_at(&key(2 * TURNS_MAX - 1)));
    }
}

//! What this node's own rounds wrote last: while no other coordinator touches the
//! object, the next round builds on it and needs one round trip instead of two.

use crate::forgetful::ForgetfulMap;
use crate::key::Key;
use crate::machine::object::Object;
use crate::timestamp::Timestamp;

/// Objects remembered at one node.
pub const RECENT_MAX: usize = 4096;

/// Their bytes, encoded.
pub const RECENT_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Debug)]
struct Version {
    ts: Timestamp,
    object: Object,
    bytes: usize,
}

/// The newest versions of this node's own rounds, within [`RECENT_MAX`] and
/// [`RECENT_BYTES_MAX`]. It may forget any of them at any time: then a round begins by
/// asking for promises.
#[derive(Clone, Debug, Default)]
pub struct RecentVersions {
    by_key: ForgetfulMap<Version>,
    bytes: usize,
}

impl RecentVersions {
    /// Remembers the version that a majority has accepted, of `bytes` bytes.
    pub fn keep(&mut self, key: &Key, ts: Timestamp, object: Object, bytes: usize) {
        self.take(key);
        if bytes > RECENT_BYTES_MAX {
            return;
        }
        while self.by_key.len() >= RECENT_MAX || self.bytes + bytes > RECENT_BYTES_MAX {
            let forgotten = self.by_key.forget_one();
            self.bytes -= forgotten.map_or(0, |version| version.bytes);
        }
        self.bytes += bytes;
        let version = Version { ts, object, bytes };
        self.by_key.insert(key, version);
    }

    /// The version of `key`, which is forgotten.
    pub fn take(&mut self, key: &Key) -> Option<(Timestamp, Object)> {
        let version = self.by_key.remove(key)?;
        self.bytes -= version.bytes;
        Some((version.ts, version.object))
    }

    /// Another coordinator is at `key` with `ts`: what is older serves nobody.
    pub fn forget_older(&mut self, key: &Key, ts: Timestamp) {
        if self.by_key.get(key).is_some_and(|version| version.ts < ts) {
            self.take(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_protocol::SessionId;
    use crate::identity::ContainerId;
    use crate::key::KeyName;
    use crate::machine::Machines;
    use crate::machine::object::Command;

    fn key(name: &str) -> Key {
        let name = name.to_owned();
        Key {
            container: ContainerId(1),
            name: KeyName::new(name).expect("a short name"),
        }
    }

    fn object() -> Object {
        let command = Command {
            machine: "list".into(),
            session: SessionId(Timestamp::ZERO),
            sequence: 1,
            repeated: false,
            command: b"\x00\x01x".to_vec().into(),
        };
        let (object, _) = Object::apply(None, &Machines::builtin(), &command);
        object.expect("a push changes a list")
    }

    fn ts(time: u64) -> Timestamp {
        Timestamp {
            time,
            ..Timestamp::ZERO
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let mut recent = RecentVersions::default();
        for n in 0..2 * RECENT_MAX {
            recent.keep(&key(&format!("k{n}")), ts(1), object(), 10);
            assert!(recent.by_key.len() <= RECENT_MAX);
        }
        assert_eq!(recent.by_key.len(), RECENT_MAX);
        assert_eq!(recent.bytes, 10 * RECENT_MAX);
        recent.keep(&key("large"), ts(1), object(), RECENT_BYTES_MAX);
        assert_eq!(recent.by_key.len(), 1);
        recent.keep(&key("too large"), ts(1), object(), RECENT_BYTES_MAX + 1);
        assert!(recent.take(&key("too large")).is_none());
        assert!(recent.take(&key("large")).is_some());
        assert_eq!(recent.bytes, 0);
    }

    #[test]
    fn another_coordinators_round_ends_it() {
        let mut recent = RecentVersions::default();
        recent.keep(&key("k"), ts(5), object(), 10);
        recent.forget_older(&key("k"), ts(5));
        assert!(recent.by_key.get(&key("k")).is_some());
        recent.forget_older(&key("k"), ts(6));
        assert!(recent.take(&key("k")).is_none());
    }
}

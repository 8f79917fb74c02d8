//! The local set after a restart, and after its disk has lost a value.

use super::{LocalSet, PATIENCE};
use crate::cluster::Kind;
use crate::env::Env;
use crate::key::Key;
use crate::message::{CopyTag, WriteId};
use crate::outbox::Lsn;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;

impl LocalSet {
    /// Takes over a durable copy; it is looked after soon.
    pub fn recover_copy(&mut self, env: &mut Env, key: &Key, tag: CopyTag, value: StoredValue) {
        self.insert(
            env,
            key,
            tag,
            env.me,
            value,
            (Lsn::default(), false),
            env.now.monotonic + PATIENCE,
        );
    }

    /// Takes over a durable binding.
    pub fn recover_bound(&mut self, env: &mut Env, key: &Key, write: WriteId, ts: Timestamp) {
        if let Some(unbound) = self.take_unbound(key, write) {
            self.recover_copy(env, key, CopyTag::Bound(ts), unbound.value);
            if let Some(copy) = self.copies.get_mut(key).and_then(|v| v.get_mut(&ts)) {
                copy.write = Some(write);
            }
        }
    }

    /// Takes over a durable abort.
    pub fn recover_aborted(&mut self, write: WriteId) {
        self.aborted
            .entry((write.node, write.incarnation))
            .or_default()
            .insert(write.number);
    }

    /// Takes over the end of an aborted write.
    pub fn recover_given_up(&mut self, key: &Key, write: WriteId) {
        self.take_unbound(key, write);
    }

    /// Takes over a durable drop; of an RW object's copies, only stable ones go.
    pub fn recover_dropped(&mut self, kind: Option<Kind>, key: &Key, ts: Timestamp) {
        if kind == Some(Kind::Rw) {
            self.propagator.stable.remember(key, ts);
        }
        if let Some(versions) = self.copies.get_mut(key)
            && let Some(copy) = versions.remove(&ts)
        {
            self.copy_bytes -= copy.counted_bytes();
        }
    }

    /// The values that are needed and that `is_stored` does not know.
    pub fn unstored(&self, is_stored: &dyn Fn(&ValueId) -> bool) -> Vec<ValueId> {
        let copies = self.copies.iter().flat_map(|(key, versions)| {
            versions
                .iter()
                .map(move |(&ts, copy)| (key, copy.tag(ts), copy.value))
        });
        let unbound = self.unbound.iter();
        let unbound =
            unbound.map(|((key, write), copy)| (key, CopyTag::Unbound(*write), copy.value));
        let stored = copies
            .chain(unbound)
            .filter(|(_, _, value)| matches!(value, StoredValue::Bytes(_)));
        let ids = stored.map(|(key, tag, _)| ValueId {
            key: key.clone(),
            tag,
        });
        ids.filter(|id| !is_stored(id)).collect()
    }

    /// The disk has lost a value: its copy is none any more, and a sibling's takes
    /// its place.
    pub fn lose(&mut self, env: &mut Env, id: &ValueId) {
        if let CopyTag::Unbound(write) = id.tag {
            self.take_unbound(&id.key, write);
        }
        if let Some(versions) = self.copies.get_mut(&id.key) {
            let bytes = &mut self.copy_bytes;
            versions.retain(|&ts, copy| {
                let keep = copy.tag(ts) != id.tag;
                if !keep {
                    *bytes -= copy.counted_bytes();
                }
                keep
            });
            if versions.is_empty() {
                self.copies.remove(&id.key);
            }
        }
        self.propagator.lose(env, id);
    }
}

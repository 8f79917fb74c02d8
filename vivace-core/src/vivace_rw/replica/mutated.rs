//! The replica as Alg. 1 prints it: one value beside one timestamp, and a side buffer.

use std::collections::BTreeMap;

use crate::env::Env;
use crate::key::Key;
use crate::outbox::Lsn;
use crate::record::Record;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// `remote_buf[key]`: values whose W-TS has not come.
#[derive(Clone, Debug, Default)]
pub struct RemoteBuffer(BTreeMap<Timestamp, StoredValue>);

impl RemoteBuffer {
    pub fn holds(&self, ts: Timestamp) -> bool {
        self.0.contains_key(&ts)
    }
}

impl super::Object {
    /// `val[key] <- ⊥`: there is nothing until the value of `ts` comes.
    pub fn erase_below(&mut self, env: &mut Env, key: &Key, ts: Timestamp) {
        if let Some((older, _)) = self.complete.take_if(|(has, _)| *has < ts) {
            env.out.release(ValueId::version(key, older));
        }
    }

    /// W-REMOTE ahead of its W-TS. A restart takes the value out of the buffer, for
    /// the paper knows of no restarts.
    pub fn buffer(&mut self, env: &mut Env, key: &Key, ts: Timestamp, value: Value) -> Lsn {
        let value = env.out.store(ValueId::version(key, ts), value);
        self.remote_buffer.0.insert(ts, value);
        self.lsn = env.out.persist(Record::Complete {
            key: key.clone(),
            ts,
            value,
        });
        self.lsn
    }

    /// W-TS: the value may be in the buffer already, and goes with all older ones;
    /// where it is not, the older ones stay, for ever perhaps.
    pub fn take_from_buffer(&mut self, env: &mut Env, key: &Key, ts: Timestamp) {
        if let Some(value) = self.remote_buffer.0.remove(&ts) {
            let newer = self.remote_buffer.0.split_off(&ts);
            let older = std::mem::replace(&mut self.remote_buffer.0, newer);
            let replaced = self.complete.replace((ts, value));
            for older in older.into_keys().chain(replaced.map(|(ts, _)| ts)) {
                env.out.release(ValueId::version(key, older));
            }
        }
    }
}

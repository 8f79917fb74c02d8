//! What answers a question for a value.

use super::LocalCopy;
use crate::message::CopyTag;
use crate::outbox::Lsn;
use crate::stored::StoredValue;
use crate::timestamp::Timestamp;

/// A local copy that answers a question for a value.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The version.
    pub ts: Timestamp,
    /// What its value is filed under.
    pub tag: CopyTag,
    /// What is kept of the value.
    pub value: StoredValue,
    /// It is durable once the log is durable up to here.
    pub lsn: Lsn,
    /// The value, at `lsn`, is a record of itself.
    pub is_record: bool,
}

impl Found {
    /// A version that a replica holds.
    pub fn version((ts, value, lsn): (Timestamp, StoredValue, Lsn)) -> Self {
        let tag = CopyTag::Bound(ts);
        Self {
            ts,
            tag,
            value,
            lsn,
            is_record: false,
        }
    }

    pub(super) fn copy(ts: Timestamp, copy: &LocalCopy) -> Self {
        Self {
            ts,
            tag: copy.tag(ts),
            value: copy.value,
            lsn: copy.lsn,
            is_record: copy.is_record,
        }
    }
}

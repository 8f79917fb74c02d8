//! One machine: a clock, a disk that outlives its node, and perhaps a running node.

use std::collections::VecDeque;
use std::time::Duration;

use crate::record::Record;
use crate::{Lsn, Node};

/// A clock: true time, shifted; and the error bound that it claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// Nanoseconds ahead of true time.
    pub skew_ns: i64,
    /// What it believes to be its bound; none where it is unsynchronized.
    pub error_ns: Option<u64>,
}

/// What a crash leaves of the records that were not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTail {
    /// None of them.
    Lost,
    /// A drawn number, from the oldest on: the log is torn after them.
    Torn,
    /// All: only the news of their durability was lost.
    Kept,
}

#[derive(Default)]
pub(super) struct Host {
    pub node: Option<Node>,
    pub life: u16,
    pub log: Vec<Record>,
    pub unflushed: VecDeque<(Lsn, Record)>,
    pub flushed_at: Duration,
    pub tick_at: Option<Duration>,
    pub clock: HostClock,
    /// It does nothing before this moment.
    pub paused_until: Duration,
    /// It dies after this many further sends.
    pub fuse: Option<u32>,
    /// It has done its last and crashes within this instant.
    pub is_dying: bool,
}

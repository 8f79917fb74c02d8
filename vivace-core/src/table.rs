//! Hash tables for what is looked up very often and never gone through: their order can't
//! show in a result.

#[allow(clippy::disallowed_types)]
use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

/// From keys to values.
#[allow(clippy::disallowed_types)]
pub type Table<K, V> = HashMap<K, V, FixedState>;

/// What was met already.
#[allow(clippy::disallowed_types)]
pub type Met<K> = HashSet<K, FixedState>;

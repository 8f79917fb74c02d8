//! What clients were told is done, and what of it the last reads miss.

use std::collections::{BTreeMap, BTreeSet};

/// Acknowledged changes of every key. A history without order says that something is
/// wrong; this counts what is gone.
#[derive(Debug, Default)]
pub struct Acknowledged {
    registers: BTreeMap<String, Register>,
    counters: BTreeMap<String, i64>,
    lists: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Register {
    /// When each acknowledged write began and ended, in ns.
    writes: BTreeMap<String, (u64, u64)>,
}

impl Acknowledged {
    /// A register's write of a unique value, with its begin and end.
    pub fn written(&mut self, key: &str, value: &str, interval: (u64, u64)) {
        let register = self.registers.entry(key.to_owned()).or_default();
        register.writes.insert(value.to_owned(), interval);
    }

    /// A counter's increase.
    pub fn added(&mut self, key: &str, amount: i64) {
        *self.counters.entry(key.to_owned()).or_default() += amount;
    }

    /// A list's new item.
    pub fn pushed(&mut self, key: &str, item: &str) {
        let items = self.lists.entry(key.to_owned()).or_default();
        items.insert(item.to_owned());
    }

    /// Acknowledged writes that began after the one that the last read found had ended,
    /// or all, where it found none. One that was found without ever having been
    /// acknowledged may be the newest.
    pub fn lost_writes(&self, key: &str, found: Option<&str>) -> u64 {
        let Some(register) = self.registers.get(key) else {
            return 0;
        };
        let found_end = match found {
            None => 0,
            Some(value) => register.writes.get(value).map_or(u64::MAX, |&(_, end)| end),
        };
        let later = register
            .writes
            .values()
            .filter(|(begin, _)| *begin > found_end);
        later.count() as u64
    }

    /// How much a counter of single steps lacks.
    pub fn lost_steps(&self, key: &str, found: i64) -> u64 {
        let acknowledged = self.counters.get(key).copied().unwrap_or(0);
        u64::try_from(acknowledged.saturating_sub(found)).unwrap_or(0)
    }

    /// How many of a list's items are not there.
    pub fn lost_items(&self, key: &str, found: &BTreeSet<String>) -> u64 {
        let acknowledged = self.lists.get(key);
        acknowledged.map_or(0, |items| items.difference(found).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Acknowledged;

    #[test]
    fn what_was_written_after_the_value_that_is_left_is_lost() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.written("r", "one", (1, 2));
        acknowledged.written("r", "two", (3, 5));
        acknowledged.written("r", "beside two", (4, 6));
        assert_eq!(acknowledged.lost_writes("r", Some("two")), 0);
        assert_eq!(acknowledged.lost_writes("r", Some("beside two")), 0);
        assert_eq!(acknowledged.lost_writes("r", Some("one")), 2);
        assert_eq!(acknowledged.lost_writes("r", None), 3);
        assert_eq!(acknowledged.lost_writes("r", Some("of unknown outcome")), 0);
        assert_eq!(acknowledged.lost_writes("never written", None), 0);
    }

    #[test]
    fn steps_and_items_that_are_missing_are_lost() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.added("c", 1);
        acknowledged.added("c", 1);
        assert_eq!(acknowledged.lost_steps("c", 3), 0);
        assert_eq!(acknowledged.lost_steps("c", 0), 2);
        acknowledged.pushed("l", "a");
        acknowledged.pushed("l", "b");
        let found = BTreeSet::from(["a".to_owned(), "of unknown outcome".to_owned()]);
        assert_eq!(acknowledged.lost_items("l", &found), 1);
    }
}

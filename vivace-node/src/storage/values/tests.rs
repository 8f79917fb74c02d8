//! What every value store does, and what the log does after damage.

mod reuse;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::storage::identity::DirectoryId;
use crate::storage::test_values::{id, long_value, value};

const MINE: DirectoryId = DirectoryId([7; 16]);

fn open(home: &Path) -> (ValueLog, Recovered) {
    ValueLog::open(home, MINE, &|_, _| {}).expect("opens")
}

fn open_small(home: &Path) -> ValueLog {
    ValueLog::with_segments(home, MINE, 4096, &|_, _| {})
        .expect("opens")
        .0
}

fn store(to: &dyn ValueStore, name: &str, time: u64, contents: &Value) {
    to.apply(&[storing(name, time, contents, false)])
        .expect("stores");
}

fn storing(name: &str, time: u64, contents: &Value, is_record: bool) -> Change {
    Change::Store {
        id: id(name, time),
        value: contents.clone(),
        is_record,
    }
}

fn forget(from: &dyn ValueStore, name: &str, time: u64) {
    from.apply(&[Change::Forget(id(name, time))])
        .expect("forgets");
}

fn last_segment(home: &Path) -> PathBuf {
    let entries = fs::read_dir(home).expect("lists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "values"))
        .max()
        .expect("there is a segment")
}

/// Behind the last byte of a file that is not zero.
fn written_bytes(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("reads");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at as u64 + 1)
}

fn tidy_all(log: &ValueLog) {
    while log.tidy(Saving::Space).expect("tidies") {}
}

#[test]
fn values_survive_a_restart_and_forgotten_ones_may() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, recovered) = open(home.path());
    assert_eq!(recovered, Recovered::default());
    store(&log, "a", 1, &value(b"first"));
    store(&log, "a", 2, &long_value(2, 100_000));
    store(&log, "b", 1, &Value::Tombstone);
    forget(&log, "a", 1);
    assert_eq!(log.get(&id("a", 1)), Lookup::Missing);
    drop(log);
    let (log, recovered) = open(home.path());
    assert_eq!((recovered.values, recovered.cut_bytes), (3, 0));
    assert_eq!(log.get(&id("a", 2)), Lookup::Found(long_value(2, 100_000)));
    assert_eq!(log.get(&id("b", 1)), Lookup::Found(Value::Tombstone));
    assert_eq!(log.get(&id("c", 1)), Lookup::Missing);
}

#[test]
fn a_torn_last_write_is_cut_and_the_log_goes_on_behind_it() {
    torn_last_write(|file, end| file.set_len(end - 100).expect("truncates"));
}

/// It was to go over zeros, some of which are still there.
#[test]
fn a_torn_last_write_over_zeros_is_cut_too() {
    torn_last_write(|file, end| file.write_all_at(&[0; 100], end - 100).expect("writes"));
}

fn torn_last_write(tear: impl Fn(&File, u64)) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    store(&log, "a", 1, &long_value(1, 5000));
    store(&log, "b", 1, &long_value(2, 5000));
    drop(log);
    let path = last_segment(home.path());
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    tear(&file, written_bytes(&path));
    let (log, recovered) = open(home.path());
    assert_eq!((recovered.values, recovered.damaged), (1, 0));
    assert!(recovered.cut_bytes > 4800);
    assert_eq!(log.get(&id("b", 1)), Lookup::Missing);
    store(&log, "c", 1, &value(b"behind the cut"));
    drop(log);
    let (log, recovered) = open(home.path());
    assert_eq!(recovered.values, 2);
    assert_eq!(
        log.get(&id("c", 1)),
        Lookup::Found(value(b"behind the cut"))
    );
}

#[test]
fn short_groups_are_written_over_zeros_and_the_rest_of_those_goes() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    store(&log, "a", 1, &long_value(1, 1000));
    let path = last_segment(home.path());
    let length = || fs::metadata(&path).expect("metadata").len();
    let first = length();
    for time in 2..=100 {
        store(&log, "a", time, &long_value(time, 1000));
    }
    assert_eq!(length(), first, "a hundred syncs, one length");
    store(&log, "a", 101, &long_value(101, 1_000_000));
    assert_eq!(length(), written_bytes(&path), "a long one needs none");
    store(&log, "a", 102, &long_value(102, 1000));
    assert!(length() > written_bytes(&path));
    drop(log);
    let (log, recovered) = open(home.path());
    assert_eq!(
        (recovered.values, recovered.cut_bytes, recovered.damaged),
        (102, 0, 0)
    );
    assert_eq!(length(), written_bytes(&path));
    for time in 1..=102 {
        assert!(
            matches!(log.get(&id("a", time)), Lookup::Found(_)),
            "{time}"
        );
    }
}

/// Bytes of a value are no zeros to be written over.
#[test]
fn values_that_end_in_zeros_are_whole() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    store(&log, "a", 1, &value(&[0; 1000]));
    drop(log);
    let (log, recovered) = open(home.path());
    assert_eq!(
        (recovered.values, recovered.cut_bytes, recovered.damaged),
        (1, 0, 0)
    );
    store(&log, "b", 1, &value(b"behind"));
    assert_eq!(log.get(&id("a", 1)), Lookup::Found(value(&[0; 1000])));
}

/// fjall 3.1.13 opens a journal with a zeroed page without an error and with half of its
/// values, and refuses one whose last batch has a page that did not reach the disk.
#[test]
fn a_zeroed_page_costs_the_values_in_it_and_no_others() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    for time in 1..=100 {
        store(&log, "a", time, &long_value(time, 1000));
    }
    drop(log);
    let file = OpenOptions::new()
        .write(true)
        .open(last_segment(home.path()))
        .expect("opens");
    file.write_all_at(&[0; 4096], 8 * 4096).expect("writes");
    let (log, recovered) = open(home.path());
    assert!((94..=96).contains(&recovered.values), "{recovered:?}");
    assert!(recovered.damaged >= 1);
    let found = (1..=100).filter(|&time| log.get(&id("a", time)) != Lookup::Missing);
    assert_eq!(found.count() as u64, recovered.values);
}

#[test]
fn every_damaged_byte_under_an_open_log_is_an_answer_not_a_value() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    let stored = value(b"some bytes that matter");
    store(&log, "a", 1, &stored);
    let path = last_segment(home.path());
    let bytes = fs::read(&path).expect("reads");
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    for at in segment::SEGMENT_HEADER_BYTES..written_bytes(&path) {
        let byte = bytes[at as usize];
        file.write_all_at(&[byte ^ 0x10], at).expect("writes");
        match log.get(&id("a", 1)) {
            Lookup::Damaged(what) => assert!(what.contains("00000001.values"), "{what}"),
            other => panic!("byte {at}: {other:?}"),
        }
        file.write_all_at(&[byte], at).expect("writes");
    }
    assert_eq!(log.get(&id("a", 1)), Lookup::Found(stored));
}

#[test]
fn a_misdirected_write_is_never_served() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    store(&log, "a", 1, &long_value(1, 500));
    store(&log, "a", 2, &long_value(2, 500));
    let path = last_segment(home.path());
    let mut bytes = fs::read(&path).expect("reads");
    bytes.truncate(written_bytes(&path) as usize);
    let frame = (bytes.len() - segment::SEGMENT_HEADER_BYTES as usize) / 2;
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    let second = &bytes[bytes.len() - frame..];
    file.write_all_at(second, segment::SEGMENT_HEADER_BYTES)
        .expect("writes");
    assert!(matches!(log.get(&id("a", 1)), Lookup::Damaged(_)));
    assert_eq!(log.get(&id("a", 2)), Lookup::Found(long_value(2, 500)));
}

#[test]
fn a_value_that_was_damaged_is_mended_by_storing_it_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    store(&log, "a", 1, &value(b"bytes"));
    let path = last_segment(home.path());
    let end = written_bytes(&path);
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    file.write_all_at(b"?", end - 1).expect("writes");
    assert!(matches!(log.get(&id("a", 1)), Lookup::Damaged(_)));
    store(&log, "a", 1, &value(b"bytes"));
    assert_eq!(log.get(&id("a", 1)), Lookup::Found(value(b"bytes")));
}

#[test]
fn full_segments_are_opened_by_their_lists_or_without() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = open_small(home.path());
    for time in 1..=50 {
        store(&log, "a", time, &long_value(time, 500));
    }
    drop(log);
    let count = |end: &str| {
        let entries = fs::read_dir(home.path()).expect("lists");
        entries
            .filter(|entry| {
                let path = entry.as_ref().expect("an entry").path();
                path.extension().is_some_and(|found| found == end)
            })
            .count()
    };
    assert!(count("values") > 4);
    assert_eq!(count("ids") + 1, count("values"));
    // One list is gone, one is damaged.
    fs::remove_file(home.path().join("00000001.ids")).expect("removes");
    fs::write(home.path().join("00000002.ids"), b"damaged").expect("writes");
    let log = open_small(home.path());
    for time in 1..=50 {
        assert_eq!(
            log.get(&id("a", time)),
            Lookup::Found(long_value(time, 500)),
            "{time}"
        );
    }
    let mut listed: Vec<ValueId> = log
        .parts()
        .into_iter()
        .flat_map(|part| log.ids(part))
        .collect();
    listed.sort();
    assert_eq!(
        listed,
        (1..=50).map(|time| id("a", time)).collect::<Vec<_>>()
    );
}

#[test]
fn space_of_forgotten_values_is_given_back_and_the_rest_stays() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = open_small(home.path());
    for time in 1..=200 {
        store(&log, "a", time, &long_value(time, 500));
    }
    for time in (1..=200).filter(|time| time % 4 != 0) {
        forget(&log, "a", time);
    }
    let before = log.usage();
    tidy_all(&log);
    let after = log.usage();
    assert_eq!(after.values, 50);
    assert!(after.bytes * 2 < before.bytes, "{before:?} {after:?}");
    let kept = |log: &ValueLog| {
        for time in (4..=200).step_by(4) {
            let found = log.get(&id("a", time));
            assert_eq!(found, Lookup::Found(long_value(time, 500)), "{time}");
        }
    };
    kept(&log);
    drop(log);
    kept(&open_small(home.path()));
}

#[test]
fn what_is_left_of_a_segment_moves_only_where_space_is_to_be_saved() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = open_small(home.path());
    for time in 1..=40 {
        store(&log, "a", time, &long_value(time, 500));
    }
    for time in (1..=40).filter(|time| *time != 30) {
        forget(&log, "a", time);
    }
    while log.tidy(Saving::Work).expect("tidies") {}
    let spared_work = log.usage();
    tidy_all(&log);
    let spared_space = log.usage();
    // Whole segments went, and at last all but the value and its own, open one.
    assert!(spared_work.bytes < 3 * 4096, "{spared_work:?}");
    assert!(spared_space.bytes < spared_work.bytes, "{spared_space:?}");
    assert_eq!(log.get(&id("a", 30)), Lookup::Found(long_value(30, 500)));
}

#[test]
fn more_dead_bytes_than_that_and_than_needed_ones_are_too_much() {
    let is_too_much = |dead_bytes, needed_bytes| {
        compaction::is_too_much(Usage {
            values: 1,
            bytes: dead_bytes + needed_bytes,
            dead_bytes,
        })
    };
    assert!(!is_too_much(DEAD_BYTES, 0));
    assert!(is_too_much(DEAD_BYTES + 1, DEAD_BYTES));
    assert!(!is_too_much(2 * DEAD_BYTES, 2 * DEAD_BYTES));
    assert!(is_too_much(2 * DEAD_BYTES + 1, 2 * DEAD_BYTES));
}

/// New values wait for a step, and must not wait for a whole segment of short ones.
#[test]
fn a_step_looks_at_a_part_of_what_a_segment_holds() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let opened = ValueLog::with_segments(home.path(), MINE, 64 << 10, &|_, _| ());
    let (log, _) = opened.expect("opens");
    let many: Vec<Change> = (1..=6_000)
        .map(|time| storing("a", time, &value(b"short"), false))
        .collect();
    log.apply(&many).expect("applies");
    // In the next segment, for that one is full.
    store(&log, "b", 1, &value(b"bytes"));
    let needed = [1, 3_000, 6_000];
    for time in (1..=6_000).filter(|time| !needed.contains(time)) {
        forget(&log, "a", time);
    }
    let before = log.usage();
    let steps = (0..100)
        .take_while(|_| log.tidy(Saving::Space).expect("tidies"))
        .count();
    assert!((12..=20).contains(&steps), "{steps}");
    assert!(log.usage().bytes < before.bytes / 10, "{:?}", log.usage());
    for time in needed {
        assert_eq!(log.get(&id("a", time)), Lookup::Found(value(b"short")));
    }
}

#[test]
fn another_directorys_values_and_newer_ones_are_refused_unchanged() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, _) = open(home.path());
    store(&log, "a", 1, &value(b"bytes"));
    drop(log);
    let path = last_segment(home.path());
    let before = fs::read(&path).expect("reads");
    let refused = ValueLog::open(home.path(), DirectoryId([8; 16]), &|_, _| {});
    assert!(matches!(refused, Err(OpenError::Foreign { .. })));
    let mut newer = before.clone();
    newer[8] = segment::FORMAT as u8 + 1;
    let checksum = crc32c::crc32c(&newer[..60]).to_le_bytes();
    newer[60..64].copy_from_slice(&checksum);
    fs::write(&path, &newer).expect("writes");
    let refused = ValueLog::open(home.path(), MINE, &|_, _| {});
    assert!(matches!(refused, Err(OpenError::Newer { found: 4, .. })));
    assert_eq!(fs::read(&path).expect("reads"), newer);
}

#[derive(Clone, Debug)]
enum Step {
    Store(u64, usize),
    Forget(u64),
    Tidy,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..20_u64, 0..3000_usize).prop_map(|(time, length)| Step::Store(time, length)),
        3 => (1..20_u64).prop_map(Step::Forget),
        2 => Just(Step::Tidy),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A store is a map, whatever is tidied and reopened in between; only what was
    /// forgotten may come back with a restart.
    #[test]
    fn the_log_is_a_map(steps in steps()) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut log = open_small(home.path());
        let mut model: BTreeMap<u64, Value> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Store(time, length) => {
                    // One id has one content.
                    let contents = long_value(time, length % (time as usize * 100));
                    store(&log, "k", time, &contents);
                    model.insert(time, contents);
                }
                Step::Forget(time) => {
                    forget(&log, "k", time);
                    model.remove(&time);
                }
                Step::Tidy => tidy_all(&log),
                Step::Restart => {
                    drop(log);
                    log = open_small(home.path());
                    for time in (1..20).filter(|time| !model.contains_key(time)) {
                        forget(&log, "k", time);
                    }
                }
            }
            for time in 1..20 {
                let expected = match model.get(&time) {
                    Some(contents) => Lookup::Found(contents.clone()),
                    None => Lookup::Missing,
                };
                prop_assert_eq!(log.get(&id("k", time)), expected);
            }
        }
    }
}

fn all_records(log: &ValueLog) -> Vec<(ValueId, u32)> {
    let parts = log.parts().into_iter();
    let mut records: Vec<_> = parts.flat_map(|part| log.records(part)).collect();
    records.sort();
    records.dedup();
    records
}

#[test]
fn records_of_themselves_are_told_from_the_rest_wherever_they_move() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = open_small(home.path());
    let mut expected = Vec::new();
    for time in 1..=100_u64 {
        let is_record = time % 3 == 0;
        let contents = long_value(time, 100 + time as usize);
        log.apply(&[storing("a", time, &contents, is_record)])
            .expect("stores");
        if time % 2 == 0 {
            forget(&log, "a", time);
        } else if is_record {
            expected.push((id("a", time), 100 + time as u32));
        }
    }
    assert_eq!(all_records(&log), expected);
    tidy_all(&log);
    assert_eq!(all_records(&log), expected, "after they moved");
    drop(log);
    let told = |log: &ValueLog| {
        let mut told = all_records(log);
        // What was forgotten may be there again.
        told.retain(|record| expected.contains(record));
        told
    };
    assert_eq!(told(&open_small(home.path())), expected, "from lists");
    for entry in fs::read_dir(home.path()).expect("lists") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "ids") {
            fs::remove_file(path).expect("removes");
        }
    }
    assert_eq!(told(&open_small(home.path())), expected, "from frames");
}

#[test]
fn segments_of_earlier_formats_are_read_and_this_one_begins_with_the_next() {
    for format in [1, 2] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (log, _) = open(home.path());
        store(&log, "a", 1, &value(b"of an earlier format"));
        drop(log);
        let path = last_segment(home.path());
        let mut bytes = fs::read(&path).expect("reads");
        bytes[8] = format;
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        let key = frame::key(&id("a", 1));
        let frame = &mut bytes[segment::SEGMENT_HEADER_BYTES as usize..];
        frame::reseal(frame, &key, frame::Seal::Open);
        fs::write(&path, bytes).expect("writes");

        let earlier = Lookup::Found(value(b"of an earlier format"));
        let (log, recovered) = open(home.path());
        assert_eq!((recovered.values, recovered.damaged), (1, 0));
        assert_eq!(log.get(&id("a", 1)), earlier);
        log.apply(&[storing("b", 1, &value(b"of this"), true)])
            .expect("stores");
        assert_eq!(fs::read(&path).expect("reads")[8], format);
        assert_eq!(
            last_segment(home.path()),
            home.path().join("00000002.values")
        );
        drop(log);
        let (log, recovered) = open(home.path());
        assert_eq!((recovered.values, recovered.damaged), (2, 0));
        assert_eq!(all_records(&log), [(id("b", 1), 7)]);
        assert_eq!(log.get(&id("a", 1)), earlier);
        // What moves is of this format.
        forget(&log, "b", 1);
        tidy_all(&log);
        assert_eq!(log.get(&id("a", 1)), earlier);
    }
}

//! What becomes of the files of segments of which nothing is needed.

use super::*;

/// Segments of three values each, of which all but the last is forgotten, as many as `count`.
fn long_values(home: &Path, count: u64) -> ValueLog {
    let opened = ValueLog::with_segments(home, MINE, 9 << 20, &|_, _| ());
    let (log, _) = opened.expect("opens");
    for time in 1..=count {
        store(&log, "a", time, &long_value(time, 3_500_000));
    }
    for time in 1..count {
        forget(&log, "a", time);
    }
    log
}

#[test]
fn a_segment_leaves_piece_by_piece_and_what_a_crash_left_of_it_goes_at_the_next_start() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = long_values(home.path(), 4);
    let gone = home.path().join("00000001.gone");
    let lengths: Vec<u64> =
        std::iter::from_fn(|| log.tidy(Saving::All).expect("tidies").then_some(()))
            .filter_map(|()| Some(fs::metadata(&gone).ok()?.len()))
            .collect();
    let pieces = lengths.windows(2).map(|pair| pair[0] - pair[1]);
    assert!(lengths.len() >= 5, "{lengths:?}");
    assert!(
        pieces.into_iter().all(|piece| piece == 2 << 20),
        "{lengths:?}"
    );
    assert!(!gone.exists());

    let spare = home.path().join("00000001.spare");
    for left in [&gone, &spare] {
        fs::write(left, b"what a crash left").expect("writes");
    }
    drop(log);
    let (log, recovered) = open(home.path());
    assert_eq!((recovered.values, recovered.damaged), (1, 0));
    assert!(!gone.exists() && !spare.exists());
    let kept = log.get(&id("a", 4));
    assert_eq!(kept, Lookup::Found(long_value(4, 3_500_000)));
}

#[test]
fn two_files_of_segments_are_kept_for_later_ones_until_space_is_scarce() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = long_values(home.path(), 13);
    let spares = || {
        let entries = fs::read_dir(home.path()).expect("lists");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        let mut spares: Vec<_> = names.filter(|name| name.ends_with(".spare")).collect();
        spares.sort();
        spares
    };
    while log.tidy(Saving::Work).expect("tidies") {}
    assert_eq!(spares(), ["00000001.spare", "00000002.spare"]);
    // Segment 5 has one value; two more fill it, and the next begins in a spare file.
    for time in 14..=16 {
        store(&log, "a", time, &long_value(time, 3_500_000));
    }
    assert_eq!(spares().len(), 1);
    let sixth = fs::metadata(home.path().join("00000006.values"));
    assert!(sixth.expect("is there").len() > 9 << 20, "it was laid out");
    while log.tidy(Saving::All).expect("tidies") {}
    assert!(spares().is_empty());
    for time in 13..=16 {
        let kept = log.get(&id("a", time));
        assert_eq!(kept, Lookup::Found(long_value(time, 3_500_000)));
    }
}

/// A log whose last segment stands in the file of an earlier one, of values of the same
/// lengths, and has two values of its own.
fn reusing(home: &Path) -> PathBuf {
    let log = open_small(home);
    let mut time = 0;
    let mut next = |count: u64| {
        for _ in 0..count {
            time += 1;
            store(&log, "a", time, &long_value(7, 500));
        }
    };
    next(8);
    for time in 1..=8 {
        forget(&log, "a", time);
    }
    let first = last_segment(home);
    next(1);
    let second = last_segment(home);
    assert_ne!(first, second);
    while log.tidy(Saving::Work).expect("tidies") {}
    // The rest of the second, and the beginning of the third.
    next(7);
    next(2);
    let third = last_segment(home);
    assert!(third > second);
    let length = fs::metadata(&third).expect("is there").len();
    assert!(length >= 4096, "it has {length} bytes of the first");
    third
}

#[test]
fn what_a_file_had_as_another_segment_never_counts() {
    let home = tempfile::tempdir().expect("a temporary directory");
    reusing(home.path());
    let log = open_small(home.path());
    for time in 1..=18 {
        let expected = match time {
            ..9 => Lookup::Missing,
            _ => Lookup::Found(long_value(7, 500)),
        };
        assert_eq!(log.get(&id("a", time)), expected, "{time}");
    }
    drop(log);
    let (_, recovered) = open(home.path());
    assert_eq!(
        (recovered.values, recovered.cut_bytes, recovered.damaged),
        (10, 0, 0)
    );
}

/// Behind it stands what the file had before, no zeros.
#[test]
fn a_torn_last_write_in_a_file_that_is_used_again_is_cut_too() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let third = reusing(home.path());
    let bytes = fs::read(&third).expect("reads");
    let frame = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(&frame::MAGIC));
    let starts: Vec<usize> = frame.collect();
    let file = OpenOptions::new().write(true).open(&third).expect("opens");
    file.write_all_at(&[0xee; 100], starts[1] as u64 + 200)
        .expect("writes");
    let (log, recovered) = open(home.path());
    assert_eq!((recovered.values, recovered.damaged), (9, 0));
    let frame_bytes = (starts[1] - starts[0]) as u64;
    assert_eq!(recovered.cut_bytes, frame_bytes);
    assert_eq!(log.get(&id("a", 18)), Lookup::Missing);
    store(&log, "b", 1, &value(b"behind the cut"));
    drop(log);
    let (log, recovered) = open(home.path());
    assert_eq!(
        (recovered.values, recovered.cut_bytes, recovered.damaged),
        (10, 0, 0)
    );
    assert!(matches!(log.get(&id("b", 1)), Lookup::Found(_)));
}

/// Damage before an intact value was no unfinished write.
#[test]
fn damage_in_a_file_that_is_used_again_is_told() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let third = reusing(home.path());
    let file = OpenOptions::new().write(true).open(&third).expect("opens");
    file.write_all_at(&[0xee; 100], segment::SEGMENT_HEADER_BYTES + 200)
        .expect("writes");
    let (log, recovered) = open(home.path());
    assert_eq!((recovered.values, recovered.damaged), (9, 1));
    assert!(matches!(log.get(&id("a", 18)), Lookup::Found(_)));
}

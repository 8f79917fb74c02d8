//! Histories as `vivace-sim check` reads them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::sim::{read_json_lines, write_json_lines};

/// Judging more than this may take a while.
const JUDGED_MAX: usize = 12;

fuzz_target!(|text: &str| {
    let history = match read_json_lines(text) {
        Ok(history) => history,
        Err(error) => {
            assert!((1..=text.lines().count()).contains(&error.line), "{error}");
            return;
        }
    };
    let operations = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert_eq!(history.len(), operations, "a line is an operation");
    let written = write_json_lines(&history);
    let again = read_json_lines(&written).expect("what was written can be read");
    // Values are numbered as they are met: a second time in the order of the first.
    let settled = write_json_lines(&again);
    let third = read_json_lines(&settled).expect("what was written can be read");
    assert_eq!(write_json_lines(&third), settled);
    if operations <= JUDGED_MAX {
        assert_eq!(history.check().is_ok(), again.check().is_ok(), "{written}");
    }
});

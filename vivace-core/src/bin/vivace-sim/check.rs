//! Judging histories from files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::string::FromUtf8Error;

use vivace_core::sim::HistoryReader;

use crate::Fault;
use crate::output::say;

pub fn check(files: &[PathBuf]) -> Result<(), Fault> {
    let mut reader = HistoryReader::default();
    let mut read = BTreeSet::new();
    let mut checksums = BTreeSet::new();
    for file in files {
        let wrong = |error: String| Fault::Asked(format!("{}: {error}", file.display()));
        // By whatever name.
        let same = file
            .canonicalize()
            .map_err(|error| wrong(error.to_string()))?;
        if !read.insert(same) {
            return Err(wrong("is given twice; no operation is done twice".into()));
        }
        let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        if !bytes.is_empty() && !checksums.insert((bytes.len(), crc32c::crc32c(&bytes))) {
            return Err(wrong(
                "says what a file before it says; no operation is done twice".into(),
            ));
        }
        let text = String::from_utf8(bytes).map_err(|error| wrong(not_text(&error)))?;
        reader
            .read(&text)
            .map_err(|error| wrong(error.to_string()))?;
    }
    let history = reader.finish();
    if history.is_empty() {
        return Err(Fault::Asked("there is no operation to judge".into()));
    }
    let objections = history
        .keys()
        .filter_map(|key| history.check_key(key).err());
    // What is surely wrong first.
    match objections.min_by_key(|objection| objection.is_undecided) {
        None => {
            say!(
                "linearizable: {} operations on {} keys, {} with a result",
                history.len(),
                history.keys().count(),
                history.completed()
            );
            Ok(())
        }
        Some(objection) if objection.is_undecided => {
            Err(Fault::Asked(format!("can't be judged: {objection}")))
        }
        Some(objection) => {
            say!("NOT linearizable: {objection}");
            Err(Fault::Broken)
        }
    }
}

fn not_text(error: &FromUtf8Error) -> String {
    let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {line}: is no UTF-8")
}

//! Judging histories from files.

use std::path::PathBuf;

use vivace_core::sim::HistoryReader;

use crate::Fault;

pub fn check(files: &[PathBuf]) -> Result<(), Fault> {
    let mut reader = HistoryReader::default();
    for file in files {
        let wrong = |error: String| Fault::Asked(format!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
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
            println!(
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
            println!("NOT linearizable: {objection}");
            Err(Fault::Broken)
        }
    }
}

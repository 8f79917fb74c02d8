//! Judging a history from a file.

use std::path::Path;

use vivace_core::sim::read_json_lines;

use crate::Fault;

pub fn check(file: &Path) -> Result<(), Fault> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| Fault::Asked(format!("{shown}: {error}")))?;
    let history =
        read_json_lines(&text).map_err(|error| Fault::Asked(format!("{shown}: {error}")))?;
    match history.check() {
        Ok(()) => {
            println!(
                "linearizable: {} operations on {} keys, {} with a result",
                history.len(),
                history.keys().count(),
                history.completed()
            );
            Ok(())
        }
        Err(why) => {
            println!("NOT linearizable: {why}");
            Err(Fault::Broken)
        }
    }
}

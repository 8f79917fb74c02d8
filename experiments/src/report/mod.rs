//! `experiments report`: one page that can be read without a network, from what is on
//! disk.

mod html;
mod remarks;
pub mod section;
pub mod tail;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

pub use section::{Section, Shown, Table};

use crate::catalog;
use crate::run::named;
use crate::step::StepStore;

/// The page.
pub const REPORT_FILE: &str = "report.html";

/// There is nothing to report.
#[derive(Debug, thiserror::Error)]
#[error("{}: holds no results{}; experiments run {} --out {} measures some",
    out.display(),
    if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) },
    if names.is_empty() { "NAME".to_owned() } else { names.join(" ") },
    out.display())]
pub struct NoResults {
    /// Where they would be.
    pub out: PathBuf,
    /// Whose; all experiments' where there are no names.
    pub names: Vec<String>,
}

/// Where charts go, beside the page that holds them too.
const CHARTS: &str = "charts";

/// Draws charts and writes the page, from the results of the experiments of these
/// names, or of all that have some. Yields where the page is.
///
/// # Errors
/// A name is wrong, there are no results, or files can't be read or written.
pub fn write(store: &StepStore, names: &[String]) -> anyhow::Result<PathBuf> {
    let experiments = match names {
        [] => catalog::runnable().collect(),
        names => named(names)?,
    };
    let charts = store.root().join(CHARTS);
    let mut chapters = Vec::new();
    let mut notes = Vec::new();
    for experiment in experiments {
        let (records, damaged) = store.records(experiment.name);
        let again = format!(
            "experiments run {} --out {}",
            experiment.name,
            store.root().display()
        );
        let left_out = |why: &String| format!("Left out: {why}; {again} measures it again");
        notes.extend(damaged.iter().map(left_out));
        if records.is_empty() {
            if !names.is_empty() && damaged.is_empty() {
                notes.push(format!(
                    "No results of {}; {again} measures some",
                    experiment.name
                ));
            }
            continue;
        }
        fs::create_dir_all(&charts).with_context(|| charts.display().to_string())?;
        let shown = Shown {
            store,
            records,
            charts: &charts,
        };
        let section = experiment
            .section
            .context("it can be run, so it can be shown")?;
        match section(&shown) {
            Ok(section) => chapters.push((experiment, section, shown.records)),
            Err(error) => notes.push(format!(
                "Left out: {}: {error:#}; {again} --fresh measures it again",
                experiment.name
            )),
        }
    }
    for note in &notes {
        eprintln!("{note}");
    }
    if chapters.is_empty() {
        let (out, names) = (store.root().to_owned(), names.to_vec());
        return Err(NoResults { out, names }.into());
    }
    let path = store.root().join(REPORT_FILE);
    let page = html::page(&chapters, &notes);
    fs::write(&path, page).with_context(|| path.display().to_string())?;
    Ok(path)
}

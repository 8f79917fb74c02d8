//! `experiments report`: one page that can be read without a network, from what is on
//! disk.

mod html;
pub mod section;

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
#[error("{}: holds no results; experiments run NAME --out {} measures some", .0.display(), .0.display())]
pub struct NoResults(pub PathBuf);

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
        let (records, damaged) = store.records(experiment.name)?;
        notes.extend(damaged.iter().map(|why| format!("Left out: {why}")));
        if records.is_empty() {
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
        let section = section(&shown).with_context(|| experiment.name.to_owned())?;
        chapters.push((experiment, section, shown.records));
    }
    if chapters.is_empty() {
        return Err(NoResults(store.root().to_owned()).into());
    }
    let path = store.root().join(REPORT_FILE);
    let page = html::page(&chapters, &notes);
    fs::write(&path, page).with_context(|| path.display().to_string())?;
    Ok(path)
}

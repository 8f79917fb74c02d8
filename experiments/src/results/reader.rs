//! Reading results back: what tables and plots are made from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::latencies::Latencies;
use super::row::{RowName, SummaryRow, WindowRow};
use super::settings::Settings;

/// The results in one directory.
#[derive(Debug)]
pub struct Recorded {
    directory: PathBuf,
    /// What the run depended on.
    pub settings: Settings,
    /// One row per measured operation, in the order of measuring.
    pub summary: Vec<SummaryRow>,
    /// The same rows' circumstances.
    pub windows: Vec<WindowRow>,
}

impl Recorded {
    /// Reads a directory's tables.
    ///
    /// # Errors
    /// A file is missing or not as [`super::Writer`] writes it; it is named.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            settings: read_json(&directory.join("settings.json"))?,
            summary: read_json(&directory.join("summary.json"))?,
            windows: read_json(&directory.join("windows.json"))?,
        })
    }

    /// The row of a system, an operation and a condition.
    pub fn row(&self, system: &str, operation: &str, condition: &str) -> Option<&SummaryRow> {
        self.summary.iter().find(|row| {
            let name = &row.name;
            name.system == system && name.operation == operation && name.condition == condition
        })
    }

    /// The circumstances of a row.
    pub fn window(&self, name: &RowName) -> Option<&WindowRow> {
        self.windows.iter().find(|window| window.name == *name)
    }

    /// A row's latencies.
    ///
    /// # Errors
    /// The file is missing or no histogram; it is named.
    pub fn latencies(&self, name: &RowName) -> anyhow::Result<Latencies> {
        let stem = self.directory.join("histograms").join(name.file_stem());
        let path = stem.with_extension("hdr");
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Latencies::from_hdr(&bytes).with_context(|| path.display().to_string())
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

//! Writing results, row by row.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::directory::ResultsDirectory;
use super::latencies::Latencies;
use super::row::{SummaryRow, WindowRow};
use super::settings::Settings;

/// Writes one run's results. Every call leaves the directory readable as it is.
pub struct Writer {
    directory: ResultsDirectory,
    settings: Settings,
    summary: Vec<SummaryRow>,
    windows: Vec<WindowRow>,
}

impl Writer {
    /// Writes the settings, marked incomplete, and empty tables.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn new(directory: ResultsDirectory, settings: Settings) -> anyhow::Result<Self> {
        let settings = Settings {
            complete: false,
            incomplete_because: Some("it is running, or was killed".to_owned()),
            ..settings
        };
        let writer = Self {
            directory,
            settings,
            summary: Vec::new(),
            windows: Vec::new(),
        };
        let histograms = writer.path().join("histograms");
        fs::create_dir(&histograms).with_context(|| histograms.display().to_string())?;
        writer.write_tables()?;
        writer.write_json("settings.json", &writer.settings)?;
        Ok(writer)
    }

    /// Where the results are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether no row was written yet.
    pub fn is_empty(&self) -> bool {
        self.summary.is_empty()
    }

    /// Writes one row and its histogram.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn record(&mut self, window: WindowRow, latencies: &Latencies) -> anyhow::Result<()> {
        let histogram = self.path().join("histograms").join(window.name.file_stem());
        write(&histogram.with_extension("hdr"), &latencies.to_hdr()?)?;
        write(&histogram.with_extension("csv"), latencies.csv().as_bytes())?;
        let failed = window.failures.values().sum();
        self.summary
            .push(SummaryRow::new(window.name.clone(), failed, latencies));
        self.windows.push(window);
        self.write_tables()
    }

    /// Says how the run ended: `incomplete_because` is none where all was measured.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn finish(&mut self, seconds: f64, incomplete_because: Option<&str>) -> anyhow::Result<()> {
        self.settings.seconds = Some(seconds);
        self.settings.complete = incomplete_because.is_none();
        self.settings.incomplete_because = incomplete_because.map(str::to_owned);
        self.write_json("settings.json", &self.settings)
    }

    /// Removes everything: for a run that never began.
    pub fn discard(self) {
        self.directory.discard();
    }

    fn write_tables(&self) -> anyhow::Result<()> {
        self.write_json("summary.json", &self.summary)?;
        self.write_json("windows.json", &self.windows)
    }

    fn write_json(&self, name: &str, content: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(content)?;
        text.push('\n');
        write(&self.path().join(name), text.as_bytes())
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

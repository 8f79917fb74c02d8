//! What an experiment shows in the report.

use std::path::Path;

use anyhow::Context;

use crate::plot::cdf::{CdfFigure, draw as draw_cdf};
use crate::plot::ranges::{Range, RangeFigure, draw as draw_ranges};
use crate::plot::xy::{XyFigure, draw as draw_xy};
use crate::step::{Operation, StepRecord, StepStore, Traffic, WindowRecord};

/// An experiment's results.
pub struct Shown<'a> {
    /// Where latencies are.
    pub store: &'a StepStore,
    /// All records, by the steps' names.
    pub records: Vec<StepRecord>,
    /// Where charts go.
    pub charts: &'a Path,
}

/// A part of the report.
#[derive(Debug, Default)]
pub struct Section {
    /// What was done, and what to see.
    pub paragraphs: Vec<String>,
    /// Charts, as SVG.
    pub charts: Vec<String>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    /// Above it: what, on which link.
    pub caption: String,
    /// Columns.
    pub header: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
    /// Under it: how to read its cells.
    pub below: String,
}

impl Table {
    /// One without rows.
    pub fn new(caption: impl Into<String>, header: &[&str]) -> Self {
        Self {
            caption: caption.into(),
            header: header.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
            below: String::new(),
        }
    }

    /// Says how to read its cells.
    pub fn below(mut self, words: impl Into<String>) -> Self {
        self.below = words.into();
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Shown<'_> {
    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&StepRecord> {
        self.records.iter().find(|record| record.step.name == name)
    }

    /// A window's kept latencies as steps of a distribution.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn distribution(
        &self,
        record: &StepRecord,
        window: &WindowRecord,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let stem = window.window.file_stem();
        Ok(self.store.latencies(&record.step, &stem)?.steps())
    }

    /// Draws a chart into its file, and yields it.
    ///
    /// # Errors
    /// There is nothing to draw, or the file can't be written.
    pub fn cdf(&self, name: &str, figure: &CdfFigure) -> anyhow::Result<String> {
        self.chart(name, |path| draw_cdf(path, figure))
    }

    /// The same for a chart of points or lines.
    ///
    /// # Errors
    /// The same.
    pub fn xy(&self, name: &str, figure: &XyFigure) -> anyhow::Result<String> {
        self.chart(name, |path| draw_xy(path, figure))
    }

    /// The same for a chart of ranges; none where no row has a latency, which must not cost
    /// the tables.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn ranges(&self, name: &str, figure: &RangeFigure) -> anyhow::Result<Vec<String>> {
        let has_latency = |row: &Range| row.ms.is_some() || row.idle_ms.is_some();
        if !figure.rows.iter().any(has_latency) {
            return Ok(Vec::new());
        }
        let chart = self.chart(name, |path| draw_ranges(path, figure))?;
        Ok(vec![chart])
    }

    fn chart(
        &self,
        name: &str,
        draw: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let path = self.charts.join(format!("{name}.svg"));
        draw(&path)?;
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

/// A step's window by what was measured; the first of several.
pub fn window<'a>(
    record: &'a StepRecord,
    system: &str,
    operation: Operation,
    traffic_id: &str,
) -> Option<&'a WindowRecord> {
    record.windows.iter().find(|window| {
        let spec = &window.window;
        spec.system == system && spec.operation == operation && spec.traffic.id() == traffic_id
    })
}

/// The median of the idle window of the same operation and number at once; none without one,
/// and none where half of its operations or more may be failed ones: their times would raise
/// what a congested window is held to.
pub fn idle_median(record: &StepRecord, window: &WindowRecord) -> Option<f64> {
    let spec = &window.window;
    let is_its = |other: &&WindowRecord| {
        let other = &other.window;
        other.system == spec.system
            && other.operation == spec.operation
            && other.at_once == spec.at_once
            && other.traffic == Traffic::Idle
    };
    let idle = record.windows.iter().find(is_its)?;
    (idle.kept.n > 2 * idle.failed()).then_some(idle.kept.p50_ms)
}

/// Milliseconds as people read them.
pub fn ms(ms: f64) -> String {
    match ms {
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

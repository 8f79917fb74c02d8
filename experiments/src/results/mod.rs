//! What an experiment leaves behind, the same for all of them.
//!
//! ```text
//! DIR/settings.json    everything that the run depended on; whether it is complete
//! DIR/summary.json     an array of SummaryRow: one row per measured operation
//! DIR/windows.json     an array of WindowRow: failures by cause, warm-up, the link's counters
//! DIR/histograms/SYSTEM-OPERATION-CONDITION.hdr   every latency in µs (HdrHistogram V2)
//! DIR/histograms/SYSTEM-OPERATION-CONDITION.csv   its percentiles in ms
//! DIR/*.svg            drawn from the files above
//! ```
//!
//! Files are written as soon as a row is measured, so that a run that is cut short
//! leaves what it has. Plots and tables read the files and nothing else.

mod directory;
mod latencies;
mod reader;
mod row;
mod settings;
mod writer;

pub use directory::{DirectoryError, ResultsDirectory, default_directory};
pub use latencies::{LATENCY_MAX, Latencies, LatenciesError};
pub use reader::Recorded;
pub use row::{RowName, SummaryRow, WarmUp, WindowRow};
pub use settings::{Link, Machine, Settings};
pub use writer::Writer;

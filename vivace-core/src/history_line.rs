//! Histories as JSON lines, one operation each, for whoever writes them (feature
//! `history`). What the fields mean is told where they
//! are read, in `linearizability::json`.

use std::io;

use serde::Serialize;
use serde_json::Value;

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryLine<'a> {
    /// Who asked; unique in one file.
    pub client: u32,
    /// `read`, `write`, `execute` or `read_state`.
    pub kind: &'static str,
    /// The object.
    pub key: &'a str,
    /// What was written, added or commanded; null where nothing was.
    pub arg: Value,
    /// What was read or put out; null where there was nothing.
    pub ret: Value,
    /// When it began, in nanoseconds: since the Unix epoch, or virtual.
    pub start_ns: u64,
    /// When it ended; none where it may take effect at any later time.
    pub end_ns: Option<u64>,
    /// `ok`, `conflict`, or a word for "surely without effect" or, without an end, for
    /// "unknown".
    pub outcome: &'static str,
}

impl HistoryLine<'_> {
    /// Writes the line and its end.
    ///
    /// # Errors
    /// Those of `out`; part of the line may be written then.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

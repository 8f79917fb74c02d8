//! What a run found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::HISTORY_FILE;

/// The file with the figures.
pub const REPORT_FILE: &str = "crash.json";

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Processes killed.
    pub kills: u32,
    /// Of those, while they started.
    pub kills_while_starting: u32,
    /// Rounds in which all were killed at once.
    pub all_at_once: u32,
    /// Operations, failed ones too, without the last reads.
    pub operations: u64,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// The operation that took longest, in ms.
    pub slowest_ms: f64,
    /// Operations that ended more than half a second after their deadline, not counted
    /// the time in which the clients' thread did not have its turn.
    pub late: u64,
    /// The longest that the clients' thread waited for its turn, in ms.
    pub stalled_max_ms: f64,
    /// How often the disk was full.
    pub times_full: u32,
    /// Starts that were refused because it was; after that they were not.
    pub refused_full: u32,
    /// From a process's start until it answered a client: half don't exceed it; ms.
    pub restart_p50_ms: f64,
    /// The longest.
    pub restart_max_ms: f64,
    /// Acknowledged writes, steps and items that the last reads miss.
    pub lost: u64,
    /// Nodes that refused to start, ended by themselves, or never served.
    pub faults: Vec<String>,
    /// Keys that could not be read at the end.
    pub unread: Vec<String>,
    /// Keys in the history.
    pub keys: usize,
    /// Those whose answers no order explains.
    pub not_linearizable: Vec<String>,
}

impl CrashReport {
    /// Whether all is as promised.
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.late == 0
            && self.faults.is_empty()
            && self.unread.is_empty()
            && self.not_linearizable.is_empty()
    }

    /// The report for people; `out` is where the results are.
    pub fn text(&self, out: &Path) -> String {
        let failures: Vec<String> = self
            .failures
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let failures = match failures.is_empty() {
            true => "none failed".to_owned(),
            false => failures.join(", "),
        };
        let mut text = format!(
            "Kills            {} ({} while starting; {} times all at once)\n\
             Operations       {} ({failures})\n\
             Slowest          {:.0} ms; {} ended well after their deadline; the clients' \
             thread waited {:.0} ms at most\n\
             Restart to serve p50 {:.0} ms, max {:.0} ms\n\
             Lost             {} acknowledged writes\n\
             Refused to start {}\n\
             Linearizable     {} of {} keys\n",
            self.kills,
            self.kills_while_starting,
            self.all_at_once,
            self.operations,
            self.slowest_ms,
            self.late,
            self.stalled_max_ms,
            self.restart_p50_ms,
            self.restart_max_ms,
            self.lost,
            self.faults.len(),
            self.keys - self.not_linearizable.len(),
            self.keys,
        );
        if self.times_full > 0 {
            let _ = writeln!(
                text,
                "Full disk        {} times; {} starts waited for space",
                self.times_full, self.refused_full
            );
        }
        for wrong in [&self.faults, &self.unread, &self.not_linearizable] {
            for line in wrong {
                let _ = writeln!(text, "VIOLATION: {line}");
            }
        }
        if self.late > 0 {
            let _ = writeln!(text, "VIOLATION: clients waited beyond their deadlines");
        }
        if self.is_clean() {
            let _ = writeln!(text, "\nResults are in {}", out.display());
        } else {
            let _ = writeln!(
                text,
                "\nResults, logs and data directories are in {}; to judge the history again:\n  \
                 cargo run --release -p vivace-core --features sim --bin vivace-sim -- check {}",
                out.display(),
                out.join(HISTORY_FILE).display()
            );
        }
        text
    }
}

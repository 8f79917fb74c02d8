//! The table of message delays.

use serde_json::{Value, json};
use vivace_core::sim::delays::{copies, counts};

use crate::Fault;
use crate::output::say;

/// Prints it, as a table or as JSON.
pub fn delays(as_json: bool) -> Result<(), Fault> {
    if as_json {
        say!("{}", in_json());
        return Ok(());
    }
    say!("δ: inside a site; d: priority, between sites; D: bulk, between sites");
    say!("(Vivace §4.1, Fig. 2 and 3). m = 1, n = 3, a replica in each site.\n");
    let dash = || "-".to_owned();
    say!(
        "{:<18} {:<38} {:<13} {:<13} why they differ",
        "algorithm",
        "operation",
        "paper",
        "counted"
    );
    for row in counts() {
        let paper = row.paper.map_or_else(dash, |sum| sum.to_string());
        say!(
            "{:<18} {:<38} {paper:<13} {:<13} {}",
            row.algorithm,
            row.operation,
            row.counted,
            row.why
        );
    }
    say!("\nCopies of a value over one link between sites, per write:\n");
    say!(
        "{:<18} {:<38} {:<13} {:<13} why they differ",
        "algorithm",
        "local set, replicas at the other end",
        "paper",
        "counted"
    );
    for row in copies() {
        let setting = format!("m = {}, {} replicas", row.local_set, row.replicas);
        say!(
            "{:<18} {setting:<38} {:<13} {:<13} {}",
            row.algorithm,
            row.paper,
            row.counted,
            row.why
        );
    }
    Ok(())
}

/// The same rows: `{"delays": [...], "copies": [...]}`.
fn in_json() -> Value {
    let delay = |row: vivace_core::sim::delays::Count| {
        json!({
            "algorithm": row.algorithm,
            "operation": row.operation,
            "paper": row.paper.map(|sum| sum.to_string()),
            "counted": row.counted.to_string(),
            "why": row.why,
        })
    };
    let copy = |row: vivace_core::sim::delays::Copies| {
        json!({
            "algorithm": row.algorithm,
            "setting": format!("m = {}, {} replicas at the other end", row.local_set, row.replicas),
            "paper": row.paper,
            "counted": row.counted,
            "why": row.why,
        })
    };
    json!({
        "delays": counts().into_iter().map(delay).collect::<Vec<_>>(),
        "copies": copies().into_iter().map(copy).collect::<Vec<_>>(),
    })
}

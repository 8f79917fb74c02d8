//! The paper's Fig. 2 and 3: message delays, counted exactly by the simulator.

use serde_json::Value;

use crate::catalog::Scale;
use crate::report::{Section, Shown, Table};
use crate::step::{Step, Work};

const NAME: &str = "fig-2-3";

/// The one step.
pub fn steps(scale: &Scale) -> Vec<Step> {
    vec![Step {
        experiment: NAME.to_owned(),
        name: "delays".to_owned(),
        seed: scale.seed,
        work: Work::Delays,
    }]
}

/// Its part of the report.
///
/// # Errors
/// None now.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let nothing = Value::Null;
    let data = shown
        .records
        .first()
        .map_or(&nothing, |record| &record.data);
    let mut delays = Table::new(
        "δ: inside a site; d: priority, between sites; D: bulk, between sites. Simulated, so on no \
         link",
        &[
            "algorithm",
            "operation",
            "paper",
            "counted",
            "why they differ",
        ],
    );
    fill(
        &mut delays,
        &data["delays"],
        ["algorithm", "operation", "paper", "counted", "why"],
    );
    let mut copies = Table::new(
        "Copies of a value over one link between sites, per write",
        &[
            "algorithm",
            "setting",
            "paper",
            "counted",
            "why they differ",
        ],
    );
    fill(
        &mut copies,
        &data["copies"],
        ["algorithm", "setting", "paper", "counted", "why"],
    );
    Ok(Section {
        paragraphs: vec![
            "Every operation of each algorithm runs in the simulator over links whose delays are \
             told apart, and what it waited for is counted."
                .to_owned(),
        ],
        charts: Vec::new(),
        tables: vec![delays, copies],
    })
}

fn fill(table: &mut Table, rows: &Value, fields: [&str; 5]) {
    for row in rows.as_array().into_iter().flatten() {
        table.row(fields.map(|field| match &row[field] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        }));
    }
}

//! A step that has the simulator count message delays.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::tools::Tools;

/// What `vivace-sim delays --json` says.
///
/// # Errors
/// It can't be run, or says something else.
pub fn measure(tools: &Tools) -> anyhow::Result<Value> {
    let program = tools
        .simulator
        .as_ref()
        .map_err(|why| anyhow::anyhow!("{why}"))?;
    let output = Command::new(program)
        .args(["delays", "--json"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| program.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "vivace-sim: {}", said.trim());
    serde_json::from_slice(&output.stdout).context("vivace-sim says what is no JSON")
}

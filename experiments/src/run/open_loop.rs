//! An open loop by `vivace bench`, at a part of what a closed loop of it reaches.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::cpu::Spent;
use crate::step::record::Percentiles;
use crate::step::{BenchLoad, BenchRow, BenchStore, BenchWork};

/// Clients of the closed loop that finds the peak.
const PEAK_CLIENTS: &str = "64";

/// How many keys there are.
const KEYS: &str = "10000";

/// The command, and whom it loads.
pub struct Bench<'a> {
    /// `vivace`.
    pub command: &'a Path,
    /// The client's file.
    pub client: &'a Path,
    /// For its working directory.
    pub directory: &'a Path,
    /// The store's.
    pub processes: &'a [u32],
}

impl Bench<'_> {
    /// Finds the peak, and measures at a part of it.
    ///
    /// # Errors
    /// The command fails, or says what is no report.
    pub async fn measure(
        &self,
        work: &BenchWork,
        load: &BenchLoad,
        store: BenchStore,
        round: u32,
    ) -> anyhow::Result<BenchRow> {
        let BenchLoad::Open {
            mix,
            percent_of_peak,
            value_bytes,
            skew,
        } = load
        else {
            bail!("a closed loop is no open one");
        };
        let mut words: Vec<String> = ["--mix", mix.as_str(), "--keys", KEYS, "--value-bytes"]
            .map(str::to_owned)
            .to_vec();
        words.push(value_bytes.to_string());
        if let Some(skew) = skew {
            let skew = skew.to_string();
            words.extend(["--distribution", "zipfian", "--skew", skew.as_str()].map(str::to_owned));
        }
        let clients = ["--clients", PEAK_CLIENTS].map(str::to_owned);
        let peak = self.run(work, words.iter().chain(&clients)).await?;
        let peak = peak["per_s"].as_f64().context("a report has a rate")?;
        let rate = peak * f64::from(*percent_of_peak) / 100.0;
        let before = Spent::now(self.processes)?;
        let asked = ["--rate".to_owned(), format!("{rate:.1}")];
        let report = self.run(work, words.iter().chain(&asked)).await?;
        let spent = Spent::now(self.processes)?.since(before);
        // The command's own warm-up is among what it spent.
        let part = work.seconds / (work.seconds + work.warm_up_seconds);
        row(&report, load, store, round, (rate, spent, part))
    }

    async fn run(
        &self,
        work: &BenchWork,
        words: impl Iterator<Item = &String>,
    ) -> anyhow::Result<Value> {
        let ms = |seconds: f64| format!("{:.0}ms", seconds * 1e3);
        let output = tokio::process::Command::new(self.command)
            .args(["--json", "bench", "--duration", &ms(work.seconds)])
            .args(["--warm-up", &ms(work.warm_up_seconds)])
            .args(words)
            .env("VIVACE_CONFIG", self.client)
            .current_dir(self.directory)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| self.command.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "vivace bench: {}", said.trim());
        serde_json::from_slice(&output.stdout).context("vivace bench says what is no JSON")
    }
}

fn row(
    report: &Value,
    load: &BenchLoad,
    store: BenchStore,
    round: u32,
    (rate, spent, part): (f64, Spent, f64),
) -> anyhow::Result<BenchRow> {
    let kinds = report["operations"].as_object();
    let kinds = kinds.context("a report tells of operations")?;
    let n = |kind: &Value| kind["n"].as_u64().unwrap_or(0);
    let most = kinds.values().max_by_key(|kind| n(kind));
    let most = most.context("a mix has a part")?;
    let ms = |point: &str| most["latency_ms"][point].as_f64().unwrap_or(0.0);
    let mut failures = std::collections::BTreeMap::new();
    for kind in kinds.values() {
        for (cause, count) in kind["failures"].as_object().into_iter().flatten() {
            *failures.entry(cause.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    let all: u64 = kinds.values().map(n).sum();
    let per_operation =
        |time: std::time::Duration| time.as_secs_f64() * 1e6 * part / all.max(1) as f64;
    Ok(BenchRow {
        store,
        load: load.clone(),
        round,
        per_second: report["per_s"].as_f64().unwrap_or(0.0),
        latency: Percentiles {
            n: n(most),
            min_ms: ms("min"),
            p50_ms: ms("p50"),
            p90_ms: ms("p90"),
            p99_ms: ms("p99"),
            p999_ms: ms("p99.9"),
            max_ms: ms("max"),
        },
        failures,
        store_cpu_us: per_operation(spent.processes),
        load_cpu_us: per_operation(spent.own),
        rate: Some(rate),
    })
}

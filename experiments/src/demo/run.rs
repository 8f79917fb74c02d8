//! Measuring the demo's rows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use vivace_client::Client;

use super::arguments::{DemoArguments, OPERATION_DEADLINE, WARM_UP_OPERATIONS};
use super::plan::{Condition, Operation, Row, System, rows};
use crate::interrupt::Interrupt;
use crate::link_usage;
use crate::progress::Progress;
use crate::results::{ResultsDirectory, WarmUp, WindowRow, Writer};
use crate::settling::{Settled, settle};
use crate::two_sites::TwoSites;
use crate::window::{Measured, measure, warm_up};
use crate::workload::Workload;

/// How long a row waits for the values of those before it to reach their replicas.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// Each system's one object.
const KEY: &str = "object";

/// How long starting usually takes; for the estimate alone.
const START_TYPICAL: Duration = Duration::from_secs(2);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every row was measured for its full time.
    Complete,
    /// The user stopped it; what was measured is kept and marked incomplete.
    Interrupted,
    /// The user stopped it before anything was measured; nothing is kept.
    Unbegun,
}

/// How long a run will probably take.
pub fn planned(arguments: &DemoArguments) -> Duration {
    let rows = rows(&arguments.only, arguments.rmw_reads);
    START_TYPICAL
        + rows
            .iter()
            .map(|row| planned_row(arguments, row))
            .sum::<Duration>()
}

/// A row's window, and for settling and warming up some ten round trips; those take
/// longer where the buffers are full.
fn planned_row(arguments: &DemoArguments, row: &Row) -> Duration {
    let link = arguments.link();
    let rtt = Duration::from_secs_f64(link.rtt_ms / 1000.0);
    let queued = 2.0 * link.buffer_bytes as f64 * 8.0 / link.rate_bits_per_second as f64;
    let beside = match row.condition {
        Condition::Idle => 6 * rtt,
        Condition::Congested => 6 * (rtt + Duration::from_secs_f64(queued)),
    };
    arguments.window() + beside
}

/// Runs the demo and writes its results into `out`; `started` is when it began
/// (RFC 3339). Tables and charts are left to the reader of the results.
///
/// # Errors
/// `out` can't be used ([`crate::results::DirectoryError`]), the cluster does not
/// start, or a row can't be prepared. Where no row was measured, nothing is left in
/// `out`; else the results are marked incomplete.
pub async fn run(
    arguments: &DemoArguments,
    out: &Path,
    started: &str,
    interrupt: &Interrupt,
    mut progress: Progress,
) -> anyhow::Result<Ended> {
    let begun = Instant::now();
    let rows = rows(&arguments.only, arguments.rmw_reads);
    let directory = ResultsDirectory::claim(out)?;
    let mut writer = Writer::new(directory, arguments.settings(&rows, started))?;
    progress.begin("starting five nodes in two sites", START_TYPICAL);
    let result = async {
        let start = interrupt
            .unless_raised(Run::start(arguments, &rows, interrupt))
            .await;
        let Some(run) = start else {
            return Ok(Ended::Unbegun);
        };
        run?.measure_all(&rows, &mut writer, &mut progress).await
    }
    .await;
    progress.end();
    let seconds = begun.elapsed().as_secs_f64();
    match &result {
        Ok(Ended::Complete) => writer.finish(seconds, None)?,
        _ if writer.is_empty() => {
            writer.discard();
            return result.map(|_| Ended::Unbegun);
        }
        Ok(_) => writer.finish(seconds, Some("it was interrupted"))?,
        Err(error) => writer.finish(seconds, Some(&format!("{error:#}")))?,
    }
    result
}

struct Run<'a> {
    arguments: &'a DemoArguments,
    interrupt: &'a Interrupt,
    sites: TwoSites,
    workloads: Vec<(System, Workload)>,
    is_congested: bool,
}

impl<'a> Run<'a> {
    /// Starts the cluster, and writes each system's object while the link is idle.
    async fn start(
        arguments: &'a DemoArguments,
        rows: &[Row],
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Self> {
        let sites = TwoSites::start(&arguments.link(), arguments.seed).await?;
        let client = sites.client(OPERATION_DEADLINE).await?;
        let mut run = Self {
            arguments,
            interrupt,
            sites,
            workloads: Vec::new(),
            is_congested: false,
        };
        for row in rows {
            if run
                .workloads
                .iter()
                .all(|(system, _)| *system != row.system)
            {
                let mut workload = run.workload(&client, row.system);
                workload
                    .prepare()
                    .await
                    .with_context(|| format!("first {}", row.words()))?;
                run.workloads.push((row.system, workload));
            }
        }
        Ok(run)
    }

    fn workload(&self, client: &Client, system: System) -> Workload {
        let make = if system.has_commands() {
            Workload::map
        } else {
            Workload::value
        };
        let (bytes, seed) = (self.arguments.payload_bytes, self.arguments.seed);
        make(client, system.id(), KEY, OPERATION_DEADLINE, bytes, seed)
    }

    async fn measure_all(
        &mut self,
        rows: &[Row],
        writer: &mut Writer,
        progress: &mut Progress,
    ) -> anyhow::Result<Ended> {
        for (number, row) in (1..).zip(rows) {
            let words = format!("{number} of {}: {}", rows.len(), row.words());
            progress.begin(words, planned_row(self.arguments, row));
            if row.condition == Condition::Congested && !self.is_congested {
                self.sites.congest()?;
                self.is_congested = true;
                let full = self.sites.wait_until_full(self.arguments.fill_patience());
                // The row's record says how full they were; an interrupt is seen below.
                let _ = self.interrupt.unless_raised(full).await;
            }
            self.measure_row(row, writer, progress).await?;
            if self.interrupt.is_raised() {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Complete)
    }

    async fn measure_row(
        &mut self,
        row: &Row,
        writer: &mut Writer,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let settling = settle(self.sites.cluster(), SETTLE_PATIENCE);
        let Some(settled) = self.interrupt.unless_raised(settling).await else {
            return Ok(());
        };
        let workload = self
            .workloads
            .iter_mut()
            .find(|(system, _)| *system == row.system);
        let (_, workload) = workload.context("every row's system has an object")?;
        let mut operation = async || match row.operation {
            Operation::Read => workload.read().await,
            Operation::Write | Operation::Execute => workload.change().await,
        };
        let warm_up = warm_up(WARM_UP_OPERATIONS, self.interrupt, &mut operation).await;

        let wan = self.sites.wan();
        let before = wan.stats();
        wan.take_lateness();
        let on_progress = |elapsed| progress.at(elapsed);
        let measured = measure(
            self.arguments.window(),
            self.interrupt,
            operation,
            on_progress,
        )
        .await;
        let lateness = wan.take_lateness().into();
        let links = link_usage::between(&before, &wan.stats());

        if measured.latencies.is_empty() {
            // Interrupted before its first operation ended: there is nothing to keep.
            return Ok(());
        }
        let window = WindowRow {
            links,
            lateness,
            ..circumstances(row, &measured, warm_up, settled)
        };
        writer.record(window, &measured.latencies)
    }
}

fn circumstances(row: &Row, measured: &Measured, warm_up: WarmUp, settled: Settled) -> WindowRow {
    WindowRow {
        name: row.name(),
        complete: measured.complete,
        seconds: measured.seconds,
        failures: measured.failures.clone(),
        warm_up,
        settled_after_ms: settled.after.as_millis() as u64,
        settled: settled.complete,
        links: Vec::new(),
        lateness: netem::Lateness::default().into(),
    }
}

//! Measuring one step, of whatever kind.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::revision::revision;
use super::tools::Tools;
use super::{bench_step, delays, round_trips, store_step};
use crate::progress::Progress;
use crate::results::Machine;
use crate::step::record::Setup;
use crate::step::{Step, StepRecord, StepStore, Work};

/// What counting in the simulator takes.
const DELAYS_TYPICAL: Duration = Duration::from_secs(1);

/// How long a step will probably take.
pub fn planned(step: &Step) -> Duration {
    match &step.work {
        Work::Store(work) => store_step::planned(work),
        Work::RoundTrips(work) => round_trips::planned(work),
        Work::Delays => DELAYS_TYPICAL,
        Work::Bench(work) => bench_step::planned(work),
    }
}

/// Measures a step, whose stores keep their data in `data`, and puts its record on disk.
///
/// # Errors
/// What could not be started, measured or written; nothing is left of the step then.
pub async fn measure(
    step: &Step,
    tools: &Tools,
    store: &StepStore,
    (setup, data): (&Setup, &Path),
    progress: &Progress,
) -> anyhow::Result<StepRecord> {
    let begun = Instant::now();
    let started = OffsetDateTime::now_utc().replace_nanosecond(0)?;
    let draft = store.draft(step)?;
    let (mut windows, mut notes, mut found) = (Vec::new(), Vec::new(), Value::Null);
    match &step.work {
        Work::Store(work) => {
            (windows, notes) =
                store_step::measure(step, work, tools, data, &draft, progress).await?;
        }
        Work::RoundTrips(work) => {
            found = round_trips::measure(step, work, tools, &draft, progress).await?;
        }
        Work::Delays => found = delays::measure(tools)?,
        Work::Bench(work) => {
            (found, notes) = bench_step::measure(work, tools, data, progress).await?;
        }
    }
    let record = StepRecord {
        step: step.clone(),
        revision: revision(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.format(&Rfc3339)?,
        seconds: begun.elapsed().as_secs_f64(),
        machine: Machine::this(),
        setup: Setup {
            etcd: tools.etcd_version(step),
            ..setup.clone()
        },
        windows,
        data: found,
        notes,
    };
    draft.publish(&record)?;
    Ok(record)
}

//! Nodes that are killed: real processes, disks and QUIC on loopback under load,
//! `kill -9` in the midst, and clients' histories judged afterwards.
//!
//! ```text
//! rounds (kills, restarts) ─▶ nodes (processes)
//!                               ▲ QUIC
//! clients (a thread: load) ─────┘
//!   └─▶ record (history.jsonl, what was acknowledged) ─▶ judge ─▶ report
//! ```

mod acknowledged;
mod arguments;
mod clients;
mod judge;
mod load;
mod node_process;
mod nodes;
mod record;
mod report;
mod rounds;
mod run;
mod small_disk;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use arguments::{CrashArguments, Storage};
pub use node_process::{NODE_PROCESS, NodeProcessArguments, run_node};
pub use report::{CrashReport, REPORT_FILE};
pub use run::{Verdict, run};

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::results::default_directory;

/// Its name on the command line and in results.
pub const NAME: &str = "crash";

/// Kills, judges, writes, and prints what came of it.
///
/// # Errors
/// The run's; see [`run`].
pub fn command(arguments: &CrashArguments) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let started = OffsetDateTime::now_utc()
        .replace_nanosecond(0)?
        .format(&Rfc3339)?;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => default_directory(NAME, &started),
    };
    let (verdict, report) = runtime.block_on(async {
        let interrupt = Interrupt::listen()?;
        let progress = Progress::new(rounds::planned(arguments));
        run(arguments, &out, &started, &interrupt, progress).await
    })?;
    print!("{}", report.text(&out));
    Ok(verdict)
}

//! The main result in under three minutes: two prior algorithms and Vivace's two, on
//! one link, idle and full (Vivace, Fig. 5 to 7).

mod arguments;
mod figure;
mod plan;
mod run;
mod table;
mod verdict;

use std::path::Path;

use anyhow::Context;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use arguments::{DemoArguments, OPERATION_DEADLINE, WARM_UP_OPERATIONS};
pub use figure::FIGURE_FILE;
pub use plan::{Condition, Only, Operation, Row, System, rows};
pub use run::{Ended, planned, run};
pub use table::table;
pub use verdict::{TARGET, verdict};

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::results::{Recorded, default_directory};

/// Its name on the command line and in results.
pub const NAME: &str = "demo";

/// Measures, writes, and prints the table, the verdict and where the results are.
///
/// # Errors
/// The run's; see [`run`].
pub fn command(arguments: &DemoArguments) -> anyhow::Result<Ended> {
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
    let ended = runtime.block_on(async {
        let interrupt = Interrupt::listen()?;
        let progress = Progress::new(planned(arguments));
        run(arguments, &out, &started, &interrupt, progress).await
    })?;
    match ended {
        Ended::Complete | Ended::Interrupted => print!("{}", report(&out)?),
        Ended::Unbegun => eprintln!("stopped before anything was measured; nothing was kept"),
    }
    Ok(ended)
}

/// Draws the figure from the results in `out`, and puts out the table, the verdict
/// and where everything is.
fn report(out: &Path) -> anyhow::Result<String> {
    let recorded = Recorded::read(out)?;
    figure::draw(&recorded, out).context("the figure can't be drawn")?;
    Ok(format!(
        "{}\n{}\n\nResults are in {} (chart: {FIGURE_FILE})\n",
        table(&recorded),
        verdict(&recorded),
        out.display()
    ))
}

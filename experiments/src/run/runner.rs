//! The run: which steps there are, which are done, and the rest one after the other.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::arguments::RunArguments;
use super::measure::{measure, planned};
use super::request;
use super::revision::revision;
use super::tools::{Tools, installed_etcd};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report;
use crate::step::record::Setup;
use crate::step::{BenchData, Found, Step, StepRecord, StepStore};
use crate::wan::clear_away_dead_runs;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that can be measured here is on disk.
    Complete,
    /// Some steps failed.
    Failed,
    /// The user stopped it.
    Interrupted,
}

/// Runs what the command line says, and writes the report.
///
/// # Errors
/// A name is wrong, or results can't be written. A step that fails is reported and does
/// not end the run.
pub fn command(arguments: &RunArguments) -> anyhow::Result<Ended> {
    let steps = request::steps(arguments)?;
    let store = StepStore::open(&arguments.out)?;
    let _alone = alone_in(store.root())?;
    let setup = asked_setup(arguments)?;
    let todo = todo(&store, steps, &setup, arguments.fresh);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = Run {
        arguments,
        store: &store,
        setup,
    };
    let ended = runtime.block_on(run.all(todo))?;
    match report::write(&store, &[]) {
        Ok(page) => println!(
            "\nResults are in {}; report: {}",
            store.root().display(),
            page.display()
        ),
        Err(error) if error.is::<report::NoResults>() => println!("\nNothing was measured."),
        Err(error) => return Err(error),
    }
    Ok(ended)
}

/// Keeps other runs out of a directory of results until it is dropped: they would measure the
/// same steps, and write into the same files.
fn alone_in(results: &Path) -> anyhow::Result<File> {
    let directory = File::open(results).with_context(|| results.display().to_string())?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => bail!(
            "another run is at work in {}: wait for its end, or choose another --out",
            results.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| results.display().to_string())
        }
    }
}

/// What the command line says beside the steps, and what is installed.
fn asked_setup(arguments: &RunArguments) -> anyhow::Result<Setup> {
    let node = |path: &PathBuf| -> anyhow::Result<String> {
        let wrong = || format!("--node {}", path.display());
        let path = path.canonicalize().with_context(wrong)?;
        let built = OffsetDateTime::from(path.metadata().with_context(wrong)?.modified()?);
        let built = built.replace_nanosecond(0)?.format(&Rfc3339)?;
        Ok(format!("{}, of {built}", path.display()))
    };
    Ok(Setup {
        node: arguments.node.as_ref().map(node).transpose()?,
        data: match &arguments.data {
            Some(data) => Some(spelled_out(data)?.display().to_string()),
            None => None,
        },
        etcd: installed_etcd(),
    })
}

/// One path for a directory, however it is written; it need not be there.
fn spelled_out(directory: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(directory)?;
    // Without a slash at the end.
    Ok(absolute
        .canonicalize()
        .unwrap_or_else(|_| absolute.components().collect()))
}

/// The steps that must be measured; says what is skipped, and why others are not.
fn todo(store: &StepStore, steps: Vec<Step>, setup: &Setup, fresh: bool) -> Vec<Step> {
    let (mut done, mut of_other_source, mut todo) = (0, 0, Vec::new());
    for step in steps {
        let name = format!("{}/{}", step.experiment, step.name);
        match store.find(&step) {
            Found::Same(record) if !fresh && record.setup.is_alike(setup) => {
                done += 1;
                of_other_source += u32::from(record.revision != revision());
                continue;
            }
            Found::Same(_) if !fresh => {
                eprintln!("{name}: is there with another --node, --data or etcd; measured again");
            }
            Found::Other => eprintln!("{name}: is there with other settings; measured again"),
            Found::Damaged(why) => eprintln!("{name}: measured again: {why}"),
            Found::Same(_) | Found::Nothing => {}
        }
        todo.push(step);
    }
    if done > 0 {
        eprintln!("{done} steps are there already (--fresh measures them again)");
    }
    if of_other_source > 0 {
        eprintln!("{of_other_source} of them are of another revision of this program");
    }
    todo
}

struct Run<'a> {
    arguments: &'a RunArguments,
    store: &'a StepStore,
    setup: Setup,
}

impl Run<'_> {
    async fn all(&self, steps: Vec<Step>) -> anyhow::Result<Ended> {
        let interrupt = Interrupt::listen()?;
        let tools = Tools::find(self.arguments, &steps)?;
        let steps = self.possible(steps, &tools);
        let data = match &self.arguments.data {
            Some(data) => data.clone(),
            None => self.store.root().to_owned(),
        };
        std::fs::create_dir_all(&data).with_context(|| format!("--data {}", data.display()))?;
        clear_away_dead_runs(tools.netem.as_ref().ok(), &data);
        let mut progress = Progress::new(steps.iter().map(planned).sum());
        let mut failed = Vec::new();
        for (number, step) in (1..).zip(&steps) {
            let words = format!(
                "{number} of {}: {} {}",
                steps.len(),
                step.experiment,
                step.name
            );
            progress.begin(words, planned(step));
            let measuring = measure(step, &tools, self.store, (&self.setup, &data), &progress);
            match interrupt.unless_raised(measuring).await {
                None => {
                    progress.end();
                    eprintln!("stopped; run the same again to go on");
                    return Ok(Ended::Interrupted);
                }
                Some(Ok(record)) => progress.print(&summary(&record)),
                Some(Err(error)) => {
                    let line = format!("{} {}: failed: {error:#}", step.experiment, step.name);
                    progress.print(&line);
                    failed.push(line);
                }
            }
        }
        progress.end();
        for line in &failed {
            eprintln!("{line}");
        }
        Ok(match failed.is_empty() {
            true => Ended::Complete,
            false => Ended::Failed,
        })
    }

    /// Leaves out what this machine can't measure, and says once how to change that.
    fn possible(&self, steps: Vec<Step>, tools: &Tools) -> Vec<Step> {
        let mut said: Vec<(String, usize)> = Vec::new();
        let possible = steps
            .into_iter()
            .filter(|step| match tools.lacking(step) {
                None => true,
                Some(why) => {
                    match said.iter_mut().find(|(other, _)| other == why) {
                        Some((_, count)) => *count += 1,
                        None => said.push((why.to_owned(), 1)),
                    }
                    false
                }
            })
            .collect();
        for (why, count) in said {
            eprintln!("SKIPPED {count} steps: {why}");
        }
        possible
    }
}

/// A finished step in a few lines.
fn summary(record: &StepRecord) -> String {
    let step = &record.step;
    let took = Duration::from_secs_f64(record.seconds).as_secs();
    let mut text = format!("{} {} ({took} s)", step.experiment, step.name);
    for note in &record.notes {
        text += &format!("\n  {note}");
    }
    if let Ok(bench) = serde_json::from_value::<BenchData>(record.data.clone()) {
        for row in &bench.rows {
            text += &format!(
                "\n  {:<9}{:<34} {:>8.0} /s  failed {:>4}  p50 {:>8.2}  p99 {:>8.2} ms  CPU {:>6.0} us",
                row.store.id(),
                row.load.words(),
                row.per_second,
                row.failures.values().sum::<u64>(),
                row.latency.p50_ms,
                row.latency.p99_ms,
                row.store_cpu_us
            );
        }
    }
    for window in &record.windows {
        let kept = &window.kept;
        text += &format!(
            "\n  {:<44} n {:>6}  failed {:>4}  p50 {:>8.1}  p99 {:>8.1}  p99.9 {:>8.1}  max {:>8.1} ms",
            window.window.words(),
            window.all.n,
            window.failed(),
            kept.p50_ms,
            kept.p99_ms,
            kept.p999_ms,
            kept.max_ms
        );
        if kept.n < window.all.n {
            text += &format!(
                "  ({} spoilt set aside; p99.9 of all {:.1} ms)",
                window.all.n - kept.n,
                window.all.p999_ms
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_name_however_it_is_written() {
        let home = std::env::temp_dir();
        let of = |end: &str| {
            let written = format!("{}{end}", home.display());
            spelled_out(Path::new(&written)).expect("absolute")
        };
        assert_eq!(of("/"), of(""));
        assert_eq!(of("/./"), of(""));
        assert_eq!(of("/not/there/"), of("/not/there"));
        assert_ne!(of("/not/there"), of("/not/here"));
    }
}

//! A run from the first start to the verdict.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;

use super::NAME;
use super::arguments::CrashArguments;
use super::clients::Clients;
use super::judge::{LastReads, judge, read_all};
use super::load::Load;
use super::nodes::{NodeFault, Nodes};
use super::record::{Record, Recorded, Tally};
use super::report::{CrashReport, REPORT_FILE};
use super::rounds::{Killer, Rounds};
use super::small_disk::SmallDisk;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::results::{ResultsDirectory, RowName, WarmUp, WindowRow, Writer};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All kills were done, and all is as promised.
    Clean,
    /// Something is not.
    Violated,
    /// The user stopped it; up to there all was as promised.
    Interrupted,
}

/// Starts the nodes, kills them under load, reads every key, judges, and writes results
/// into `out`; `started` is when it began (RFC 3339). No process is left.
///
/// # Errors
/// `out` can't be used ([`crate::results::DirectoryError`]), or a program or file of the
/// run can't.
pub async fn run(
    arguments: &CrashArguments,
    out: &Path,
    started: &str,
    interrupt: &Interrupt,
    mut progress: Progress,
) -> anyhow::Result<(Verdict, CrashReport)> {
    let begun = Instant::now();
    let directory = ResultsDirectory::claim(out)?;
    let mut writer = Writer::new(directory, arguments.settings(started))?;
    let ended = measure(arguments, out, interrupt, &mut progress).await;
    progress.end();
    let seconds = begun.elapsed().as_secs_f64();
    let (rounds, last, recorded) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            writer.finish(seconds, Some(&format!("{error:#}")))?;
            return Err(error);
        }
    };
    let report = report(out, &rounds, &last, &recorded)?;
    for (&kind, tally) in &recorded.tallies {
        writer.record(row(kind, tally, seconds, rounds.complete), &tally.latencies)?;
    }
    let path = out.join(REPORT_FILE);
    let text = serde_json::to_string_pretty(&report)? + "\n";
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    let verdict = match (report.is_clean(), rounds.complete) {
        (false, _) => Verdict::Violated,
        (true, true) => Verdict::Clean,
        (true, false) => Verdict::Interrupted,
    };
    let why = match verdict {
        Verdict::Clean => None,
        Verdict::Violated if rounds.complete => None,
        Verdict::Violated => Some("a node was not as it should be"),
        Verdict::Interrupted => Some("it was interrupted"),
    };
    writer.finish(seconds, why)?;
    if report.is_clean() {
        clear(out, arguments)?;
    }
    Ok((verdict, report))
}

/// Removes what nobody has to look at.
fn clear(out: &Path, arguments: &CrashArguments) -> anyhow::Result<()> {
    let shown = |path: &Path| path.display().to_string();
    if arguments.small_disk.is_some() {
        let (image, mount) = (out.join("disk.image"), out.join("disk"));
        fs::remove_file(&image).with_context(|| shown(&image))?;
        return fs::remove_dir(&mount).with_context(|| shown(&mount));
    }
    let cluster = out.join("cluster");
    fs::remove_dir_all(&cluster).with_context(|| shown(&cluster))
}

/// The part with processes in it.
async fn measure(
    arguments: &CrashArguments,
    out: &Path,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> anyhow::Result<(Rounds, LastReads, Recorded)> {
    let disk = arguments.small_disk.map(|mib| SmallDisk::mount(out, mib));
    let disk = disk.transpose()?;
    let mut nodes = Nodes::lay_out(out, arguments, disk.as_ref())?;
    let first = start_all(&mut nodes).await?;
    let record = Record::create(out, arguments.deadline())?;
    let load = Load::new(record, arguments.seed, arguments.deadline());
    let load = Arc::new(load);
    if let Some(fault) = first {
        let rounds = Rounds {
            faults: vec![fault],
            ..Rounds::default()
        };
        return Ok((rounds, LastReads::default(), load.record.finish()?));
    }
    let clients = Clients::start(&load, arguments.clients, nodes.client_files())?;
    let killer = Killer::new(arguments, &mut nodes, &load, disk.as_ref());
    let rounds = killer.run(interrupt, progress).await;
    load.end();
    clients.join()?;
    let mut rounds = rounds?;
    let files = nodes.client_files();
    let last = match read_all(&load, &files[files.len() - 1]).await {
        Ok(last) => last,
        Err(error) => LastReads::none(&error),
    };
    rounds.faults.extend(nodes.check_all().err());
    Ok((rounds, last, load.record.finish()?))
}

async fn start_all(nodes: &mut Nodes) -> anyhow::Result<Option<NodeFault>> {
    let since = Instant::now();
    for node in 0..nodes.len() {
        nodes.start(node)?;
    }
    for node in 0..nodes.len() {
        if let Err(fault) = nodes.wait_until_serving(node, since).await? {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

fn report(
    out: &Path,
    rounds: &Rounds,
    last: &LastReads,
    recorded: &Recorded,
) -> anyhow::Result<CrashReport> {
    let judged = judge(out)?;
    let mut failures = BTreeMap::new();
    for (kind, count) in recorded.tallies.values().flat_map(|of| &of.failures) {
        *failures.entry(kind.clone()).or_default() += count;
    }
    let tallies = recorded.tallies.values();
    let longest = tallies
        .clone()
        .filter_map(|of| of.latencies.percentile_ms(100.0));
    let restart = |percentile| rounds.restarts.percentile_ms(percentile).unwrap_or(0.0);
    Ok(CrashReport {
        kills: rounds.kills,
        kills_while_starting: rounds.kills_while_starting,
        all_at_once: rounds.all_at_once,
        operations: tallies.map(|of| of.latencies.len()).sum(),
        failures,
        slowest_ms: longest.fold(0.0, f64::max),
        late: recorded.late,
        stalled_max_ms: recorded.stalled.as_secs_f64() * 1e3,
        times_full: rounds.times_full,
        refused_full: rounds.refused_full,
        restart_p50_ms: restart(50.0),
        restart_max_ms: restart(100.0),
        lost: last.lost(&recorded.acknowledged),
        faults: rounds.faults.iter().map(ToString::to_string).collect(),
        unread: last.unread.clone(),
        keys: judged.keys,
        not_linearizable: judged.wrong,
    })
}

fn row(kind: &str, tally: &Tally, seconds: f64, complete: bool) -> WindowRow {
    WindowRow {
        name: RowName {
            experiment: NAME.to_owned(),
            system: "vivace".to_owned(),
            operation: kind.to_owned(),
            condition: "killed".to_owned(),
        },
        complete,
        seconds,
        failures: tally.failures.clone(),
        warm_up: WarmUp::default(),
        settled_after_ms: 0,
        settled: true,
        links: Vec::new(),
        lateness: netem::Lateness::default().into(),
    }
}

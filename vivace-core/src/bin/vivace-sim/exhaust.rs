//! Every order of events in a very small cluster.

use std::collections::BTreeSet;
use std::time::Instant;

use vivace_core::NodeId;
use vivace_core::sim::exhaustive::{Disk, Model, Report, Step, Weighed, explore};

use crate::Fault;
use crate::arguments::{Exhaust, ModelName};
use crate::output::say;

pub fn exhaust(asked: &Exhaust) -> Result<(), Fault> {
    let model = model(asked)?;
    say!("{}", describe(&model));
    let begun = Instant::now();
    let report = explore(&model, asked.states, |report| {
        let rate = report.states as f64 / begun.elapsed().as_secs_f64();
        eprintln!(
            "{} states, {rate:.0} a second, depth {}, {} states and {} steps of single nodes",
            report.states, report.depth, report.node_states, report.node_steps
        );
    });
    tell(&report, asked.states, begun.elapsed().as_secs_f64());
    match &report.violation {
        None if report.is_exhausted => Ok(()),
        None => Err(Fault::Asked(format!(
            "there are more than {} states: nothing is proved; give a larger --states-max",
            asked.states
        ))),
        Some(violation) => {
            for (number, line) in violation.schedule.iter().enumerate() {
                say!("{:>4}  {line}", number + 1);
            }
            say!("{}", violation.what);
            Err(Fault::Broken)
        }
    }
}

fn model(asked: &Exhaust) -> Result<Model, Fault> {
    let mut model = match asked.model {
        ModelName::Rw => Model::rw(),
        ModelName::Rmw => Model::rmw(),
    };
    model.is_one_site = asked.one_site;
    model.timestamps = asked.timestamps.source();
    model.crashes = asked.crashes;
    model.losses = asked.losses;
    model.early_timers = asked.early_timers;
    model.overtakings = asked.overtakings;
    model.mutants = asked.mutants.set;
    if asked.all_messages {
        model.weighed = Weighed::Every;
    }
    if let Some(pair) = asked.operations.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(Fault::Asked(format!(
            "--operations: {} stands behind {}: name each once, in order",
            pair[1], pair[0]
        )));
    }
    if !asked.operations.is_empty() {
        let numbered = (1..).zip(model.steps);
        let kept = numbered.filter(|(number, _)| asked.operations.contains(number));
        model.steps = kept.map(|(_, step)| step).collect();
    }
    let count = model.steps.len();
    for (option, given) in [("--at", asked.at.len()), ("--after", asked.after.len())] {
        if given != 0 && given != count {
            return Err(Fault::Asked(format!(
                "{option} has {given} numbers for {count} operations: give one for each, in order"
            )));
        }
    }
    for (step, &node) in model.steps.iter_mut().zip(&asked.at) {
        step.node = NodeId(node);
    }
    for (number, (step, &before)) in (1..).zip(model.steps.iter_mut().zip(&asked.after)) {
        if before >= number {
            return Err(Fault::Asked(format!(
                "--after: operation {number} can't begin after operation {before}: name an \
                 earlier one that is searched, or 0"
            )));
        }
        step.after = before.checked_sub(1).map(usize::from);
    }
    if !asked.crash_at.is_empty() {
        let nodes: BTreeSet<u16> = asked.crash_at.iter().copied().collect();
        model.may_crash = nodes.into_iter().map(NodeId).collect();
    }
    if asked.slow_disk {
        model.disk = Disk::Slow;
    }
    Ok(model)
}

fn describe(model: &Model) -> String {
    let step = |step: &Step| {
        let after = step.after.map(|before| format!(" after {}", before + 1));
        let after = after.unwrap_or_default();
        format!("{:?} at {}{after}", step.wish, step.node)
    };
    let steps: Vec<String> = model.steps.iter().map(step).collect();
    let nodes: Vec<String> = model.may_crash.iter().map(NodeId::to_string).collect();
    let overtakings = model
        .overtakings
        .map_or_else(|| "any number of".to_owned(), |count| count.to_string());
    format!(
        "{:?}, timestamps by {:?}, n = {}, {}: {}; {} crashes among {}, {} losses, {} early timers, \
         {} overtakings, disk {:?}, mutants {}",
        model.kind,
        model.timestamps,
        model.replicas.len(),
        if model.is_one_site {
            "one site"
        } else {
            "m = 1"
        },
        steps.join(", "),
        model.crashes,
        nodes.join(", "),
        model.losses,
        model.early_timers,
        overtakings,
        model.disk,
        model.mutants
    )
}

fn tell(report: &Report, states_max: u64, seconds: f64) {
    let extent = match (report.is_exhausted, &report.violation) {
        (_, Some(_)) => "stopped at a violation".to_owned(),
        (true, None) => "exhausted".to_owned(),
        (false, None) => format!("CUT at {states_max} states: there are more"),
    };
    let memory = memory_mib().map_or_else(String::new, |mib| format!(", {mib} MiB"));
    say!(
        "{extent}: {} states, {} transitions, depth {}, {} ends, {} histories; {} states and \
         {} steps of single nodes, begun anew {} times; {seconds:.1} s{memory}",
        report.states,
        report.transitions,
        report.depth,
        report.ends,
        report.histories.len(),
        report.node_states,
        report.node_steps,
        report.restarts
    );
}

/// The most memory that this process has used so far, where the system tells.
fn memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

//! One seed: all that it does, or the least of it that still breaks.

use std::collections::BTreeSet;

use vivace_core::sim::swarm::{Configuration, Limits, Shrunk, run, shrink as shrink_run};
use vivace_core::sim::{Trace, write_json_lines};

use crate::Fault;
use crate::arguments::{Replay, Shrink, flags};
use crate::output::{self, say};

pub fn replay(asked: &Replay) -> Result<(), Fault> {
    let full = Configuration::draw(asked.seed);
    let limits = asked.limits.limits();
    check(&full, &limits)?;
    let mut configuration = full.limited(&limits);
    configuration.break_by(asked.mutants.set);
    let trace = match asked.history {
        Some(_) => Trace::Off,
        None => Trace::each(|line| output::write(format_args!("{line}"))),
    };
    if asked.history.is_none() {
        say!("{configuration}");
        for fault in &configuration.faults {
            say!("{fault}");
        }
    }
    let mut outcome = run(&configuration, trace);
    let void = void_containers(&configuration);
    if !void.is_empty() {
        eprintln!(
            "seed {}: clocks are beyond their bounds, and the nodes don't know it: what needs \
             clocks, {}, promises nothing here",
            asked.seed,
            void.join(", ")
        );
    }
    if let Some(file) = &asked.history {
        // A checker would rightly object to them.
        let is_void = |key: &str| void.iter().any(|name| is_of(key, name));
        outcome.history.retain_keys(|key| !is_void(key));
        std::fs::write(file, write_json_lines(&outcome.history))
            .map_err(|error| Fault::Asked(format!("{}: {error}", file.display())))?;
        say!("{} operations in {}", outcome.history.len(), file.display());
    }
    match outcome.violation {
        None => {
            if asked.history.is_none() {
                say!(
                    "no promise is broken: {} operations, {} with a result, {:.1} virtual seconds",
                    outcome.operations,
                    outcome.completed,
                    outcome.length.as_secs_f64()
                );
            }
            Ok(())
        }
        Some(violation) => {
            say!("{violation}");
            Err(Fault::Broken)
        }
    }
}

/// The containers that promise nothing in such a run.
fn void_containers(configuration: &Configuration) -> Vec<String> {
    let containers = configuration.spec.containers.iter();
    containers
        .filter(|container| configuration.is_void(container))
        .map(|container| container.name.clone())
        .collect()
}

/// Keys in a history are named `container/key`.
fn is_of(key: &str, container: &str) -> bool {
    key.split_once('/')
        .is_some_and(|(name, _)| name == container)
}

/// A mistyped limit would leave out all that a seed is about, and look like a pass.
fn check(full: &Configuration, limits: &Limits) -> Result<(), Fault> {
    let seed = full.seed;
    let faults: BTreeSet<usize> = full.faults.iter().map(|fault| fault.number).collect();
    let missing = limits.faults.iter().flatten().find(|n| !faults.contains(n));
    if let Some(number) = missing {
        let known: Vec<String> = faults.iter().map(usize::to_string).collect();
        return Err(Fault::Asked(format!(
            "--faults: there is no fault {number}; seed {seed} has {}",
            known.join(",")
        )));
    }
    let clients = full.clients.len();
    if limits
        .clients
        .is_some_and(|kept| !(1..=clients).contains(&kept))
    {
        return Err(Fault::Asked(format!(
            "--clients: must be 1 to {clients}; seed {seed} has {clients}"
        )));
    }
    if limits.operations == Some(0) {
        let most = full.clients.iter().map(|client| client.operations).max();
        return Err(Fault::Asked(format!(
            "--operations: must be 1 or more; seed {seed} has up to {} of a client",
            most.unwrap_or_default()
        )));
    }
    Ok(())
}

pub fn shrink(asked: &Shrink) -> Result<(), Fault> {
    let mut full = Configuration::draw(asked.seed);
    full.break_by(asked.mutants.set);
    match shrink_run(&full, asked.runs) {
        None => Err(Fault::Asked(format!("seed {} breaks nothing", asked.seed))),
        Some(shrunk) => {
            tell(&full, &shrunk);
            Err(Fault::Broken)
        }
    }
}

/// Tells a violation: the seed, what is left of its schedule, and how to see it again.
pub fn tell(full: &Configuration, shrunk: &Shrunk) {
    let least = full.clone().limited(&shrunk.limits);
    say!("{least}");
    say!(
        "schedule: {} of {} faults, after {} runs",
        least.faults.len(),
        full.faults.len(),
        shrunk.runs
    );
    for fault in &least.faults {
        say!("{fault}");
    }
    if let Some(violation) = &shrunk.outcome.violation {
        say!("{violation}");
    }
    say!("replay: vivace-sim replay {}", flags(full, &shrunk.limits));
}

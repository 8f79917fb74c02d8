//! One seed: all that it does, or the least of it that still breaks.

use std::io::Write;

use vivace_core::sim::swarm::{Configuration, Shrunk, run, shrink as shrink_run};
use vivace_core::sim::{Trace, write_json_lines};

use crate::Fault;
use crate::arguments::{Replay, Shrink, flags};

pub fn replay(asked: &Replay) -> Result<(), Fault> {
    let mut configuration = Configuration::draw(asked.seed).limited(&asked.limits.limits());
    configuration.mutants = asked.mutants.set;
    let trace = match asked.history {
        Some(_) => Trace::Off,
        None => Trace::each(|line| {
            // A reader that has seen enough closes the pipe.
            if std::io::stdout().write_all(line.as_bytes()).is_err() {
                std::process::exit(0);
            }
        }),
    };
    if asked.history.is_none() {
        println!("{configuration}");
        for fault in &configuration.faults {
            println!("{fault}");
        }
    }
    let outcome = run(&configuration, trace);
    if let Some(file) = &asked.history {
        std::fs::write(file, write_json_lines(&outcome.history))
            .map_err(|error| Fault::Asked(format!("{}: {error}", file.display())))?;
        println!("{} operations in {}", outcome.history.len(), file.display());
    }
    match outcome.violation {
        None => Ok(()),
        Some(violation) => {
            println!("{violation}");
            Err(Fault::Broken)
        }
    }
}

pub fn shrink(asked: &Shrink) -> Result<(), Fault> {
    let mut full = Configuration::draw(asked.seed);
    full.mutants = asked.mutants.set;
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
    println!("{least}");
    println!(
        "schedule: {} of {} faults, after {} runs",
        least.faults.len(),
        full.faults.len(),
        shrunk.runs
    );
    for fault in &least.faults {
        println!("{fault}");
    }
    if let Some(violation) = &shrunk.outcome.violation {
        println!("{violation}");
    }
    println!("replay: vivace-sim replay {}", flags(full, &shrunk.limits));
}

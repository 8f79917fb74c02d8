//! `vivace-sim`: whole clusters from seeds, and judges of what their clients saw.

// The one part of this package that may read clocks, files and arguments: nothing
// that it learns there reaches a run.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros
)]

mod arguments;
mod check;
mod coverage;
mod delays;
mod exhaust;
mod explore;
mod mutants;
mod replay;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Why the command ends with a failure.
enum Fault {
    /// What was asked for can't be done.
    Asked(String),
    /// It was done, and a promise is broken; all is told.
    Broken,
}

fn main() -> ExitCode {
    // A panic inside a run is a finding, which tells its words itself.
    std::panic::set_hook(Box::new(|_| {}));
    let done = match Arguments::parse().command {
        Command::Explore(asked) => explore::explore(&asked),
        Command::Replay(asked) => replay::replay(&asked),
        Command::Shrink(asked) => replay::shrink(&asked),
        Command::Mutants(asked) => mutants::mutants(&asked),
        Command::Check { files } => check::check(&files),
        Command::Exhaust(asked) => exhaust::exhaust(&asked),
        Command::Delays { json } => delays::delays(json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault::Broken) => ExitCode::from(1),
        Err(Fault::Asked(why)) => {
            eprintln!("vivace-sim: {why}");
            ExitCode::from(2)
        }
    }
}

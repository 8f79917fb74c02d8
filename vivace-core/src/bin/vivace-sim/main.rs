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
mod output;
mod replay;

use std::any::Any;
use std::panic::PanicHookInfo;
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
    let command = Arguments::parse().command;
    std::panic::set_hook(Box::new(on_panic));
    match std::panic::catch_unwind(|| carry_out(command)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(Fault::Broken)) => ExitCode::from(1),
        Ok(Err(Fault::Asked(why))) => {
            eprintln!("vivace-sim: {why}");
            ExitCode::from(2)
        }
        Err(panic) => {
            eprintln!("vivace-sim: a mistake in this program: {}", words(&*panic));
            ExitCode::from(101)
        }
    }
}

fn carry_out(command: Command) -> Result<(), Fault> {
    match command {
        Command::Explore(asked) => explore::explore(&asked),
        Command::Replay(asked) => replay::replay(&asked),
        Command::Shrink(asked) => replay::shrink(&asked),
        Command::Mutants(asked) => mutants::mutants(&asked),
        Command::Check { files } => check::check(&files),
        Command::Exhaust(asked) => exhaust::exhaust(&asked),
        Command::Delays { json } => delays::delays(json),
    }
}

/// A panic inside a run is a finding, which tells its words itself.
fn on_panic(_: &PanicHookInfo<'_>) {}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without words")
}

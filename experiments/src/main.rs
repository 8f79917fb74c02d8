//! The `experiments` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use experiments::crash::{self, CrashArguments, NODE_PROCESS, NodeProcessArguments, Verdict};
use experiments::demo::{self, DemoArguments, Ended};
use experiments::interrupt::INTERRUPTED_EXIT_CODE;
use experiments::load::{
    ECHO, EchoArguments, LOAD, LoadArguments, PROBE, ProbeArguments, run_echo, run_load, run_probe,
};
use experiments::run::{self, ReportArguments, RunArguments};
use experiments::step::StepStore;
use experiments::wan::{GUARD, GuardArguments, run_guard};
use experiments::{catalog, report, results};

/// As `vivace-node` has it: nodes run in this program too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "experiments",
    version,
    about = "Vivace's experiments: each measures, writes its raw results to disk, then draws \
             and prints from them",
    after_help = "Examples:\n  \
        experiments list                 what there is\n  \
        experiments demo                 the main result in 2.5 minutes, in results/demo-TIME\n  \
        experiments demo --seconds 3     the same in a hurry\n  \
        experiments crash --kills 20     nodes killed under load, histories judged\n  \
        experiments run all --quick      the paper's figures over real namespaces, in short\n  \
        experiments report               results/report.html\n\n\
        Build with --release before believing a number. RUST_LOG=warn shows what the nodes say.\n\
        Exit codes: 0 measured, 1 failed, 2 usage, 130 interrupted (what was measured is kept)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how four algorithms fare on one link, idle and full.
    Demo(DemoArguments),
    /// Kill node processes under load, and judge what clients saw.
    Crash(CrashArguments),
    /// Be one node, for `crash`.
    #[command(name = NODE_PROCESS, hide = true)]
    NodeProcess(NodeProcessArguments),
    /// List the experiments.
    List,
    /// Measure, and go on where an earlier run stopped.
    Run(RunArguments),
    /// Write one page with charts and tables from what was measured.
    Report(ReportArguments),
    /// Be the load, for `run`.
    #[command(name = LOAD, hide = true)]
    Load(LoadArguments),
    /// Take a WAN down when the parent ends, for `run`.
    #[command(name = GUARD, hide = true)]
    Guard(GuardArguments),
    /// Answer small requests, for `run`.
    #[command(name = ECHO, hide = true)]
    Echo(EchoArguments),
    /// Ask small requests, for `run`.
    #[command(name = PROBE, hide = true)]
    Probe(ProbeArguments),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::List => {
            print!("{}", catalog::listing());
            ExitCode::SUCCESS
        }
        Command::Demo(arguments) => match demo::command(&arguments) {
            Ok(Ended::Complete) => ExitCode::SUCCESS,
            Ok(Ended::Interrupted | Ended::Unbegun) => ExitCode::from(INTERRUPTED_EXIT_CODE),
            Err(error) => failed(&error),
        },
        Command::Crash(arguments) => match crash::command(&arguments) {
            Ok(Verdict::Clean) => ExitCode::SUCCESS,
            Ok(Verdict::Violated) => ExitCode::FAILURE,
            Ok(Verdict::Interrupted) => ExitCode::from(INTERRUPTED_EXIT_CODE),
            Err(error) => failed(&error),
        },
        Command::NodeProcess(arguments) => crash::run_node(&arguments),
        Command::Run(arguments) => match run::command(&arguments) {
            Ok(run::Ended::Complete) => ExitCode::SUCCESS,
            Ok(run::Ended::Failed) => ExitCode::FAILURE,
            Ok(run::Ended::Interrupted) => ExitCode::from(INTERRUPTED_EXIT_CODE),
            Err(error) => failed(&error),
        },
        Command::Report(arguments) => {
            match report::write(&StepStore::reading(&arguments.out), &arguments.names) {
                Ok(page) => {
                    println!("{}", page.display());
                    ExitCode::SUCCESS
                }
                Err(error) => failed(&error),
            }
        }
        Command::Load(arguments) => {
            vivace_node::avoid_huge_pages();
            run_load(&arguments)
        }
        Command::Guard(arguments) => run_guard(&arguments),
        Command::Echo(arguments) => run_echo(&arguments),
        Command::Probe(arguments) => run_probe(&arguments),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {}", in_full(error));
    let usage = error.is::<results::DirectoryError>()
        || error.is::<run::RequestError>()
        || error.is::<report::NoResults>();
    ExitCode::from(if usage { 2 } else { 1 })
}

/// The error and its causes; most say theirs themselves, and need no echo.
fn in_full(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

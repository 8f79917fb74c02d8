//! What can be asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vivace_core::cluster::TimestampSource;
use vivace_core::sim::swarm::{Configuration, Limits};
use vivace_core::{Mutant, Mutants};

use crate::coverage::SEEDS_TO_COVER;

const EXAMPLES: &str = "\
Examples:
  vivace-sim explore --seeds 2000                       # what a change must pass
  vivace-sim explore --seeds 200000 --from 1000000      # a night
  vivace-sim replay 4711                                # what happened, in columns
  vivace-sim replay 4711 --history run.jsonl            # what clients saw, as JSON lines
  vivace-sim shrink 4711                                # the least that still breaks
  vivace-sim explore --mutant no-commit-wait            # finds that the checkers find it
  vivace-sim mutants --seeds 20000                      # how soon, for each of them
  vivace-sim check run.jsonl                            # is it linearizable?
  vivace-sim exhaust --model rw --crashes 0             # all orders in a small cluster
  vivace-sim delays                                     # Fig. 3 of the paper, counted

Exit status: 0 all is well, 1 a promise is broken, 2 the request makes no sense, or nobody
can tell: a history that can't be judged, a search that was cut.";

/// Runs whole clusters in virtual time, each drawn from one seed, and judges them.
#[derive(Parser)]
#[command(name = "vivace-sim", version, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run many seeds; tell how much was tried, and the first seed that breaks.
    Explore(Explore),
    /// Run one seed and tell all that happens: time, who, what, details.
    Replay(Replay),
    /// Find fewer faults, clients and operations that break the same promise.
    Shrink(Shrink),
    /// Find the first seed that catches each broken protocol, as a table.
    Mutants(Hunt),
    /// Judge a history of JSON lines, from here or from `vivace bench --history`.
    Check {
        /// The history; several of one cluster, from one machine, are judged as one.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Visit every state of a very small cluster: 3 nodes, 3 operations.
    Exhaust(Exhaust),
    /// Count the message delays of every operation, beside the paper's Fig. 3.
    Delays {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct Explore {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    pub seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// How many run at once; by default as many as there are cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Share of seeds that run twice and must do the same.
    #[arg(long, default_value = "1%", value_parser = percent)]
    pub verify_determinism: f64,
    #[command(flatten)]
    pub mutants: MutantArguments,
    /// Go on after a violation, and count them.
    #[arg(long)]
    pub keep_going: bool,
    /// How many runs a violation may take to shrink; 0 leaves it as it is.
    #[arg(long, default_value_t = 200)]
    pub shrink_runs: u32,
    /// From this many seeds on, a rare path that none of them took is a failure, and so are
    /// too many histories that nobody could judge. At most 2000.
    #[arg(
        long,
        value_name = "SEEDS",
        default_value_t = SEEDS_TO_COVER,
        value_parser = clap::value_parser!(u64).range(1..=SEEDS_TO_COVER)
    )]
    pub cover_from: u64,
}

#[derive(Args)]
pub struct Hunt {
    /// How many seeds each may take.
    #[arg(long, default_value_t = 20_000)]
    pub seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// How many run at once; by default as many as there are cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Only these, by name, joined by commas.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Put the table into this document, between the lines made for it.
    #[arg(long)]
    pub write: Option<PathBuf>,
}

#[derive(Args)]
pub struct Replay {
    /// The seed: a number below 2^64.
    #[arg(value_parser = seed)]
    pub seed: u64,
    /// Write what clients saw to this file, instead of the trace.
    #[arg(long)]
    pub history: Option<PathBuf>,
    #[command(flatten)]
    pub mutants: MutantArguments,
    #[command(flatten)]
    pub limits: LimitArguments,
}

#[derive(Args)]
pub struct Shrink {
    /// The seed: a number below 2^64.
    #[arg(value_parser = seed)]
    pub seed: u64,
    #[command(flatten)]
    pub mutants: MutantArguments,
    /// The most runs to try.
    #[arg(long, default_value_t = 1_000)]
    pub runs: u32,
}

#[derive(Args)]
pub struct Exhaust {
    /// A writer and two readers of a register, or two commands and a read of a counter.
    #[arg(long, value_enum, default_value_t = ModelName::Rw)]
    pub model: ModelName,
    /// Where timestamps come from.
    #[arg(long, value_enum, default_value_t = TimestampsName::Query)]
    pub timestamps: TimestampsName,
    /// Only these operations of the model, by number, in order, such as 1,3.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=3))]
    pub operations: Vec<u8>,
    /// At which node each operation is asked for, such as 0,1,1; by default each at its own.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(0..=2))]
    pub at: Vec<u16>,
    /// Which of the operations searched must have ended before each begins, such as 0,0,1
    /// where the third follows the first: 0 for none.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..=3))]
    pub after: Vec<u8>,
    /// How many crashes there may be; nodes may come back with what was durable.
    #[arg(long, default_value_t = 1)]
    pub crashes: u8,
    /// Only these nodes crash, such as 0,2; by default any.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(0..=2))]
    pub crash_at: Vec<u16>,
    /// How many messages may get lost; of more, an operation need not end in time.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    pub losses: u8,
    /// How many timers may fire while messages are on their way.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    pub early_timers: u8,
    /// How often a message may overtake another one of its class between two nodes; by
    /// default any number of times. 0 is in the order in which they were sent: far fewer
    /// states.
    #[arg(long)]
    pub overtakings: Option<u8>,
    /// All nodes in one site, where writes are direct; otherwise each is a site of its own
    #[arg(long)]
    pub one_site: bool,
    /// Disks finish at any later moment, not before a node's next event.
    #[arg(long)]
    pub slow_disk: bool,
    /// Weigh every message, also those that make no difference: many times as many states.
    #[arg(long)]
    pub all_messages: bool,
    /// Stop after this many states, each of 8 to 16 bytes.
    #[arg(
        long = "states-max",
        visible_alias = "states",
        default_value_t = 200_000_000
    )]
    pub states: u64,
    #[command(flatten)]
    pub mutants: MutantArguments,
}

/// The clients of an exhaustive search.
#[derive(Clone, Copy, ValueEnum)]
pub enum ModelName {
    Rw,
    Rmw,
}

/// Sources of timestamps.
#[derive(Clone, Copy, ValueEnum)]
pub enum TimestampsName {
    Query,
    Clock,
}

impl TimestampsName {
    pub fn source(self) -> TimestampSource {
        match self {
            Self::Query => TimestampSource::Query,
            Self::Clock => TimestampSource::Clock,
        }
    }
}

/// Broken protocols, which a checker must find.
#[derive(Args)]
pub struct MutantArguments {
    /// Break the protocol in this way, or several, joined by commas; `?` lists them.
    #[arg(long = "mutant", default_value = "none", value_parser = mutants)]
    pub set: Mutants,
}

/// As `shrink` prints them.
#[derive(Args)]
pub struct LimitArguments {
    /// Only these faults, by number, such as 3,7; `none` for none.
    #[arg(long, value_parser = faults)]
    faults: Option<BTreeSet<usize>>,
    /// Only the first clients.
    #[arg(long)]
    clients: Option<usize>,
    /// The most operations of one client.
    #[arg(long)]
    operations: Option<u32>,
    /// No loss, repetition or reordering.
    #[arg(long)]
    calm: bool,
}

impl LimitArguments {
    pub fn limits(&self) -> Limits {
        Limits {
            faults: self.faults.clone(),
            clients: self.clients,
            operations: self.operations,
            is_calm: self.calm,
        }
    }
}

/// The arguments that make `replay` run the same.
pub fn flags(full: &Configuration, limits: &Limits) -> String {
    let mut flags = full.seed.to_string();
    if full.mutants != Mutants::none() {
        flags += &format!(" --mutant {}", full.mutants);
    }
    if let Some(faults) = &limits.faults {
        let numbers: Vec<String> = faults.iter().map(usize::to_string).collect();
        let list = match numbers.is_empty() {
            true => "none".to_owned(),
            false => numbers.join(","),
        };
        flags += &format!(" --faults {list}");
    }
    if let Some(clients) = limits.clients {
        flags += &format!(" --clients {clients}");
    }
    if let Some(operations) = limits.operations {
        flags += &format!(" --operations {operations}");
    }
    if limits.is_calm {
        flags += " --calm";
    }
    flags
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

fn mutants(names: &str) -> Result<Mutants, String> {
    Mutants::parse(names).map_err(|_| {
        let all: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!(
            "the mutants are {}; and published-alg-1, published-alg-3, none",
            all.join(", ")
        )
    })
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share / 100.0),
        _ => Err("give 0% to 100%".into()),
    }
}

fn faults(text: &str) -> Result<BTreeSet<usize>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    text.split(',')
        .map(|number| {
            number
                .trim()
                .parse()
                .map_err(|_| format!("{number:?} is no fault's number; give such as 3,7 or none"))
        })
        .collect()
}

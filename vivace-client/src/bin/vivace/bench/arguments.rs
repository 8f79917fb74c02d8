//! What to measure, and which settings make no sense.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use vivace_client::{OPERATIONS_IN_FLIGHT_MAX, VALUE_BYTES_MAX};

use crate::deadline;
use crate::exit::Fault;

/// The longest run: what is measured, and written to a history, is bounded by it.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// The shortest run: less holds no distribution.
const DURATION_MIN: Duration = Duration::from_millis(100);

/// The most keys.
const KEYS_MAX: u32 = 1_000_000;

/// The longest beginning of a key's name, in bytes; its number follows.
const KEY_PREFIX_BYTES_MAX: usize = 200;

/// The bytes that make each written value unique in a history.
pub const TAG_BYTES_MAX: usize = 32;

const EXAMPLES: &str = "\
Examples:
  vivace bench                                     # 60 % reads, 30 % writes, 10 % commands
  vivace bench --op write --clients 8 --value-bytes 4096
  vivace bench --op execute --keys 1               # all on one key
  vivace bench --op mix --mix 90:10:0 --duration 1m
  vivace bench --keys 5 --history run.jsonl        # for a linearizability checker
  vivace --json bench > run.json

A history has one operation per line: client, kind, key, arg, ret, start_ns, end_ns
(null where the outcome is unknown: it may take effect at any later time), outcome.
`vivace-sim check FILE...` judges it.";

/// One kind of operation, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Reads of RW objects.
    Read,
    /// Writes of RW objects.
    Write,
    /// Commands for RMW objects: counters that are added to.
    Execute,
    /// All three, drawn by --mix.
    Mix,
}

/// One operation's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Of an RW object.
    Read,
    /// Of an RW object.
    Write,
    /// Of an RMW object.
    Execute,
}

impl Operation {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Execute];

    /// Its name in reports and histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        }
    }
}

/// Percentages of reads, writes and commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix([u32; 3]);

impl std::str::FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(':').map(str::parse::<u32>).collect();
        if let [Ok(read), Ok(write), Ok(execute)] = parts[..]
            && [read, write, execute].iter().all(|&part| part <= 100)
            && read + write + execute == 100
        {
            return Ok(Self([read, write, execute]));
        }
        Err("give READ:WRITE:EXECUTE in percent, 100 together, such as 60:30:10".to_owned())
    }
}

/// How to measure.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArguments {
    /// What each client does.
    #[arg(long, value_enum, default_value = "mix")]
    pub op: Mode,

    /// With --op mix: percentages of reads, writes and commands.
    #[arg(long, default_value = "60:30:10", value_name = "READ:WRITE:EXECUTE")]
    pub mix: Mix,

    /// How many clients ask at the same time.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub clients: u32,

    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = deadline::parse)]
    pub duration: Duration,

    /// The length of a written value.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub value_bytes: usize,

    /// How many keys to spread over; each operation draws one.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub keys: u32,

    /// Names the keys: this and a number. Otherwise bench-; with --history, one that no
    /// run had before, since a checker must know all that was ever done to a key. Give
    /// several benches one new name to judge their histories together.
    #[arg(long, value_name = "PREFIX")]
    pub key_prefix: Option<String>,

    /// The container of the RW objects; the first of kind rw or abd otherwise.
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,

    /// The container of the counters; the first of kind rmw or lan-rmw otherwise.
    #[arg(long, value_name = "NAME")]
    pub rmw_container: Option<String>,

    /// Writes every operation to this file, as lines of JSON.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

impl BenchArguments {
    /// The percentage of `operation`.
    pub fn share(&self, operation: Operation) -> u32 {
        match (self.op, operation) {
            (Mode::Read, Operation::Read)
            | (Mode::Write, Operation::Write)
            | (Mode::Execute, Operation::Execute) => 100,
            (Mode::Mix, operation) => self.mix.0[operation as usize],
            (Mode::Read | Mode::Write | Mode::Execute, _) => 0,
        }
    }

    /// How keys' names begin in the run of this number.
    pub fn key_prefix(&self, run: u32) -> String {
        match (&self.key_prefix, &self.history) {
            (Some(prefix), _) => prefix.clone(),
            (None, Some(_)) => format!("bench-{run:08x}-"),
            (None, None) => "bench-".to_owned(),
        }
    }

    /// Refuses what can't be measured, naming the flag.
    pub fn check(&self) -> Result<(), Fault> {
        let clients_max = OPERATIONS_IN_FLIGHT_MAX as u32;
        let fault = if !(1..=clients_max).contains(&self.clients) {
            format!("--clients {}: give 1 to {clients_max}", self.clients)
        } else if !(DURATION_MIN..=DURATION_MAX).contains(&self.duration) {
            format!("--duration {:?}: give 100ms to 24h", self.duration)
        } else if !(1..=KEYS_MAX).contains(&self.keys) {
            format!("--keys {}: give 1 to {KEYS_MAX}", self.keys)
        } else if let Some(prefix) = &self.key_prefix
            && !(1..=KEY_PREFIX_BYTES_MAX).contains(&prefix.len())
        {
            format!(
                "--key-prefix: has {} bytes; give 1 to {KEY_PREFIX_BYTES_MAX}",
                prefix.len()
            )
        } else if self.value_bytes > VALUE_BYTES_MAX {
            format!(
                "--value-bytes {}: the longest value has {VALUE_BYTES_MAX}",
                self.value_bytes
            )
        } else if self.history.is_some()
            && self.share(Operation::Write) > 0
            && self.value_bytes < TAG_BYTES_MAX
        {
            format!(
                "--value-bytes {}: give {TAG_BYTES_MAX} or more with --history, \
                 so that every written value is unique",
                self.value_bytes
            )
        } else {
            return Ok(());
        };
        Err(Fault::usage(fault))
    }
}

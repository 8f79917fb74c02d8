//! What to measure, and which settings make no sense.

use std::ops::RangeInclusive;
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

/// Operations a second of the open loop: fewer than one in ten seconds measure nothing.
const RATE_RANGE: RangeInclusive<f64> = 0.1..=1_000_000.0;

/// YCSB's.
const SKEW: f64 = 0.99;

/// Beyond the largest, all operations are on one key.
const SKEW_RANGE: RangeInclusive<f64> = 0.01..=10.0;

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
  vivace bench --rate 2000 --warm-up 2s            # latency at 2,000 operations a second
  vivace bench --clients 64 --distribution zipfian --skew 0.99 --hdr run/
  vivace bench --keys 5 --history run.jsonl        # for a linearizability checker
  vivace --json bench > run.json

Without --rate the loop is closed: each client asks when its last answer came, so a slow
answer keeps others from being asked for. With --rate it is open: operations begin at
moments that are set beforehand, and an operation's latency counts from its moment, however
long it waited for a client to be free.

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

/// Which keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// The k-th in proportion to 1 / k to the power of --skew; key 0 is the hottest.
    Zipfian,
}

/// The time from one operation's begin to the next one's, in the open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Exponential, as of many users who know nothing of each other.
    Poisson,
    /// Always the same.
    Even,
}

impl Arrivals {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Even => "even",
        }
    }
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

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [read, write, execute] = self.0;
        write!(f, "{read}:{write}:{execute}")
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

    /// How many clients ask at the same time: 1, or with --rate at most 1024.
    #[arg(long, value_name = "N")]
    clients: Option<u32>,

    /// Operations a second, all kinds together, whatever the answers take (open loop).
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,

    /// With --rate: how operations follow each other.
    #[arg(long, value_enum, default_value = "poisson", requires = "rate")]
    pub arrivals: Arrivals,

    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = deadline::parse)]
    pub duration: Duration,

    /// How long to do the same before, uncounted.
    #[arg(long, default_value = "0s", value_parser = deadline::parse)]
    pub warm_up: Duration,

    /// The length of a written value.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub value_bytes: usize,

    /// How many keys to spread over; each operation draws one.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub keys: u32,

    /// Which of the keys are drawn how often.
    #[arg(long, value_enum, default_value = "uniform")]
    pub distribution: Distribution,

    /// With --distribution zipfian: how much hotter hot keys are (0.99).
    #[arg(long, value_name = "S")]
    skew: Option<f64>,

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

    /// Writes each kind's latencies into this directory as KIND.hdr: HdrHistogram's V2
    /// format, in µs.
    #[arg(long, value_name = "DIRECTORY")]
    pub hdr: Option<PathBuf>,
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

    /// How many operations may be under way at the same time.
    pub fn clients(&self) -> u32 {
        let default = match self.rate {
            Some(_) => OPERATIONS_IN_FLIGHT_MAX as u32,
            None => 1,
        };
        self.clients.unwrap_or(default)
    }

    /// The exponent of the keys' distribution; none where all keys are alike.
    pub fn skew(&self) -> Option<f64> {
        match self.distribution {
            Distribution::Uniform => None,
            Distribution::Zipfian => Some(self.skew.unwrap_or(SKEW)),
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
        let clients = self.clients();
        let fault = if !(1..=clients_max).contains(&clients) {
            format!("--clients {clients}: give 1 to {clients_max}")
        } else if let Some(rate) = self.rate.filter(|rate| !RATE_RANGE.contains(rate)) {
            let (min, max) = RATE_RANGE.into_inner();
            format!("--rate {rate}: give {min} to {max} operations a second")
        } else if !(DURATION_MIN..=DURATION_MAX).contains(&self.duration) {
            format!("--duration {:?}: give 100ms to 24h", self.duration)
        } else if self.warm_up > DURATION_MAX {
            format!("--warm-up {:?}: give 0s to 24h", self.warm_up)
        } else if !(1..=KEYS_MAX).contains(&self.keys) {
            format!("--keys {}: give 1 to {KEYS_MAX}", self.keys)
        } else if let Some(skew) = self.skew.filter(|skew| !SKEW_RANGE.contains(skew)) {
            let (min, max) = SKEW_RANGE.into_inner();
            format!("--skew {skew}: give {min} to {max}")
        } else if let (Some(skew), Distribution::Uniform) = (self.skew, self.distribution) {
            format!("--skew {skew}: needs --distribution zipfian")
        } else if let Some(prefix) = &self.key_prefix
            && !(1..=KEY_PREFIX_BYTES_MAX).contains(&prefix.len())
        {
            format!(
                "--key-prefix: has {} bytes; give 1 to {KEY_PREFIX_BYTES_MAX}",
                prefix.len()
            )
        } else if let Some(fault) = self.value_fault() {
            fault
        } else {
            return Ok(());
        };
        Err(Fault::usage(fault))
    }

    fn value_fault(&self) -> Option<String> {
        let bytes = self.value_bytes;
        if bytes > VALUE_BYTES_MAX {
            return Some(format!(
                "--value-bytes {bytes}: the longest value has {VALUE_BYTES_MAX}"
            ));
        }
        let tagged = self.history.is_some() && self.share(Operation::Write) > 0;
        (tagged && bytes < TAG_BYTES_MAX).then(|| {
            format!(
                "--value-bytes {bytes}: give {TAG_BYTES_MAX} or more with --history, so that \
                 every written value is unique"
            )
        })
    }
}

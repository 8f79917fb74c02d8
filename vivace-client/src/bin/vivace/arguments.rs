//! What can be asked for on the command line.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use vivace_client::{Durability, VALUE_BYTES_MAX};

use crate::bench::BenchArguments;
use crate::deadline;
use crate::exit::Fault;
use crate::words::WORDS;

const EXAMPLES: &str = "\
Examples:
  vivace put profiles/alice 'likes long links'
  vivace get profiles/alice
  vivace exec counters/visits counter add 5
  vivace status
  vivace bench --op mix --clients 8 --duration 10s

Exit status:
  0  done
  1  not found: never written, or deleted
  2  usage: the command line, or a request that nobody can carry out
  3  conflict: the command's condition does not hold; not applied
  4  busy: overload or backlog; not applied, try again later
  5  unavailable: no majority by the deadline; not applied, try again
  6  unknown: may have been applied; read before you try again
  7  configuration, connection, or a local file
  8 to 16, 130  of `vivace admin`: its --help tells";

const GET_EXAMPLES: &str = "\
Examples:
  vivace get profiles/alice                 # the value, as it is
  vivace get files/logo.png > logo.png      # binary-safe
  vivace --json get profiles/alice          # with its timestamp";

const PUT_EXAMPLES: &str = "\
Examples:
  vivace put profiles/alice 'likes long links'
  vivace put files/logo.png --file logo.png
  tar c docs | vivace put files/docs.tar -  # standard input
  vivace put --durability remote orders/17 paid  # survives the loss of this site";

const DELETE_EXAMPLES: &str = "\
Example:
  vivace delete profiles/alice";

const STATUS_EXAMPLES: &str = "\
Examples:
  vivace status            # every node of the client file, down ones too
  vivace status --watch    # once a second, until Ctrl-C
  vivace --json status";

const ADMIN_EXAMPLES: &str = "\
Examples:
  vivace admin lost orders                  # what went with a lost site
  vivace admin accept-loss orders/17        # the version before is the newest again
  vivace admin accept-loss --all --yes orders
  vivace admin backup /mnt/backups/2026-07-01
  vivace admin verify /mnt/backups/2026-07-01
  vivace --config new/client.toml admin restore /mnt/backups/2026-07-01

Exit status of backup, verify and restore, beside those of `vivace --help`:
  8    there is no backup
  9    a newer program wrote it
  10   a file of it is missing
  11   a file of it is cut short
  12   a file of it was altered
  13   something in its directory does not belong to it
  14   the cluster lacks a container, has one of another kind, or holds objects already
  130  Ctrl-C, or SIGTERM

Exit status of accept-loss, beside those:
  15   nothing was given up: you did not say yes
  16   the object's newest value is not lost, or there is no such object";

const BACKUP_EXAMPLES: &str = "\
The directory must not exist. It is there when the backup is whole and was read back, and
not before. Of each object it holds a version that was complete after the start: all that was
acknowledged before, and of later changes some. The service goes on.

Examples:
  vivace admin backup /mnt/backups/2026-07-01
  vivace admin backup --rate 20 /mnt/backups/2026-07-01   # at most 20 MB of values per second
  vivace --json admin backup /mnt/backups/2026-07-01      # prints the manifest";

const RESTORE_EXAMPLES: &str = "\
Everything is verified before anything is written. The cluster must have the same containers,
without objects; one that clients have changed since a restore was broken off ends it (3), and
stays as it is. RW objects get new timestamps; RMW objects keep the memory of their sessions,
so that a command which the backup has in it is not executed again. Deleted objects,
timestamps and nodes' own states are not restored.

Examples:
  vivace --config new/client.toml admin restore /mnt/backups/2026-07-01
  vivace --config new/client.toml admin restore --again /mnt/backups/2026-07-01";

const VERIFY_EXAMPLES: &str = "\
Needs no cluster.

Example:
  vivace admin verify /mnt/backups/2026-07-01";

/// Objects of a Vivace cluster: a key-value store that spans sites and keeps its
/// latency when the links between them are full.
#[derive(Debug, Parser)]
#[command(name = "vivace", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The client file, as `vivace-node init` writes it.
    #[arg(
        long,
        global = true,
        env = "VIVACE_CONFIG",
        default_value = "client.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,

    /// How long an operation may take, such as 800ms or 5s; the client file's
    /// timeout, or 5s, where it is not given.
    #[arg(long, global = true, value_parser = deadline::parse, value_name = "DURATION")]
    pub deadline: Option<Duration>,

    /// Prints JSON: bytes are {"utf8": "..."} or {"base64": "..."}.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Prints the value of an RW object.
    #[command(after_help = GET_EXAMPLES)]
    Get(ObjectArguments),
    /// Writes an RW object.
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArguments),
    /// Deletes an RW object.
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(DeleteArguments),
    /// Has an RMW object carry out a command, or prints its state.
    #[command(after_help = WORDS)]
    Exec(ExecArguments),
    /// Shows what this site's nodes say of themselves and their peers.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArguments),
    /// What an operator does: backups, and what to do when a site is gone for good.
    #[command(subcommand, after_help = ADMIN_EXAMPLES)]
    Admin(AdminAction),
    /// Measures latency and throughput, in a closed loop or at a given rate.
    Bench(BenchArguments),
}

/// The subcommands of `admin`.
#[derive(Debug, Subcommand)]
pub enum AdminAction {
    /// Lists objects whose newest value is known and nowhere to be had: their site is
    /// gone, and the value had not left it.
    Lost(LostArguments),
    /// Gives up the newest value of such objects, so that the best version that is left
    /// can be read again. Asks first.
    AcceptLoss(AcceptLossArguments),
    /// Copies all objects of a running cluster into a new directory, by way of one node.
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupArguments),
    /// Compares every byte of a backup to its checksums.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArguments),
    /// Writes all objects of a backup into a new cluster.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArguments),
}

/// How fast.
#[derive(Debug, Args)]
pub struct PaceArguments {
    /// Megabytes of values per second at most.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rate: Option<u64>,

    /// How long one object may be busy or unavailable before all is given up.
    #[arg(long, value_parser = deadline::parse, default_value = "30s", value_name = "DURATION")]
    pub patience: Duration,
}

/// Where a backup goes.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// A directory that does not exist; where it is to be does.
    pub directory: PathBuf,

    /// Leaves out objects whose newest value is nowhere to be had (`admin lost` lists
    /// them) instead of failing; the manifest counts them.
    #[arg(long)]
    pub leave_out_lost: bool,

    #[command(flatten)]
    pub pace: PaceArguments,
}

/// Which backup.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Its directory.
    pub directory: PathBuf,
}

/// What to restore.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The backup's directory.
    pub directory: PathBuf,

    /// Goes on with a restore that was broken off. RW objects that exist are overwritten;
    /// RMW objects that exist must be as in the backup.
    #[arg(long)]
    pub again: bool,

    /// Where each value must be durable before it counts as restored: "local", "remote"
    /// or "majority".
    #[arg(long, value_name = "LEVEL", default_value = "majority")]
    pub durability: Durability,

    #[command(flatten)]
    pub pace: PaceArguments,
}

/// Where to look.
#[derive(Debug, Args)]
pub struct LostArguments {
    /// The container.
    pub container: String,
}

/// What to give up.
#[derive(Debug, Args)]
pub struct AcceptLossArguments {
    /// The object, or with --all the container.
    #[arg(value_name = "CONTAINER/KEY")]
    pub target: String,

    /// Everything that is lost in the container.
    #[arg(long)]
    pub all: bool,

    /// Does not ask.
    #[arg(long)]
    pub yes: bool,
}

/// An object.
#[derive(Debug, Args)]
pub struct ObjectArguments {
    /// The object; the key may contain further slashes.
    #[arg(value_name = "CONTAINER/KEY")]
    pub object: ObjectName,
}

/// How durable a change must be before the command ends.
#[derive(Debug, Args)]
pub struct DurabilityArgument {
    /// Where the new value must be durable before success is reported: "local" (its
    /// site), "remote" (also a replica in another site) or "majority" (of the
    /// replicas); the container's level where it is not given.
    #[arg(long = "durability", value_name = "LEVEL")]
    pub level: Option<Durability>,
}

/// An object to delete.
#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// The object; the key may contain further slashes.
    #[arg(value_name = "CONTAINER/KEY")]
    pub object: ObjectName,

    #[command(flatten)]
    pub durability: DurabilityArgument,
}

/// An object and its new value.
#[derive(Debug, Args)]
pub struct PutArguments {
    /// The object; the key may contain further slashes.
    #[arg(value_name = "CONTAINER/KEY")]
    pub object: ObjectName,

    /// The value; "-" reads it from standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub value: Option<String>,

    /// Reads the value from this file.
    #[arg(long)]
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub durability: DurabilityArgument,
}

/// A command for an RMW object.
#[derive(Debug, Args)]
pub struct ExecArguments {
    /// The object; the key may contain further slashes.
    #[arg(value_name = "CONTAINER/KEY")]
    pub object: ObjectName,

    #[command(flatten)]
    pub durability: DurabilityArgument,

    /// The object's state machine: register, counter, list, set or map.
    pub machine: String,

    /// The command and its arguments; "get" prints the state. Options go before the machine.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// How to show the status.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Shows it again every second, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}

/// A container's name and a key in it.
#[derive(Clone, Debug)]
pub struct ObjectName {
    /// Before the first slash.
    pub container: String,
    /// After it.
    pub key: String,
}

impl std::str::FromStr for ObjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((container, key)) if !container.is_empty() && !key.is_empty() => Ok(Self {
                container: container.to_owned(),
                key: key.to_owned(),
            }),
            Some(_) | None => {
                Err("write an object as CONTAINER/KEY, such as profiles/alice".to_owned())
            }
        }
    }
}

impl PutArguments {
    /// The value to write, from wherever it comes.
    pub fn value(&self) -> Result<Vec<u8>, Fault> {
        match (&self.value, &self.file) {
            (Some(value), _) if value != "-" => Ok(value.clone().into_bytes()),
            (_, Some(path)) => {
                let fault = |error| Fault::local(format!("--file {}: {error}", path.display()));
                read_value(std::fs::File::open(path).map_err(fault)?).map_err(fault)
            }
            (_, None) => read_value(std::io::stdin().lock())
                .map_err(|error| Fault::local(format!("standard input: {error}"))),
        }
    }
}

/// Reads a value, and one byte beyond the limit at most.
fn read_value(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut value = Vec::new();
    source
        .take(VALUE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut value)?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "holds more than {VALUE_BYTES_MAX} bytes, the longest value"
        )));
    }
    Ok(value)
}

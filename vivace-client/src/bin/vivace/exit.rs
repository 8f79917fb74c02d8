//! How the command ends: its exit status, and what it says then.

use std::io;
use std::process::ExitCode;

use serde_json::json;
use vivace_client::backup::{BackupError, RestoreError, TakeError};
use vivace_client::{ConfigFileError, ConnectError, OperationError};

use crate::output::{self, remark};

/// The exit statuses, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    NotFound = 1,
    Usage = 2,
    Conflict = 3,
    Busy = 4,
    Unavailable = 5,
    Unknown = 6,
    Setup = 7,
    NoBackup = 8,
    NewerBackup = 9,
    BackupFileMissing = 10,
    BackupCutShort = 11,
    BackupAltered = 12,
    BackupAddition = 13,
    NotReady = 14,
    Declined = 15,
    NotLost = 16,
    Interrupted = 130,
}

impl Exit {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not-found",
            Self::Usage => "usage",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Setup => "setup",
            Self::NoBackup => "no-backup",
            Self::NewerBackup => "newer-backup",
            Self::BackupFileMissing => "backup-file-missing",
            Self::BackupCutShort => "backup-cut-short",
            Self::BackupAltered => "backup-altered",
            Self::BackupAddition => "backup-addition",
            Self::NotReady => "not-ready",
            Self::Declined => "declined",
            Self::NotLost => "not-lost",
            Self::Interrupted => "interrupted",
        }
    }

    /// What to do about it.
    fn advice(self) -> Option<&'static str> {
        match self {
            Self::Done | Self::NotFound | Self::Usage | Self::Interrupted => None,
            Self::NoBackup
            | Self::NewerBackup
            | Self::BackupFileMissing
            | Self::BackupCutShort
            | Self::BackupAltered
            | Self::BackupAddition
            | Self::NotReady
            | Self::Declined => Some("Nothing was changed."),
            Self::NotLost => {
                Some("Nothing was changed. `vivace admin lost CONTAINER` lists what is lost.")
            }
            Self::Conflict => Some("Nothing was changed. Read the object, and decide anew."),
            Self::Busy => Some("Nothing was changed. Try again in a moment."),
            Self::Unavailable => Some(
                "Nothing was changed. Try again, with a longer --deadline perhaps; \
                 `vivace status` shows which nodes are down. Where a site is gone for good, \
                 `vivace admin lost CONTAINER` tells what went with it.",
            ),
            Self::Unknown => Some("It may have taken effect. Read the object before trying again."),
            Self::Setup => Some("`vivace --help` tells what --config is."),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why there is nothing to print but this.
#[derive(Debug)]
pub struct Fault {
    exit: Exit,
    reason: String,
    /// What to do about it.
    advice: Option<&'static str>,
}

impl Fault {
    /// The command line asks for what can't be done.
    pub fn usage(reason: impl Into<String>) -> Self {
        Self::new(Exit::Usage, reason)
    }

    /// Something on this machine, or the way to the nodes, is not as it must be.
    pub fn setup(reason: impl Into<String>) -> Self {
        Self::new(Exit::Setup, reason)
    }

    /// A file that the command line names, or standard input or output.
    pub fn local(reason: impl Into<String>) -> Self {
        Self::new(Exit::Setup, reason).advised(None)
    }

    /// The user ended it.
    pub fn interrupted(reason: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, reason)
    }

    /// It ended so, for this reason, and there is to do what there mostly is.
    pub fn new(exit: Exit, reason: impl Into<String>) -> Self {
        Self {
            exit,
            reason: reason.into(),
            advice: exit.advice(),
        }
    }

    fn advised(self, advice: Option<&'static str>) -> Self {
        Self { advice, ..self }
    }

    /// Says it, on standard error or as JSON on standard output.
    pub fn report(self, json: bool) -> Exit {
        if json {
            let report = json!({ "error": self.exit.name(), "reason": self.reason });
            // Where standard output is gone, the exit status still tells.
            let _ = output::print_json(&report);
            return self.exit;
        }
        remark!("vivace: {}", self.reason);
        if let Some(advice) = self.advice {
            remark!("{advice}");
        }
        self.exit
    }
}

/// The status for how an operation ended.
pub fn exit_of(error: &OperationError) -> Exit {
    match error {
        OperationError::Conflict { .. } => Exit::Conflict,
        OperationError::Busy { .. } => Exit::Busy,
        OperationError::Unavailable { .. } => Exit::Unavailable,
        OperationError::Invalid { .. } => Exit::Usage,
        // A kind that this command does not know yet promises nothing.
        _ => Exit::Unknown,
    }
}

impl From<OperationError> for Fault {
    fn from(error: OperationError) -> Self {
        Self::new(exit_of(&error), error.to_string())
    }
}

impl From<BackupError> for Fault {
    fn from(error: BackupError) -> Self {
        let exit = match &error {
            BackupError::None { .. } => Exit::NoBackup,
            BackupError::Newer { .. } => Exit::NewerBackup,
            BackupError::Missing { .. } => Exit::BackupFileMissing,
            BackupError::CutShort { .. } => Exit::BackupCutShort,
            BackupError::Altered { .. } => Exit::BackupAltered,
            BackupError::Additional { .. } => Exit::BackupAddition,
            _ => return Self::local(error.to_string()),
        };
        Self::new(exit, error.to_string())
    }
}

impl From<TakeError> for Fault {
    fn from(error: TakeError) -> Self {
        let reason = format!("no backup was made: {error}");
        match &error {
            TakeError::List { error, .. }
            | TakeError::Unreadable { error, .. }
            | TakeError::Status(error) => Self::new(exit_of(error), reason),
            _ => Self::local(reason),
        }
    }
}

impl From<RestoreError> for Fault {
    fn from(error: RestoreError) -> Self {
        let reason = error.to_string();
        match error {
            RestoreError::Backup(error) => error.into(),
            RestoreError::NotReady { .. } => Self::new(Exit::NotReady, reason),
            RestoreError::Status(error) => Self::new(exit_of(&error), reason),
            RestoreError::Unwritten { error, .. } => {
                let advice = match error {
                    OperationError::Conflict { .. } => {
                        "Clients have changed it since, and it stays as it is: restore into a new \
                         cluster, before clients use it."
                    }
                    _ => "When the cause is gone, --again goes on.",
                };
                Self::new(exit_of(&error), reason).advised(Some(advice))
            }
            // One that this command does not know yet promises nothing.
            _ => Self::new(Exit::Unknown, reason),
        }
    }
}

impl From<ConfigFileError> for Fault {
    fn from(error: ConfigFileError) -> Self {
        Self::setup(error.to_string())
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        Self::setup(error.to_string())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::local(format!("standard output: {error}"))
    }
}

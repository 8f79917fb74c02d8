//! Which rows the demo measures, in which order.

use std::str::FromStr;

use crate::results::RowName;

/// An algorithm, as a container's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The prior algorithm for reads and writes.
    Abd,
    /// Vivace's Algorithm 1.
    Rw,
    /// The prior algorithm for commands: the paper's Algorithm 2.
    LanRmw,
    /// Vivace's Algorithm 3.
    Rmw,
}

impl System {
    /// The container's name and kind, and the system's name in results.
    pub fn id(self) -> &'static str {
        match self {
            Self::Abd => "abd",
            Self::Rw => "rw",
            Self::LanRmw => "lan-rmw",
            Self::Rmw => "rmw",
        }
    }

    /// Its name for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Abd => "ABD",
            Self::Rw => "Vivace RW",
            Self::LanRmw => "Algorithm 2",
            Self::Rmw => "Vivace RMW",
        }
    }

    /// Whether its objects carry out commands.
    pub fn has_commands(self) -> bool {
        matches!(self, Self::LanRmw | Self::Rmw)
    }

    /// Whether it is Vivace's.
    pub fn is_vivace(self) -> bool {
        matches!(self, Self::Rw | Self::Rmw)
    }
}

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read the object.
    Read,
    /// Replace it.
    Write,
    /// Have it carry out a command.
    Execute,
}

impl Operation {
    /// Its name in results.
    pub fn id(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        }
    }
}

/// What else is on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Idle,
    /// Cross traffic both ways.
    Congested,
}

impl Condition {
    /// Its name in results.
    pub fn id(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Congested => "congested",
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// On whose objects.
    pub system: System,
    /// What is done.
    pub operation: Operation,
    /// On which link.
    pub condition: Condition,
}

impl Row {
    /// Its name in results.
    pub fn name(&self) -> RowName {
        RowName {
            experiment: super::NAME.to_owned(),
            system: self.system.id().to_owned(),
            operation: self.operation.id().to_owned(),
            condition: self.condition.id().to_owned(),
        }
    }

    /// Its name for people.
    pub fn words(&self) -> String {
        let link = match self.condition {
            Condition::Idle => "idle",
            Condition::Congested => "congested",
        };
        format!(
            "{} {} on the {link} link",
            self.system.words(),
            self.operation.id()
        )
    }
}

/// A system and an operation: two rows, one for each condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only {
    system: System,
    operation: Operation,
}

/// Everything that can be measured; a prior algorithm before Vivace's, so that each
/// pair runs close together.
const ALL: [Only; 8] = [
    Only {
        system: System::Abd,
        operation: Operation::Write,
    },
    Only {
        system: System::Rw,
        operation: Operation::Write,
    },
    Only {
        system: System::Abd,
        operation: Operation::Read,
    },
    Only {
        system: System::Rw,
        operation: Operation::Read,
    },
    Only {
        system: System::LanRmw,
        operation: Operation::Execute,
    },
    Only {
        system: System::Rmw,
        operation: Operation::Execute,
    },
    Only {
        system: System::LanRmw,
        operation: Operation::Read,
    },
    Only {
        system: System::Rmw,
        operation: Operation::Read,
    },
];

impl Only {
    fn is_rmw_read(&self) -> bool {
        self.system.has_commands() && self.operation == Operation::Read
    }
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |only: &Self| format!("{}/{}", only.system.id(), only.operation.id());
        ALL.into_iter()
            .find(|only| name(only) == text)
            .ok_or_else(|| {
                let names: Vec<String> = ALL.iter().map(name).collect();
                format!("it must be one of {}", names.join(", "))
            })
    }
}

/// The rows to measure, in order: all on the idle link, then all on the congested
/// one. `only` names some; without it, reads of RMW objects are left out unless
/// `rmw_reads`.
pub fn rows(only: &[Only], rmw_reads: bool) -> Vec<Row> {
    let wanted = |candidate: &Only| match only {
        [] => rmw_reads || !candidate.is_rmw_read(),
        only => only.contains(candidate) || (rmw_reads && candidate.is_rmw_read()),
    };
    [Condition::Idle, Condition::Congested]
        .into_iter()
        .flat_map(|condition| {
            ALL.into_iter()
                .filter(wanted)
                .map(move |Only { system, operation }| Row {
                    system,
                    operation,
                    condition,
                })
        })
        .collect()
}

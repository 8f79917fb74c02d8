//! What goes wrong, and when.

use std::fmt;
use std::time::Duration;

use crate::sim::{DiskFault, Fuse, HostClock, LogTail, Sieve};
use crate::{Class, NodeId, SiteId};

/// One fault, or the end of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A node stops.
    Crash {
        /// Which.
        node: NodeId,
        /// What its disk had of what was not yet durable.
        tail: LogTail,
    },
    /// A node crashes for good, together with the rest of a minority.
    Doom(NodeId),
    /// A node crashes when it has sent some more messages, perhaps of one kind only.
    CrashAfter {
        /// Which.
        node: NodeId,
        /// How many, and of which kind.
        fuse: Fuse,
        /// Whether it never comes back, being one of a minority.
        is_final: bool,
    },
    /// Nodes lose their power in the same instant.
    PowerFailure {
        /// Which.
        nodes: Vec<NodeId>,
        /// What their disks had of what was not yet durable.
        tail: LogTail,
    },
    /// A site is destroyed, and with it what only its local sets held. Majorities of
    /// all replicas are elsewhere.
    SiteLoss(SiteId),
    /// Messages of one kind don't get through: priority is lost, bulk waits.
    Sift(Sieve),
    /// What one node has alone stays so, and its site asks nobody else for it: W-LOCAL
    /// of its own, questions of its site to others, and their values, don't get through.
    LoneCopies([Sieve; 3]),
    /// One replica alone is told what is written, and its site gets values of it, but not
    /// their timestamps: W-TS and values to other replicas, its answers to R-TS inside its
    /// site, and R-TS from outside don't get through.
    ToldToOne([Sieve; 4]),
    /// They do again.
    Unsift(Sieve),
    /// A node that is down starts with what was durable.
    Restart(NodeId),
    /// A node does nothing for a while, then all at once.
    Pause {
        /// Which.
        node: NodeId,
        /// How long.
        length: Duration,
    },
    /// Connections break, both ways, and both sides are told.
    Cut {
        /// Between which nodes.
        pairs: Vec<(NodeId, NodeId)>,
        /// One class, or both.
        class: Option<Class>,
    },
    /// Messages vanish on their way, and nobody is told.
    Block(Vec<(NodeId, NodeId)>),
    /// All pairs can talk again.
    Rejoin,
    /// Bulk between sites falls to 1 % of its rate.
    BulkCollapse,
    /// And has its rate again.
    BulkRecovery,
    /// A clock changes.
    Clock {
        /// Whose.
        node: NodeId,
        /// To this.
        clock: HostClock,
    },
    /// The journal's disk fails a node, with an error or without a word.
    DiskError {
        /// Whose.
        node: NodeId,
        /// How.
        fault: DiskFault,
    },
    /// A node's disk has no space.
    DiskFull(NodeId),
    /// It has again; where the node could not start without, it starts.
    DiskSpace(NodeId),
    /// A node of a minority crashes with all that it wrote, and starts again; where its
    /// journal has come to harm, it refuses to and is lost.
    PowerCycle {
        /// Which.
        node: NodeId,
        /// A number that names a bit of its journal, which flips in between.
        flips: Option<u64>,
    },
    /// A whole local set stops.
    LocalSetLoss {
        /// Of which site.
        site: SiteId,
        /// The members.
        nodes: Vec<NodeId>,
    },
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedFault {
    /// Its number in the full plan, which stays when others are left out.
    pub number: usize,
    /// Since the beginning.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs_f64();
        write!(f, "{:>4}  {seconds:>12.6} s  {:?}", self.number, self.fault)
    }
}

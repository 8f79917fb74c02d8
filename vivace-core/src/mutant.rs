//! Broken variants of the protocol, so that a simulator can prove that its checker
//! would find each of them (feature `sim`; without it nothing of this is compiled).
//!
//! Each takes one mend of the published algorithms away, or makes a classic mistake.
//! At the place that it breaks stands one line, `mutant!`, which is never true in a
//! node made by [`Node::new`](crate::Node::new). docs/mutants.md tells which schedule
//! shows each of them.

use std::fmt;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// One way in which the protocol can be broken. The numbers are those of the
        /// tables of mends in ARCHITECTURE.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Mutant {
            /// Every mutant, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name on a command line and in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What is broken, and what goes wrong then, in a sentence or two.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

mutants! {
    /// RW 1: a replica erases its complete version when it hears of a newer
    /// timestamp, and drops values older than that. Remote readers of a hot key
    /// starve, and a lost site takes the previous value along.
    EraseOnNewerTimestamp = "erase-on-newer-timestamp",
    /// RW 2: a value newer than the known timestamp waits in a side buffer for its
    /// W-TS, and a question for a value tells nothing. With timestamp and value on
    /// different majorities, one crash blocks every read.
    BufferUnannounced = "buffer-unannounced",
    /// RW 3: each member of the local set propagates its copy as soon as it has it,
    /// without GO. A reader announces a timestamp whose one copy then dies.
    LeaveAtOnce = "leave-at-once",
    /// RW 4: a value newer than was asked for is returned without its own
    /// write-back (§3.4.1 read literally). Two reads in a row: new, old.
    SkipWriteBackOfNewer = "skip-write-back-of-newer",
    /// RW 4, of a value that came with its timestamp: it is returned without a write-back
    /// though it is newer than a majority told. Two reads in a row: new, old.
    SkipWriteBackOfEarly = "skip-write-back-of-early",
    /// RW 5: no operation waits for a trusted clock. A slow clock's write begins
    /// after a fast clock's has ended, is acknowledged, and lost.
    NoCommitWait = "no-commit-wait",
    /// RW 5, by half: writes wait, reads do not. A read returns a fast clock's
    /// pending write; a slow clock's write then ends, and is lost.
    NoReadWait = "no-read-wait",
    /// RW 6: W-TS follows BIND without waiting for it. The coordinator dies, and a
    /// timestamp is known whose value nobody can name.
    BindNotAwaited = "bind-not-awaited",
    /// RW 7: where W-TS is not answered in time, the write starts over with a new
    /// timestamp. The same write appears twice: v, u, v.
    RetryUnderNewTimestamp = "retry-under-new-timestamp",
    /// RW 8: R-TS reports what is not durable yet. A read counts a timestamp as
    /// known to a majority that a restart forgets: new, old.
    ReportVolatile = "report-volatile",
    /// RW 9: timestamps name no writer. Two values share one, and reads flip.
    AnonymousWriter = "anonymous-writer",
    /// RW 10: a read of what was never written asks for its value, and waits for ever.
    FetchNeverWritten = "fetch-never-written",
    /// RW 11: local copies go when one replica holds the value. That one crashes.
    DropAtFirstAck = "drop-at-first-ack",
    /// A read asks one node for the value, again and again. That one is silent.
    AskOneHolder = "ask-one-holder",
    /// A member of the local set answers R-DATA with any newer copy, safe or not.
    /// The copy is announced, then lost with its only holder.
    AnswerUnsafeCopy = "answer-unsafe-copy",
    /// Nobody looks after the copies that a dead coordinator left: they stay for ever.
    LeaveOrphans = "leave-orphans",
    /// A read joins a round of its object that is under way: it is answered from what
    /// replicas said before it was asked. Stale reads.
    JoinBegunRead = "join-begun-read",
    /// A value that came with its timestamp is returned whatever the others tell: the
    /// replica in this site may have missed the newest write. Stale reads.
    ServeOlderEarly = "serve-older-early",
    /// Direct writes: a replica knows of a value, and writes so into its log, before the
    /// value is durable. After a power failure majorities know of what none of them has.
    LearnBeforeStored = "learn-before-stored",
    /// Direct writes: a start does not take the word of values that were stored ahead of their
    /// records. After a power failure majorities have forgotten what was acknowledged.
    IgnoreStored = "ignore-stored",
    /// Direct writes: a read tells a majority of the timestamp of what it found at one
    /// replica, and not of the value. That replica dies, and every read waits for it.
    WriteBackTimestamp = "write-back-timestamp",
    /// Reads never write back. A value known to one replica is returned, then that
    /// replica crashes: new, old.
    SkipWriteBack = "skip-write-back",

    /// RMW 1: replicas serve a version only once they have accepted it. Whoever
    /// saw the crashed replica's acceptance waits for ever.
    HideUnaccepted = "hide-unaccepted",
    /// RMW 2: one false among the first majority of answers loses the round, as
    /// printed. One replica that always refuses blocks every object.
    AnyFalseAborts = "any-false-aborts",
    /// RMW 2, the other half: a contested round waits for a majority without end.
    /// One replica down and one false: it hangs.
    NoGrace = "no-grace",
    /// RMW 3: objects do not remember their sessions' commands. A coordinator dies
    /// before it answers, and the retry applies the command twice.
    ForgetCommands = "forget-commands",
    /// RMW 4: a read, and a command that changes nothing, trust the newest timestamp
    /// that one replica of a majority accepted. It may be lost: reads go back.
    ReadUnsettled = "read-unsettled",
    /// RMW 5: W-REMOTE raises `accepted`, as an RW object's raises `known`. A
    /// version that was never chosen is read, then gone.
    RemoteAccepts = "remote-accepts",
    /// A replica drops older versions when it accepts, not at COMMIT. A lost site takes
    /// the previous version along.
    DropOnAcceptance = "drop-on-acceptance",
    /// OR-DATA is answered with whatever version is there, and the command is applied
    /// to it. An update is lost.
    BuildOnAnyVersion = "build-on-any-version",
    /// A replica that dropped the version asked for does not say so, and the asker
    /// does not ask which is the newest now: it waits for ever.
    WaitForHistory = "wait-for-history",
    /// RMW 6: a repeated command that changes nothing leaves no trace. Its first try,
    /// still under way, takes effect after the client heard the second's result.
    ForgetUnchanged = "forget-unchanged",
    /// A round that changes nothing also answers clients who asked after it began,
    /// from promises older than their question: stale reads.
    AnswerLatecomers = "answer-latecomers",
    /// RMW 8: acceptance promises nothing more. Another coordinator comes between two
    /// rounds of one that does not ask, and its command is overwritten.
    ForgetNext = "forget-next",
    /// RMW 9: a replica applies commands to the newest version that it has, whichever
    /// they were for. One timestamp has two values: reads differ, an update is lost.
    ApplyToAnyVersion = "apply-to-any-version",
    /// RMW 9, the other half: a replica acknowledges commands before their result is
    /// durable, and asks for no value where they can't be applied. The last copies of
    /// the value go, and the object blocks for ever.
    AckBeforeApplied = "ack-before-applied",

    /// Replicas acknowledge before the disk has finished. A power cut forgets an
    /// acknowledged write.
    AckBeforeDurable = "ack-before-durable",
    /// OR-TS is answered, but a restart forgets it. The replica accepts what it promised
    /// to refuse: two rounds build on one version, an update is lost.
    ForgetPromise = "forget-promise",
    /// A timestamp far ahead of the clock is taken. One broken clock puts a key out of
    /// everyone's reach: later writes are lost, reads wait for its time to come.
    AcceptFuture = "accept-future",
    /// A clock of unknown error counts as exact. Its write is ordered before one
    /// that has long ended.
    TrustUnknownClock = "trust-unknown-clock",
    /// A node that lost its records votes: what a majority knew, it does no more.
    EmptyRestart = "empty-restart",
    /// Half of the replicas count as a majority: two quorums need not meet.
    MinorityQuorum = "minority-quorum",
}

impl Mutant {
    /// The mutant of this name.
    ///
    /// # Errors
    /// [`UnknownMutant`] where there is none.
    pub fn parse(name: &str) -> Result<Self, UnknownMutant> {
        let named = Self::ALL.iter().find(|mutant| mutant.name() == name);
        named.copied().ok_or_else(|| UnknownMutant(name.into()))
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No mutant, nor set of them, has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mutant; see Mutant::ALL")]
pub struct UnknownMutant(String);

/// A set of mutants at work in one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutants(u64);

const _: () = assert!(Mutant::ALL.len() <= u64::BITS as usize);

impl Mutants {
    /// Alg. 1 about as it is printed, with §3.4.1 read literally. Kinder than the
    /// paper in this: local copies answer readers and are looked after, values go on
    /// until all replicas hold them, restarts recover everything, and timestamps
    /// are unique. Harsher in nothing.
    pub const PUBLISHED_ALG_1: Self = Self::none()
        .with(Mutant::EraseOnNewerTimestamp)
        .with(Mutant::BufferUnannounced)
        .with(Mutant::LeaveAtOnce)
        .with(Mutant::SkipWriteBackOfNewer)
        .with(Mutant::NoCommitWait)
        .with(Mutant::FetchNeverWritten)
        .with(Mutant::AcceptFuture)
        .with(Mutant::TrustUnknownClock);

    /// Alg. 3 about as it is printed. Kinder than the paper in this: besides what
    /// [`Mutants::PUBLISHED_ALG_1`] tells, the coordinator itself tries a lost round
    /// again where the paper's client hears ⊥, and a replica that accepted a newer
    /// version than was asked for still serves the older where it has it.
    pub const PUBLISHED_ALG_3: Self = Self::none()
        .with(Mutant::LeaveAtOnce)
        .with(Mutant::HideUnaccepted)
        .with(Mutant::AnyFalseAborts)
        .with(Mutant::ForgetCommands)
        .with(Mutant::DropOnAcceptance)
        .with(Mutant::AcceptFuture)
        .with(Mutant::TrustUnknownClock);

    /// The protocol as it should be.
    pub const fn none() -> Self {
        Self(0)
    }

    /// These, and `mutant`.
    #[must_use]
    pub const fn with(self, mutant: Mutant) -> Self {
        Self(self.0 | 1 << mutant as u64)
    }

    /// Whether `mutant` is at work.
    pub const fn contains(self, mutant: Mutant) -> bool {
        self.0 >> mutant as u64 & 1 == 1
    }

    /// Those at work, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Mutant> {
        let all = Mutant::ALL.iter().copied();
        all.filter(move |&mutant| self.contains(mutant))
    }

    /// Reads names that are joined by commas: mutants, `published-alg-1`,
    /// `published-alg-3`, or `none`. The inverse of its `Display`.
    ///
    /// # Errors
    /// [`UnknownMutant`] with the first name that is none.
    pub fn parse(names: &str) -> Result<Self, UnknownMutant> {
        names.split(',').try_fold(Self::none(), |set, name| {
            Ok(match name {
                "none" => set,
                "published-alg-1" => Self(set.0 | Self::PUBLISHED_ALG_1.0),
                "published-alg-3" => Self(set.0 | Self::PUBLISHED_ALG_3.0),
                name => set.with(Mutant::parse(name)?),
            })
        })
    }
}

impl From<Mutant> for Mutants {
    fn from(mutant: Mutant) -> Self {
        Self::none().with(mutant)
    }
}

impl fmt::Display for Mutants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::none() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.iter().map(Mutant::name).collect();
        f.write_str(&names.join(","))
    }
}

//! What steps need of the machine, and how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::arguments::RunArguments;
use crate::step::{BenchStore, Step, StoreKind, Work};
use crate::store::{ETCD_MISSING, NFT_MISSING, NodeProgram};
use crate::wan::Netem;
use crate::wan::beside_this_program;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The program `netem`, and the right to build a WAN.
    Wan,
    /// The program `etcd`.
    Etcd,
    /// The program `nft`.
    Nft,
    /// The program `tc`, and root.
    Tc,
    /// The simulator.
    Simulator,
    /// The command `vivace`.
    Command,
}

impl Need {
    /// In a word, for the list.
    pub fn words(self) -> &'static str {
        match self {
            Self::Wan => "netem (root or user namespaces)",
            Self::Etcd => "etcd",
            Self::Nft => "nft",
            Self::Tc => "tc (root)",
            Self::Simulator => "vivace-sim",
            Self::Command => "vivace",
        }
    }

    /// What a step needs.
    pub fn of(step: &Step) -> Vec<Self> {
        match &step.work {
            Work::Store(work) => match work.store {
                StoreKind::Vivace { .. } => vec![Self::Wan],
                StoreKind::Etcd { marked: false } => vec![Self::Wan, Self::Etcd],
                StoreKind::Etcd { marked: true } => vec![Self::Wan, Self::Etcd, Self::Nft],
            },
            Work::RoundTrips(work) => match work.scheme {
                crate::step::spec::Scheme::Host => vec![Self::Wan, Self::Tc],
                _ => vec![Self::Wan],
            },
            Work::Delays => vec![Self::Simulator],
            Work::Bench(work) => match work.needs_command() {
                true => vec![Self::Command],
                false => Vec::new(),
            },
        }
    }
}

/// What this machine has; what it lacks, as how to get it.
pub struct Tools {
    /// `netem`, where it can build a WAN.
    pub netem: Result<Netem, String>,
    /// What runs as a node of Vivace.
    pub node: NodeProgram,
    /// etcd.
    pub etcd: Result<PathBuf, String>,
    nft: Result<PathBuf, String>,
    tc: Result<PathBuf, String>,
    /// The simulator.
    pub simulator: Result<PathBuf, String>,
    /// The command `vivace`.
    pub command: Result<PathBuf, String>,
}

/// The first line of `etcd --version`, where it is installed.
pub fn installed_etcd() -> Option<String> {
    version_of(&beside_this_program("etcd")?)
}

fn version_of(etcd: &Path) -> Option<String> {
    let output = Command::new(etcd).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().next().map(str::to_owned)
}

impl Tools {
    /// Looks around; builds a very small WAN to see whether it can, if `for_steps` need
    /// one.
    ///
    /// # Errors
    /// This program's own file is not known.
    pub fn find(arguments: &RunArguments, for_steps: &[Step]) -> std::io::Result<Self> {
        let program =
            |name: &str, missing: &str| beside_this_program(name).ok_or_else(|| missing.to_owned());
        let wants_wan = for_steps
            .iter()
            .any(|step| Need::of(step).contains(&Need::Wan));
        let netem = match wants_wan {
            true => Netem::find(arguments.netem.as_deref()),
            false => Err("nothing needs it".to_owned()),
        };
        let is_root = nix::unistd::geteuid().is_root();
        Ok(Self {
            netem,
            node: NodeProgram::new(arguments.node.as_deref())?,
            etcd: program("etcd", ETCD_MISSING),
            nft: program("nft", NFT_MISSING),
            tc: match is_root {
                true => program("tc", "the program tc is missing: apt-get install iproute2"),
                false => Err("HTB on a host needs root".to_owned()),
            },
            simulator: program(
                "vivace-sim",
                "the program vivace-sim is missing: cargo build --release -p vivace-core \
                 --features sim --bin vivace-sim",
            ),
            command: program(
                "vivace",
                "the program vivace is missing: cargo build --release -p vivace-client",
            ),
        })
    }

    /// What etcd says of itself, where a step measures it.
    pub fn etcd_version(&self, step: &Step) -> Option<String> {
        let etcd = self.etcd.as_ref().ok()?;
        let is_measured = match &step.work {
            Work::Bench(work) => work.stores.contains(&BenchStore::Etcd),
            _ => Need::of(step).contains(&Need::Etcd),
        };
        is_measured.then(|| version_of(etcd))?
    }

    /// Why a step can't be measured here, and how to change that; none where it can.
    pub fn lacking(&self, step: &Step) -> Option<&str> {
        Need::of(step)
            .into_iter()
            .find_map(|need| match need {
                Need::Wan => self.netem.as_ref().err(),
                Need::Etcd => self.etcd.as_ref().err(),
                Need::Nft => self.nft.as_ref().err(),
                Need::Tc => self.tc.as_ref().err(),
                Need::Simulator => self.simulator.as_ref().err(),
                Need::Command => self.command.as_ref().err(),
            })
            .map(String::as_str)
    }
}

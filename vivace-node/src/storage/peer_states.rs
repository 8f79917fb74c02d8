//! The newest state that a node has met each peer with, kept over its own restarts: the file
//! `peers` of its data directory. A peer that comes back with less, its disk emptied or put
//! back, is known even where everybody who met it has been restarted since.
//!
//! Text: a line per peer, sealed.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use vivace_core::{Incarnation, NodeId};

pub use super::identity::MetState;
use super::identity::{DirectoryId, StartId};
use super::replacement::Replacement;
use super::sealed_text::{SealedText, SealedTextError};
use crate::transport::lock::lock;

/// The format of the file that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

const TEXT: SealedText = SealedText {
    title: "vivace-peers",
    format: FORMAT,
    way_out: "where it is lost, remove the file: until this node has met a peer again, it can't \
        tell one whose state was put back or emptied meanwhile",
};

/// The file's name.
pub const FILE: &str = "peers";

/// What is known of all peers.
#[derive(Debug)]
pub struct PeerStates {
    path: PathBuf,
    directory: DirectoryId,
    met: Mutex<BTreeMap<NodeId, MetState>>,
}

impl PeerStates {
    /// What the data directory `home`, whose id is `directory`, remembers; nothing where
    /// there is no such file.
    ///
    /// # Errors
    /// [`SealedTextError`]; nothing was changed.
    pub fn read(home: &Path, directory: DirectoryId) -> Result<Self, SealedTextError> {
        let path = home.join(FILE);
        let met = TEXT.read(&path, directory, |body| decode(&path, body))?;
        Ok(Self {
            met: Mutex::new(met.unwrap_or_default()),
            path,
            directory,
        })
    }

    /// Whether nothing is known of any peer.
    pub fn is_empty(&self) -> bool {
        lock(&self.met).is_empty()
    }

    /// What `node` was met with.
    pub fn of(&self, node: NodeId) -> Option<MetState> {
        lock(&self.met).get(&node).copied()
    }

    /// Remembers what `node` was met with, durably before it returns. Cost: a small file and
    /// two syncs where that is news, nothing else.
    ///
    /// # Errors
    /// The operating system's: then it is forgotten with this process, and the next call
    /// tries again.
    pub fn keep(&self, node: NodeId, state: MetState) -> std::io::Result<()> {
        let mut met = lock(&self.met);
        // Of two that are kept at a time, the later one may come first.
        let is_known = |known: &MetState| {
            *known == state || (known.directory == state.directory && known.life > state.life)
        };
        if met.get(&node).is_some_and(is_known) {
            return Ok(());
        }
        let mut news = met.clone();
        news.insert(node, state);
        Replacement::prepare(&self.path, &encode(self.directory, &news))?.put()?;
        *met = news;
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn encode(directory: DirectoryId, met: &BTreeMap<NodeId, MetState>) -> String {
    let mut text = String::new();
    for (node, state) in met {
        let (number, life) = (node.0, state.life.0);
        let (directory, start) = (state.directory, state.start);
        writeln!(
            text,
            "node {number} life {life} directory {directory} start {start}"
        )
        .expect("a string takes all");
    }
    TEXT.seal(directory, &text)
}

fn decode(path: &Path, body: &str) -> Result<BTreeMap<NodeId, MetState>, SealedTextError> {
    let mut met = BTreeMap::new();
    // Behind the head.
    for (number, line) in (3..).zip(body.lines()) {
        let wrong = |what: &str| TEXT.damaged(path, format!("line {number} tells of {what}"));
        let (node, state) = peer(line).ok_or_else(|| wrong("no peer"))?;
        if met.insert(node, state).is_some() {
            return Err(wrong("a peer again"));
        }
    }
    Ok(met)
}

/// One peer's line.
fn peer(line: &str) -> Option<(NodeId, MetState)> {
    let mut words = line.split(' ');
    let mut value_of = |name: &str| words.next().filter(|word| *word == name).and(words.next());
    let node = value_of("node")?.parse().ok()?;
    let state = MetState {
        life: Incarnation(value_of("life")?.parse().ok()?),
        directory: DirectoryId::parse(value_of("directory")?)?,
        start: StartId::parse(value_of("start")?)?,
    };
    words.next().is_none().then_some((NodeId(node), state))
}

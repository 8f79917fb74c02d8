//! How the containers were laid out whose state a data directory holds.
//!
//! What was acknowledged is known to majorities of the nodes that a container had then. A
//! majority of others may know nothing of it, and would answer with something older, without a
//! word; so a configuration that says otherwise is refused. What it says of addresses, rates,
//! marks and the like is not remembered: nothing acknowledged rests on it.

mod error;
mod layout_file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use vivace_core::cluster::{Cluster, Container, Kind};
use vivace_core::{ContainerId, NodeId};

pub use self::error::LayoutError;
use self::error::OR_SAY;
use super::identity::{DataDirectory, DirectoryId};
use super::replacement::Replacement;
use super::sealed_text::{SealedText, SealedTextError};

/// The format of the file that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The file's name.
pub const FILE: &str = "layout";

const TEXT: SealedText = SealedText {
    title: "vivace-layout",
    format: FORMAT,
    way_out: OR_SAY,
};

/// One container's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ContainerLayout {
    name: String,
    kind: String,
    replicas: BTreeSet<NodeId>,
    /// By the site's name: its number is its place in a list that may be sorted anew.
    local_sets: BTreeMap<String, BTreeSet<NodeId>>,
}

/// Every container's, in no order that a file's author chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    containers: BTreeMap<ContainerId, ContainerLayout>,
}

/// A part of a container's layout that is not as it was.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    field: String,
    remembered: String,
    configured: String,
}

impl Layout {
    /// What a configuration says.
    pub fn of(cluster: &Cluster) -> Self {
        let of = |container: &Container| (container.id, ContainerLayout::of(container, cluster));
        Self {
            containers: cluster.spec().containers.iter().map(of).collect(),
        }
    }

    /// What the directory `home` remembers; none where there is no such file.
    ///
    /// # Errors
    /// [`SealedTextError`].
    pub fn remembered(
        home: &Path,
        directory: DirectoryId,
    ) -> Result<Option<Self>, SealedTextError> {
        let path = home.join(FILE);
        TEXT.read(&path, directory, |body| Self::decode(&path, body))
    }

    /// Writes it down, so that nothing but [`PreparedLayout::put`] is left to do.
    ///
    /// # Errors
    /// [`SealedTextError::Io`]; nothing was changed.
    pub fn prepare(&self, directory: &DataDirectory) -> Result<PreparedLayout, SealedTextError> {
        self.prepare_in(directory.path(), directory.id())
    }

    fn prepare_in(&self, home: &Path, id: DirectoryId) -> Result<PreparedLayout, SealedTextError> {
        let path = home.join(FILE);
        let file =
            Replacement::prepare(&path, &self.encode(id)).map_err(SealedTextError::at(&path))?;
        Ok(PreparedLayout { path, file })
    }

    /// Refuses a configuration under which a majority need not be one of those that
    /// acknowledged. Containers and sites that are new are no difference: there is nothing in
    /// them yet.
    ///
    /// # Errors
    /// [`LayoutError::Changed`] with the first field that is not as it was.
    pub fn check(&self, home: &Path, configured: &Self) -> Result<(), LayoutError> {
        let mut containers = self.containers.keys();
        containers.try_for_each(|&id| self.check_one(id, home, configured))
    }

    /// The same for one container. One that is not remembered is new.
    ///
    /// # Errors
    /// As [`Layout::check`].
    pub fn check_one(
        &self,
        id: ContainerId,
        home: &Path,
        configured: &Self,
    ) -> Result<(), LayoutError> {
        let Some(was) = self.containers.get(&id) else {
            return Ok(());
        };
        let difference = match configured.containers.get(&id) {
            Some(is) => was.difference(is),
            None => Some(configured.absence(id, was)),
        };
        difference.map_or(Ok(()), |difference| {
            Err(LayoutError::Changed {
                path: home.to_owned(),
                field: difference.field,
                remembered: difference.remembered,
                configured: difference.configured,
            })
        })
    }

    /// Refuses to do without a container of which there are records, or to have it of a kind
    /// whose nodes write no such records (`kinds` do), where nothing is remembered of it.
    ///
    /// # Errors
    /// [`LayoutError::Changed`].
    pub fn check_known(
        &self,
        id: ContainerId,
        kinds: &[Kind],
        home: &Path,
    ) -> Result<(), LayoutError> {
        let changed = |field: String, remembered, configured| {
            Err(LayoutError::Changed {
                path: home.to_owned(),
                field,
                remembered,
                configured,
            })
        };
        let Some(is) = self.containers.get(&id) else {
            let under = format!("under id {}", id.0);
            return changed("containers".into(), under, "nothing of it".into());
        };
        let names: Vec<String> = kinds.iter().map(|kind| quoted(kind.name())).collect();
        let configured = quoted(&is.kind);
        match names.contains(&configured) {
            true => Ok(()),
            false => changed(
                format!("containers.{}.kind", is.name),
                names.join(" or "),
                configured,
            ),
        }
    }

    /// A remembered container that this has not, or has under another id.
    fn absence(&self, id: ContainerId, was: &ContainerLayout) -> Difference {
        let namesake = self.containers.iter().find(|(_, is)| is.name == was.name);
        Difference {
            field: format!("containers.{}.id", was.name),
            remembered: id.0.to_string(),
            configured: match namesake {
                Some((id, _)) => id.0.to_string(),
                None => "nothing of it".into(),
            },
        }
    }
}

/// A layout that is written down and not in its place.
#[derive(Debug)]
pub struct PreparedLayout {
    path: PathBuf,
    file: Replacement,
}

impl PreparedLayout {
    /// From now on the directory remembers it, durably.
    ///
    /// # Errors
    /// [`SealedTextError::Io`].
    pub fn put(self) -> Result<(), SealedTextError> {
        self.file.put().map_err(SealedTextError::at(&self.path))
    }
}

impl ContainerLayout {
    fn of(container: &Container, cluster: &Cluster) -> Self {
        let spec = cluster.spec();
        let sites: BTreeSet<_> = spec.nodes.values().collect();
        // Nobody reads the others'.
        let sets = container
            .local_sets
            .iter()
            .filter(|(site, _)| container.kind.uses_local_sets() && sites.contains(site));
        let named = sets.map(|(site, set)| {
            let name = spec.sites[usize::from(site.0)].clone();
            (name, set.iter().copied().collect())
        });
        Self {
            name: container.name.clone(),
            kind: container.kind.name().to_owned(),
            replicas: container.replicas.iter().copied().collect(),
            local_sets: named.collect(),
        }
    }

    fn difference(&self, is: &Self) -> Option<Difference> {
        let field = |name: &str| format!("containers.{}.{name}", self.name);
        let differs = |name: &str, was: String, is: String| {
            let field = field(name);
            (was != is).then_some(Difference {
                field,
                remembered: was,
                configured: is,
            })
        };
        let local_sets = || {
            self.local_sets.iter().find_map(|(site, was)| {
                let is = is.local_sets.get(site).cloned().unwrap_or_default();
                differs(&format!("local_sets.{site}"), list(was), list(&is))
            })
        };
        differs("name", quoted(&self.name), quoted(&is.name))
            .or_else(|| differs("kind", quoted(&self.kind), quoted(&is.kind)))
            .or_else(|| differs("replicas", list(&self.replicas), list(&is.replicas)))
            .or_else(local_sets)
    }
}

fn quoted(name: &str) -> String {
    format!("{name:?}")
}

fn list(nodes: &BTreeSet<NodeId>) -> String {
    let nodes: Vec<u16> = nodes.iter().map(|node| node.0).collect();
    format!("{nodes:?}")
}

//! The file `layout`: the containers as TOML, sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vivace_core::{ContainerId, NodeId};

use super::{ContainerLayout, Layout, TEXT};
use crate::storage::identity::DirectoryId;
use crate::storage::sealed_text::SealedTextError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    containers: Vec<ContainerFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainerFields {
    id: u32,
    name: String,
    kind: String,
    replicas: BTreeSet<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    local_sets: BTreeMap<String, BTreeSet<u16>>,
}

fn numbers(nodes: &BTreeSet<NodeId>) -> BTreeSet<u16> {
    nodes.iter().map(|node| node.0).collect()
}

fn nodes(numbers: BTreeSet<u16>) -> BTreeSet<NodeId> {
    numbers.into_iter().map(NodeId).collect()
}

impl Layout {
    pub(super) fn encode(&self, directory: DirectoryId) -> String {
        let containers = self.containers.iter().map(|(id, is)| ContainerFields {
            id: id.0,
            name: is.name.clone(),
            kind: is.kind.clone(),
            replicas: numbers(&is.replicas),
            local_sets: is
                .local_sets
                .iter()
                .map(|(site, set)| (site.clone(), numbers(set)))
                .collect(),
        });
        let fields = Fields {
            containers: containers.collect(),
        };
        let toml = toml::to_string(&fields).expect("names and numbers are TOML");
        TEXT.seal(directory, &toml)
    }

    pub(super) fn decode(path: &Path, body: &str) -> Result<Self, SealedTextError> {
        let fields: Fields =
            toml::from_str(body).map_err(|error| TEXT.damaged(path, error.message()))?;
        let containers = fields.containers.into_iter().map(|is| {
            let sets = is.local_sets.into_iter();
            let layout = ContainerLayout {
                name: is.name,
                kind: is.kind,
                replicas: nodes(is.replicas),
                local_sets: sets.map(|(site, set)| (site, nodes(set))).collect(),
            };
            (ContainerId(is.id), layout)
        });
        Ok(Self {
            containers: containers.collect(),
        })
    }
}

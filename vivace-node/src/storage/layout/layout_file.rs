//! The file `layout`: format and directory in a line each, the containers as TOML, and the
//! checksum (CRC-32C) of all that in the last line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vivace_core::{ContainerId, NodeId};

use super::{ContainerLayout, FORMAT, Layout, LayoutError};
use crate::storage::identity::DirectoryId;

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
        let covered = format!("vivace-layout {FORMAT}\ndirectory {directory}\n{toml}");
        format!(
            "{covered}checksum {:08x}\n",
            crc32c::crc32c(covered.as_bytes())
        )
    }

    pub(super) fn decode(
        path: &Path,
        bytes: &[u8],
        directory: DirectoryId,
    ) -> Result<Self, LayoutError> {
        let damaged = |what: &str| LayoutError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let text = str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let mut head = text.lines();
        let mut value_of = |name: &str| {
            let value = head.next().and_then(|line| line.strip_prefix(name));
            value.and_then(|value| value.strip_prefix(' '))
        };
        let format = value_of("vivace-layout").and_then(|text| text.parse::<u32>().ok());
        let format = format.filter(|&format| format > 0);
        let format = format.ok_or_else(|| damaged("line 1 names no format"))?;
        if format > FORMAT {
            let path = path.to_owned();
            return Err(LayoutError::Newer {
                path,
                found: format,
            });
        }
        let owner = value_of("directory").and_then(DirectoryId::parse);
        let owner = owner.ok_or_else(|| damaged("line 2 names no directory"))?;
        let (covered, checksum) = text
            .rsplit_once("checksum ")
            .ok_or_else(|| damaged("it ends without a checksum"))?;
        if checksum != format!("{:08x}\n", crc32c::crc32c(covered.as_bytes())) {
            return Err(damaged("its checksum is another"));
        }
        if owner != directory {
            return Err(LayoutError::Foreign {
                path: path.to_owned(),
                found: owner,
                expected: directory,
            });
        }
        let toml = covered.splitn(3, '\n').nth(2).unwrap_or_default();
        let fields: Fields = toml::from_str(toml).map_err(|error| damaged(error.message()))?;
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

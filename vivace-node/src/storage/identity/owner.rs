//! Whose a data directory is: names, and what tells clusters of one name apart.

use std::fmt;

use vivace_core::NodeId;

/// One cluster, drawn by lot by `vivace-node init`: a name is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0, f)
    }
}

impl ClusterId {
    /// The inverse of its `Display`: 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

/// Whose a data directory is, or should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The cluster's name.
    pub cluster: String,
    /// Which cluster of this name; none where its file does not say.
    pub cluster_id: Option<ClusterId>,
    /// The node.
    pub node: NodeId,
}

impl Owner {
    /// A node of a cluster that has nothing but a name.
    pub fn named(cluster: impl Into<String>, node: NodeId) -> Self {
        Self {
            cluster: cluster.into(),
            cluster_id: None,
            node,
        }
    }

    /// Whether both are the same node of a cluster of the same name.
    pub(super) fn is_named_as(&self, other: &Self) -> bool {
        (&self.cluster, self.node) == (&other.cluster, other.node)
    }

    /// Whether what belongs to `self` is for `expected`: also where it was made before the
    /// cluster's file said which cluster it is.
    pub(super) fn is(&self, expected: &Self) -> bool {
        let is_same_cluster = self.cluster_id.is_none() || self.cluster_id == expected.cluster_id;
        is_same_cluster && self.is_named_as(expected)
    }

    /// Whether the two may be one, as far as both say who they are.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let ids = self.cluster_id.zip(other.cluster_id);
        ids.is_none_or(|(one, two)| one == two) && self.is_named_as(other)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of cluster {:?}", self.node, self.cluster)?;
        match self.cluster_id {
            Some(id) => write!(f, " with id {id}"),
            None => f.write_str(" without an id"),
        }
    }
}

pub(super) fn write_hex(bytes: [u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:032x}", u128::from_be_bytes(bytes))
}

pub(super) fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok()?;
    is_hex.then_some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_for_its_owner_and_nobody_else() {
        let owner = |cluster: &str, id: Option<u8>, node| Owner {
            cluster: cluster.into(),
            cluster_id: id.map(|id| ClusterId([id; 16])),
            node: NodeId(node),
        };
        let mine = owner("dev", Some(1), 2);
        assert!(mine.is(&mine));
        assert!(
            owner("dev", None, 2).is(&mine),
            "from before there were ids"
        );
        assert!(!mine.is(&owner("dev", None, 2)), "the file has lost it");
        for other in [
            owner("dev", Some(2), 2),
            owner("test", Some(1), 2),
            owner("dev", Some(1), 3),
        ] {
            assert!(!other.is(&mine), "{other}");
        }
    }

    #[test]
    fn an_id_is_32_hex_digits() {
        let id = ClusterId([0xa5; 16]);
        assert_eq!(ClusterId::parse(&id.to_string()), Some(id));
        for wrong in [
            "",
            "a5",
            &"g".repeat(32),
            &"a".repeat(33),
            "+".repeat(32).as_str(),
        ] {
            assert_eq!(ClusterId::parse(wrong), None, "{wrong:?}");
        }
    }
}

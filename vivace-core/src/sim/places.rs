//! Where each node has its place in a table: a look-up without a search.

use std::ops::{Index, IndexMut};

use super::host::Host;
use crate::{Class, NodeId};

/// Each node's place, in the order of the nodes.
#[derive(Clone)]
struct Places(Vec<Option<usize>>);

impl Places {
    fn new(nodes: &[NodeId]) -> Self {
        let longest = nodes.iter().map(|node| usize::from(node.0) + 1).max();
        let mut places = vec![None; longest.unwrap_or(0)];
        for (place, node) in nodes.iter().enumerate() {
            places[usize::from(node.0)] = Some(place);
        }
        Self(places)
    }

    fn of(&self, node: NodeId) -> usize {
        self.0[usize::from(node.0)].expect("the node is in the cluster")
    }
}

/// All hosts.
pub(super) struct Hosts {
    places: Places,
    hosts: Vec<Host>,
    nodes: Vec<NodeId>,
}

impl Hosts {
    pub fn new(nodes: Vec<NodeId>, host: impl Fn(NodeId) -> Host) -> Self {
        Self {
            places: Places::new(&nodes),
            hosts: nodes.iter().map(|&node| host(node)).collect(),
            nodes,
        }
    }

    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    pub fn values(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Host> {
        self.hosts.iter_mut()
    }
}

impl Index<&NodeId> for Hosts {
    type Output = Host;

    fn index(&self, node: &NodeId) -> &Host {
        &self.hosts[self.places.of(*node)]
    }
}

impl IndexMut<&NodeId> for Hosts {
    fn index_mut(&mut self, node: &NodeId) -> &mut Host {
        &mut self.hosts[self.places.of(*node)]
    }
}

/// A pair of nodes, smaller first, and the class that connects them.
pub(super) type Pair = (NodeId, NodeId, Class);

/// The connections that stand, and their numbers.
pub(super) struct Connections {
    places: Places,
    nodes: Vec<NodeId>,
    standing: Vec<Option<u64>>,
}

impl Connections {
    pub fn new(nodes: Vec<NodeId>) -> Self {
        Self {
            places: Places::new(&nodes),
            standing: vec![None; nodes.len() * nodes.len() * 2],
            nodes,
        }
    }

    fn place(&self, (a, b, class): Pair) -> usize {
        let pair = self.places.of(a) * self.nodes.len() + self.places.of(b);
        pair * 2 + class as usize
    }

    /// The number of the connection, where it stands.
    pub fn get(&self, pair: Pair) -> Option<u64> {
        self.standing[self.place(pair)]
    }

    pub fn set(&mut self, pair: Pair, number: Option<u64>) {
        let place = self.place(pair);
        self.standing[place] = number;
    }

    /// Which stand, in order.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        let count = self.nodes.len();
        let places = self.standing.iter().enumerate();
        places
            .filter(|(_, number)| number.is_some())
            .map(move |(place, _)| {
                let class = [Class::Priority, Class::Bulk][place % 2];
                let (a, b) = (place / 2 / count, place / 2 % count);
                (self.nodes[a], self.nodes[b], class)
            })
    }
}

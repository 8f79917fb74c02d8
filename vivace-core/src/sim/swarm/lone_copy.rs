//! A copy that one member of a local set has alone, asked for by its site, and lost.
//!
//! Chance alone hardly brings all of that together: W-LOCAL of one coordinator reaches no
//! other member, its site's readers reach no other holder and get no value that they did not
//! ask for, and then it is lost for good.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::configuration::Configuration;
use super::draw::pick;
use super::fault::Fault;
use crate::NodeId;
use crate::cluster::Container;
use crate::quorum::majority;
use crate::sim::{Errand, Sieve};

/// Plans for such a seed what becomes of a member that is lost anyway, this often.
const SHARE: f64 = 0.7;

impl Configuration {
    /// What precedes the loss of `node` at `end`, where it is in a local set of which one
    /// member is no majority, and the draw falls so.
    pub(super) fn draw_lone_copy(
        &self,
        rng: &mut ChaCha8Rng,
        node: NodeId,
        (at, end): (Duration, Duration),
    ) -> Option<[(Duration, Fault); 5]> {
        let site = self.spec.nodes[&node];
        let has_others = |container: &&Container| {
            let set = container.local_set(site);
            container.kind.uses_local_sets() && majority(set.len()) > 1 && set.contains(&node)
        };
        let containers: Vec<&Container> = self.spec.containers.iter().filter(has_others).collect();
        if containers.is_empty() || !rng.random_bool(SHARE) {
            return None;
        }
        let container = pick(rng, &containers);
        let elsewhere = |&other: &NodeId| other != node;
        let copies = Sieve {
            errand: Errand::WriteLocal,
            from: vec![node],
            to: container
                .local_set(site)
                .iter()
                .copied()
                .filter(elsewhere)
                .collect(),
        };
        let neighbours = self.spec.nodes.iter().filter(|(_, of)| **of == site);
        let neighbours: Vec<NodeId> = neighbours.map(|(&neighbour, _)| neighbour).collect();
        let others: Vec<NodeId> = self.spec.nodes.keys().copied().filter(elsewhere).collect();
        // Those that come with a timestamp, without a question of their own.
        let values = Sieve {
            errand: Errand::Data,
            from: others.clone(),
            to: neighbours.clone(),
        };
        let questions = Sieve {
            errand: match container.kind.is_read_write() {
                true => Errand::ReadData,
                false => Errand::OrderedReadData,
            },
            from: neighbours,
            to: others,
        };
        Some([
            (
                at,
                Fault::LoneCopies([copies.clone(), questions.clone(), values.clone()]),
            ),
            (end, Fault::Doom(node)),
            (end, Fault::Unsift(copies)),
            (end, Fault::Unsift(questions)),
            (end, Fault::Unsift(values)),
        ])
    }
}

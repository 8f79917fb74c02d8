//! What goes wrong.

use super::*;

impl Run {
    /// A clock within its bound; in mixed runs, one that is not trusted now and then.
    pub fn draw_clock(&mut self, node: NodeId) {
        let bound = self.error_max.as_nanos() as i64;
        let rng = &mut self.simulation.rng;
        let error_ns = rng.random_range(0..=bound);
        let skew_ns = rng.random_range(-error_ns..=error_ns);
        let clock = match self.clocks {
            Clocks::Mixed if rng.random_bool(0.4) => {
                // At worst by 3 s, and the node knows that it does not know.
                HostClock {
                    skew_ns: rng.random_range(-3_000_000_000..=3_000_000_000),
                    error_ns: None,
                }
            }
            Clocks::Mixed | Clocks::Trusted | Clocks::Unused => HostClock {
                skew_ns,
                error_ns: Some(error_ns as u64),
            },
        };
        self.simulation.set_clock(node, clock);
    }

    pub fn fault(&mut self) {
        let nodes = self.simulation.nodes();
        let rng = &mut self.simulation.rng;
        let node = pick(rng, &nodes);
        let other = pick(rng, &nodes);
        match rng.random_range(0..9) {
            0 | 1 => self.simulation.crash(node),
            2 => self.restart(node),
            3 => self.crash_and_restart_soon(node),
            4 if node != other => {
                let class = pick(rng, &[Class::Priority, Class::Bulk]);
                self.simulation.cut(node, other, class);
            }
            5 => self.isolate(node),
            6 if node != other => self.simulation.block(node, other),
            7 => self.draw_clock(node),
            8 => {
                let nodes = self.simulation.nodes();
                for a in &nodes {
                    for b in &nodes {
                        self.simulation.unblock(*a, *b);
                        if a < b {
                            self.simulation.join(*a, *b, Class::Priority);
                            self.simulation.join(*a, *b, Class::Bulk);
                        }
                    }
                }
            }
            _ => {}
        }
        // More often than not, what crashed comes back before the end.
        if self.chance(0.5) {
            let down: Vec<NodeId> = nodes
                .into_iter()
                .filter(|&node| !self.simulation.is_alive(node))
                .collect();
            if !down.is_empty() {
                let node = pick(&mut self.simulation.rng, &down);
                self.restart(node);
            }
        }
    }

    pub fn crash_and_restart_soon(&mut self, node: NodeId) {
        self.simulation.crash(node);
        self.restart(node);
    }

    pub fn restart(&mut self, node: NodeId) {
        if !self.gone.contains(&node) {
            self.simulation.restart(node);
        }
    }

    pub fn isolate(&mut self, node: NodeId) {
        for other in self.simulation.nodes() {
            if other != node {
                self.simulation.cut(node, other, Class::Priority);
                self.simulation.cut(node, other, Class::Bulk);
            }
        }
    }

    pub fn heal(&mut self) {
        self.healed = true;
        self.simulation.heal(&self.gone);
        self.simulation.delays.disk = ms(0, 2);
        // A container that trusts clocks needs a replica whose clock can be trusted.
        if matches!(self.clocks, Clocks::Mixed) {
            let mut replicas = self.simulation.spec().containers[0].replicas.clone();
            replicas.retain(|&node| self.simulation.is_alive(node));
            let node = pick(&mut self.simulation.rng, &replicas);
            self.trusted_replica = Some(node);
            self.simulation.set_clock(
                node,
                HostClock {
                    skew_ns: 0,
                    error_ns: Some(0),
                },
            );
        }
    }

    /// As many nodes as the container can bear to lose.
    pub fn minorities(&mut self) -> BTreeSet<NodeId> {
        let container = self.simulation.spec().containers[0].clone();
        let sets: Vec<_> = container
            .local_sets
            .values()
            .chain([&container.replicas])
            .collect();
        let bearable = |lost: &BTreeSet<NodeId>| {
            sets.iter().all(|set| {
                set.iter().filter(|node| lost.contains(node)).count() <= (set.len() - 1) / 2
            })
        };
        let mut lost = BTreeSet::new();
        let nodes = self.simulation.nodes();
        for node in sample(&mut self.simulation.rng, &nodes, nodes.len()) {
            lost.insert(node);
            if !bearable(&lost) {
                lost.remove(&node);
            }
        }
        lost
    }
}

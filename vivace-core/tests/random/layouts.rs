//! Which clusters are tried.

use super::*;

/// 1 to 3 sites, 3 or 5 replicas, local sets of 1 or 3, some nodes without a role.
pub fn cluster_for(rng: &mut impl Rng, kind: Kind, clocks: Clocks) -> (ClusterSpec, Duration) {
    let sites = rng.random_range(1..=3_u16);
    let replicas = pick(rng, &[3_u16, 5]);
    let local = pick(rng, &[1_u16, 3]);
    let per_site = local.max(replicas.div_ceil(sites)) + rng.random_range(0..=1);
    let mut spec = layout::sites(&vec![per_site; usize::from(sites)]);
    spec.clock_error_max = Duration::from_millis(pick(rng, &[0, 2, 30]));
    let all: Vec<NodeId> = spec.nodes.keys().copied().collect();
    let of_site = |site: u16| -> Vec<NodeId> {
        all.iter()
            .copied()
            .filter(|node| spec.nodes[node] == SiteId(site))
            .collect()
    };
    // Spread over the sites as evenly as can be.
    let mut members = BTreeSet::new();
    for i in 0..replicas {
        let free: Vec<NodeId> = of_site(i % sites)
            .into_iter()
            .filter(|node| !members.contains(node))
            .collect();
        members.insert(pick(rng, &free));
    }
    let local_sets = (0..sites)
        .map(|site| {
            (
                SiteId(site),
                sample(rng, &of_site(site), usize::from(local)),
            )
        })
        .collect();
    let container = Container {
        replicas: members.into_iter().collect(),
        local_sets,
        timestamps: match clocks {
            Clocks::Unused => TimestampSource::Query,
            Clocks::Trusted | Clocks::Mixed => TimestampSource::Clock,
        },
        write_back_skip: rng.random_bool(0.7),
        promise_skip: rng.random_bool(0.8),
        commands_at_replicas: rng.random_bool(0.8),
        early_data: rng.random_bool(0.8),
        direct_writes: rng.random_bool(0.8),
        copies: vivace_core::cluster::ValueCopies::OnePerSite,
        durability: vivace_core::Durability::Local,
        ..layout::container(kind, &[], &[])
    };
    spec.containers = vec![container];
    let error_max = spec.clock_error_max;
    (spec, error_max)
}

//! Topology files of `netem up`.

#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use netem::topology_file::{HOSTS_PER_SITE_MAX, Plan, TopologyFile};
use netem::{Network, SITES_MAX};

fn check_meaning(file: &TopologyFile, plan: &Plan) {
    let sites = plan.sites.len();
    assert!((1..=usize::from(SITES_MAX)).contains(&sites));
    assert_eq!(plan.paths.len(), sites * sites);
    let mut addresses = BTreeSet::new();
    for site in &plan.sites {
        assert!((1..=HOSTS_PER_SITE_MAX).contains(&site.hosts.len()));
        for host in &site.hosts {
            assert!(addresses.insert(host.ipv4), "{host:?}");
        }
    }
    let taken: BTreeSet<usize> = plan.paths.iter().flatten().copied().collect();
    assert!(
        taken.into_iter().eq(0..plan.links.len()),
        "each link is taken"
    );
    for link in &plan.links {
        link.config.check().expect("a plan's links are links");
    }
    // The round trip is what the file says, by whatever links it goes.
    let number = |name: &str| plan.sites.iter().position(|site| site.name == name);
    let delay = |from, to| -> Duration {
        let links = plan.path(from, to).iter();
        links.map(|&link| plan.links[link].config.delay).sum()
    };
    for (one, others) in &file.rtt {
        for (other, rtt) in others {
            let (one, other) = (number(one), number(other));
            let (one, other) = (one.expect("a site"), other.expect("a site"));
            assert_eq!(delay(one, other) + delay(other, one), rtt.0);
        }
    }
}

fuzz_target!(|text: &str| {
    let file = match TopologyFile::parse(text) {
        Ok(file) => file,
        Err(error) => {
            let words = error.to_string();
            assert!(words.contains("line ") || words.contains('`'), "{words}");
            return;
        }
    };
    match Plan::new(&file, "fuzz") {
        Ok(plan) => {
            check_meaning(&file, &plan);
            let links = plan.links.iter();
            let links = links.map(|link| (link.config.clone(), link.remark.clone()));
            Network::<()>::new(links, plan.seed).expect("a plan can be built");
        }
        Err(error) => {
            let words = error.to_string();
            let fields = ["name", "site", "host", "rtt.", "path", "link"];
            assert!(
                fields.iter().any(|field| words.starts_with(field)),
                "{words}"
            );
        }
    }
});

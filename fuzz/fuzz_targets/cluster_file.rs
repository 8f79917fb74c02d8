//! `cluster.toml`.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use toml::{Table, Value};
use vivace_core::SiteId;
use vivace_core::cluster::{Container, TimestampSource};
use vivace_node::config::{ClusterConfig, ConfigError};

const PATH: &str = "some/cluster.toml";

fn number(number: impl TryInto<i64>) -> Value {
    Value::Integer(
        number
            .try_into()
            .ok()
            .expect("TOML's numbers are no larger"),
    )
}

fn table<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::Table(Table::from_iter(fields))
}

fn container(container: &Container, sites: &[String]) -> Value {
    let numbers = |nodes: &[vivace_core::NodeId]| {
        Value::Array(nodes.iter().map(|node| number(node.0)).collect())
    };
    let set =
        |(site, nodes): (&SiteId, &Vec<_>)| (sites[usize::from(site.0)].clone(), numbers(nodes));
    let timestamps = match container.timestamps {
        TimestampSource::Clock => "clock",
        TimestampSource::Query => "query",
    };
    table([
        ("id", number(container.id.0)),
        ("name", container.name.clone().into()),
        ("kind", container.kind.name().into()),
        ("epoch", number(container.epoch.0)),
        ("replicas", numbers(&container.replicas)),
        (
            "local_sets",
            Value::Table(container.local_sets.iter().map(set).collect()),
        ),
        ("timestamps", timestamps.into()),
        ("write_back_skip", container.write_back_skip.into()),
        ("promise_skip", container.promise_skip.into()),
        (
            "commands_at_replicas",
            container.commands_at_replicas.into(),
        ),
        ("early_data", container.early_data.into()),
        ("direct_writes", container.direct_writes.into()),
        ("durability", container.durability.to_string().into()),
    ])
}

/// The file that says the same.
fn written(config: &ClusterConfig) -> String {
    let spec = config.cluster.spec();
    let nodes = config.addresses.iter().map(|(node, at)| {
        table([
            ("id", number(node.0)),
            ("site", spec.sites[usize::from(at.site.0)].clone().into()),
            ("priority", at.priority.to_string().into()),
            ("bulk", at.bulk.to_string().into()),
            ("client", at.client.to_string().into()),
        ])
    });
    let containers = spec.containers.iter();
    let containers = containers.map(|one| container(one, &spec.sites));
    let micros = spec.clock_error_max.as_micros() as u64;
    let millis = spec.clock_slack.as_millis() as u64;
    let file = table([
        ("name", config.name.to_string().into()),
        ("sites", spec.sites.clone().into()),
        (
            "clock",
            table([
                ("error_max_us", number(micros)),
                ("slack_ms", number(millis)),
            ]),
        ),
        (
            "limits",
            table([
                ("value_bytes_max", number(spec.value_bytes_max)),
                ("backlog_bytes_max", number(spec.backlog_bytes_max)),
            ]),
        ),
        (
            "dscp",
            table([
                ("priority", number(config.dscp_priority)),
                ("bulk", number(config.dscp_bulk)),
            ]),
        ),
        ("nodes", Value::Array(nodes.collect())),
        ("containers", Value::Array(containers.collect())),
    ]);
    toml::to_string(&file).expect("all of it is TOML")
}

/// What an operator can act on: the file, and the field or the line.
fn check_words(error: &ConfigError) {
    let text = error.to_string();
    let what = text.strip_prefix(PATH).expect("the file is named");
    let what = what.strip_prefix(": ").expect("then comes what is wrong");
    match error {
        ConfigError::Malformed { .. } => {
            assert!(what.contains("line ") || what.contains('`'), "{text}");
        }
        ConfigError::Field { field, reason, .. } => {
            assert!(!field.is_empty() && !reason.is_empty(), "{text}");
        }
        ConfigError::Cluster { source, .. } => {
            assert!(
                !source.field.is_empty() && !source.reason.is_empty(),
                "{text}"
            );
        }
        other => panic!("{other:?} of a text"),
    }
}

/// What everything that reads the configuration relies on.
fn check_meaning(config: &ClusterConfig) {
    let spec = config.cluster.spec();
    assert!(config.dscp_priority < 64 && config.dscp_bulk < 64);
    assert!(spec.nodes.keys().eq(config.addresses.keys()));
    let mut taken = BTreeMap::new();
    for (node, at) in &config.addresses {
        assert_eq!(config.cluster.site_of(*node), Some(at.site));
        assert!(usize::from(at.site.0) < spec.sites.len());
        for address in [at.priority, at.bulk, at.client] {
            assert!(address.port() != 0);
            assert_eq!(taken.insert(address, node), None, "{address}");
        }
    }
    for container in &spec.containers {
        assert!(!container.replicas.is_empty(), "a majority of nobody");
        assert!(
            container
                .replicas
                .iter()
                .all(|node| spec.nodes.contains_key(node))
        );
        let found = config.cluster.container_named(&container.name);
        assert_eq!(found.map(|found| found.id), Some(container.id));
        for (node, site) in &spec.nodes {
            let set = container.local_set(*site);
            assert!(
                !container.kind.uses_local_sets() || !set.is_empty(),
                "{node}"
            );
        }
    }
}

fuzz_target!(|text: &str| {
    let path = Path::new(PATH);
    match ClusterConfig::from_text(text, path) {
        Err(error) => check_words(&error),
        Ok(config) => {
            check_meaning(&config);
            let written = written(&config);
            let again = ClusterConfig::from_text(&written, path).expect(&written);
            assert_eq!(format!("{again:?}"), format!("{config:?}"), "{written}");
        }
    }
});

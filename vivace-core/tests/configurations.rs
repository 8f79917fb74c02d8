//! A cluster that can't work is refused by the field at fault: there is no majority of
//! nobody, and no replica that is no node.

#[path = "cluster/layout.rs"]
#[allow(dead_code)]
mod layout;

use std::time::Duration;

use layout::{container, sites};
use vivace_core::agreement::Agreement;
use vivace_core::cluster::{
    CLOCK_ERROR_MAX, CLOCK_SLACK_MAX, CONTAINERS_MAX, Cluster, ClusterSpec, Kind, TimestampSource,
};
use vivace_core::{ContainerId, Durability, Epoch, NodeId, SiteId, VALUE_BYTES_MAX};

/// Three sites of a node each, and a container on all of them.
fn sound() -> ClusterSpec {
    let mut spec = sites(&[1, 1, 1]);
    spec.containers = vec![container(Kind::Rw, &[0, 1, 2], &[&[0], &[1], &[2]])];
    spec
}

#[track_caller]
fn assert_refused(change: impl FnOnce(&mut ClusterSpec), field: &str, says: &str) {
    let mut spec = sound();
    change(&mut spec);
    let error = Cluster::new(spec).expect_err("it can't work");
    assert_eq!(error.field, field, "{error}");
    assert!(error.reason.contains(says), "{error}");
}

#[test]
fn a_sound_cluster_is_taken() {
    let cluster = Cluster::new(sound()).expect("it can work");
    assert_eq!(cluster.warnings(), [""; 0]);
}

#[test]
fn there_is_no_majority_of_nobody() {
    assert_refused(
        |spec| spec.containers[0].replicas.clear(),
        "containers.objects.replicas",
        "at least one node",
    );
    assert_refused(
        |spec| {
            spec.containers[0].local_sets.remove(&SiteId(1));
        },
        "containers.objects.local_sets.site1",
        "at least one node",
    );
    assert_refused(|spec| spec.nodes.clear(), "nodes", "at least one");
}

#[test]
fn nobody_votes_twice_and_no_stranger_votes() {
    let replicas = "containers.objects.replicas";
    let with = |numbers: &'static [u16]| {
        let nodes = numbers.iter().map(|&number| NodeId(number));
        move |spec: &mut ClusterSpec| spec.containers[0].replicas = nodes.collect()
    };
    assert_refused(with(&[0, 1, 1]), replicas, "twice");
    assert_refused(with(&[0, 1, 9]), replicas, "not in nodes");
    assert_refused(
        |spec| {
            let elsewhere = vec![NodeId(2)];
            spec.containers[0].local_sets.insert(SiteId(1), elsewhere);
        },
        "containers.objects.local_sets.site1",
        "another site",
    );
}

#[test]
fn no_two_containers_share_a_name_or_an_id() {
    let twin = |change: fn(&mut ClusterSpec)| {
        move |spec: &mut ClusterSpec| {
            spec.containers.push(spec.containers[0].clone());
            change(spec);
        }
    };
    let same_id = twin(|spec| spec.containers[1].name = "others".into());
    assert_refused(same_id, "containers", "id 1 is used twice");
    let same_name = twin(|spec| spec.containers[1].id = ContainerId(2));
    assert_refused(same_name, "containers", "\"objects\" is used twice");
    for name in ["", "a/b", &"x".repeat(300)] {
        let rename = |spec: &mut ClusterSpec| spec.containers[0].name = name.into();
        assert_refused(rename, "containers.name", "no '/'");
    }
}

#[test]
fn bounds_that_are_mistakes_of_units_are_refused() {
    assert_refused(|spec| spec.value_bytes_max = 0, "value_bytes_max", "1 to");
    assert_refused(
        |spec| spec.value_bytes_max = VALUE_BYTES_MAX + 1,
        "value_bytes_max",
        "1 to",
    );
    assert_refused(
        |spec| spec.backlog_bytes_max = spec.value_bytes_max as u64 - 1,
        "backlog_bytes_max",
        "at least one value",
    );
    let beyond = Duration::from_nanos(1);
    assert_refused(
        |spec| spec.clock_error_max = CLOCK_ERROR_MAX + beyond,
        "clock.error_max_us",
        "at most",
    );
    assert_refused(
        |spec| spec.clock_slack = CLOCK_SLACK_MAX + beyond,
        "clock.slack_ms",
        "at most",
    );
    assert_refused(
        |spec| {
            spec.nodes.insert(NodeId(1), SiteId(3));
        },
        "nodes",
        "not listed",
    );
}

#[test]
fn a_durability_that_the_replicas_cant_give_is_refused() {
    let durability = "containers.objects.durability";
    assert_refused(
        |spec| {
            spec.containers[0].durability = Durability::Remote;
            spec.containers[0].replicas = vec![NodeId(0)];
        },
        durability,
        "one site",
    );
    assert_refused(
        |spec| {
            spec.containers[0].durability = Durability::Majority;
            spec.containers[0].kind = Kind::Abd;
        },
        durability,
        "leave it out",
    );
}

#[test]
fn there_are_no_more_containers_than_a_hello_holds() {
    assert_refused(
        |spec| {
            let mut more = spec.containers[0].clone();
            spec.containers.clear();
            for number in 0..=CONTAINERS_MAX as u32 {
                more.id = ContainerId(number);
                more.name = format!("objects{number}");
                spec.containers.push(more.clone());
            }
        },
        "containers",
        "at most 1024",
    );
}

type Edit = fn(&mut ClusterSpec);

/// Of the first container, in two sites of two nodes.
fn agreement(edit: impl FnOnce(&mut ClusterSpec)) -> Agreement {
    let mut spec = sites(&[2, 2]);
    spec.containers = vec![container(Kind::Rw, &[0, 1, 2], &[&[0, 1], &[2, 3]])];
    edit(&mut spec);
    let cluster = Cluster::new(spec).expect("it can be");
    Agreement::of(&cluster, &cluster.spec().containers[0])
}

#[test]
fn what_majorities_and_promises_rest_on_must_be_equal_at_all_nodes() {
    let edits: [Edit; 6] = [
        |spec| spec.containers[0].name = "others".into(),
        |spec| spec.containers[0].kind = Kind::Rmw,
        |spec| spec.containers[0].replicas[2] = NodeId(3),
        |spec| {
            let smaller = vec![NodeId(0)];
            spec.containers[0].local_sets.insert(SiteId(0), smaller);
        },
        |spec| spec.containers[0].timestamps = TimestampSource::Query,
        |spec| spec.clock_error_max = Duration::from_millis(3),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        assert!(!agreement(|_| {}).allows(&agreement(edit)), "edit {number}");
    }
}

#[test]
fn what_each_node_decides_alone_may_differ() {
    let edits: [Edit; 7] = [
        |spec| spec.containers[0].direct_writes = false,
        |spec| spec.containers[0].replicas.reverse(),
        // Replicas promise whether or not coordinators make use of it.
        |spec| spec.containers[0].promise_skip = false,
        |spec| spec.containers[0].early_data = false,
        |spec| spec.backlog_bytes_max = 1 << 30,
        |spec| spec.containers[0].id = ContainerId(2),
        |spec| {
            spec.containers[0].epoch = Epoch(2);
            spec.containers[0].kind = Kind::Rmw;
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        assert!(agreement(|_| {}).allows(&agreement(edit)), "edit {number}");
    }
}

//! Folded records recover the same node.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use vivace_core::clock::{ClockReading, Now};
use vivace_core::cluster::{Cluster, ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use vivace_core::journal::{Step, fold};
use vivace_core::machine::Machines;
use vivace_core::message::WriteId;
use vivace_core::record::Record;
use vivace_core::{ContainerId, Epoch, Incarnation, Lsn, Node, NodeId, SiteId};

use crate::life::{LAN, Life, RMW, RW, Records, key, recover, ts};
use vivace_core::sim::SimDisk;

fn cluster() -> Arc<Cluster> {
    let container = |id: ContainerId, name: &str, kind| Container {
        id,
        name: name.into(),
        kind,
        epoch: Epoch(1),
        replicas: vec![NodeId(0)],
        local_sets: [(SiteId(0), vec![NodeId(0)])].into(),
        timestamps: TimestampSource::Clock,
        write_back_skip: true,
        promise_skip: true,
        commands_at_replicas: true,
        early_data: true,
        direct_writes: true,
        copies: ValueCopies::OnePerSite,
        durability: vivace_core::Durability::Local,
    };
    let spec = ClusterSpec {
        name: "test".into(),
        sites: vec!["site".into()],
        nodes: [(NodeId(0), SiteId(0))].into(),
        containers: vec![
            container(RW, "rw", Kind::Rw),
            container(RMW, "rmw", Kind::Rmw),
            container(LAN, "lan", Kind::LanRmw),
        ],
        clock_error_max: Duration::from_millis(2),
        clock_slack: Duration::from_millis(100),
        value_bytes_max: 1 << 20,
        backlog_bytes_max: 64 << 20,
    };
    Arc::new(Cluster::new(spec).unwrap())
}

/// What a node is after it recovered from these.
fn recovered(cluster: &Arc<Cluster>, records: &[Record]) -> Vec<String> {
    let now = Now {
        monotonic: Duration::from_secs(1),
        clock: ClockReading {
            time_ns: 1_800_000_000_000_000_000,
            error_ns: Some(0),
        },
    };
    let machines = Machines::builtin();
    let node = Node::new(NodeId(0), Incarnation(2), cluster.clone(), machines, now, 1);
    let mut node = node.unwrap();
    for record in records {
        node.recover(record.clone());
    }
    node.drop_unstored(&|_| true);
    let text = node.remembered();
    // A key of 255 bytes hides a difference.
    let text = text.replace("00000000", "");
    text.lines().map(str::to_owned).collect()
}

fn assert_same(seed: u64, folded: &[String], all: &[String]) {
    for (folded, all) in folded.iter().zip(all) {
        assert_eq!(folded, all, "seed {seed}");
    }
    assert_eq!(folded.len(), all.len(), "seed {seed}: {folded:#?} {all:#?}");
}

#[test]
fn folded_records_recover_the_same_node() {
    let cluster = cluster();
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut source = Records::default();
        let length = rng.random_range(0..800);
        let records: Vec<Record> = (0..length).map(|_| source.next(&mut rng)).collect();
        let folded = fold(records.clone());
        assert!(folded.len() <= records.len(), "seed {seed}");
        let (short, long) = (recovered(&cluster, &folded), recovered(&cluster, &records));
        assert_same(seed, &short, &long);
        assert_eq!(
            fold(folded.clone()),
            folded,
            "seed {seed}: nothing is left to fold"
        );
        // Folded in part, and then with what came later.
        let (early, late) = records.split_at(rng.random_range(0..=records.len()));
        let twice: Vec<Record> = fold(early.to_vec())
            .into_iter()
            .chain(late.to_vec())
            .collect();
        assert_eq!(fold(twice), folded, "seed {seed}");
    }
}

/// Small memory and small segments: many passes, many checkpoints over each other.
#[test]
fn a_journal_with_checkpoints_recovers_the_same_node() {
    let cluster = cluster();
    for seed in 0..30 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::default();
        let mut life = Life::new(disk.clone()).unwrap();
        life.work(&mut rng, 600).unwrap();
        life.take();
        life.commit().unwrap();
        assert!(life.journal.keeper.checkpoint_bytes() > 0);
        let (records, _) = recover(&disk).unwrap();
        assert!(records.len() < life.appended.len());
        let short = recovered(&cluster, &records);
        assert_same(seed, &short, &recovered(&cluster, &life.appended));
    }
}

#[test]
fn floors_of_aborted_writes_survive_folding() {
    let cluster = cluster();
    let aborted = |number| Record::LocalAborted {
        key: key(RW, number % 3),
        write: WriteId {
            node: NodeId(1),
            incarnation: Incarnation(1),
            number,
        },
    };
    let records: Vec<Record> = (0..5000).map(|n| aborted(n * 7 % 5003)).collect();
    let folded = fold(records.clone());
    assert!(folded.len() < 1100, "{}", folded.len());
    assert_eq!(recovered(&cluster, &folded), recovered(&cluster, &records));
}

#[test]
fn what_is_remembered_as_stable_stays_bounded() {
    let cluster = cluster();
    let dropped = |number| Record::LocalDropped {
        key: key(RW, number),
        ts: ts(number + 1),
    };
    let records: Vec<Record> = (0..6000).map(dropped).collect();
    let folded = fold(records.clone());
    assert!(folded.len() < 4100, "{}", folded.len());
    assert_eq!(recovered(&cluster, &folded), recovered(&cluster, &records));
}

/// A node's records are durable, and the values that they speak of are not yet.
#[test]
fn nothing_is_folded_before_the_values_of_its_records_are_stored() {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut life = Life::new(SimDisk::default()).unwrap();
    while life.keep().unwrap() {}
    let mut through = Lsn::default();
    for _ in 0..200 {
        life.append(&mut rng, 2);
        let batch = life.journal.appender.take_batch().unwrap();
        let done = life.journal.committer.commit(batch).unwrap();
        for sealed in done.sealed {
            life.journal.keeper.on_sealed(sealed);
        }
        through = done.through;
        while life.keep().unwrap() {}
    }
    let Life { mut journal, .. } = life;
    assert!(matches!(journal.keeper.step(), Ok(Step::Unsettled)));
    assert_eq!(journal.keeper.checkpoint_bytes(), 0);
    // The first batch is what a start found: before it is durable, nothing may go.
    assert_eq!(journal.appender.settled(Lsn(1)), None);
    journal.keeper.settle(journal.appender.settled(Lsn(2)));
    assert!(matches!(journal.keeper.step(), Ok(Step::Unsettled)));
    journal.keeper.settle(journal.appender.settled(through));
    while !matches!(journal.keeper.step().unwrap(), Step::Idle) {}
    assert!(journal.keeper.checkpoint_bytes() > 0);
}

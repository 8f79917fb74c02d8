//! Appending to the journal, and committing, on a disk in memory.

use divan::Bencher;
use divan::counter::ItemsCount;
use vivace_core::journal::{Directory, Identity, Opened, Settings, Step, create};
use vivace_core::record::Record;
use vivace_core::sim::SimDisk;
use vivace_core::{ContainerId, Incarnation, Key, Lsn, NodeId, Timestamp, WriterId};

use crate::cluster::key;

/// Records of one group commit.
const GROUPS: [u64; 2] = [1, 64];

fn record(number: u64) -> Record {
    Record::Known {
        key: Key {
            container: ContainerId(1),
            name: key(number % 1000),
        },
        ts: Timestamp {
            time: number,
            writer: WriterId::new(NodeId(1), Incarnation(1)),
        },
    }
}

/// Segments are prepared as they are needed, as a node's own thread does it.
fn ready() -> Opened<SimDisk> {
    let identity = Identity {
        cluster: "bench".to_owned(),
        node: NodeId(1),
        directory: Directory([1; 16]),
    };
    create(SimDisk::default(), identity, Settings::default()).expect("the disk is an empty one")
}

fn keep(journal: &mut Opened<SimDisk>) {
    loop {
        match journal.keeper.step().expect("the disk has no faults") {
            Step::Prepared(segment) => journal.appender.add_segment(segment),
            Step::Worked | Step::Checkpointed { .. } => {}
            Step::Idle | Step::Unsettled | Step::NoSpace(_) => return,
        }
    }
}

#[divan::bench(args = GROUPS)]
fn append_and_commit(bencher: Bencher<'_, '_>, group: u64) {
    let mut journal = ready();
    keep(&mut journal);
    let mut number = 0;
    bencher.counter(ItemsCount::new(group)).bench_local(|| {
        for _ in 0..group {
            number += 1;
            let appended = journal.appender.append(Lsn(number), &record(number));
            appended.expect("a segment is ready");
        }
        let batch = journal.appender.take_batch().expect("records wait");
        let done = journal
            .committer
            .commit(batch)
            .expect("the disk has no faults");
        let is_sealed = !done.sealed.is_empty();
        journal.on_committed(done);
        if is_sealed {
            keep(&mut journal);
        }
    });
}

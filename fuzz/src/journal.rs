//! A journal on a disk in memory, for the targets that put bytes into its files.

use vivace_core::journal::{self, Directory, Identity, OpenError, Opened, Recovery, Settings};
use vivace_core::journal::{Committed, Step};
use vivace_core::record::Record;
use vivace_core::sim::SimDisk;
use vivace_core::{Lsn, NodeId};

/// Whose the journal is.
pub fn identity() -> Identity {
    Identity {
        cluster: "fuzz".into(),
        node: NodeId(7),
        directory: Directory([9; 16]),
    }
}

fn settings() -> Settings {
    Settings {
        segment_bytes: 8192,
        segments_ahead: 1,
        checkpoint_after_bytes: 8192,
        fold_bytes_max: 1 << 16,
    }
}

/// A new journal.
pub fn blank() -> SimDisk {
    let disk = SimDisk::default();
    let made: Opened<SimDisk> =
        journal::create(disk.clone(), identity(), settings()).expect("the disk is empty");
    drop(made);
    disk
}

/// A journal with a checkpoint, and that one's generation.
pub fn checkpointed() -> (SimDisk, u64) {
    let disk = SimDisk::default();
    let mut opened: Opened<SimDisk> =
        journal::create(disk.clone(), identity(), settings()).expect("the disk is empty");
    let record = Record::ClockHighWater { time: 1 << 40 };
    loop {
        match opened.keeper.step().expect("the disk works") {
            Step::Prepared(segment) => opened.appender.add_segment(segment),
            Step::Checkpointed { .. } => break,
            Step::Worked => {}
            Step::NoSpace(error) => panic!("{error}"),
            Step::Idle | Step::Unsettled => {
                for _ in 0..50 {
                    let done = append(&mut opened, &record).expect("there is room");
                    opened.on_committed(done);
                }
            }
        }
    }
    let name = |generation: &u64| disk.contents(&checkpoint_name(*generation)).is_some();
    let generation = (1..100).find(name).expect("it was written");
    (disk, generation)
}

/// What a checkpoint's file is called.
pub fn checkpoint_name(generation: u64) -> String {
    format!("checkpoint-{generation:012}")
}

/// All records, and the journal ready to go on.
///
/// # Errors
/// What recovery refuses.
pub fn recover(disk: &SimDisk) -> Result<(Vec<Record>, Opened<SimDisk>), OpenError> {
    let mut recovery = Recovery::open(disk.clone(), identity(), settings())?;
    let mut records = Vec::new();
    while let Some(record) = recovery.next_record()? {
        records.push(record);
    }
    Ok((records, recovery.finish()?))
}

/// Makes one more record durable; none where the journal has no room.
///
/// # Panics
/// Where the disk, which never fails, is said to have failed.
fn append(opened: &mut Opened<SimDisk>, record: &Record) -> Option<Committed> {
    opened.appender.append(Lsn(1), record).ok()?;
    let batch = opened.appender.take_batch().expect("there is a record");
    let done = opened.committer.commit(batch).expect("the disk takes it");
    assert_eq!(done.through, Lsn(1));
    Some(done)
}

/// Holds a journal that was opened to its promises: it opens a second time to the same
/// records, with nothing to cut off, and goes on from there.
///
/// # Panics
/// Where a promise is broken: the fuzzer keeps the input.
pub fn check_opened(disk: &SimDisk, records: &[Record], mut opened: Opened<SimDisk>) {
    let (same, after) = recover(&disk.duplicate()).expect("what was opened opens again");
    assert_eq!(same, records);
    assert_eq!(after.torn, None, "it was cut off the first time");
    let more = Record::ClockHighWater { time: 300 };
    if append(&mut opened, &more).is_some() {
        let (longer, _) = recover(&disk.duplicate()).expect("what was written can be read");
        assert_eq!(longer.split_last(), Some((&more, records)));
    }
}

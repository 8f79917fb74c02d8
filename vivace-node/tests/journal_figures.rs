//! The journal on this machine's disk, beside the bare disk in the same run:
//!
//! ```text
//! cargo test --release -p vivace-node --test journal_figures -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use vivace_core::journal::{
    self, Batch, Directory, Identity, Opened, RECORD_BYTES_MAX, Recovery, Settings, Step,
};
use vivace_core::record::Record;
use vivace_core::stored::StoredValue;
use vivace_core::{
    ContainerId, Incarnation, Key, KeyName, Lsn, NodeId, Timestamp, WriterId, codec,
};
use vivace_node::storage::{JournalDisk, JournalFile};

type Journal = Opened<JournalDisk>;

const ROUNDS: usize = 2000;
const RECORD_BYTES: usize = 60;
const BATCH: usize = 64;
const IN_FLIGHT: usize = 256;
const UPDATES: u64 = 200_000;
const KEYS: u64 = 1_000_000;

fn identity() -> Identity {
    Identity {
        cluster: "figures".into(),
        node: NodeId(1),
        directory: Directory([1; 16]),
    }
}

fn ts(time: u64) -> Timestamp {
    Timestamp {
        time: 1_800_000_000_000_000_000 + time,
        writer: WriterId::new(NodeId(1), Incarnation(1)),
    }
}

fn key(name: String) -> Key {
    Key {
        container: ContainerId(1),
        name: KeyName::new(name.into_bytes()).unwrap(),
    }
}

fn record(number: u64) -> Record {
    let record = Record::Known {
        key: key(format!("{number:0>45}")),
        ts: ts(number),
    };
    debug_assert_eq!(codec::encode(&record).len(), RECORD_BYTES);
    record
}

/// Does all that waits in the background.
fn keep(journal: &mut Journal) {
    loop {
        match journal.keeper.step().unwrap() {
            Step::Idle | Step::Unsettled => return,
            Step::NoSpace(error) => panic!("{error}"),
            Step::Worked | Step::Checkpointed { .. } => {}
            Step::Prepared(segment) => journal.appender.add_segment(segment),
        }
    }
}

fn commit(journal: &mut Journal) {
    let batch = journal.appender.take_batch().unwrap();
    let done = journal.committer.commit(batch).unwrap();
    journal.on_committed(done);
}

/// A file of zeros, written and synced.
fn bare(path: &Path, bytes: usize) -> File {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).open(path);
    let file = file.unwrap();
    file.write_all_at(&vec![0; bytes], 0).unwrap();
    file.sync_all().unwrap();
    file
}

fn timed(samples: &mut Vec<Duration>, what: impl FnOnce()) {
    let began = Instant::now();
    what();
    samples.push(began.elapsed());
}

fn percentile(samples: &mut [Duration], share: f64) -> f64 {
    samples.sort_unstable();
    let index = (samples.len() as f64 * share) as usize;
    samples[index.min(samples.len() - 1)].as_secs_f64() * 1e6
}

fn row(what: &str, samples: &mut [Duration], base: Option<f64>) -> f64 {
    let p50 = percentile(samples, 0.5);
    let p99 = percentile(samples, 0.99);
    let ratio = base.map_or(String::new(), |base| format!("{:.2} x", p50 / base));
    println!("{what:<44} {p50:>9.1} {p99:>9.1}   {ratio}");
    p50
}

#[test]
#[ignore = "measures; run it in release and alone"]
fn commits_beside_the_bare_device() {
    let directory = tempfile::tempdir().unwrap();
    let disk = JournalDisk::open(directory.path().join("journal")).unwrap();
    let mut journal = journal::create(disk, identity(), Settings::default()).unwrap();
    keep(&mut journal);
    let file = bare(&directory.path().join("bare"), 32 << 20);
    let one = vec![7; RECORD_BYTES + 2];
    let many = vec![7; (RECORD_BYTES + 2) * BATCH];
    let mut at = 0;
    let mut append = |bytes: &[u8]| {
        file.write_all_at(bytes, at).unwrap();
        file.sync_data().unwrap();
        at += bytes.len() as u64;
    };
    let mut lsn = 0;
    let [mut bare_one, mut bare_many, mut own_one, mut own_many] = [const { Vec::new() }; 4];
    // In turn, so that whatever else the machine does meets all alike.
    for _ in 0..ROUNDS {
        timed(&mut bare_one, || append(&one));
        timed(&mut own_one, || {
            lsn += 1;
            journal.appender.append(Lsn(lsn), &record(lsn)).unwrap();
            commit(&mut journal);
        });
        timed(&mut bare_many, || append(&many));
        timed(&mut own_many, || {
            for _ in 0..BATCH {
                lsn += 1;
                journal.appender.append(Lsn(lsn), &record(lsn)).unwrap();
            }
            commit(&mut journal);
        });
        keep(&mut journal);
    }
    println!("{:<44} {:>9} {:>9}   to one bare", "", "p50 us", "p99 us");
    let base = row("bare: 62 bytes + fdatasync", &mut bare_one, None);
    let one = row("journal: a record of 60 bytes", &mut own_one, Some(base));
    row(
        "bare: 64 x 62 bytes + fdatasync",
        &mut bare_many,
        Some(base),
    );
    let many = row("journal: a batch of 64 records", &mut own_many, Some(base));
    assert!(
        one <= 1.3 * base,
        "one record: asked are 1.3 bare ones at most"
    );
    assert!(many <= 2.0 * base, "a batch: asked are 2 bare ones at most");
}

#[test]
#[ignore = "measures; run it in release and alone"]
fn updates_at_256_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let disk = JournalDisk::open(directory.path().join("journal")).unwrap();
    let mut journal = journal::create(disk, identity(), Settings::default()).unwrap();
    keep(&mut journal);
    let (batches, incoming) = mpsc::channel::<Batch<JournalFile>>();
    let (done, durable) = mpsc::channel();
    let Opened {
        mut appender,
        mut committer,
        mut keeper,
        ..
    } = journal;
    let log = std::thread::spawn(move || {
        while let Ok(mut batch) = incoming.recv() {
            for later in incoming.try_iter() {
                batch.merge(later);
            }
            let _ = done.send(committer.commit(batch).unwrap());
        }
    });
    let began = Instant::now();
    let (mut begun, mut ended, mut commits) = (0, 0, 0);
    while ended < UPDATES {
        while begun < UPDATES && begun - ended < IN_FLIGHT as u64 {
            begun += 1;
            appender.append(Lsn(begun), &record(begun)).unwrap();
        }
        if let Some(batch) = appender.take_batch() {
            batches.send(batch).unwrap();
        }
        let committed = durable.recv().unwrap();
        ended = committed.through.0;
        commits += 1;
        for sealed in committed.sealed {
            keeper.on_sealed(sealed);
        }
        keeper.settle(appender.settled(committed.through));
        while let Step::Prepared(segment) = keeper.step().unwrap() {
            appender.add_segment(segment);
        }
    }
    let took = began.elapsed();
    drop(batches);
    log.join().unwrap();
    println!(
        "{IN_FLIGHT} in flight: {:.0} updates/s, {:.0} a commit, {:.0} us a commit",
        UPDATES as f64 / took.as_secs_f64(),
        UPDATES as f64 / f64::from(commits),
        took.as_secs_f64() * 1e6 / f64::from(commits),
    );
}

#[test]
#[ignore = "measures; run it in release and alone"]
fn recovery_of_a_million_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let disk = JournalDisk::open(&path).unwrap();
    let mut journal = journal::create(disk, identity(), Settings::default()).unwrap();
    keep(&mut journal);
    let began = Instant::now();
    let (mut lsn, mut folding) = (0, Duration::ZERO);
    for number in 0..KEYS {
        let key = key(format!("user-{number:0>16}"));
        let ts = ts(number);
        for record in [
            Record::Known {
                key: key.clone(),
                ts,
            },
            Record::Complete {
                key: key.clone(),
                ts,
                value: StoredValue::Bytes(1000),
            },
            Record::Known {
                key,
                ts: ts.successor(),
            },
        ] {
            lsn += 1;
            journal.appender.append(Lsn(lsn), &record).unwrap();
        }
        if number % 1000 == 999 {
            commit(&mut journal);
            let kept = Instant::now();
            keep(&mut journal);
            folding += kept.elapsed();
        }
    }
    println!(
        "{KEYS} keys, {lsn} records written in {:.2} s, {:.2} s of it segments and checkpoints",
        began.elapsed().as_secs_f64(),
        folding.as_secs_f64()
    );
    println!(
        "checkpoint {:.1} MB, sealed {:.1} MB; longest record allowed {RECORD_BYTES_MAX} bytes",
        journal.keeper.checkpoint_bytes() as f64 / 1e6,
        journal.keeper.sealed_bytes() as f64 / 1e6,
    );
    drop(journal);
    for _ in 0..3 {
        let began = Instant::now();
        let disk = JournalDisk::open(&path).unwrap();
        let mut recovery = Recovery::open(disk, identity(), Settings::default()).unwrap();
        let mut records = 0_u64;
        while let Some(record) = recovery.next_record().unwrap() {
            records += 1;
            std::hint::black_box(record);
        }
        let (bytes, _) = recovery.progress();
        recovery.finish().unwrap();
        println!(
            "recovered {records} records, {:.1} MB, in {:.2} s",
            bytes as f64 / 1e6,
            began.elapsed().as_secs_f64()
        );
    }
}

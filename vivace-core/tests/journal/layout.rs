//! The bytes on the disk, spelt out. A change here is a change of the format: a node would
//! refuse, or misread, what an earlier version wrote.
//!
//! `golden/*.hex`: one sector a paragraph, without the zeros at its end.

use vivace_core::Lsn;
use vivace_core::journal::{self, Appender, Opened, Step};
use vivace_core::message::CopyTag;
use vivace_core::record::Record;
use vivace_core::sim::{SimDisk, SimFile};
use vivace_core::stored::StoredValue;

use crate::corpus;
use crate::life::{RMW, RW, identity, key, recover, settings, ts};

const SECTOR: usize = 512;

fn records() -> Vec<Record> {
    vec![
        Record::ClockHighWater { time: 1 << 40 },
        Record::Known {
            key: key(RW, 1),
            ts: ts(7),
        },
        // Two of these reach into the next sector.
        Record::Complete {
            key: key(RW, 5),
            ts: ts(8),
            value: StoredValue::Bytes(1000),
        },
        Record::LocalCopy {
            key: key(RW, 5),
            tag: CopyTag::Bound(ts(9)),
            value: StoredValue::Tombstone,
        },
        Record::Promised {
            key: key(RMW, 2),
            ts: ts(10),
        },
    ]
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
        let used = sector.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
        if used == 0 {
            continue;
        }
        text += &format!("sector {index}\n");
        for line in sector[..used].chunks(32) {
            text += &line.iter().map(|b| format!("{b:02x}")).collect::<String>();
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

fn append(appender: &mut Appender<SimFile>, lsn: &mut u64, records: &[Record]) {
    for record in records {
        *lsn += 1;
        appender.append(Lsn(*lsn), record).unwrap();
    }
}

fn assert_golden(name: &str, actual: &str, golden: &str) {
    assert!(
        actual.trim_end() == golden.trim_end(),
        "{name} is now:\n{actual}"
    );
}

#[test]
fn files_have_the_documented_bytes() {
    let disk = SimDisk::default();
    let mut journal = journal::create(disk.clone(), identity(), settings()).unwrap();
    let mut lsn = 0;
    // Two batches, the second of which goes on in a sector of the first.
    for part in records().chunks(3) {
        append(&mut journal.appender, &mut lsn, part);
        let batch = journal.appender.take_batch().unwrap();
        let done = journal.committer.commit(batch).unwrap();
        assert_eq!(done.through, Lsn(lsn));
    }
    let file = |name: &str| hex(&disk.contents(name).unwrap());
    assert_golden(
        "segment",
        &file("segment-000000000001"),
        include_str!("golden/segment.hex"),
    );
    seed_the_fuzzer(&disk.contents("segment-000000000001").unwrap());
    assert_golden("mark", &file("mark"), include_str!("golden/mark.hex"));

    checkpoint(&mut journal, &mut lsn);
    let name = "checkpoint-000000000003";
    assert_golden(name, &file(name), include_str!("golden/checkpoint.hex"));
    let (recovered, _) = recover(&disk).unwrap();
    assert_eq!(journal::fold(recovered), journal::fold(records()));
}

/// The contents of the segment's sectors in the fuzzer's form: a byte tells which batch
/// wrote the sector last, the first one or that which began in it.
fn seed_the_fuzzer(segment: &[u8]) {
    let used = segment
        .chunks(SECTOR)
        .skip(1)
        .filter(|sector| sector[..4] != [0; 4]);
    let written: Vec<&[u8]> = used.collect();
    for newest in [0, 1] {
        let mut stream = Vec::new();
        for sector in &written {
            stream.push(newest);
            stream.extend_from_slice(&sector[8..]);
        }
        corpus::seed("journal", &stream);
    }
}

/// Repeats the last record until segments are full and folded.
fn checkpoint(journal: &mut Opened<SimDisk>, lsn: &mut u64) {
    let last = records().pop().unwrap();
    loop {
        match journal.keeper.step().unwrap() {
            Step::Prepared(segment) => journal.appender.add_segment(segment),
            Step::Checkpointed { .. } => return,
            Step::Worked => {}
            Step::NoSpace(error) => panic!("{error}"),
            Step::Idle | Step::Unsettled => {
                append(&mut journal.appender, lsn, &vec![last.clone(); 100]);
                let batch = journal.appender.take_batch().unwrap();
                let done = journal.committer.commit(batch).unwrap();
                journal.on_committed(done);
            }
        }
    }
}

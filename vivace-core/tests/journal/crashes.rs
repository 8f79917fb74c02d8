//! Crashes at every operation of the disk.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use vivace_core::Lsn;
use vivace_core::journal::Opened;
use vivace_core::record::Record;
use vivace_core::sim::{LogTail, SimDisk};

use crate::life::{Life, RW, key, recover, ts};

const TAILS: [LogTail; 3] = [LogTail::Lost, LogTail::Torn, LogTail::Kept];

#[test]
fn acknowledged_records_survive_a_crash_at_every_operation() {
    let mut crashes = 0;
    for seed in 0..6 {
        // The same work, cut short one operation later each time.
        for operations in (0..).step_by(1 + seed as usize % 2) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let disk = SimDisk::default();
            let mut life = Life::new(disk.clone()).unwrap();
            disk.crash_after(operations);
            let done = life.work(&mut rng, 250);
            if !disk.is_down() {
                done.unwrap();
                break;
            }
            crashes += 1;
            disk.crash(TAILS[operations as usize % 3], &mut rng);
            life.restart()
                .unwrap_or_else(|e| panic!("{seed} {operations}: {e}"));
        }
    }
    assert!(crashes > 500, "{crashes}");
}

#[test]
fn many_lives_with_crashes_while_recovering() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::default();
        let mut life = Life::new(disk.clone()).unwrap();
        for _ in 0..12 {
            disk.crash_after(rng.random_range(0..150));
            let rounds = rng.random_range(1..200);
            let _ = life.work(&mut rng, rounds);
            // Sometimes only the process dies: the next one reads what is not yet synced.
            while disk.is_down() || rng.random_bool(0.5) {
                disk.crash(TAILS[rng.random_range(0..3)], &mut rng);
                if rng.random_bool(0.3) {
                    // In the middle of the recovery itself.
                    disk.crash_after(rng.random_range(0..8));
                    let interrupted = crate::life::recover(&disk);
                    assert_eq!(
                        interrupted.is_err(),
                        disk.is_down(),
                        "{:?}",
                        interrupted.err()
                    );
                }
            }
            disk.stay_up();
            life = life
                .restart()
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
    }
}

#[test]
fn a_crash_while_a_journal_is_made_leaves_none_or_an_empty_one() {
    for operations in 0..20 {
        for tail in TAILS {
            let mut rng = SmallRng::seed_from_u64(operations);
            let disk = SimDisk::default();
            disk.crash_after(operations);
            let made = Life::new(disk.clone());
            if disk.is_down() {
                assert!(made.is_err());
            }
            disk.crash(tail, &mut rng);
            let mut life = Life::new(disk).expect("it is made over what was left");
            life.work(&mut rng, 20).unwrap();
        }
    }
}

/// Power fails in the middle of a batch, twice at the same place, and each time the batch's
/// first sector alone is lost. What repair left of the first attempt there looks like the
/// beginning of the second, which made a sound journal refuse (seed 60018672).
#[test]
fn a_batch_torn_twice_at_one_place_is_cut_off_twice() {
    let disk = SimDisk::default();
    let mut life = Life::new(disk.clone()).unwrap();
    let known = |time| Record::Known {
        key: key(RW, 1),
        ts: ts(time),
    };
    let acknowledged: Vec<Record> = (1..=3).map(known).collect();
    commit(&mut life.journal, &acknowledged);
    let start = contents(&disk);

    let torn: Vec<Record> = (4..=40).map(known).collect();
    let mut journal = life.journal;
    for attempt in 1..=2 {
        let before = contents(&disk);
        let mark = disk.contents("mark").unwrap();
        commit(&mut journal, &torn);
        let mut after = contents(&disk);
        let first = (SECTOR..before.len())
            .step_by(SECTOR)
            .find(|&at| before[at..at + SECTOR] != after[at..at + SECTOR])
            .unwrap();
        assert!(after[first + SECTOR] != 0, "the batch spans sectors");
        after[first..first + SECTOR].copy_from_slice(&before[first..first + SECTOR]);
        disk.put(SEGMENT, after);
        disk.put("mark", mark);

        let (records, opened) = recover(&disk).unwrap_or_else(|e| panic!("{attempt}: {e}"));
        assert_eq!(records, acknowledged, "attempt {attempt}");
        assert!(opened.torn.is_some(), "attempt {attempt}");
        assert_ne!(contents(&disk), start, "repair seals the sector anew");
        journal = opened;
    }
}

const SEGMENT: &str = "segment-000000000001";
const SECTOR: usize = 512;

fn contents(disk: &SimDisk) -> Vec<u8> {
    disk.contents(SEGMENT).unwrap()
}

fn commit(journal: &mut Opened<SimDisk>, records: &[Record]) {
    for (lsn, record) in (1..).zip(records) {
        journal.appender.append(Lsn(lsn), record).unwrap();
    }
    let batch = journal.appender.take_batch().unwrap();
    let _ = journal.committer.commit(batch).unwrap();
}

//! Damage at each kind of place: refused by its own name, or harmless; never less than was
//! acknowledged without a word.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use vivace_core::NodeId;
use vivace_core::journal::{self, CommitError, Directory, HeaderError, OpenError, Recovery, fold};
use vivace_core::record::Record;
use vivace_core::sim::{DiskFault, LogTail, SimDisk};

use crate::life::{End, Life, identity, recover, settings};

const SECTOR: usize = 512;

/// A journal with a checkpoint, sealed segments and free ones, all of it acknowledged, and
/// the offset at which its last batch begins.
fn written(seed: u64) -> (SimDisk, Vec<Record>, String, usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = SimDisk::default();
    let mut life = Life::new(disk.clone()).unwrap();
    life.work(&mut rng, 400).unwrap();
    while life.keep().unwrap() {}
    life.take();
    life.commit().unwrap();
    let (file, before) = end_of(&disk);
    life.append(&mut rng, 12);
    life.take();
    life.commit().unwrap();
    let (now, end) = end_of(&disk);
    assert!(
        file == now && end > before,
        "the last batch lies in one segment"
    );
    (disk, life.appended, file, before)
}

/// The newest segment with content, and where its last sector that is not zero begins.
fn end_of(disk: &SimDisk) -> (String, usize) {
    let newest = live_segments(disk).into_iter().rev().find_map(|name| {
        let bytes = disk.contents(&name).unwrap();
        let sectors = bytes.chunks(SECTOR).skip(1);
        let mut last = sectors
            .enumerate()
            .filter(|(_, s)| s.iter().any(|&b| b != 0));
        last.next_back()
            .map(|(index, _)| (name, (index + 1) * SECTOR))
    });
    newest.expect("something was written")
}

fn live_segments(disk: &SimDisk) -> Vec<String> {
    use vivace_core::journal::Disk;
    let mut names = disk.list().unwrap();
    names.sort();
    let covered = names.iter().find_map(|n| n.strip_prefix("checkpoint-"));
    let covered = covered.unwrap_or("").to_owned();
    let segments = names.into_iter().filter(|name| {
        let number = name.strip_prefix("segment-");
        number.is_some_and(|number| number > covered.as_str())
    });
    segments.collect()
}

/// What recovery makes of a damaged copy: an error, or all that was acknowledged.
fn judge(disk: &SimDisk, acknowledged: &[Record]) -> Option<OpenError> {
    match recover(disk) {
        Ok((records, _)) => {
            assert_eq!(fold(records), fold(acknowledged.to_vec()), "silently less");
            None
        }
        Err(error) => Some(error),
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_by_its_place_or_harmless() {
    use vivace_core::journal::Disk;
    for seed in 0..2 {
        let (disk, appended, newest, last_batch) = written(seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        for name in disk.list().unwrap() {
            let bytes = disk.contents(&name).unwrap();
            let is_live = live_segments(&disk).contains(&name);
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                let copy = disk.duplicate();
                let within = rng.random_range(0..sector.len());
                copy.flip(&name, (index * SECTOR + within) as u64, rng.random());
                let error = judge(&copy, &appended);
                let place = format!("seed {seed}: {name} sector {index}: {error:?}");
                let offset = index * SECTOR;
                match error {
                    Some(OpenError::Header { file, source }) => {
                        assert!(file == name && index == 0, "{place}");
                        assert_eq!(source, HeaderError::Damaged, "{place}");
                    }
                    Some(OpenError::Checkpoint { file, .. }) => {
                        assert!(file == name && index > 0, "{place}");
                    }
                    Some(OpenError::Damaged { file, offset: at }) => {
                        assert!(file == name && at == offset as u64, "{place}");
                        assert!(name < newest || offset < last_batch, "{place}");
                    }
                    Some(OpenError::LastDamaged { file, offset: at }) => {
                        assert!(file == name && at == offset as u64, "{place}");
                        assert!(
                            name >= newest && offset >= last_batch.min(SECTOR),
                            "{place}"
                        );
                    }
                    Some(_) => panic!("{place}"),
                    None => {
                        let holds_records = is_live && sector.iter().any(|&byte| byte != 0);
                        // Behind its end a sealed segment holds nothing but zeros.
                        assert!(!holds_records && !name.starts_with("checkpoint"), "{place}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_sector_that_reads_as_zeros_is_refused_or_harmless() {
    use vivace_core::journal::Disk;
    let mut lost = 0;
    for seed in 2..5 {
        let (disk, appended, newest, last_batch) = written(seed);
        for name in disk.list().unwrap() {
            let bytes = disk.contents(&name).unwrap();
            for index in 0..bytes.len() / SECTOR {
                let mut bytes = bytes.clone();
                bytes[index * SECTOR..][..SECTOR].fill(0);
                let copy = disk.duplicate();
                copy.put(&name, bytes);
                // The last batch looks torn then, and only the mark knows better.
                if let Some(error) = judge(&copy, &appended)
                    && name == newest
                    && index * SECTOR > last_batch
                {
                    assert!(
                        matches!(error, OpenError::AcknowledgedLost { .. }),
                        "{error}"
                    );
                    lost += 1;
                }
            }
        }
    }
    assert!(lost > 0);
}

/// Says what no journal can know.
#[test]
fn without_its_mark_the_loss_of_the_last_batch_passes_for_a_torn_one() {
    use vivace_core::journal::{Disk, MarkTrouble};
    let (disk, appended, newest, last_batch) = written(7);
    let mut bytes = disk.contents(&newest).unwrap();
    bytes[last_batch + SECTOR..][..SECTOR].fill(0);
    disk.put(&newest, bytes);
    let with_mark = recover(&disk.duplicate()).map(|_| ());
    assert!(matches!(with_mark, Err(OpenError::AcknowledgedLost { .. })));
    let damaged = disk.duplicate();
    damaged.flip("mark", 9, 3);
    let blank = disk.duplicate();
    blank.put("mark", vec![0; SECTOR]);
    disk.remove("mark").unwrap();
    for (disk, trouble) in [
        (disk, MarkTrouble::Missing),
        (damaged, MarkTrouble::Damaged),
        (blank, MarkTrouble::Blank),
    ] {
        let (records, opened) = recover(&disk).unwrap();
        assert!(fold(records) != fold(appended.clone()));
        assert!(opened.torn.is_some());
        assert_eq!(opened.mark_trouble, Some(trouble), "it is told");
        let (_, again) = recover(&disk).unwrap();
        assert_eq!(again.torn, None);
    }
}

#[test]
fn an_intact_mark_is_no_trouble() {
    let (disk, ..) = written(7);
    assert_eq!(recover(&disk).unwrap().1.mark_trouble, None);
}

#[test]
fn lost_and_misdirected_writes_are_found_out_while_the_mark_survives() {
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..400 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::default();
        let mut life = Life::new(disk.clone()).unwrap();
        let before = rng.random_range(0..200);
        life.work(&mut rng, before).unwrap();
        disk.arm(Some(match rng.random_bool(0.5) {
            true => DiskFault::LoseWrite,
            false => DiskFault::MisdirectWrite {
                sectors: rng.random_range(1..8),
            },
        }));
        let after = rng.random_range(1..60);
        // The keeper may find out itself.
        let _ = life.work(&mut rng, after);
        disk.crash(LogTail::Kept, &mut rng);
        match life.restart() {
            Ok(_) => harmless += 1,
            Err(OpenError::Disk(error)) => panic!("seed {seed}: {error}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100 && harmless > 10, "{refused} {harmless}");
}

#[test]
fn a_failed_write_or_sync_is_final_and_loses_nothing_acknowledged() {
    let mut failures = 0;
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = SimDisk::default();
        let mut life = Life::new(disk.clone()).unwrap();
        let before = rng.random_range(0..150);
        life.work(&mut rng, before).unwrap();
        disk.arm(Some(match rng.random_bool(0.5) {
            true => DiskFault::FailWrite,
            false => DiskFault::FailSync,
        }));
        match life.work(&mut rng, 100) {
            Ok(()) => {}
            Err(End::Commit(error)) => {
                failures += 1;
                assert!(matches!(error, CommitError::Disk(_)), "{error}");
                life.append(&mut rng, 1);
                life.take();
                let again = life.commit();
                let ended = matches!(again, Err(End::Commit(CommitError::Ended(_))));
                assert!(ended || life.batch.is_none(), "{again:?}");
            }
            Err(End::Keeper(_)) => {
                let again = life.keep();
                assert!(matches!(again, Err(End::Keeper(_))), "{again:?}");
            }
        }
        disk.crash(LogTail::Torn, &mut rng);
        life.restart()
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    assert!(failures > 100, "{failures}");
}

#[test]
fn foreign_newer_missing_and_shortened_files_are_refused_by_name() {
    use vivace_core::journal::Disk;
    let (disk, _, newest, _) = written(1);
    let open = |disk: &SimDisk, identity| Recovery::open(disk.clone(), identity, settings()).err();

    for foreign in [
        vivace_core::journal::Identity {
            cluster: "other".into(),
            ..identity()
        },
        vivace_core::journal::Identity {
            node: NodeId(8),
            ..identity()
        },
        vivace_core::journal::Identity {
            directory: Directory([1; 16]),
            ..identity()
        },
    ] {
        let error = open(&disk, foreign).expect("refused");
        let is_foreign = matches!(
            &error,
            OpenError::Header {
                source: HeaderError::Foreign { .. },
                ..
            }
        );
        assert!(is_foreign, "{error}");
    }

    let newer = disk.duplicate();
    let mut bytes = newer.contents(&newest).unwrap();
    bytes[8] = 2;
    let checksum = crc32c::crc32c(&bytes[..508]);
    bytes[508..SECTOR].copy_from_slice(&checksum.to_le_bytes());
    newer.put(&newest, bytes);
    let error = open(&newer, identity()).expect("refused");
    assert!(error.to_string().contains("is of format 2"), "{error}");
    assert!(
        error.to_string().contains("run the newer program"),
        "{error}"
    );

    let shortened = disk.duplicate();
    let mut bytes = shortened.contents(&newest).unwrap();
    bytes.truncate(2048);
    shortened.put(&newest, bytes);
    let error = open(&shortened, identity()).expect("refused");
    assert!(matches!(error, OpenError::WrongLength { .. }), "{error}");

    let gapped = disk.duplicate();
    gapped.remove(&newest).unwrap();
    let error = open(&gapped, identity()).expect("refused");
    assert!(matches!(error, OpenError::MissingSegment { .. }), "{error}");

    // With all that came after it, too, nothing is missing in between.
    for name in live_segments(&gapped) {
        if name > newest {
            gapped.remove(&name).unwrap();
        }
    }
    let error = open(&gapped, identity()).expect("refused");
    assert!(
        matches!(
            error,
            OpenError::AcknowledgedLost { .. } | OpenError::MissingSegment { .. }
        ),
        "{error}"
    );

    let emptied = open(&SimDisk::default(), identity());
    assert!(matches!(emptied, Some(OpenError::Missing)));

    let made_again = Life::new(disk).err();
    assert!(matches!(made_again, Some(OpenError::Exists { .. })));
}

/// A fuzzer found that the link of the greatest generation overflowed as recovery counted
/// on from it. Its sector is intact, so that nothing else refuses it.
#[test]
fn a_link_to_no_generation_is_damage() {
    let disk = SimDisk::default();
    drop(journal::create(disk.clone(), identity(), settings()).unwrap());
    let name = "segment-000000000001";
    let mut segment = disk.contents(name).unwrap();
    let sector = &mut segment[512..1024];
    sector[4..8].copy_from_slice(&520_u32.to_le_bytes());
    sector[8..10].copy_from_slice(&[12, 0x80]);
    sector[10..18].fill(0xff);
    let places = [
        &identity().directory.0[..],
        &1_u64.to_le_bytes(),
        &1_u32.to_le_bytes(),
    ];
    let checksum = crc32c::crc32c(&[&places.concat(), &sector[4..]].concat());
    sector[..4].copy_from_slice(&checksum.to_le_bytes());
    disk.put(name, segment);
    let refused = recover(&disk).err().unwrap();
    assert!(
        matches!(&refused, OpenError::Damaged { file, offset: 512 } if file == name),
        "{refused}"
    );
}

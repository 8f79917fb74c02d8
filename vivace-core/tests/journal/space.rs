//! A disk that fills up: nothing half done, room for what drains, and a way back.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use vivace_core::journal::{OpenError, Room};
use vivace_core::sim::SimDisk;

use crate::life::Life;

#[test]
fn a_full_disk_is_told_early_and_passes() {
    let mut rng = SmallRng::seed_from_u64(1);
    let disk = SimDisk::default();
    let mut life = Life::new(disk.clone()).unwrap();
    while life.keep().unwrap() {}
    disk.set_capacity(Some(disk.used()));
    assert_eq!(life.journal.appender.room(), Room::Ample);

    let mut ample = 0;
    while life.journal.appender.room() == Room::Ample {
        life.append(&mut rng, 1);
        ample += 1;
    }
    // What drains finds a segment's worth of room, and commits do not need any.
    assert!(life.journal.appender.room_bytes() > 3000);
    let mut drained = 0;
    while life.journal.appender.room() > Room::Full {
        life.append(&mut rng, 1);
        life.take();
        life.commit().unwrap();
        assert!(!life.keep().unwrap(), "there is no space for anything");
        drained += 1;
    }
    assert!(ample > 20 && drained > 20, "{ample} {drained}");
    let before = life.appended.len();
    life.append(&mut rng, 100);
    let refused = life.appended.len() - before;
    assert!(refused < 100, "the journal is full");
    life.take();
    life.commit().unwrap();

    disk.set_capacity(None);
    while life.keep().unwrap() {}
    assert_eq!(life.journal.appender.room(), Room::Ample);
    life.work(&mut rng, 200).unwrap();
    life.restart().unwrap();
}

#[test]
fn a_checkpoint_makes_room_where_no_segment_can_be_made() {
    let mut rng = SmallRng::seed_from_u64(2);
    let disk = SimDisk::default();
    let mut life = Life::new(disk.clone()).unwrap();
    while life.keep().unwrap() {}
    // Room for a checkpoint, and not for another segment beside it.
    disk.set_capacity(Some(disk.used() + 4000));
    for _ in 0..40 {
        life.append(&mut rng, 2);
        life.take();
        life.commit().unwrap();
        while life.keep().unwrap() {}
    }
    assert!(life.journal.keeper.checkpoint_bytes() > 0);
    life.restart().unwrap();
}

#[test]
fn a_journal_is_made_whole_or_not_at_all() {
    let disk = SimDisk::default();
    disk.set_capacity(Some(3000));
    let refused = Life::new(disk.clone()).err().expect("there is no space");
    assert!(matches!(refused, OpenError::Disk(error) if error.is_no_space()));
    disk.set_capacity(None);
    Life::new(disk).unwrap();
}

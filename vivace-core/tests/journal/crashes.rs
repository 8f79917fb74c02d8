//! Crashes at every operation of the disk.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use vivace_core::sim::{LogTail, SimDisk};

use crate::life::Life;

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
                    assert_eq!(interrupted.is_err(), disk.is_down());
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

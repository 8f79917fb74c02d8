//! Disks that harm the journal: a node that may have forgotten what it acknowledged does
//! not come back, and the others do not need it.

use vivace_core::cluster::Kind;
use vivace_core::sim::{DiskFault, LogTail};

use crate::cluster::requests::{add, counted, first_of, read, value, write, written};
use crate::{A, B, C, ms, settle, three_sites};

const SEGMENT: &str = "segment-000000000001";

#[test]
fn a_node_with_a_damaged_journal_stays_down_and_the_others_serve() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(A, write("k", "old")).0);
    settle(&mut simulation);
    simulation.crash_with(A, LogTail::Lost);
    written(simulation.ask(B, write("k", "new")).0);
    // In the second of its sectors with records, if it has as many, or in zeros behind.
    simulation.journal_disk(A).flip(SEGMENT, 700, 3);
    simulation.restart(A);
    let refusal = simulation.refusal(A).expect("A refuses");
    assert!(
        refusal.contains(SEGMENT) && refusal.contains("damaged"),
        "{refusal}"
    );
    assert!(!simulation.is_alive(A));
    for node in [B, C] {
        assert_eq!(value(simulation.ask(node, read("k")).0).unwrap(), b"new");
    }
}

/// Two reads in a row must not go new, old: what a node vouched for is still there after
/// its disk failed it in the middle of a commit.
#[test]
fn a_failed_sync_ends_the_process_and_loses_nothing_acknowledged() {
    for fault in [DiskFault::FailSync, DiskFault::FailWrite] {
        let mut simulation = three_sites(Kind::Rmw);
        for expected in 1..=20_i64 {
            if expected % 5 == 0 {
                simulation.journal_disk(C).arm(Some(fault));
            }
            let (reply, _) = simulation.ask(A, add("k", first_of(expected as u64), 1));
            assert_eq!(counted(reply), expected);
            if expected % 5 == 0 {
                simulation.run_for(ms(500));
                assert!(!simulation.is_alive(C), "its disk failed");
                simulation.restart(C);
                assert_eq!(simulation.refusal(C), None);
            }
            settle(&mut simulation);
        }
    }
}

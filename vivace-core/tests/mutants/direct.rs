//! Schedules of direct writes: one site, whose three nodes are the replicas and the local set.

use vivace_core::cluster::{ClusterSpec, Kind};
use vivace_core::sim::LogTail;
use vivace_core::{Mutants, NodeId};

use crate::cluster::script::{DELAYS, drop_if, is_write_remote, ms};
use crate::cluster::{Spread, layout};
use crate::trial::{READ, Trial, Verdict, put};

const ALL: [u16; 3] = [0, 1, 2];

fn one_site(kind: Kind) -> ClusterSpec {
    let mut spec = layout::sites(&[3]);
    spec.containers = vec![layout::container(kind, &ALL, &[&ALL])];
    spec
}

/// 2 has come to all replicas, and no disk holds it yet, when they all lose power: each
/// finds what it had written into its log, and not the value. A read finds 1, which was
/// acknowledged.
pub fn the_power_fails_before_values_are_stored(mutants: Mutants) -> Verdict {
    let mut trial = Trial::on(one_site(Kind::Rw), mutants, 0);
    trial.ask(0, put(1));
    trial.settle();
    trial.simulation.delays.disk = Spread::exactly(ms(300));
    trial.begin(0, put(2));
    // The first 300 ms are the clock's high-water mark's.
    trial.run_for(400);
    for node in ALL {
        trial.simulation.set_disk_full(NodeId(node), true);
        trial.simulation.crash_with(NodeId(node), LogTail::Kept);
    }
    trial.simulation.delays.disk = DELAYS.disk;
    for node in ALL {
        trial.simulation.set_disk_full(NodeId(node), false);
    }
    trial.restart(&ALL);
    trial.ask(1, READ);
    trial.verdict()
}

/// 2 is acknowledged, its value stored by a majority, and the records of it are yet to follow
/// when all nodes lose power. A read finds it all the same.
pub fn the_power_fails_right_after_a_write(mutants: Mutants) -> Verdict {
    let mut trial = Trial::on(one_site(Kind::Rw), mutants, 0);
    trial.ask(0, put(1));
    trial.settle();
    trial.ask(0, put(2));
    for node in ALL {
        trial.simulation.crash_with(NodeId(node), LogTail::Lost);
    }
    trial.restart(&ALL);
    trial.ask(1, READ);
    trial.verdict()
}

/// 2 is at its coordinator alone when it is read. The coordinator dies: whoever reads next
/// must find 2, so the first reader has stored it.
pub fn a_lone_value_is_read_and_its_holder_crashes(mutants: Mutants) -> Verdict {
    let mut trial = Trial::on(one_site(Kind::Rw), mutants, 0);
    trial.ask(0, put(1));
    trial.settle();
    // Then it is 0's turn to be asked by 2.
    trial.ask(2, READ);
    drop_if(&mut trial.simulation, |from, _, wire| {
        from == NodeId(0) && is_write_remote(wire)
    });
    trial.begin(0, put(2));
    trial.run_for(10);
    trial.ask(2, READ);
    trial.crash(&[0]);
    trial.ask(1, READ);
    trial.verdict()
}

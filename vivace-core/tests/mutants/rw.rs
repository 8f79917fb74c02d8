//! Schedules of RW objects. Nodes 0, 3 and 6 are the replicas A, B and C; 1 and 2, 4
//! and 5, 7 and 8 complete their sites' local sets.

use vivace_core::cluster::{Kind, TimestampSource};
use vivace_core::message::PriorityBody;
use vivace_core::sim::LogTail;
use vivace_core::{Mutants, NodeId};

use crate::cluster::script::{
    A, B, C, drop_if, is_data, is_read_data, is_read_ts, is_write_local, is_write_remote,
    is_write_ts, ms, priority, spec, switch,
};
use crate::cluster::{Fate, Spread};
use crate::trial::{READ, Trial, Verdict, put};

const ONE: NodeId = NodeId(1);

/// 1 is everywhere. A reader at node 7 learns that, and its question for the value is
/// late. Meanwhile 2 is written; site A is destroyed before its value has left. C still
/// has 1 to give, unless the mere timestamp of 2 has erased it. (Readers ask for
/// timestamps first.)
pub fn a_lost_site_takes_no_older_value_along(mutants: Mutants) -> Verdict {
    let mut trial = Trial::of(Kind::Rw, mutants, |container| container.early_data = false);
    trial.ask(1, put(1));
    trial.settle();
    let late = switch(true);
    let is_late = late.clone();
    drop_if(&mut trial.simulation, move |from, _, wire| {
        is_write_remote(wire) || is_late.get() && from == NodeId(7) && is_read_data(wire)
    });
    let read = trial.begin(7, READ);
    trial.run_for(30);
    trial.ask(1, put(2));
    trial.crash(&[0, 1, 2]);
    late.set(false);
    trial.finish(read);
    trial.verdict()
}

/// The timestamp is at A and B, the value at A and C, the local copies are gone, and A
/// crashes with its site. C has the value, and must say so to those who ask B for the
/// timestamp. (Reads tell of timestamps after they have the value, as Alg. 1 prints it.)
pub fn value_and_timestamp_meet_on_different_majorities(mutants: Mutants) -> Verdict {
    let mut trial = Trial::of(Kind::Rw, mutants, |container| {
        container.write_back_skip = false;
    });
    drop_if(&mut trial.simulation, |_, to, wire| {
        is_write_ts(wire) && to == C || is_write_remote(wire) && to == B
    });
    trial.ask(1, put(1));
    trial.run_for(2000);
    trial.crash(&[0, 1, 2]);
    trial.simulation.script = None;
    trial.ask(3, READ);
    trial.ask(6, READ);
    trial.verdict()
}

/// W-LOCAL reaches its coordinator alone. Were the value to leave now, C would get it,
/// the coordinator die, a reader announce the timestamp to all, and C die with the value.
pub fn a_value_leaves_when_a_majority_of_the_local_set_holds_it(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    drop_if(&mut trial.simulation, |_, to, wire| {
        is_write_local(wire) || is_write_remote(wire) && to != C
    });
    trial.begin(1, put(1));
    trial.run_for(100);
    trial.crash(&[1]);
    trial.ask(7, READ);
    trial.crash(&[6]);
    trial.ask(3, READ);
    trial.verdict()
}

/// 8 is announced to A and B, 17 to A alone. A read that hears B and C learns 8, tells
/// C of it, and gets 17 from A. If it returns that without telling B or C, the next
/// read that hears B and C finds 8 again.
pub fn a_newer_value_than_asked_for_is_announced(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    let newer = switch(false);
    let second = switch(false);
    let (is_newer, is_second) = (newer.clone(), second.clone());
    drop_if(&mut trial.simulation, move |from, to, wire| {
        let outside = from.0 > 2;
        is_write_remote(wire) && to != A
            || from == ONE && is_write_ts(wire) && to == C
            // 17 is stored at A and 2, and announced to A alone.
            || is_newer.get() && is_write_local(wire) && to == ONE
            || is_newer.get() && from == A && is_write_ts(wire)
            || outside && to == A && is_read_ts(wire)
            || is_second.get() && outside && to == A && is_read_data(wire)
    });
    trial.ask(1, put(8));
    trial.run_for(200);
    newer.set(true);
    trial.begin(0, put(17));
    trial.run_for(100);
    trial.ask(3, READ);
    // Node 1 still holds 8, and would answer a reader who knows no better.
    second.set(true);
    trial.ask(3, READ);
    trial.verdict()
}

/// 8 is everywhere, 17 announced to B alone, which has it. A reader in site B hears of 8
/// from A and C; what B tells is lost, and the value that B sends along comes. If the
/// reader returns 17 without telling A or C, the next one, who hears them, finds 8 again.
pub fn what_came_early_is_newer_than_what_is_told(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(1, put(8));
    trial.settle();
    let five = NodeId(5);
    drop_if(&mut trial.simulation, move |from, to, wire| {
        let tells = matches!(priority(wire), Some(PriorityBody::ReadTsAck { .. }));
        to != B && (is_write_remote(wire) || from == five && is_write_ts(wire))
            || from == B && to == NodeId(4) && tells
            || from == NodeId(7) && to == B && is_read_ts(wire)
    });
    trial.begin(5, put(17));
    trial.run_for(100);
    trial.ask(4, READ);
    trial.ask(7, READ);
    trial.verdict()
}

/// 1 is everywhere, 2 at A and C. A reader in site B gets 1 from B, along with what B
/// knows; A and C know better.
pub fn the_replica_in_the_readers_site_missed_the_newest_write(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(1, put(1));
    trial.settle();
    drop_if(&mut trial.simulation, |_, to, wire| {
        to == B && (is_write_ts(wire) || is_write_remote(wire))
    });
    trial.ask(1, put(2));
    trial.ask(4, READ);
    trial.verdict()
}

/// Clocks that are as wrong as E allows: site A's fast, site B's slow.
fn skewed(mutants: Mutants) -> Trial {
    let mut spec = spec(Kind::Rw, |_| {});
    spec.clock_error_max = ms(400);
    let mut trial = Trial::on(spec, mutants, 0);
    trial.set_clocks(&[0, 1, 2], 400, Some(400));
    trial.set_clocks(&[3, 4, 5], -400, Some(400));
    trial.set_clocks(&[6, 7, 8], 0, Some(400));
    trial
}

/// A write by a fast clock ends; then one by a slow clock begins, gets the smaller
/// timestamp, ends, and must be read.
pub fn a_slow_clocks_write_follows_a_fast_ones(mutants: Mutants) -> Verdict {
    let mut trial = skewed(mutants);
    trial.ask(0, put(1));
    trial.ask(3, put(2));
    trial.ask(6, READ);
    trial.verdict()
}

/// A read returns a fast clock's write that has not ended. Then a slow clock's write
/// begins and ends, and must be read.
pub fn a_slow_clocks_write_follows_a_read(mutants: Mutants) -> Verdict {
    let mut trial = skewed(mutants);
    drop_if(&mut trial.simulation, |_, to, wire| {
        to == A && matches!(priority(wire), Some(PriorityBody::WriteTsAck { .. }))
    });
    trial.begin(0, put(1));
    trial.run_for(100);
    trial.ask(6, READ);
    trial.ask(3, put(2));
    trial.ask(6, READ);
    trial.verdict()
}

/// In query mode the value is stored before it has a timestamp. The binding reaches
/// nobody else; the timestamp, if it is announced all the same, reaches B, and the
/// coordinator dies. B must not know of a timestamp whose value nobody can name.
pub fn a_timestamp_is_announced_once_its_value_is_bound(mutants: Mutants) -> Verdict {
    let mut trial = Trial::of(Kind::Rw, mutants, |container| {
        container.timestamps = TimestampSource::Query;
    });
    drop_if(&mut trial.simulation, |from, to, wire| {
        let bind = matches!(priority(wire), Some(PriorityBody::Bind { .. }));
        from == ONE && (bind || is_write_remote(wire) || is_write_ts(wire) && to != B)
    });
    trial.begin(1, put(1));
    trial.run_for(40);
    trial.crash(&[1]);
    trial.run_for(60_000);
    trial.ask(3, READ);
    trial.verdict()
}

/// Of a write of 1, W-TS reaches A alone and no answer comes back. A reader returns 1
/// and announces it; 2 is written and read. The first write's repeated W-TS gets through
/// at last: it must not come after 2.
pub fn a_write_keeps_its_place_however_often_it_is_repeated(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    let lossy = switch(true);
    let on = lossy.clone();
    drop_if(&mut trial.simulation, move |from, to, wire| {
        let ack = matches!(priority(wire), Some(PriorityBody::WriteTsAck { .. }));
        is_write_remote(wire)
            || on.get() && from == ONE && is_write_ts(wire) && to != A
            || on.get() && to == ONE && ack
    });
    let first = trial.begin(1, put(1));
    trial.run_for(15);
    trial.ask(2, READ);
    trial.ask(3, put(2));
    trial.ask(4, READ);
    lossy.set(false);
    trial.finish(first);
    trial.ask(4, READ);
    trial.verdict()
}

/// A and B hear of 2, C does not. A reader hears of it from A and B before their disks
/// have it, so no write-back would follow; both crash, and B restarts without it. What
/// the reader returned must not be gone. (Eight seeds: a crash keeps some records.)
pub fn a_reader_hears_only_of_what_outlives_a_crash(mutants: Mutants) -> Verdict {
    for seed in 0..8 {
        let mut trial = Trial::on(spec(Kind::Rw, |_| {}), mutants, seed);
        trial.ask(0, put(1));
        trial.settle();
        drop_if(&mut trial.simulation, |from, to, wire| {
            is_write_ts(wire) && from == A && to == C || is_write_remote(wire)
        });
        trial.simulation.delays.disk = Spread::exactly(ms(300));
        trial.begin(0, put(2));
        // The clock's mark and W-LOCAL take 300 ms each; W-TS reaches B's disk at 912.
        trial.run_for(620);
        let read = trial.begin(4, READ);
        trial.run_for(180);
        trial.crash(&[0, 3]);
        trial.restart(&[3]);
        trial.finish(read);
        trial.ask(5, READ);
        trial.verdict()?;
    }
    Ok(())
}

/// A and B write at the same nanosecond. All readers must agree on which was later.
pub fn two_nodes_write_at_the_same_nanosecond(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    let writes = [trial.begin(0, put(1)), trial.begin(3, put(2))];
    for write in writes {
        trial.finish(write);
    }
    trial.run_for(1000);
    for reader in [1, 4, 1] {
        trial.ask(reader, READ);
    }
    trial.verdict()
}

/// Nobody has written the key.
pub fn a_key_that_was_never_written_is_read(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(1, READ);
    trial.verdict()
}

/// A writes, and is the first replica to have the value; those for B and C are lost.
/// A crashes. The other members of its local set must still hold it.
pub fn the_first_replica_to_hold_a_value_crashes(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    drop_if(&mut trial.simulation, |_, to, wire| {
        is_write_remote(wire) && to != A
    });
    trial.ask(0, put(1));
    trial.run_for(1000);
    trial.crash(&[0]);
    trial.ask(6, READ);
    trial.verdict()
}

/// The nearest holder of the value gets no question for it, and what it sends along with
/// its timestamp does not come either.
pub fn the_nearest_holder_is_silent(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(0, put(1));
    trial.settle();
    drop_if(&mut trial.simulation, |from, to, wire| {
        to == B && is_read_data(wire) || from == B && is_data(wire)
    });
    trial.ask(4, READ);
    trial.verdict()
}

/// 8 is everywhere, and A is down. 17 reaches its coordinator alone, node 2, which a
/// reader of 8 at node 1 asks first. It must not hand out 17: A comes back, node 2
/// crashes, and nobody else has that value.
pub fn a_copy_that_one_member_holds_answers_nobody(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(1, put(8));
    trial.settle();
    trial.crash(&[0]);
    drop_if(&mut trial.simulation, |_, _, wire| is_write_local(wire));
    trial.begin(2, put(17));
    trial.run_for(50);
    trial.ask(1, READ);
    trial.crash(&[2]);
    trial.restart(&[0]);
    trial.ask(3, READ);
    trial.verdict()
}

/// The coordinator dies when its local set has the value, before it announces the
/// timestamp. Somebody must bring the value to its end, or the copies stay for ever.
pub fn a_dead_coordinator_leaves_copies(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    drop_if(&mut trial.simulation, |from, _, wire| {
        from == ONE && !is_write_local(wire)
    });
    trial.begin(1, put(1));
    trial.run_for(500);
    trial.crash(&[1]);
    trial.settle();
    trial.ask(6, READ);
    trial.verdict()
}

/// What B and C know reaches node 1 late, and A hears of no write meanwhile. 8 is written
/// elsewhere; a read that node 1 is asked for after that must find it, though another has
/// asked B and C before.
pub fn a_read_joins_a_round_with_old_reports(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.simulation.script = Some(Box::new(move |_, to, wire| match priority(wire) {
        Some(PriorityBody::ReadTsAck { .. }) if to == ONE => Fate::Late(ms(2000)),
        _ => Fate::Deliver,
    }));
    let early = trial.begin(1, READ);
    trial.run_for(15);
    trial.ask(3, put(8));
    let late = trial.begin(1, READ);
    trial.finish(early);
    trial.finish(late);
    trial.verdict()
}

/// 8 is everywhere, 17 is announced to A alone. A reader hears of it from A and returns
/// it; A crashes. The next reader, who hears B and C, must find 17 too.
pub fn what_one_replica_knows_is_read_and_the_replica_crashes(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(1, put(8));
    trial.settle();
    drop_if(&mut trial.simulation, |from, to, wire| {
        is_write_remote(wire) || from == ONE && is_write_ts(wire) && to != A
    });
    trial.begin(1, put(17));
    trial.run_for(100);
    trial.ask(2, READ);
    trial.crash(&[0]);
    trial.ask(3, READ);
    trial.verdict()
}

/// The clocks of nodes 1 and 2 run an hour ahead and claim to be exact. Whatever becomes
/// of their write, one of a correct clock that ends after it must be read.
pub fn a_broken_clock_writes_an_hour_ahead(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.set_clocks(&[1, 2], 3_600_000, Some(0));
    trial.begin(1, put(1));
    trial.run_for(1000);
    trial.ask(3, put(2));
    trial.ask(4, READ);
    trial.verdict()
}

/// Node 1's clock is ten seconds slow, and it knows that it can't tell. Its write
/// begins after another has ended, and must be read.
pub fn a_node_without_a_synchronized_clock_writes(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.set_clocks(&[1], -10_000, None);
    trial.ask(0, put(1));
    trial.ask(1, put(2));
    trial.ask(3, READ);
    trial.verdict()
}

/// W-TS reaches A at once, B and C half a second late. A read at B after the write's
/// end must find it.
pub fn a_write_ends_when_a_majority_knows_it(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(0, put(1));
    trial.settle();
    trial.simulation.script = Some(Box::new(|_, to, wire| {
        if to != A && (is_write_ts(wire) || is_write_remote(wire)) {
            Fate::Late(ms(500))
        } else {
            Fate::Deliver
        }
    }));
    trial.ask(0, put(2));
    trial.ask(3, READ);
    trial.verdict()
}

/// Disks take 300 ms. The power fails everywhere when a write has just ended, and comes
/// back.
pub fn the_power_fails_after_a_write(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(0, put(1));
    trial.settle();
    trial.simulation.delays.disk = Spread::exactly(ms(300));
    trial.ask(0, put(2));
    let all = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    for node in all {
        trial.simulation.crash_with(NodeId(node), LogTail::Lost);
    }
    trial.restart(&all);
    trial.ask(4, READ);
    trial.verdict()
}

/// A and B acknowledge W-TS of 2, C never hears of it. B restarts and A crashes: a read
/// that hears B and C must find 2.
pub fn a_restarted_replica_remembers(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rw, mutants);
    trial.ask(1, put(1));
    trial.settle();
    drop_if(&mut trial.simulation, |from, to, wire| {
        is_write_remote(wire) || from == ONE && is_write_ts(wire) && to == C
    });
    trial.ask(1, put(2));
    trial.crash(&[0, 3]);
    trial.restart(&[3]);
    trial.ask(4, READ);
    trial.verdict()
}

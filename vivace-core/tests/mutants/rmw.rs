//! Schedules of RMW objects, all of them counters. Nodes 0, 3 and 6 are the replicas A,
//! B and C; 1 and 2, 4 and 5, 7 and 8 complete their sites' local sets.

use vivace_core::cluster::{Kind, TimestampSource};
use vivace_core::machine::builtin::counter;
use vivace_core::message::PriorityBody;
use vivace_core::{Mutant, Mutants, NodeId};

use crate::cluster::script::{
    A, B, C, drop_if, is_accept, is_apply_remote, is_promise, is_read_data, is_write_remote, ms,
    priority, switch,
};
use crate::cluster::{Fate, Wire};
use crate::trial::{COUNT, Trial, Verdict, add, command};

const ONE: NodeId = NodeId(1);
const FOUR: NodeId = NodeId(4);
const SEVEN: NodeId = NodeId(7);

/// OW-TS of +1 reaches A alone, and its coordinator dies; the value goes to all
/// replicas, and the local copies are dropped. The next command's quorum includes A,
/// which crashes before it can hand the version out. B and C have it, not accepted.
pub fn the_one_replica_that_accepted_crashes(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    let late = switch(true);
    let is_late = late.clone();
    drop_if(&mut trial.simulation, move |from, to, wire| {
        from == ONE && to != A && is_accept(wire)
            || is_late.get() && from == SEVEN && is_read_data(wire)
            || (from, to) == (B, SEVEN) && is_promised(wire)
    });
    trial.begin(1, add(1));
    trial.run_for(100);
    trial.crash(&[1]);
    trial.run_for(20_000);
    let next = trial.begin(7, add(10));
    trial.run_for(25);
    trial.crash(&[0]);
    late.set(false);
    trial.finish(next);
    trial.verdict()
}

fn is_commit(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::Commit { .. }))
}

fn is_promised(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::OrderedReadTsAck { .. }))
}

/// B's clock is ten seconds slow, so it refuses every round. A and C are a majority.
pub fn one_replica_refuses_every_round(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    trial.set_clocks(&[3], -10_000, Some(0));
    trial.ask(0, add(1));
    trial.verdict()
}

/// Node 4's clock is a little fast; its round is promised by B alone, and it dies. So
/// does C. A's next round hears true from A and false from B, and nothing from C.
pub fn one_replica_is_down_and_one_refuses(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    trial.set_clocks(&[4], 90, Some(0));
    drop_if(&mut trial.simulation, |from, to, wire| {
        from == FOUR && to != B && is_promise(wire)
    });
    trial.begin(4, add(1));
    trial.run_for(10);
    trial.crash(&[4, 6]);
    trial.ask(0, add(10));
    trial.verdict()
}

/// All replicas accept +1; their answers get lost, and the coordinator dies. The client
/// sends the same command of the same session to another node.
pub fn a_command_is_repeated_when_its_coordinator_died(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    drop_if(&mut trial.simulation, |_, to, wire| {
        to == ONE && matches!(priority(wire), Some(PriorityBody::OrderedWriteTsAck { .. }))
    });
    let first = trial.begin(1, add(1));
    trial.run_for(100);
    trial.crash(&[1]);
    let again = trial.retry(2, first);
    trial.finish(again);
    trial.ask(6, COUNT);
    trial.verdict()
}

/// OW-TS of +1 reaches A alone, and its coordinator dies. A reader hears A and B; A
/// crashes. The next reader, who hears B and C, must find what the first one found.
pub fn what_one_replica_accepted_is_read_and_the_replica_crashes(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    drop_if(&mut trial.simulation, |from, to, wire| {
        from == ONE && to != A && is_accept(wire)
    });
    trial.begin(1, add(1));
    trial.run_for(100);
    trial.crash(&[1]);
    trial.ask(2, COUNT);
    trial.crash(&[0]);
    trial.ask(3, COUNT);
    trial.verdict()
}

/// +1 is stored in its site, and its coordinator dies before OW-TS. Node 4's round
/// takes the promises away, builds +10 without it, and is slow to ask for acceptance.
/// In between the local set brings +1 to all replicas: it was never chosen, and no
/// reader may see it.
pub fn a_version_that_is_never_chosen_reaches_all_replicas(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    let slow = switch(true);
    let is_slow = slow.clone();
    drop_if(&mut trial.simulation, move |from, _, wire| {
        is_accept(wire) && (from == ONE || is_slow.get() && from == FOUR)
    });
    trial.begin(1, add(1));
    trial.run_for(50);
    trial.crash(&[1]);
    // The local set waits three seconds for the coordinator.
    trial.run_for(2500);
    let next = trial.begin(4, add(10));
    trial.run_for(2000);
    trial.ask(7, COUNT);
    slow.set(false);
    trial.finish(next);
    trial.ask(7, COUNT);
    trial.verdict()
}

/// C has not heard that +2 replaces the version before, nor has its value; site A,
/// which has, gets no questions for a while. A command from site C must wait for +2.
pub fn the_only_replica_asked_has_an_older_version(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    trial.ask(0, add(1));
    trial.settle();
    let lossy = switch(true);
    let on = lossy.clone();
    drop_if(&mut trial.simulation, move |_, to, wire| {
        on.get() && to.0 > 2 && (is_write_remote(wire) || is_commit(wire))
            || on.get() && to.0 < 3 && is_read_data(wire)
    });
    trial.ask(0, add(2));
    let next = trial.begin(7, add(4));
    trial.run_for(500);
    lossy.set(false);
    trial.finish(next);
    trial.verdict()
}

/// +1 is accepted everywhere, its value is at A and B. A reader in site B learns that,
/// and its question for the value is late. Meanwhile +10 is accepted everywhere; site A
/// is destroyed before its value has left. B still has +1 to give, unless it dropped
/// that when it accepted +10. (Readers ask for timestamps first.)
pub fn a_lost_site_takes_no_older_version_along(mutants: Mutants) -> Verdict {
    let mut trial = Trial::of(Kind::Rmw, mutants, |container| container.early_data = false);
    let late = switch(false);
    let is_late = late.clone();
    trial.simulation.script = Some(Box::new(move |from, to, wire| {
        let accepted = matches!(priority(wire), Some(PriorityBody::OrderedWriteTsAck { .. }));
        match is_late.get() {
            true if (from, to) == (FOUR, B) && is_read_data(wire) => Fate::Late(ms(45)),
            true if from == FOUR && is_read_data(wire) => Fate::Drop,
            true if is_write_remote(wire) || to == ONE && accepted => Fate::Drop,
            _ if is_write_remote(wire) && to == C => Fate::Drop,
            _ => Fate::Deliver,
        }
    }));
    trial.ask(0, add(1));
    trial.run_for(2000);
    late.set(true);
    let read = trial.begin(4, COUNT);
    trial.begin(1, add(10));
    trial.run_for(50);
    trial.crash(&[0, 1, 2]);
    trial.finish(read);
    trial.verdict()
}

/// A reader at B learns of +1, and its questions for the value get lost for a while.
/// Meanwhile +2 replaces it everywhere: nobody has +1 any more.
pub fn the_version_asked_for_became_history(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    let lossy = switch(true);
    let on = lossy.clone();
    drop_if(&mut trial.simulation, move |from, _, wire| {
        on.get() && (is_write_remote(wire) || from == B && is_read_data(wire))
    });
    trial.ask(1, add(1));
    let read = trial.begin(3, COUNT);
    trial.run_for(50);
    trial.ask(2, add(2));
    trial.run_for(100);
    lossy.set(false);
    trial.finish(read);
    trial.verdict()
}

/// A command that adds only where the sum stays small gets stuck at its coordinator;
/// repeated elsewhere, it finds the sum too large, and the client hears so. The sum
/// becomes small. The first try gets through: it must not add now.
pub fn a_first_try_comes_after_the_second_failed(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    trial.ask(0, add(5));
    let stuck = switch(true);
    let on = stuck.clone();
    drop_if(&mut trial.simulation, move |from, _, _| {
        on.get() && from == ONE
    });
    let within = counter::Command::AddWithin {
        amount: 1,
        min: 0,
        max: 3,
    };
    let first = trial.begin(1, command(&within));
    let again = trial.retry(3, first);
    trial.finish(again);
    trial.ask(6, add(-5));
    stuck.set(false);
    trial.run_for(5000);
    trial.ask(6, COUNT);
    trial.verdict()
}

/// B's and C's promises reach A's round late, and A is cut off from rounds meanwhile:
/// +1 is added by B and C. A command that joins A's round after that changes nothing,
/// but must not be answered from promises that are older than its question.
pub fn a_command_joins_a_round_with_old_promises(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    trial.ask(3, add(5));
    trial.settle();
    let cut = switch(false);
    let is_cut = cut.clone();
    trial.simulation.script = Some(Box::new(move |from, to, wire| {
        let round = is_promise(wire) || is_accept(wire) || is_commit(wire);
        if to == A && is_promised(wire) {
            Fate::Late(ms(2000))
        } else if is_cut.get() && (from == A || to == A) && (round || is_write_remote(wire)) {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    }));
    let early = trial.begin(0, add(0));
    trial.run_for(15);
    cut.set(true);
    trial.ask(3, add(1));
    let late = trial.begin(0, add(0));
    trial.finish(early);
    trial.simulation.script = None;
    trial.finish(late);
    trial.verdict()
}

/// Node 0 adds 1 and may add again without asking. Node 3 counts rounds as it does, from
/// one, and its first comes between the two: it must be refused, or +10 is built on +1,
/// chosen, and overwritten by what node 0 builds on +1 too.
pub fn another_coordinator_comes_between_two_rounds(mutants: Mutants) -> Verdict {
    let mut trial = Trial::of(Kind::Rmw, mutants, |container| {
        container.timestamps = TimestampSource::Query;
    });
    trial.ask(0, add(1));
    let is_late = switch(true);
    let late = is_late.clone();
    drop_if(&mut trial.simulation, move |from, to, wire| {
        to == A && from == B && (is_promise(wire) || is_accept(wire))
            || late.get() && from == A && to != A && is_accept(wire)
            || from == B && to == A && is_commit(wire)
    });
    let again = trial.begin(0, add(2));
    trial.run_for(5);
    trial.ask(3, add(10));
    is_late.set(false);
    trial.finish(again);
    trial.ask(6, COUNT);
    trial.verdict()
}

/// B promises +1's round, then +10's, which C promises too and A does not. B restarts.
/// It must still refuse +1, or +10 is built and chosen without it.
pub fn a_restarted_replica_keeps_its_promise(mutants: Mutants) -> Verdict {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    let (one_is_slow, seven_is_slow) = (switch(true), switch(true));
    let (one_slow, seven_slow) = (one_is_slow.clone(), seven_is_slow.clone());
    drop_if(&mut trial.simulation, move |from, to, wire| {
        is_promise(wire) && ((from, to) == (ONE, C) || (from, to) == (SEVEN, A))
            || is_accept(wire)
                && (one_slow.get() && from == ONE || seven_slow.get() && from == SEVEN)
    });
    let one = trial.begin(1, add(1));
    trial.run_for(100);
    let seven = trial.begin(7, add(10));
    trial.run_for(100);
    trial.crash(&[3]);
    trial.restart(&[3]);
    one_is_slow.set(false);
    trial.finish(one);
    seven_is_slow.set(false);
    trial.finish(seven);
    trial.ask(2, COUNT);
    trial.verdict()
}

/// An object that remembers so many commands that one more is sent in its stead.
fn large(mutants: Mutants) -> Trial {
    let mut trial = Trial::new(Kind::Rmw, mutants);
    for _ in 0..20 {
        trial.ask(0, add(1));
    }
    trial.settle();
    trial
}

/// +100 does not reach C. The next command, from site B, does, and says that it follows
/// from +100: C, which has the version before, must not apply it to that.
pub fn commands_come_where_their_base_does_not(mutants: Mutants) -> Verdict {
    without_their_base(mutants).verdict()
}

/// The swarm's judge needs no reader of the wrong value.
#[test]
fn one_version_with_two_values_is_found_where_it_is_stored() {
    let sound = without_their_base(Mutants::none());
    assert_eq!(sound.simulation.contradiction(), None);
    let broken = without_their_base(Mutant::ApplyToAnyVersion.into());
    let found = broken.simulation.contradiction().unwrap_or_default();
    assert!(found.starts_with("node 6 stores "), "{found}");
}

fn without_their_base(mutants: Mutants) -> Trial {
    let mut trial = large(mutants);
    drop_if(&mut trial.simulation, |from, to, wire| {
        from.0 < 3 && to == C && is_write(wire)
    });
    trial.ask(0, add(100));
    trial.run_for(200);
    trial.ask(3, add(1000));
    trial.run_for(500);
    trial.ask(6, COUNT);
    trial
}

/// +100 is stored in its own site's local set alone. The next command, from site B, is
/// sent to A and C, a majority, which can't apply it; then site B goes. They must not
/// have acknowledged what they do not hold: its last copies went with that.
pub fn commands_come_to_a_majority_without_their_base(mutants: Mutants) -> Verdict {
    let mut trial = large(mutants);
    let first = switch(true);
    let is_first = first.clone();
    drop_if(&mut trial.simulation, move |_, to, wire| {
        is_write(wire) && (is_first.get() || to == B)
    });
    trial.ask(1, add(100));
    first.set(false);
    trial.ask(3, add(1000));
    trial.run_for(500);
    trial.crash(&[3, 4, 5]);
    trial.ask(7, COUNT);
    trial.verdict()
}

/// W-REMOTE, by value or by commands.
fn is_write(wire: &Wire) -> bool {
    is_write_remote(wire) || is_apply_remote(wire)
}

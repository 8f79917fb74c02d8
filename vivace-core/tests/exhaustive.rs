//! Every order of events in very small clusters, and proof that the search finds what
//! is wrong: each mutant that so small a cluster can show.
//!
//! The larger models are a matter of minutes: `vivace-sim exhaust` (docs/simulation.md).

#![allow(clippy::unwrap_used, clippy::disallowed_macros)]

use vivace_core::cluster::{Kind, TimestampSource};
use vivace_core::sim::exhaustive::{Disk, Model, Report, Step, Weighed, Wish, dive, explore};
use vivace_core::{Mutant, Mutants, NodeId};

const WRITE: Step = Step::new(0, Wish::Write(1));
const READ: Step = Step::new(1, Wish::Read);
const NEXT_READ: Step = Step::new(2, Wish::Read);
const ADD: Step = Step::new(0, Wish::Add(1));
const OTHER_ADD: Step = Step::new(1, Wish::Add(10));
const READ_STATE: Step = Step::new(2, Wish::ReadState);

fn search(model: &Model, states_max: u64) -> Report {
    let report = explore(model, states_max, |_| {});
    println!(
        "{}: {} states, {} transitions, depth {}, {} histories, exhausted: {}",
        model.mutants,
        report.states,
        report.transitions,
        report.depth,
        report.histories.len(),
        report.is_exhausted
    );
    report
}

#[track_caller]
fn assert_all_is_well(model: &Model, states_max: u64) {
    let report = search(model, states_max);
    if let Some(violation) = report.violation {
        panic!("{}\n{}", violation.what, violation.schedule.join("\n"));
    }
    assert!(report.is_exhausted, "cut at {states_max} states");
    assert!(report.ends > 0, "something ends");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn a_writer_and_a_reader_in_every_order() {
    for timestamps in [TimestampSource::Query, TimestampSource::Clock] {
        let mut model = Model::new(Kind::Rw, &[WRITE, READ]);
        model.timestamps = timestamps;
        assert_all_is_well(&model, 100_000);
    }
}

#[test]
fn a_command_in_every_order() {
    assert_all_is_well(&Model::new(Kind::Rmw, &[ADD]), 100_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn a_writer_two_readers_and_a_crash_in_every_order() {
    assert_all_is_well(&Model::rw().with_crashes(1), 2_000_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn direct_writes_in_every_order() {
    let mut model = Model::rw().in_one_site().with_crashes(1);
    model.timestamps = TimestampSource::Clock;
    assert_all_is_well(&model, 3_000_000);
    let mut model = Model::new(Kind::Rw, &[WRITE, READ]).in_one_site();
    model.timestamps = TimestampSource::Clock;
    (model.crashes, model.disk) = (1, Disk::Slow);
    assert_all_is_well(&model, 1_000_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn direct_commands_in_every_order() {
    let model = Model::new(Kind::Rmw, &[ADD, READ_STATE]).in_one_site();
    assert_all_is_well(&model.with_crashes(1), 1_000_000);
    let model = Model::new(Kind::Rmw, &[ADD, OTHER_ADD]).in_one_site();
    assert_all_is_well(&model, 1_000_000);
}

#[test]
fn equal_searches_see_the_same() {
    let model = Model::new(Kind::Rw, &[WRITE, READ]).with_crashes(1);
    let seen = |report: Report| (report.states, report.transitions, report.depth);
    assert_eq!(seen(search(&model, 2_000)), seen(search(&model, 2_000)));
}

/// A search that leaves messages out sees every history that one of `more` does.
#[track_caller]
fn assert_nothing_is_missed(model: &Model, more: Weighed, states_max: u64) {
    let mut full = model.clone();
    full.weighed = more;
    let (left_out, full) = (search(model, states_max), search(&full, states_max));
    assert!(full.is_exhausted && left_out.is_exhausted, "cut");
    assert!(left_out.states < full.states, "nothing was left out");
    assert!(full.histories.len() > 1);
    assert_eq!(left_out.histories, full.histories);
    assert_eq!(left_out.violation.is_some(), full.violation.is_some());
}

#[test]
fn messages_left_out_make_no_difference_to_a_command() {
    let command = Model::new(Kind::Rmw, &[ADD]).with_crashes(1);
    assert_nothing_is_missed(&command, Weighed::Every, 10_000);
    assert_nothing_is_missed(&command, Weighed::AllButEmptyAnswers, 10_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn messages_left_out_make_no_difference() {
    let rw = Model::new(Kind::Rw, &[WRITE, READ]);
    assert_nothing_is_missed(&rw, Weighed::Every, 1_000_000);
    let crash = Model::new(Kind::Rw, &[WRITE]).with_crashes(1);
    assert_nothing_is_missed(&crash, Weighed::Every, 100_000);
    let rmw = Model::new(Kind::Rmw, &[ADD, READ_STATE]);
    assert_nothing_is_missed(&rmw, Weighed::AllButEmptyAnswers, 1_000_000);
    let mut lossy = rw.clone();
    lossy.losses = 1;
    assert_nothing_is_missed(&lossy, Weighed::AllButEmptyAnswers, 1_000_000);
    let mut slow = rw;
    slow.disk = Disk::Slow;
    assert_nothing_is_missed(&slow, Weighed::AllButEmptyAnswers, 2_000_000);
    for overtakings in [0, 1] {
        let bounded = |mut model: Model| {
            model.overtakings = Some(overtakings);
            model
        };
        let crash = bounded(crash.clone());
        assert_nothing_is_missed(
            &bounded(rmw.clone()),
            Weighed::AllButEmptyAnswers,
            1_000_000,
        );
        assert_nothing_is_missed(&crash, Weighed::Every, 1_000_000);
    }
}

#[test]
#[ignore = "a minute with optimization: run it by name, in release"]
fn messages_left_out_make_no_difference_to_larger_models() {
    let rw = Model::new(Kind::Rw, &[WRITE, READ]);
    let two_adds = Model::new(Kind::Rmw, &[ADD, OTHER_ADD]);
    for model in [rw.with_crashes(1), Model::rw(), two_adds] {
        assert_nothing_is_missed(&model, Weighed::AllButEmptyAnswers, 10_000_000);
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn messages_that_may_overtake_often_may_arrive_in_any_order() {
    let bounded = |overtakings| {
        let mut model = Model::new(Kind::Rmw, &[ADD, READ_STATE]);
        model.overtakings = overtakings;
        search(&model, 1_000_000)
    };
    let [in_order, once, often, any] = [Some(0), Some(1), Some(9), None].map(bounded);
    for report in [&in_order, &once, &often, &any] {
        assert!(report.is_exhausted && report.violation.is_none());
        assert!(report.histories.is_subset(&any.histories));
    }
    assert!(in_order.states < once.states && once.states < often.states);
    assert_eq!(often.histories, any.histories);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn two_commands_and_a_read_in_every_order_that_ways_allow() {
    let steps = [
        ADD,
        Step::new(0, Wish::Add(10)),
        Step::new(0, Wish::ReadState),
    ];
    let mut model = Model::new(Kind::Rmw, &steps);
    model.overtakings = Some(0);
    assert_all_is_well(&model, 100_000);
}

/// A model in which `mutant` can be seen.
fn smallest_for(mutant: Mutant) -> Model {
    let rw = |steps: &[Step]| Model::new(Kind::Rw, steps);
    let rmw = |steps: &[Step]| Model::new(Kind::Rmw, steps);
    let crashes = |mut model: Model, nodes: &[u16]| {
        model.crashes = nodes.len() as u8;
        model.may_crash = nodes.iter().copied().map(NodeId).collect();
        model
    };
    let model = match mutant {
        // One hears of the write from its first replica, the next does not.
        Mutant::SkipWriteBack => rw(&[WRITE, READ, NEXT_READ.after(1)]),
        Mutant::MinorityQuorum => rw(&[WRITE, READ.after(0)]),
        Mutant::AckBeforeDurable | Mutant::EmptyRestart => {
            crashes(rw(&[WRITE, READ.after(0)]), &[2])
        }
        // Node 0 is the writer's local set and no replica, node 1 the first to have
        // the value; one after the other crashes.
        Mutant::DropAtFirstAck => {
            let mut model = crashes(rw(&[WRITE, NEXT_READ.after(0)]), &[0, 1]);
            model.nodes = 4;
            model.replicas = [1, 2, 3].map(NodeId).to_vec();
            model.stay_down = vec![NodeId(1)];
            model
        }
        Mutant::BindNotAwaited => crashes(rw(&[WRITE, READ]), &[0]),
        Mutant::FetchNeverWritten => rw(&[READ]),
        Mutant::ForgetPromise => crashes(rmw(&[ADD, OTHER_ADD]), &[2]),
        Mutant::ReadUnsettled => rmw(&[ADD, Step::new(1, Wish::ReadState), READ_STATE.after(1)]),
        // The first command's coordinator comes back and carries its version on
        // while the other command is under way.
        Mutant::RemoteAccepts => {
            let mut model = crashes(rmw(&[ADD, OTHER_ADD.after(0), READ_STATE.after(0)]), &[0]);
            model.early_timers = 1;
            model
        }
        other => panic!("{other} has no small model"),
    };
    model.with_mutants(mutant)
}

/// How a mutant shows.
const NO_ORDER: &str = "not linearizable";
const STUCK: &str = "stuck";

/// The mutant is caught; the protocol as it should be is faultless in as long a search.
#[track_caller]
fn assert_is_found(mutant: Mutant, what: &str, report: impl Fn(&Model, u64) -> Report, most: u64) {
    let model = smallest_for(mutant);
    let broken = report(&model, most);
    let violation = broken.violation.expect("the mutant is found");
    assert!(violation.what.contains(what), "{}", violation.what);
    println!(
        "{mutant}: after {} transitions and {} ends, by a schedule of {}",
        broken.transitions,
        broken.ends,
        violation.schedule.len()
    );
    let as_many = (broken.ends + 1).max(most / 20);
    let sound = report(&model.with_mutants(Mutants::none()), as_many);
    if let Some(violation) = sound.violation {
        panic!("{}\n{}", violation.what, violation.schedule.join("\n"));
    }
}

#[test]
fn mutants_of_few_states_are_found() {
    assert_is_found(Mutant::MinorityQuorum, NO_ORDER, search, 5_000);
    assert_is_found(Mutant::FetchNeverWritten, STUCK, search, 5_000);
}

#[test]
fn a_mutant_of_few_early_turns_is_found() {
    assert_is_found(Mutant::BindNotAwaited, STUCK, dive, 2_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimization")]
fn mutants_of_many_states_are_found() {
    assert_is_found(Mutant::SkipWriteBack, NO_ORDER, search, 100_000);
    assert_is_found(Mutant::ReadUnsettled, NO_ORDER, search, 200_000);
}

#[test]
#[ignore = "minutes with optimization: run it by name, in release"]
fn mutants_of_rare_schedules_are_found() {
    assert_is_found(Mutant::AckBeforeDurable, NO_ORDER, dive, 80_000);
    assert_is_found(Mutant::EmptyRestart, NO_ORDER, dive, 80_000);
    assert_is_found(Mutant::ForgetPromise, NO_ORDER, dive, 80_000);
    assert_is_found(Mutant::RemoteAccepts, NO_ORDER, dive, 80_000);
    assert_is_found(Mutant::DropAtFirstAck, STUCK, dive, 80_000);
}

//! The checker finds every mutant: each schedule is played twice, by nodes that follow
//! the protocol and by nodes that break it in one way. The first must be faultless; of
//! the second the checker must say what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros
)]

#[path = "../cluster/mod.rs"]
mod cluster;

mod direct;
mod rmw;
mod rw;
mod trial;

use trial::Verdict;
use vivace_core::{Mutant, Mutants};

/// A schedule that shows a mutant, and what the checker says then.
struct Catch {
    mutant: Mutant,
    schedule: &'static str,
    play: fn(Mutants) -> Verdict,
    says: &'static str,
}

macro_rules! catches {
    ($($mutant:ident: $module:ident::$schedule:ident => $says:literal,)+) => {
        const CATCHES: &[Catch] = &[$(Catch {
            mutant: Mutant::$mutant,
            schedule: stringify!($schedule),
            play: $module::$schedule,
            says: $says,
        },)+];

        $(#[test]
        fn $schedule() {
            let name = stringify!($schedule);
            let catches = CATCHES.iter().filter(|catch| catch.schedule == name);
            catches.for_each(Catch::check);
        })+
    };
}

impl Catch {
    fn check(&self) {
        if let Err(why) = (self.play)(Mutants::none()) {
            panic!("nodes that follow the protocol: {why}");
        }
        match (self.play)(self.mutant.into()) {
            Ok(()) => panic!("{} goes unnoticed", self.mutant),
            Err(why) => assert!(why.contains(self.says), "{}: {why}", self.mutant),
        }
    }
}

catches! {
    EraseOnNewerTimestamp: rw::a_lost_site_takes_no_older_value_along => "Read at node 7 got no result",
    BufferUnannounced: rw::value_and_timestamp_meet_on_different_majorities => "Read at node 3 got no result",
    LeaveAtOnce: rw::a_value_leaves_when_a_majority_of_the_local_set_holds_it => "Read at node 3 got no result",
    SkipWriteBackOfNewer: rw::a_newer_value_than_asked_for_is_announced => "no order explains",
    SkipWriteBackOfEarly: rw::what_came_early_is_newer_than_what_is_told => "no order explains",
    NoCommitWait: rw::a_slow_clocks_write_follows_a_fast_ones => "no order explains",
    NoReadWait: rw::a_slow_clocks_write_follows_a_read => "no order explains",
    BindNotAwaited: rw::a_timestamp_is_announced_once_its_value_is_bound => "Read at node 3 got no result",
    RetryUnderNewTimestamp: rw::a_write_keeps_its_place_however_often_it_is_repeated => "has two timestamps",
    ReportVolatile: rw::a_reader_hears_only_of_what_outlives_a_crash => "no order explains",
    AnonymousWriter: rw::two_nodes_write_at_the_same_nanosecond => "no order explains",
    FetchNeverWritten: rw::a_key_that_was_never_written_is_read => "Read at node 1 got no result",
    DropAtFirstAck: rw::the_first_replica_to_hold_a_value_crashes => "Read at node 6 got no result",
    AskOneHolder: rw::the_nearest_holder_is_silent => "Read at node 4 got no result",
    AnswerUnsafeCopy: rw::a_copy_that_one_member_holds_answers_nobody => "Read at node 3 got no result",
    LeaveOrphans: rw::a_dead_coordinator_leaves_copies => "copies that nobody needs",
    JoinBegunRead: rw::a_read_joins_a_round_with_old_reports => "no order explains",
    ServeOlderEarly: rw::the_replica_in_the_readers_site_missed_the_newest_write => "no order explains",
    SkipWriteBack: rw::what_one_replica_knows_is_read_and_the_replica_crashes => "no order explains",
    LearnBeforeStored: direct::the_power_fails_before_values_are_stored => "Read at node 1 got no result",
    IgnoreStored: direct::the_power_fails_right_after_a_write => "no order explains",
    WriteBackTimestamp: direct::a_lone_value_is_read_and_its_holder_crashes => "Read at node 1 got no result",
    HideUnaccepted: rmw::the_one_replica_that_accepted_crashes => "at node 7 got no result",
    AnyFalseAborts: rmw::one_replica_refuses_every_round => "at node 0 got no result",
    NoGrace: rmw::one_replica_is_down_and_one_refuses => "at node 0 got no result",
    ForgetCommands: rmw::a_command_is_repeated_when_its_coordinator_died => "no order explains",
    ReadUnsettled: rmw::what_one_replica_accepted_is_read_and_the_replica_crashes => "no order explains",
    RemoteAccepts: rmw::a_version_that_is_never_chosen_reaches_all_replicas => "no order explains",
    DropOnAcceptance: rmw::a_lost_site_takes_no_older_version_along => "ReadState at node 4 got no result",
    BuildOnAnyVersion: rmw::the_only_replica_asked_has_an_older_version => "no order explains",
    WaitForHistory: rmw::the_version_asked_for_became_history => "ReadState at node 3 got no result",
    ForgetUnchanged: rmw::a_first_try_comes_after_the_second_failed => "no order explains",
    AnswerLatecomers: rmw::a_command_joins_a_round_with_old_promises => "no order explains",
    ForgetNext: rmw::another_coordinator_comes_between_two_rounds => "no order explains",
    ApplyToAnyVersion: rmw::commands_come_where_their_base_does_not => "no order explains",
    AckBeforeApplied: rmw::commands_come_to_a_majority_without_their_base => "ReadState at node 7 got no result",
    AckBeforeDurable: rw::the_power_fails_after_a_write => "no order explains",
    ForgetPromise: rmw::a_restarted_replica_keeps_its_promise => "no order explains",
    AcceptFuture: rw::a_broken_clock_writes_an_hour_ahead => "Read at node 4 got no result",
    TrustUnknownClock: rw::a_node_without_a_synchronized_clock_writes => "no order explains",
    EmptyRestart: rw::a_restarted_replica_remembers => "no order explains",
    MinorityQuorum: rw::a_write_ends_when_a_majority_knows_it => "no order explains",
}

#[test]
fn every_mutant_is_caught_by_a_schedule() {
    for mutant in Mutant::ALL {
        let caught = CATCHES.iter().any(|catch| catch.mutant == *mutant);
        assert!(caught, "{mutant} has no schedule");
    }
}

#[test]
fn every_name_is_read_back() {
    for &mutant in Mutant::ALL {
        assert_eq!(Mutant::parse(mutant.name()), Ok(mutant));
        assert_eq!(Mutants::parse(mutant.name()), Ok(mutant.into()));
    }
    for set in [Mutants::PUBLISHED_ALG_1, Mutants::PUBLISHED_ALG_3] {
        assert_eq!(Mutants::parse(&set.to_string()), Ok(set));
    }
    assert_eq!(Mutants::parse("none"), Ok(Mutants::none()));
    assert_eq!(
        Mutants::parse("published-alg-3"),
        Ok(Mutants::PUBLISHED_ALG_3)
    );
    let unknown = Mutants::parse("no-grace,no-grease").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "\"no-grease\" is no mutant; see Mutant::ALL"
    );
}

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mutants.md");

/// What follows this line in [`DOCUMENT`] is this test's.
const MARK: &str =
    "<!-- Below: UPDATE=1 cargo test -p vivace-core --features sim --test mutants -->\n";

#[test]
fn the_document_tells_how_each_is_caught() {
    let found = std::fs::read_to_string(DOCUMENT).unwrap();
    let (prose, table) = found.split_once(MARK).unwrap();
    let expected = document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(DOCUMENT, format!("{prose}{MARK}{expected}")).unwrap();
    } else {
        assert_eq!(table, expected, "see the line above the table");
    }
}

fn document() -> String {
    let mut text = String::from("\n| mutant | what it breaks | schedule | the checker says |\n");
    text += "|---|---|---|---|\n";
    for catch in CATCHES {
        let (mutant, schedule, says) = (catch.mutant, catch.schedule, catch.says);
        let about = mutant.about();
        text += &format!("| `{mutant}` | {about} | `{schedule}` | … {says} … |\n");
    }
    for (name, set) in [
        ("published-alg-1", Mutants::PUBLISHED_ALG_1),
        ("published-alg-3", Mutants::PUBLISHED_ALG_3),
    ] {
        text += &format!("\n`{name}` is `{set}`. It fails in\n\n");
        let fails = |catch: &&Catch| (catch.play)(set).is_err();
        for catch in CATCHES.iter().filter(fails) {
            text += &format!("- `{}`\n", catch.schedule);
        }
    }
    text
}

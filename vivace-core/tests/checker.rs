//! The history checkers themselves: what they must accept, what they must refuse,
//! and that the two of them agree.

#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::history::{Answer, Ask, Entry, check_machine, check_register};
use proptest::prelude::*;
use vivace_core::machine::StateMachine;
use vivace_core::machine::builtin::{Counter, counter};
use vivace_core::{Timestamp, codec};

fn ts(value: u64) -> Timestamp {
    Timestamp {
        time: value,
        ..Timestamp::ZERO
    }
}

fn write(invoked: u64, returned: u64, value: u64) -> Entry {
    let (ask, answer) = (Ask::Write(value), Answer::Written(ts(value)));
    Entry {
        invoked,
        returned: Some(returned),
        ask,
        answer,
    }
}

fn unended(invoked: u64, value: u64) -> Entry {
    Entry {
        invoked,
        returned: None,
        ask: Ask::Write(value),
        answer: Answer::Unknown,
    }
}

fn read(invoked: u64, returned: u64, value: Option<u64>) -> Entry {
    let answer = Answer::Value(value.map(|value| (value, ts(value))));
    Entry {
        invoked,
        returned: Some(returned),
        ask: Ask::Read,
        answer,
    }
}

fn add(invoked: u64, returned: u64, amount: i64, sum: i64) -> Entry {
    let command = codec::encode(&counter::Command::Add(amount)).into();
    let answer = Answer::Executed(Ok(codec::encode(&sum).into()));
    let ask = Ask::Execute {
        machine: Counter::NAME,
        command,
    };
    Entry {
        invoked,
        returned: Some(returned),
        ask,
        answer,
    }
}

#[test]
fn new_then_old_is_refused() {
    let entries = [
        write(1, 2, 8),
        unended(3, 17),
        read(4, 5, Some(17)),
        read(6, 7, Some(8)),
    ];
    assert!(check_register(&entries).is_err());
    assert!(check_machine(&entries).is_err());
}

#[test]
fn a_lost_write_is_refused() {
    let entries = [write(1, 2, 8), read(3, 4, None)];
    assert!(check_register(&entries).is_err());
    assert!(check_machine(&entries).is_err());
}

#[test]
fn an_unended_write_may_take_effect_at_any_later_time_or_never() {
    let entries = [
        unended(1, 8),
        write(2, 3, 9),
        read(4, 5, Some(9)),
        read(6, 7, Some(8)),
    ];
    assert_eq!(check_register(&entries), Ok(()));
    assert_eq!(check_machine(&entries), Ok(()));
    assert_eq!(check_register(&entries[..3]), Ok(()));
}

#[test]
fn a_value_from_nowhere_is_refused() {
    let refused = Entry {
        answer: Answer::NotApplied,
        ..write(1, 2, 8)
    };
    let entries = [refused, read(3, 4, Some(8))];
    assert!(check_register(&entries).is_err());
    assert!(check_machine(&entries).is_err());
}

#[test]
fn one_value_with_two_timestamps_is_refused() {
    let mut entries = [write(1, 2, 8), read(3, 4, Some(8))];
    entries[1].answer = Answer::Value(Some((8, ts(9))));
    assert!(check_register(&entries).is_err());
}

#[test]
fn a_command_applied_twice_is_refused() {
    assert_eq!(check_machine(&[add(1, 2, 5, 5), add(3, 4, 1, 6)]), Ok(()));
    assert!(check_machine(&[add(1, 2, 5, 5), add(3, 4, 1, 11)]).is_err());
}

#[test]
fn a_write_at_the_very_beginning_can_be_lost_too() {
    let entries = [write(0, 5, 8), read(10, 12, None)];
    assert!(check_register(&entries).is_err());
    assert!(check_machine(&entries).is_err());
}

#[test]
fn operations_that_touch_may_be_in_either_order() {
    assert_eq!(check_machine(&[add(5, 5, 1, 1)]), Ok(()));
    assert_eq!(check_machine(&[add(1, 5, 1, 3), add(5, 9, 2, 2)]), Ok(()));
    assert!(check_machine(&[add(1, 5, 1, 3), add(6, 9, 2, 2)]).is_err());
    let entries = [write(1, 5, 8), read(5, 9, None)];
    assert_eq!(check_register(&entries), Ok(()));
    assert_eq!(check_machine(&entries), Ok(()));
}

/// One client was slow, another was not: only two at a time, and a thousand meanwhile.
#[test]
fn an_operation_that_spans_a_thousand_others_is_judged() {
    let others = |slow_at: i64| {
        let sum = move |n: i64| n + if n >= slow_at { 1000 } else { 0 };
        (1..=1000).map(move |n| add(10 * n as u64, 10 * n as u64 + 5, 1, sum(n)))
    };
    let history = |told: i64| {
        let slow = add(1, 20_000, 1000, told);
        std::iter::once(slow).chain(others(700)).collect::<Vec<_>>()
    };
    // It took effect between the 699th and the 700th.
    assert_eq!(check_machine(&history(1699)), Ok(()));
    let objection = check_machine(&history(1698)).unwrap_err();
    assert!(!objection.is_undecided, "{objection}");
}

#[test]
fn a_value_may_be_written_twice() {
    let twice = [write(1, 2, 8), write(3, 4, 8)];
    let with = |more: &[Entry]| check_register(&[&twice[..], more].concat());
    assert_eq!(with(&[read(5, 6, Some(8))]), Ok(()));
    assert_eq!(with(&[write(2, 3, 9), read(5, 6, Some(8))]), Ok(()));
    for wrong in [
        vec![read(5, 6, None)],
        vec![read(0, 0, Some(8))],
        vec![write(5, 6, 9), read(7, 8, Some(8))],
        vec![write(5, 6, 9), write(11, 12, 10), read(13, 14, Some(9))],
    ] {
        let objection = with(&wrong).expect_err("is wrong");
        assert!(!objection.is_undecided, "{objection}");
    }
    // A question too hard for the search is left open.
    let unended: Vec<Entry> = (0..2000).map(|i| unended(7, 100 + i)).collect();
    assert!(with(&unended).unwrap_err().is_undecided);
}

#[test]
fn what_nobody_can_tell_is_undecided() {
    let many: Vec<Entry> = (0..5000).map(|i| add(i, 9000, 1, i as i64)).collect();
    assert!(check_machine(&many).unwrap_err().is_undecided);
    assert!(!check_machine(&[add(1, 2, 5, 6)]).unwrap_err().is_undecided);
    // Any of 2^30 sums may be there, and none explains the answer.
    let unknown = (0..30).map(|i| Entry {
        returned: None,
        answer: Answer::Unknown,
        ..add(i, 0, 1 << i, 0)
    });
    let sums: Vec<Entry> = unknown.chain([add(100, 200, 0, -5)]).collect();
    assert!(check_machine(&sums).unwrap_err().is_undecided);
}

/// Times of which many are equal, from 0 on.
fn touching_history() -> impl Strategy<Value = Vec<Entry>> {
    let operation = (
        0..7_u64,
        0..3_u64,
        proptest::option::of(0..4_usize),
        any::<bool>(),
    );
    prop::collection::vec(operation, 1..7).prop_map(|drawn| {
        let entries = (0..).zip(drawn);
        let entries = entries.map(|(i, (begin, length, target, ends))| {
            let end = begin + length;
            match target {
                None if ends => write(begin, end, i),
                None => unended(begin, i),
                Some(0) => read(begin, end, None),
                Some(of) => read(begin, end, Some(of as u64 - 1)),
            }
        });
        entries.collect()
    })
}

/// Up to 8 operations over few moments and values: about a third is linearizable.
fn register_history() -> impl Strategy<Value = Vec<Entry>> {
    let operation = (
        0..12_u64,
        1..8_u64,
        proptest::option::of(0..4_usize),
        any::<bool>(),
    );
    prop::collection::vec(operation, 1..8).prop_map(|drawn| {
        let writes: Vec<u64> = (0..drawn.len() as u64).collect();
        let mut entries = Vec::new();
        for (i, (begin, length, target, ends)) in drawn.into_iter().enumerate() {
            // Moments are unique, as a recorder's are.
            let invoked = 1 + begin * 100 + i as u64;
            let returned = 1 + (begin + length) * 100 + 50 + i as u64;
            entries.push(match target {
                None if ends => write(invoked, returned, writes[i]),
                None => unended(invoked, writes[i]),
                Some(0) => read(invoked, returned, None),
                Some(of) => read(invoked, returned, writes.get(of - 1).copied()),
            });
        }
        entries
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_fast_checker_agrees_with_the_search(entries in register_history()) {
        prop_assert_eq!(check_register(&entries).is_ok(), check_machine(&entries).is_ok());
    }

    #[test]
    fn they_agree_on_operations_that_touch(entries in touching_history()) {
        prop_assert_eq!(check_register(&entries).is_ok(), check_machine(&entries).is_ok());
    }
}

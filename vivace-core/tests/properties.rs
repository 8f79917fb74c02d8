//! Algebra that must hold for every input: orders, codecs, bounds, quorums.

#![allow(clippy::unwrap_used)]

mod arbitrary;

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{
    bulk_message, client_reply, client_request, derivation, key, node, priority_message, record,
    timestamp,
};
use bincode::{Decode, Encode};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use vivace_core::client_protocol::{ClientReply, ClientRequest, Request};
use vivace_core::clock::{Clock, ClockReading, Mode, Now};
use vivace_core::codec::{self, CodecError, MESSAGE_BYTES_MAX};
use vivace_core::message::{
    BulkBody, BulkMessage, PRIORITY_MESSAGE_BYTES_MAX, PriorityBody, PriorityMessage, TrustedTime,
};
use vivace_core::quorum::{Tally, Votes, majority};
use vivace_core::record::Record;
use vivace_core::{Incarnation, KEY_NAME_BYTES_MAX, KeyName, NodeId, Timestamp, WriterId};

fn round_trips<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(
    message: &M,
) -> Result<(), TestCaseError> {
    let bytes = codec::encode(message);
    let decoded: M = codec::decode(&bytes, MESSAGE_BYTES_MAX).unwrap();
    prop_assert_eq!(&decoded, message);

    // No byte too many, no byte too few, no byte over the limit.
    let mut longer = bytes.clone();
    longer.push(0);
    let trailing = codec::decode::<M>(&longer, MESSAGE_BYTES_MAX);
    prop_assert!(
        matches!(trailing, Err(CodecError::Trailing { extra: 1 })),
        "{:?}",
        trailing
    );
    for length in 0..bytes.len() {
        prop_assert!(codec::decode::<M>(&bytes[..length], MESSAGE_BYTES_MAX).is_err());
    }
    let over = codec::decode::<M>(&bytes, bytes.len() - 1);
    prop_assert!(
        matches!(over, Err(CodecError::TooLong { .. })),
        "{:?}",
        over
    );
    Ok(())
}

/// Whatever the bytes are, decoding them ends with a message or an error; and a
/// message that was read is what those bytes say.
fn never_panics<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
) -> Result<(), TestCaseError> {
    if let Ok(message) = codec::decode::<M>(bytes, MESSAGE_BYTES_MAX) {
        let again: M = codec::decode(&codec::encode(&message), MESSAGE_BYTES_MAX).unwrap();
        prop_assert_eq!(again, message);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn priority_messages_round_trip_within_their_bound(message in priority_message()) {
        round_trips(&message)?;
        prop_assert!(codec::encode(&message).len() <= PRIORITY_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_derivation_is_never_longer_than_it_says(derivation in derivation()) {
        prop_assert!(codec::encode(&derivation).len() <= derivation.bytes());
    }

    #[test]
    fn bulk_messages_round_trip(message in bulk_message()) {
        round_trips(&message)?;
    }

    #[test]
    fn client_messages_round_trip(request in client_request(), reply in client_reply()) {
        round_trips(&request)?;
        round_trips(&reply)?;
    }

    #[test]
    fn records_round_trip(record in record()) {
        round_trips(&record)?;
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        never_panics::<PriorityMessage>(&bytes)?;
        never_panics::<BulkMessage>(&bytes)?;
        never_panics::<ClientRequest>(&bytes)?;
        never_panics::<ClientReply>(&bytes)?;
        never_panics::<Record>(&bytes)?;
    }

    #[test]
    fn a_message_with_one_byte_changed_never_panics(
        messages in (priority_message(), bulk_message(), client_request(), client_reply(), record()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        fn changed<M>(message: &M, at: prop::sample::Index, byte: u8) -> Result<(), TestCaseError>
        where
            M: Encode + Decode<()> + PartialEq + std::fmt::Debug,
        {
            let mut bytes = codec::encode(message);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            never_panics::<M>(&bytes)
        }
        changed(&messages.0, at, byte)?;
        changed(&messages.1, at, byte)?;
        changed(&messages.2, at, byte)?;
        changed(&messages.3, at, byte)?;
        changed(&messages.4, at, byte)?;
    }

    #[test]
    fn timestamps_sort_by_time_then_node_then_life(a in timestamp(), b in timestamp()) {
        let parts = |ts: Timestamp| (ts.time, ts.writer.node(), ts.writer.incarnation());
        prop_assert_eq!(a.cmp(&b), parts(a).cmp(&parts(b)));
        prop_assert!(Timestamp::ZERO <= a && a <= Timestamp::MAX);
    }

    /// What one writer's acceptance promises besides is its own, later, and nobody else's.
    #[test]
    fn the_next_round_is_the_writers_own_and_later(a in timestamp(), b in timestamp()) {
        let next = a.next_round();
        prop_assert_eq!(next.writer, a.writer);
        prop_assert_eq!(next > a, a.time < u64::MAX);
        let (one, other) = (a.next_round(), b.next_round());
        prop_assert!(one != other || a == b || a.time >= u64::MAX - 1);
        prop_assert!(a.time != b.time || a.cmp(&b) == one.cmp(&other));
    }

    #[test]
    fn timestamps_sort_as_their_bytes_do(a in timestamp(), b in timestamp()) {
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        prop_assert_eq!(codec::encode(&a), a.to_bytes());
        prop_assert_eq!(Timestamp::from_bytes(a.to_bytes()), a);
    }

    #[test]
    fn nothing_lies_between_a_timestamp_and_its_successor(a in timestamp(), b in timestamp()) {
        prop_assert!(a == Timestamp::MAX || a < a.successor());
        prop_assert!(b <= a || a.successor() <= b);
    }

    #[test]
    fn the_writer_names_its_node_and_life(ts in timestamp()) {
        let (node, life) = (ts.writer.node(), ts.writer.incarnation());
        prop_assert_eq!(WriterId::new(node, life), ts.writer);
    }

    #[test]
    fn two_lives_never_sign_as_one(one in any::<(u16, u16)>(), other in any::<(u16, u16)>()) {
        let writer = |(node, life)| WriterId::new(NodeId(node), Incarnation(life));
        prop_assert_eq!(writer(one) == writer(other), one == other);
        prop_assert_eq!(writer(one).cmp(&writer(other)), one.cmp(&other));
    }

    /// An operation waits until a clock that is trusted has passed its timestamp by E, and
    /// no longer.
    #[test]
    fn a_commit_wait_ends_when_a_trusted_clock_has_passed_by_e(
        time in 1_000_000..u64::MAX / 2,
        lead in -2_000_000..2_000_000_i64,
        error in prop::option::of(0..1_000_000_u64),
        remote in 0..u64::MAX / 2,
        error_max in 0..1_000_000_u64,
    ) {
        let clock = Clock::new(
            NodeId(1),
            Incarnation(1),
            Duration::from_nanos(error_max),
            Duration::ZERO,
        );
        let now = |waited: u64| Now {
            monotonic: Duration::ZERO,
            clock: ClockReading { time_ns: time + waited, error_ns: error },
        };
        let ts = Timestamp { time: time.saturating_add_signed(lead), ..Timestamp::ZERO };
        let remote = TrustedTime(remote);
        let passed = |waited: u64| {
            let own = error.map_or(0, |error| time + waited - error);
            own.max(remote.0) > ts.time + error_max
        };
        match clock.commit_wait(now(0), ts, remote) {
            None => prop_assert!(passed(0)),
            Some(wait) => {
                prop_assert!(!passed(0));
                // Of its own clock alone: a remote one is asked again.
                if error.is_some_and(|error| time - error >= remote.0) {
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(passed(wait) && !passed(wait - 1));
                    prop_assert_eq!(clock.commit_wait(now(wait), ts, remote), None);
                }
            }
        }
    }

    /// Nobody takes a clock for true that does not know its error within E, or that is
    /// behind what it may have signed before a restart.
    #[test]
    fn clock_mode_needs_a_bound_within_e_and_a_clock_beyond_its_mark(
        time in any::<u64>(),
        mark in any::<u64>(),
        error in prop::option::of(0..2_000_u64),
    ) {
        let error_max = Duration::from_nanos(1_000);
        let mut clock = Clock::new(NodeId(1), Incarnation(2), error_max, Duration::ZERO);
        clock.recover_high_water(mark);
        let reading = ClockReading { time_ns: time, error_ns: error };
        clock.observe(Now { monotonic: Duration::ZERO, clock: reading });
        let is_true = error.is_some_and(|error| error <= 1_000) && time > mark;
        prop_assert_eq!(clock.mode() == Mode::Clock, is_true);
    }

    #[test]
    fn any_two_majorities_share_a_member(n in 1..=9_usize, one in any::<u16>(), other in any::<u16>()) {
        let all = (1_u16 << n) - 1;
        let (one, other) = (one & all, other & all);
        let is_majority = |set: u16| set.count_ones() as usize >= majority(n);
        if is_majority(one) && is_majority(other) {
            prop_assert_ne!(one & other, 0);
        }
        // And one member fewer would not be enough.
        prop_assert!(2 * (majority(n) - 1) <= n);
    }

    #[test]
    fn a_vote_counts_each_node_once(
        members in 1..=7_u16,
        cast in prop::collection::vec((0..7_u16, any::<bool>()), 0..20),
    ) {
        let mut votes = Votes::new(usize::from(members));
        let (mut yes, mut no) = (BTreeSet::new(), BTreeSet::new());
        for (node, answer) in cast.into_iter().filter(|(node, _)| *node < members) {
            if answer { votes.yes(NodeId(node), ()) } else { votes.no(NodeId(node)) }
            if !yes.contains(&node) && !no.contains(&node) {
                if answer { yes.insert(node) } else { no.insert(node) };
            }
        }
        let n = usize::from(members);
        let expected = if yes.len() >= majority(n) {
            Tally::Reached
        } else if n - no.len() < majority(n) {
            Tally::Unreachable
        } else {
            Tally::Pending
        };
        prop_assert_eq!(votes.tally(), expected);
        prop_assert_eq!(votes.answers().len(), yes.len());
        prop_assert_eq!(votes.majority_that(|()| true), expected == Tally::Reached);
        let answered = yes.len() + no.len() >= majority(n);
        prop_assert_eq!(
            votes.is_contested(),
            expected == Tally::Pending && answered && !no.is_empty()
        );
    }

    /// What a majority said of one question, somebody remembers at the next.
    #[test]
    fn two_votes_that_were_reached_share_a_voter(
        members in 1..=9_u16,
        one in prop::collection::vec((0..9_u16, any::<bool>()), 0..20),
        other in prop::collection::vec((0..9_u16, any::<bool>()), 0..20),
    ) {
        let voters = |cast: Vec<(u16, bool)>| {
            let mut votes = Votes::new(usize::from(members));
            for (node, answer) in cast.into_iter().filter(|(node, _)| *node < members) {
                if answer { votes.yes(NodeId(node), ()) } else { votes.no(NodeId(node)) }
            }
            let yes: BTreeSet<NodeId> = votes.answers().iter().map(|(node, ())| *node).collect();
            (votes.tally() == Tally::Reached).then_some(yes)
        };
        if let (Some(one), Some(other)) = (voters(one), voters(other)) {
            prop_assert!(!one.is_disjoint(&other), "{:?} {:?}", one, other);
        }
    }

    /// A verdict is not taken back, and does not hang on the order of the answers.
    #[test]
    fn a_verdict_is_final_and_the_same_in_every_order(
        members in 1..=9_u16,
        answers in prop::collection::vec(any::<bool>(), 9),
        order in Just((0..9_u16).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let cast = |votes: &mut Votes<()>, node: u16| match answers[usize::from(node)] {
            true => votes.yes(NodeId(node), ()),
            false => votes.no(NodeId(node)),
        };
        let n = usize::from(members);
        let (mut votes, mut in_order) = (Votes::new(n), Votes::new(n));
        let mut verdict = Tally::Pending;
        for node in order.into_iter().filter(|node| *node < members) {
            cast(&mut votes, node);
            prop_assert!(verdict == Tally::Pending || votes.tally() == verdict);
            verdict = votes.tally();
        }
        (0..members).for_each(|node| cast(&mut in_order, node));
        prop_assert_eq!(verdict, in_order.tally());
        let yes = answers[..n].iter().filter(|answer| **answer).count();
        prop_assert_eq!(verdict == Tally::Reached, yes >= majority(n));
        prop_assert_ne!(verdict, Tally::Pending, "all have answered");
    }

    #[test]
    fn names_of_1_to_255_bytes_are_keys(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let valid = (1..=KEY_NAME_BYTES_MAX).contains(&bytes.len());
        prop_assert_eq!(KeyName::new(bytes).is_ok(), valid);
    }

    #[test]
    fn keys_of_one_container_sort_by_name(a in key(), b in key()) {
        if a.container == b.container {
            prop_assert_eq!(a.cmp(&b), a.name.as_bytes().cmp(b.name.as_bytes()));
        }
    }

    /// Names around the length up to which they are kept in place, alike but for their ends.
    #[test]
    fn names_sort_and_equal_as_their_bytes_do(
        common in prop::collection::vec(0..2_u8, 0..32),
        ends in prop::array::uniform2(prop::collection::vec(prop::sample::select(vec![0, 1, 255_u8]), 0..3)),
    ) {
        let [a, b] = ends.map(|end| [b"n", &common[..], &end].concat());
        let [left, right] = [&a, &b].map(|name| KeyName::new(name).unwrap());
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        prop_assert_eq!(left == right, a == b);
        prop_assert_eq!(left.as_bytes(), &a[..]);
        let hash = |name: &KeyName| std::hash::BuildHasher::hash_one(&std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default(), name);
        prop_assert!(left != right || hash(&left) == hash(&right));
    }

    #[test]
    fn a_node_number_is_at_most_16_bits_everywhere(node in node()) {
        prop_assert!(codec::encode(&node).len() <= 3);
    }
}

/// The bound is met exactly, so that none tighter would do.
#[test]
fn the_longest_priority_message_is_as_long_as_the_bound_says() {
    let longest = arbitrary::longest_priority_message();
    assert!(matches!(
        longest.body,
        PriorityBody::PropagationIs { .. } | PriorityBody::Bind { .. }
    ));
    assert_eq!(codec::encode(&longest).len(), PRIORITY_MESSAGE_BYTES_MAX);
}

/// A length is only a claim: what is not there is not allocated.
#[test]
fn a_huge_claimed_length_is_refused() {
    // A value that claims 2^60 bytes, one that claims the limit, a list of 2^40 nodes.
    for claim in [1_u64 << 60, MESSAGE_BYTES_MAX as u64, 1 << 40] {
        let mut bytes = codec::encode(&claim);
        bytes.push(7);
        assert!(codec::decode::<vivace_core::Blob>(&bytes, MESSAGE_BYTES_MAX).is_err());
        assert!(codec::decode::<Vec<NodeId>>(&bytes, MESSAGE_BYTES_MAX).is_err());
        assert!(codec::decode::<String>(&bytes, MESSAGE_BYTES_MAX).is_err());
    }
}

/// The tags that the decoder of an enum knows: the first byte of its encodings.
fn known_tags<M: Decode<()> + std::fmt::Debug>() -> BTreeSet<u8> {
    let is_known = |tag: &u8| match codec::decode::<M>(&[*tag], MESSAGE_BYTES_MAX) {
        Ok(_) => true,
        Err(error) => {
            let why = format!("{error:?}");
            !why.contains("names no variant") && !why.contains("UnexpectedVariant")
        }
    };
    (0..=u8::MAX - 5).filter(is_known).collect()
}

fn drawn_tags<T>(
    strategy: impl Strategy<Value = T>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> BTreeSet<u8> {
    let mut runner = TestRunner::deterministic();
    let draw = |_| encode(&strategy.new_tree(&mut runner).unwrap().current())[0];
    (0..3_000).map(draw).collect()
}

/// A variant that nobody draws is one that no property is tested for.
#[test]
fn every_variant_of_every_message_is_drawn() {
    let priority = drawn_tags(priority_message(), |message| codec::encode(&message.body));
    assert_eq!(priority, known_tags::<PriorityBody>());
    let bulk = drawn_tags(bulk_message(), |message| codec::encode(&message.body));
    assert_eq!(bulk, known_tags::<BulkBody>());
    let request = drawn_tags(client_request(), |message| codec::encode(&message.request));
    assert_eq!(request, known_tags::<Request>());
    assert_eq!(drawn_tags(record(), codec::encode), known_tags::<Record>());
    let success = drawn_tags(client_reply(), |reply| match reply {
        Ok(success) => codec::encode(success),
        Err(_) => vec![u8::MAX],
    });
    let known = known_tags::<vivace_core::client_protocol::Success>();
    assert_eq!(success, known.into_iter().chain([u8::MAX]).collect());
    let failure = drawn_tags(client_reply(), |reply| match reply {
        Ok(_) => vec![u8::MAX],
        Err(failure) => codec::encode(failure),
    });
    let known = known_tags::<vivace_core::client_protocol::Failure>();
    assert_eq!(failure, known.into_iter().chain([u8::MAX]).collect());
}

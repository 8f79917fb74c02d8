//! Algebra that must hold for every input: orders, codecs, bounds, quorums.

#![allow(clippy::unwrap_used)]

mod arbitrary;

use std::collections::BTreeSet;

use arbitrary::{
    bulk_message, client_reply, client_request, key, node, priority_message, record, timestamp,
};
use bincode::{Decode, Encode};
use proptest::prelude::*;
use vivace_core::client_protocol::{ClientReply, ClientRequest};
use vivace_core::codec::{self, CodecError, MESSAGE_BYTES_MAX};
use vivace_core::message::{
    BulkMessage, PRIORITY_MESSAGE_BYTES_MAX, PriorityBody, PriorityMessage,
};
use vivace_core::quorum::{Tally, Votes, majority};
use vivace_core::record::Record;
use vivace_core::{KEY_NAME_BYTES_MAX, KeyName, NodeId, Timestamp};

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
        message in bulk_message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = codec::encode(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        never_panics::<BulkMessage>(&bytes)?;
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
        prop_assert_eq!(vivace_core::WriterId::new(node, life), ts.writer);
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

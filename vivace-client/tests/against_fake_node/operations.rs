//! What each operation hears from a well-behaved node, and from a malformed answer.

use vivace_client::client_protocol::framing::SHARED_MESSAGE_BYTES_MAX;
use vivace_client::client_protocol::{Failure, Request, Success};
use vivace_client::machine::builtin::{Counter, List, Register, counter, list, register};
use vivace_client::{Client, OperationError, Timestamp};

use crate::authority::Authority;
use crate::fake_node::{Action, FakeNode};
use crate::store::Store;

async fn client_of(authority: &Authority, node: &FakeNode) -> Client {
    Client::connect(authority.config(&[node.address]))
        .await
        .expect("the node serves us")
}

#[tokio::test]
async fn a_written_value_is_read_until_it_is_deleted() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let alice = client_of(&authority, &node)
        .await
        .container("profiles")
        .rw("alice");
    assert_eq!(alice.read().await, Ok(None));
    let ts = alice.write(vec![0, 255, 10]).await.expect("a write");
    let read = alice.read().await.expect("a read").expect("a value");
    assert_eq!((read.ts, &read.value[..]), (ts, &[0, 255, 10][..]));
    assert!(alice.delete().await.expect("a delete") > ts);
    assert_eq!(alice.read().await, Ok(None));
}

#[tokio::test]
async fn a_node_that_knows_of_no_shared_streams_is_asked_without() {
    let authority = Authority::new();
    let node = FakeNode::sharing_nothing(&authority, &Store::default());
    let alice = client_of(&authority, &node)
        .await
        .container("profiles")
        .rw("alice");
    alice.write("small").await.expect("a write");
    let read = alice.read().await.expect("a read").expect("a value");
    assert_eq!(read.value, "small");
}

#[tokio::test]
async fn values_around_the_size_that_streams_are_shared_for_go_both_ways() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let client = client_of(&authority, &node).await;
    let object = client.container("profiles").rw("edge");
    for bytes in SHARED_MESSAGE_BYTES_MAX - 64..SHARED_MESSAGE_BYTES_MAX + 8 {
        let value = vec![7; bytes];
        object.write(value.clone()).await.expect("a write");
        let read = object.read().await.expect("a read").expect("a value");
        assert_eq!(read.value, value);
    }
}

#[tokio::test]
async fn the_largest_value_goes_both_ways() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let client = client_of(&authority, &node).await;
    let big = client.container("profiles").rw("big");
    let value = vec![7; vivace_client::VALUE_BYTES_MAX];
    big.write(value.clone()).await.expect("the largest value");
    assert_eq!(
        big.read().await.expect("a read").expect("a value").value,
        value
    );
    let over = big.write(vec![7; value.len() + 1]).await;
    assert!(matches!(over, Err(OperationError::Invalid { field, .. }) if field == "value"));
    assert_eq!(node.seen().len(), 2, "the refused write was not sent");
}

#[tokio::test]
async fn commands_yield_their_outputs_and_conflicts() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let client = client_of(&authority, &node).await;
    let visits = client.container("counters").rmw::<Counter>("visits");
    assert_eq!(visits.read().await.expect("a read"), None);
    assert_eq!(visits.execute(counter::Command::Add(5)).await, Ok(5));
    assert_eq!(visits.execute(counter::Command::Add(-7)).await, Ok(-2));
    let state = visits.read().await.expect("a read").expect("a state");
    assert_eq!(state.value(), -2);

    let lock = client.container("locks").rmw::<Register>("printer");
    let take = register::Command::CompareAndSwap {
        expected: None,
        new: Some(b"me".to_vec().into()),
    };
    assert_eq!(lock.execute(take.clone()).await, Ok(()));
    let error = lock
        .execute(take)
        .await
        .expect_err("it is taken by another command");
    assert!(matches!(&error, OperationError::Conflict { reason } if reason.contains("\"me\"")));
    assert!(error.surely_not_applied());
}

#[tokio::test]
async fn names_out_of_bounds_are_refused_before_anything_is_sent() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let client = client_of(&authority, &node).await;
    for (container, key, at_fault) in [
        ("", "k", "container"),
        (&"c".repeat(65), "k", "container"),
        ("c", "", "key"),
        ("c", &"k".repeat(256), "key"),
    ] {
        let read = client
            .container(container)
            .rw(key.as_bytes().to_vec())
            .read()
            .await;
        assert!(
            matches!(&read, Err(OperationError::Invalid { field, .. }) if field == at_fault),
            "{read:?}"
        );
    }
    assert_eq!(node.seen(), []);
}

#[tokio::test]
async fn a_state_of_another_machine_is_refused_not_misread() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let container = client_of(&authority, &node).await.container("x");
    let push = list::Command::Push(vec![9; 300].into());
    let pushed = container.rmw::<List>("y").execute(push).await;
    assert_eq!(pushed, Ok(list::Output::Length(1)));
    let read = container.rmw::<Counter>("y").read().await;
    assert!(matches!(read, Err(OperationError::Invalid { field, .. }) if field == "machine"));
}

#[tokio::test]
async fn malformed_and_unfitting_answers_never_pass_for_a_result() {
    let authority = Authority::new();
    let unfitting = || Action::Reply(Ok(Success::Written { ts: Timestamp::MAX }));
    let answers: [fn() -> Action; 3] = [
        || Action::Bytes(vec![0xff; 9]),
        || Action::Bytes(Vec::new()),
        unfitting,
    ];
    for answer in answers {
        let node = FakeNode::start(&authority, move |_| answer());
        let config = authority
            .config(&[node.address])
            .timeout(std::time::Duration::from_millis(400));
        let client = Client::connect(config).await.expect("hellos are answered");
        let read = client.container("c").rw("k").read().await;
        assert!(
            matches!(read, Err(OperationError::Unavailable { .. })),
            "{read:?}"
        );
        let state = client.container("c").rmw::<Counter>("k").read().await;
        assert!(matches!(state, Err(OperationError::Unavailable { .. })));
    }
    let node = FakeNode::start(&authority, |_| Action::Bytes(vec![0xff; 9]));
    let client = client_of(&authority, &node).await;
    let write = client.container("c").rw("k").write("v").await;
    assert!(
        matches!(write, Err(OperationError::Unknown { .. })),
        "{write:?}"
    );
}

#[tokio::test]
async fn an_answer_over_the_value_limit_is_not_taken_in() {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |_| {
        Action::Reply(Ok(Success::Value {
            ts: Timestamp::MAX,
            value: vec![0; 2 << 20].into(),
        }))
    });
    let config = authority
        .config(&[node.address])
        .timeout(std::time::Duration::from_millis(300))
        .value_bytes_max(1000);
    let client = Client::connect(config).await.expect("the node serves us");
    let read = client.container("c").rw("k").read().await;
    assert!(
        matches!(read, Err(OperationError::Unavailable { .. })),
        "{read:?}"
    );
}

#[tokio::test]
async fn an_answer_over_the_limit_harms_no_other() {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |request| {
        let (bytes, pause) = match request {
            Request::Read { key, .. } if key.as_bytes() == b"big" => (2 << 20, 0),
            _ => (3, 300),
        };
        let (ts, value) = (Timestamp::MAX, vec![0; bytes].into());
        let pause = std::time::Duration::from_millis(pause);
        Action::ReplyAfter(pause, Ok(Success::Value { ts, value }))
    });
    let config = authority.config(&[node.address]).value_bytes_max(1000);
    let client = Client::connect(config).await.expect("the node serves us");
    let container = client.container("c");
    let (big, small) = (container.rw("big"), container.rw("small"));
    let (big, small) = tokio::join!(
        async {
            big.deadline(std::time::Duration::from_millis(200))
                .read()
                .await
        },
        small.read()
    );
    let big = big.expect_err("it is over the limit");
    assert!(big.to_string().contains("the limit is 1048576"), "{big}");
    assert_eq!(
        small.expect("an answer").expect("a value").value,
        [0; 3][..]
    );
    assert!(client.status().await.is_ok());
}

#[tokio::test]
async fn each_failure_is_heard_as_the_node_meant_it() {
    let authority = Authority::new();
    let reason = || "because".to_owned();
    let cases = [
        (
            Failure::Busy { reason: reason() },
            OperationError::Busy { reason: reason() },
        ),
        (
            Failure::Unavailable { reason: reason() },
            OperationError::Unavailable { reason: reason() },
        ),
        (
            Failure::Unknown { reason: reason() },
            OperationError::Unknown { reason: reason() },
        ),
        (
            Failure::Invalid {
                field: "container".into(),
                reason: reason(),
            },
            OperationError::Invalid {
                field: "container".into(),
                reason: reason(),
            },
        ),
    ];
    for (failure, heard) in cases {
        let node = FakeNode::start(&authority, move |_| Action::Reply(Err(failure.clone())));
        let client = client_of(&authority, &node).await;
        let write = client.container("c").rw("k").write("v").await;
        assert_eq!(write, Err(heard));
        assert_eq!(node.seen().len(), 1, "it was asked once");
    }
}

//! No operation outlives its deadline, and silence is named for what it is.

use std::time::{Duration, Instant};

use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, OperationError};

use crate::authority::Authority;
use crate::fake_node::{Action, FakeNode};

const DEADLINE: Duration = Duration::from_millis(300);

/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1500);

async fn silent_node() -> (FakeNode, Client) {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |_| Action::Silence);
    let config = authority.config(&[node.address]).timeout(DEADLINE);
    let client = Client::connect(config).await.expect("hellos are answered");
    (node, client)
}

#[tokio::test]
async fn every_operation_ends_by_its_deadline() {
    let (_node, client) = silent_node().await;
    let object = client.container("c").rw("k");
    let counter = client.container("c").rmw::<Counter>("k");
    let start = Instant::now();
    let read = object.read().await;
    assert!(matches!(read, Err(OperationError::Unavailable { .. })));
    let write = object.write("v").await;
    assert!(matches!(write, Err(OperationError::Unknown { .. })));
    let delete = object.delete().await;
    assert!(matches!(delete, Err(OperationError::Unknown { .. })));
    let state = counter.read().await;
    assert!(matches!(state, Err(OperationError::Unavailable { .. })));
    // No session was given, so that no command was sent.
    let command = counter.execute(counter::Command::Add(1)).await;
    assert!(matches!(command, Err(OperationError::Unavailable { .. })));
    let took = start.elapsed();
    assert!(took >= DEADLINE * 5, "{took:?}: nothing gives up early");
    assert!(took < DEADLINE * 5 + SLACK, "{took:?}");
}

#[tokio::test]
async fn an_operations_own_deadline_counts_and_reaches_the_node() {
    let (node, client) = silent_node().await;
    let container = client
        .container("c")
        .deadline(Duration::from_millis(120_000));
    let start = Instant::now();
    let read = container.rw("k").deadline(Duration::from_millis(100));
    assert!(read.read().await.is_err());
    assert!(start.elapsed() < SLACK);
    let told = node.seen()[0].deadline_ms;
    assert!(
        (50..=90).contains(&told),
        "{told} leaves room for a verdict"
    );
}

#[tokio::test]
async fn impossible_deadlines_are_refused_by_name() {
    let (node, client) = silent_node().await;
    for impossible in [Duration::ZERO, Duration::from_secs(601)] {
        let object = client.container("c").rw("k").deadline(impossible);
        let error = object.read().await.expect_err("no such deadline");
        assert!(
            matches!(&error, OperationError::Invalid { field, .. } if field == "deadline"),
            "{error}"
        );
    }
    assert_eq!(node.seen(), []);
}

#[tokio::test]
async fn operations_beyond_the_bound_wait_and_then_hear_busy() {
    let (node, client) = silent_node().await;
    let container = client.container("c").deadline(Duration::from_secs(2));
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..vivace_client::OPERATIONS_IN_FLIGHT_MAX {
        let object = container.rw(format!("k{n}"));
        waiting.spawn(async move { object.read().await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let one_more = container.rw("k").deadline(DEADLINE).write("v").await;
    assert!(
        matches!(one_more, Err(OperationError::Busy { .. })),
        "{one_more:?}"
    );
    waiting.abort_all();
    drop(node);
}

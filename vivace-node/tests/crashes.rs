//! Real processes under load that are killed and started again.

mod process;

use std::time::{Duration, Instant};

use process::{Processes, START_PATIENCE};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, OperationError};

/// One round trip on loopback, a hedge, a disk write and a noisy machine.
const SLOWEST: Duration = Duration::from_secs(1);

/// Short enough that a test waits for it, long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(3);

async fn write(client: &Client, key: &str, value: String) -> Result<Duration, OperationError> {
    let started = Instant::now();
    client
        .container("kv")
        .rw(key.to_owned())
        .deadline(DEADLINE)
        .write(value)
        .await?;
    Ok(started.elapsed())
}

async fn read(client: &Client, key: &str) -> Result<Option<String>, OperationError> {
    let found = client
        .container("kv")
        .rw(key.to_owned())
        .deadline(DEADLINE)
        .read()
        .await?;
    Ok(found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
}

async fn add(client: &Client) -> Result<i64, OperationError> {
    let visits = client
        .container("objects")
        .rmw::<Counter>("visits")
        .deadline(DEADLINE);
    visits.execute(counter::Command::Add(1)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_killed_fails_nothing_two_end_by_the_deadline_restarted_ones_serve() {
    let mut processes = Processes::start(3);
    let client = processes.client('a').await;
    let first = client.container("kv").rw("first").deadline(START_PATIENCE);
    first
        .write("written before any crash")
        .await
        .expect("the cluster serves");
    let mut added = 0;

    // One of three, while a load runs: nothing fails, nothing waits longer than a
    // hedge and a round trip.
    let mut slowest = Duration::ZERO;
    for round in 0..120 {
        if round == 40 {
            processes.kill(3);
        }
        let started = Instant::now();
        write(&client, "load", format!("value {round}"))
            .await
            .expect("a majority is up");
        slowest = slowest.max(started.elapsed());
        let started = Instant::now();
        let found = read(&client, "load").await.expect("a majority is up");
        slowest = slowest.max(started.elapsed());
        assert_eq!(found, Some(format!("value {round}")));
        let started = Instant::now();
        added += 1;
        assert_eq!(add(&client).await, Ok(added));
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < SLOWEST, "the slowest operation took {slowest:?}");

    // Two of three: every operation ends by its deadline, and says what it knows.
    processes.kill(2);
    let started = Instant::now();
    let outcome = write(&client, "load", "lost or not".into()).await;
    assert!(
        matches!(
            outcome,
            Err(OperationError::Unavailable { .. } | OperationError::Unknown { .. })
        ),
        "{outcome:?}"
    );
    let outcome = read(&client, "first").await;
    assert!(
        matches!(outcome, Err(OperationError::Unavailable { .. })),
        "{outcome:?}"
    );
    assert!(
        started.elapsed() < 2 * DEADLINE + SLOWEST,
        "took {:?}",
        started.elapsed()
    );

    // Started again: they serve, and remember.
    processes.start_node(2);
    processes.start_node(3);
    let again = client.container("kv").rw("first").deadline(START_PATIENCE);
    let found = again
        .read()
        .await
        .expect("all are up")
        .expect("it was written");
    assert_eq!(found.value, "written before any crash");
    assert!(add(&client).await.expect("all are up") > added);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_survives_the_crash_of_all_nodes_at_once() {
    let mut processes = Processes::start(3);
    let client = processes.client('b').await;
    client
        .container("kv")
        .rw("key 0")
        .deadline(START_PATIENCE)
        .write("value 0")
        .await
        .expect("the cluster serves");
    for i in 1..30 {
        write(&client, &format!("key {i}"), format!("value {i}"))
            .await
            .expect("all are up");
    }
    for i in 1..=10 {
        assert_eq!(add(&client).await, Ok(i));
    }
    for node in 1..=3 {
        processes.kill(node);
    }
    for node in 1..=3 {
        processes.start_node(node);
    }
    let other = processes.client('c').await;
    for i in 0..30 {
        let key = other
            .container("kv")
            .rw(format!("key {i}"))
            .deadline(START_PATIENCE);
        let found = key
            .read()
            .await
            .expect("all are up")
            .expect("it was acknowledged");
        assert_eq!(found.value, format!("value {i}"));
    }
    assert_eq!(add(&other).await, Ok(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_over_to_another_node_of_their_site() {
    let mut processes = Processes::lay_out(1, 3);
    for node in 1..=3 {
        processes.start_node(node);
    }
    let client = processes.client('a').await;
    client
        .container("kv")
        .rw("load")
        .deadline(START_PATIENCE)
        .write("start")
        .await
        .expect("the cluster serves");
    let mut unknown = 0;
    for round in 1..=60 {
        if round == 20 {
            // The client's own coordinator.
            processes.kill(1);
        }
        // A write that was under way at the crash may be unknown; nothing else fails.
        match write(&client, "load", format!("value {round}")).await {
            Ok(_) => {}
            Err(OperationError::Unknown { .. }) => unknown += 1,
            Err(other) => panic!("round {round}: {other}"),
        }
        assert_eq!(
            add(&client).await,
            Ok(round),
            "commands take effect exactly once"
        );
    }
    assert!(unknown <= 1, "{unknown} writes were unknown");
}

/// Peers take a silent node for dead after this; one that is back must say so itself,
/// or it waits for them.
const PEER_PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_serves_before_its_peers_connections_time_out() {
    let mut processes = Processes::start(3);
    let first = processes.client('c').await;
    let first = first.container("kv").rw("first").deadline(START_PATIENCE);
    first.write("x").await.expect("the cluster serves");
    let mut fastest = Duration::MAX;
    // A busy machine may be slow once.
    for _ in 0..3 {
        // No timer of an earlier round shortens this one.
        tokio::time::sleep(PEER_PATIENCE + SLOWEST).await;
        processes.kill(3);
        let started = Instant::now();
        processes.start_node(3);
        let client = processes.client('c').await;
        let key = client.container("kv").rw("first").deadline(START_PATIENCE);
        key.read().await.expect("all are up");
        fastest = fastest.min(started.elapsed());
        if fastest < PEER_PATIENCE / 2 {
            return;
        }
    }
    panic!("took {fastest:?}");
}

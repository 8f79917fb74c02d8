//! A cluster in one process over the emulated WAN: what an operation costs in
//! round trips, and what a crash adds to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, ClientConfig};
use vivace_core::NodeId;
use vivace_node::dev::DevCluster;

/// Between any two sites of [`DevCluster::start`].
const RTT: Duration = Duration::from_millis(40);

/// A debug build on a busy machine.
const SLACK: Duration = Duration::from_millis(60);

async fn client(cluster: &DevCluster, node: u16) -> Client {
    let credentials = cluster.client_credentials();
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("is PEM");
    let config = ClientConfig::new(
        "dev",
        [cluster.node(NodeId(node)).expect("runs").client_address()],
        certificate(&credentials.ca),
        vec![certificate(&credentials.pair.certificate)],
        PrivateKeyDer::from_pem_slice(credentials.pair.key.as_bytes()).expect("is PEM"),
    );
    Client::connect(config)
        .await
        .expect("the node serves clients")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_take_one_round_trip_and_a_crash_adds_at_most_a_hedge_and_another() {
    let mut cluster = DevCluster::start().expect("starts");
    assert!(cluster.wait_until_connected(Duration::from_secs(20)).await);
    let client = client(&cluster, 1).await;
    let value = client.container("kv").rw("key");
    let visits = client.container("objects").rmw::<Counter>("visits");
    let (mut writes, mut reads, mut executes) = (Vec::new(), Vec::new(), Vec::new());
    let mut slowest = Duration::ZERO;
    for round in 1..=60 {
        if round == 30 {
            cluster.stop_node(NodeId(3));
        }
        let started = Instant::now();
        value
            .write(format!("value {round}"))
            .await
            .expect("a majority is up");
        writes.push(started.elapsed());
        let started = Instant::now();
        let found = value
            .read()
            .await
            .expect("a majority is up")
            .expect("it was written");
        reads.push(started.elapsed());
        assert_eq!(found.value, format!("value {round}"));
        let started = Instant::now();
        let total = visits
            .execute(counter::Command::Add(1))
            .await
            .expect("a majority is up");
        executes.push(started.elapsed());
        assert_eq!(total, round);
        slowest = [slowest, writes[writes.len() - 1], reads[reads.len() - 1]]
            .into_iter()
            .max()
            .expect("there are three");
    }
    assert!(
        slowest < 2 * RTT + RTT / 4 + SLACK,
        "the slowest took {slowest:?}"
    );
    for (name, times, rounds) in [
        ("write", writes, 1),
        ("read", reads, 1),
        ("execute", executes, 1),
    ] {
        let median = median(times);
        assert!(
            median >= rounds * RTT,
            "{name}: {median:?} is faster than the link"
        );
        assert!(median < rounds * RTT + SLACK / 2, "{name}: {median:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_every_operation_ends_by_its_deadline() {
    let mut cluster = DevCluster::start().expect("starts");
    assert!(cluster.wait_until_connected(Duration::from_secs(20)).await);
    let client = client(&cluster, 2).await;
    client
        .container("kv")
        .rw("key")
        .write("value")
        .await
        .expect("all are up");
    cluster.stop_node(NodeId(1));
    cluster.stop_node(NodeId(3));
    let deadline = Duration::from_secs(1);
    let client = Arc::new(client);
    let mut running = tokio::task::JoinSet::new();
    for container in ["kv", "kv-abd"] {
        let object = client.container(container).rw("key").deadline(deadline);
        let other = object.clone();
        running.spawn(async move { object.write("lost or not").await.map(drop) });
        running.spawn(async move { other.read().await.map(drop) });
    }
    for container in ["objects", "objects-lan"] {
        let object = client
            .container(container)
            .rmw::<Counter>("visits")
            .deadline(deadline);
        running.spawn(async move { object.execute(counter::Command::Add(1)).await.map(drop) });
    }
    let started = Instant::now();
    while let Some(outcome) = running.join_next().await {
        let error = outcome
            .expect("no panic")
            .expect_err("there is no majority");
        assert!(
            error.is_retryable() || !error.surely_not_applied(),
            "{error}"
        );
        assert!(
            started.elapsed() < deadline + Duration::from_secs(1),
            "{error}"
        );
    }
}

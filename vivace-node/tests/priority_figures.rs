//! What an operation costs the priority class, and how long it takes, over the
//! emulated WAN between three sites. Figures, not a check:
//! `cargo test --release -p vivace-node --test priority_figures -- --ignored --nocapture`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netem::{LinkConfig, RateLimit, Topology};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, ClientConfig};
use vivace_core::NodeId;
use vivace_core::machine::Machines;
use vivace_node::dev::DevCluster;
use vivace_node::init::Layout;
use vivace_node::transport::{Limits, PriorityBound};

const WINDOW: Duration = Duration::from_secs(5);
/// Every client meets each of its objects: the first change of one takes two round trips.
const WARM_UP: Duration = Duration::from_secs(5);

/// 5 % of 20 Mbit/s, and 50 ms of it at once.
const POLICED: RateLimit = RateLimit {
    rate_bits_per_second: 1_000_000,
    burst_bytes: 6_250,
};

#[derive(Clone, Copy, Debug)]
enum Operation {
    Read,
    Write,
    Execute,
}

async fn client(cluster: &DevCluster) -> Client {
    let credentials = cluster.client_credentials();
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("is PEM");
    let node = cluster.node(NodeId(1)).expect("runs");
    let config = ClientConfig::new(
        "dev",
        [node.client_address()],
        certificate(&credentials.ca),
        vec![certificate(&credentials.pair.certificate)],
        PrivateKeyDer::from_pem_slice(credentials.pair.key.as_bytes()).expect("is PEM"),
    );
    Client::connect(config).await.expect("the node serves")
}

async fn once(client: &Client, operation: Operation, key: &str) {
    match operation {
        Operation::Read => {
            let read = client.container("kv").rw(key.to_owned()).read().await;
            read.expect("a majority is up");
        }
        Operation::Write => {
            let write = client
                .container("kv")
                .rw(key.to_owned())
                .write(vec![7; 1_024])
                .await;
            write.expect("a majority is up");
        }
        Operation::Execute => {
            let object = client.container("objects").rmw::<Counter>(key.to_owned());
            let executed = object.execute(counter::Command::Add(1)).await;
            executed.expect("a majority is up");
        }
    }
}

/// Latencies of a closed loop of `at_once`.
async fn measure(
    client: &Arc<Client>,
    operation: Operation,
    at_once: usize,
    window: Duration,
) -> Vec<Duration> {
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..at_once)
        .map(|number| {
            let (client, is_over) = (client.clone(), is_over.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut round = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let key = format!("key-{:06}", number * 16 + round % 16);
                    round += 1;
                    let started = Instant::now();
                    once(&client, operation, &key).await;
                    latencies.push(started.elapsed());
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(window).await;
    is_over.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.expect("no panic"));
    }
    latencies.sort();
    latencies
}

/// CPU time of this process: nodes, clients and WAN.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("it ends")
        .split(' ')
        .collect();
    // utime and stime, in hundredths of a second.
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    (ticks(12) + ticks(13)) * 10_000
}

fn priority_sent(cluster: &DevCluster) -> (u64, u64, u64) {
    let links = cluster.wan().stats().links;
    links.iter().fold((0, 0, 0), |sum, link| {
        let flow = &link.counters.priority;
        (
            sum.0 + flow.offered_packets,
            sum.1 + flow.offered_bytes,
            sum.2 + flow.dropped_packets(),
        )
    })
}

fn topology(rtt_ms: u64, loss: f64, limit: Option<RateLimit>) -> Topology {
    let link = LinkConfig {
        delay: Duration::from_millis(rtt_ms) / 2,
        loss,
        priority_limit: limit,
        ..LinkConfig::default()
    };
    Topology::mesh(3, &link)
}

async fn table(name: &str, cluster: DevCluster, at_once: &[usize]) {
    assert!(cluster.wait_until_connected(Duration::from_secs(20)).await);
    let client = Arc::new(client(&cluster).await);
    for operation in [Operation::Write, Operation::Read, Operation::Execute] {
        for &at_once in at_once {
            // Objects are written, and losses known, before it counts.
            measure(&client, operation, at_once, WARM_UP).await;
            let (before, cpu_before) = (priority_sent(&cluster), cpu_us());
            let latencies = measure(&client, operation, at_once, WINDOW).await;
            let (after, cpu) = (priority_sent(&cluster), cpu_us() - cpu_before);
            let operations = latencies.len() as f64;
            let at = |share: f64| {
                let index = (operations * share) as usize;
                latencies[index.min(latencies.len() - 1)].as_secs_f64() * 1e3
            };
            println!(
                "{name} {operation:?} {at_once:>2} at once: {:>6.0} op/s, p50 {:6.1} p99 {:6.1} \
                 p99.9 {:6.1} ms; {:5.2} packets, {:4.0} B per op, {:5.2} % lost; \
                 {:4.0} us of CPU per op, all together",
                operations / WINDOW.as_secs_f64(),
                at(0.5),
                at(0.99),
                at(0.999),
                (after.0 - before.0) as f64 / operations,
                (after.1 - before.1) as f64 / operations,
                100.0 * (after.2 - before.2) as f64 / (after.0 - before.0) as f64,
                cpu as f64 / operations,
            );
        }
    }
}

fn cluster_file() -> String {
    Layout {
        cluster: "dev".into(),
        sites: 3,
        nodes_per_site: 1,
        base_port: 7000,
    }
    .cluster_file()
}

fn start(topology: &Topology, bound: Option<PriorityBound>) -> DevCluster {
    let limits = Limits {
        priority_bound: bound,
        ..Limits::default()
    };
    DevCluster::with_limits(&cluster_file(), topology, Machines::builtin(), 7, limits)
        .expect("starts")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures"]
async fn packets_and_bytes_per_operation() {
    let cluster = start(&topology(24, 0.0, None), None);
    table("open", cluster, &[1, 16, 64]).await;
    let cluster = start(&topology(24, 0.0, Some(POLICED)), None);
    table("policed", cluster, &[64]).await;
    let bound = PriorityBound::new(POLICED.rate_bits_per_second / 8);
    let cluster = start(&topology(24, 0.0, Some(POLICED)), Some(bound));
    table("policed, and the nodes know", cluster, &[64]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures"]
async fn latency_on_lossy_paths() {
    for loss in [0.0, 0.01, 0.05] {
        let cluster = start(&topology(100, loss, None), None);
        table(&format!("loss {loss}"), cluster, &[16]).await;
    }
}

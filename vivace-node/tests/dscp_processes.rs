//! What is on the wire between real node processes in two network namespaces, over
//! IPv4 and IPv6, while a client writes, reads and executes: the configured DSCP on
//! every packet of the priority ports, on none of the bulk ports.
//!
//! Needs root and `ip`; without them it says so, loudly, and passes.

mod capture;
mod process;

use std::fs;
use std::net::IpAddr;
use std::process::{Child, Stdio};

use capture::{A_V4, A_V6, B_V4, B_V6, Capture, Marks, Namespace, TwoNamespaces};
use process::{Processes, START_PATIENCE, path_text};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, ClientConfig};

/// Not the default, so that only the configuration can have set it.
const DSCP: u8 = 34;

const VALUE_BYTES: usize = 200_000;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts node 1 at `a`, nodes 2 and 3 at `b`, under their own mark.
fn configure(processes: &Processes, a: IpAddr, b: IpAddr) {
    let path = processes.cluster().join("cluster.toml");
    let mut text = fs::read_to_string(&path).expect("init wrote it");
    text = text.replace("priority = 46", &format!("priority = {DSCP}"));
    for (node, ip) in [(1, a), (2, b), (3, b)] {
        for port in 1..=3 {
            let port = processes.base_port + 10 * node + port;
            text = text.replace(
                &format!("127.0.0.1:{port}"),
                &std::net::SocketAddr::new(ip, port).to_string(),
            );
        }
    }
    fs::write(&path, text).expect("can be written");
    let path = processes.cluster().join("client-a.toml");
    let text = fs::read_to_string(&path).expect("init wrote it");
    let port = processes.base_port + 13;
    let text = text.replace(
        &format!("127.0.0.1:{port}"),
        &std::net::SocketAddr::new(a, port).to_string(),
    );
    fs::write(&path, text).expect("can be written");
}

fn run(processes: &Processes, namespace: &Namespace, node: u16) -> Killed {
    let log = fs::File::create(processes.log_of(node)).expect("a log file");
    let child = namespace
        .command(env!("CARGO_BIN_EXE_vivace-node"))
        .args(["run", path_text(&processes.node_file(node))])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("ip netns exec starts");
    Killed(child)
}

/// Writes, reads and executes from inside the namespace, on a thread of its own.
fn use_the_cluster(processes: &Processes, namespace: Namespace) {
    let config = ClientConfig::from_file(processes.cluster().join("client-a.toml"));
    let config = config.expect("it was only moved");
    let client = std::thread::spawn(move || {
        namespace.enter().expect("root may");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("builds");
        runtime.block_on(operations(config));
    });
    client.join().expect("all operations succeed");
}

async fn operations(config: ClientConfig) {
    let deadline = tokio::time::Instant::now() + START_PATIENCE;
    let client = loop {
        match Client::connect(config.clone()).await {
            Ok(client) => break client,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let object = client.container("kv").rw("key").deadline(START_PATIENCE);
    let visits = client
        .container("objects")
        .rmw::<Counter>("visits")
        .deadline(START_PATIENCE);
    for round in 1..=10 {
        object
            .write(vec![round as u8; VALUE_BYTES])
            .await
            .expect("writes");
        let found = object.read().await.expect("reads").expect("was written");
        assert_eq!(found.value.len(), VALUE_BYTES);
        assert_eq!(visits.execute(counter::Command::Add(1)).await, Ok(round));
    }
    client.close().await;
}

#[test]
fn node_processes_mark_all_of_their_priority_packets_and_no_bulk_packet() {
    let namespaces = match TwoNamespaces::create() {
        Ok(namespaces) => namespaces,
        Err(why) => {
            eprintln!("\n*** SKIPPED, NOTHING WAS TESTED: no network namespaces: {why} ***\n");
            return;
        }
    };
    for (a, b) in [(A_V4, B_V4), (A_V6, B_V6)] {
        let processes = Processes::lay_out(3, 1);
        configure(&processes, a, b);
        let captures = [namespaces.a(), namespaces.b()]
            .map(|namespace| Capture::start(&namespace).expect("root can capture"));
        let nodes = [
            run(&processes, &namespaces.a(), 1),
            run(&processes, &namespaces.b(), 2),
            run(&processes, &namespaces.b(), 3),
        ];
        use_the_cluster(&processes, namespaces.a());
        drop(nodes);
        for packets in captures.map(Capture::finish) {
            for (node, ip) in [(1, a), (2, b), (3, b)] {
                let port = processes.base_port + 10 * node;
                let priority = Marks::count(&packets, (ip, port + 1), DSCP);
                let bulk = Marks::count(&packets, (ip, port + 2), DSCP);
                println!("node {node} at {ip}: priority {priority:?}; bulk {bulk:?}");
                assert!(
                    priority.packets > 30 && priority.handshake_packets >= 1,
                    "{priority:?}"
                );
                assert!(bulk.packets > 20 && bulk.handshake_packets >= 1, "{bulk:?}");
                assert_eq!(priority.with_dscp, priority.packets, "every one is marked");
                assert_eq!(bulk.with_dscp, 0, "none is marked");
                assert_eq!(priority.with_ect0, priority.packets, "ECT(0) as QUIC sends");
                assert_eq!(bulk.with_ect0, bulk.packets, "ECT(0) as QUIC sends");
            }
        }
    }
}

//! What a small message costs, in CPU of each side: over bare quinn, and over the priority
//! class of Vivace's transport, in the same run on loopback. Figures, not a check:
//! `cargo test --release -p vivace-node --test message_figures -- --ignored --nocapture`

mod fixture;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixture::{Cluster, LOOPBACK, Node};
use nix::time::{ClockId, clock_gettime};
use quinn::{Endpoint, RecvStream, SendStream};
use tokio::runtime::Runtime;
use vivace_core::NodeId;
use vivace_node::transport::TransportEvent;
use vivace_node::transport::identity::any_node_dns_name;

const MESSAGE_BYTES: usize = 48;

/// How many are on their way at once, and how many are sent.
const LOADS: [(usize, usize); 3] = [(1, 20_000), (16, 100_000), (512, 1_000_000)];

const ROUNDS: usize = 3;

const PATIENCE: Duration = Duration::from_secs(30);

/// What all threads of this process have used.
fn cpu() -> Duration {
    let used = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has it");
    used.into()
}

/// CPU per message and side, and messages a second, of `messages` that one side sends and of as
/// many that the other sends back.
fn figure(messages: usize, exchange: impl FnOnce()) -> (f64, f64) {
    let (cpu_before, begun) = (cpu(), Instant::now());
    exchange();
    let (cpu, took) = (cpu() - cpu_before, begun.elapsed());
    // Each way is one message, which both sides have work with.
    let one_way = 2.0 * messages as f64;
    (
        cpu.as_secs_f64() * 1e6 / one_way / 2.0,
        one_way / took.as_secs_f64(),
    )
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Two endpoints in threads of their own, with one stream between them, which the far one sends
/// everything back on.
struct Bare {
    runtime: Runtime,
    _endpoint: Endpoint,
    send: SendStream,
    receive: RecvStream,
}

impl Bare {
    fn new(cluster: &Cluster) -> Self {
        let (address, at) = std::sync::mpsc::channel();
        let far = cluster.identity(&cluster.node_role(2));
        let server = far.peer_server_config().expect("usable");
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let local = SocketAddr::new(LOOPBACK, 0);
                let endpoint = Endpoint::server(server, local).expect("a free port");
                let bound = endpoint.local_addr().expect("bound");
                address.send(bound).expect("is waited for");
                let incoming = endpoint.accept().await.expect("is dialed");
                let connection = incoming.await.expect("is sound");
                let (mut send, mut receive) = connection.accept_bi().await.expect("opens");
                let mut bytes = vec![0; 512 * MESSAGE_BYTES];
                while let Ok(Some(read)) = receive.read(&mut bytes).await {
                    if send.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
            });
        });
        let address = at.recv_timeout(PATIENCE).expect("it is bound");
        let near = cluster.identity(&cluster.node_role(1));
        let client = near.peer_client_config().expect("usable");
        let runtime = runtime();
        let name = any_node_dns_name(&cluster.name);
        let (endpoint, (send, receive)) = runtime.block_on(async {
            let local = SocketAddr::new(LOOPBACK, 0);
            let mut endpoint = Endpoint::client(local).expect("a free port");
            endpoint.set_default_client_config(client);
            let connecting = endpoint.connect(address, &name).expect("dials");
            let connection = connecting.await.expect("is sound");
            (endpoint, connection.open_bi().await.expect("opens"))
        });
        Self {
            runtime,
            _endpoint: endpoint,
            send,
            receive,
        }
    }

    fn exchange(&mut self, at_once: usize, messages: usize) {
        let Self {
            runtime,
            send,
            receive,
            ..
        } = self;
        let message = [7; MESSAGE_BYTES];
        let mut bytes = vec![0; 512 * MESSAGE_BYTES];
        runtime.block_on(async {
            for _ in 0..at_once {
                send.write_all(&message).await.expect("stands");
            }
            let (mut sent, mut back, mut rest) = (at_once, 0, 0);
            while back < messages {
                let read = receive.read(&mut bytes).await.expect("stands");
                rest += read.expect("goes on");
                back += rest / MESSAGE_BYTES;
                rest %= MESSAGE_BYTES;
                while sent < messages && sent < back + at_once {
                    send.write_all(&message).await.expect("stands");
                    sent += 1;
                }
            }
        });
    }
}

/// Two transports; the far one sends everything back.
struct Ours {
    near: Node,
    _far: Arc<vivace_node::transport::Transport>,
    runtime: Runtime,
}

impl Ours {
    fn new(cluster: &Cluster) -> Self {
        let (mut near, mut far) = (cluster.start(1, 1), cluster.start(2, 1));
        near.wait_all_up(&[2]);
        far.wait_all_up(&[1]);
        let transport = Arc::new(far.transport);
        let (back, mut events) = (transport.clone(), far.events);
        std::thread::spawn(move || {
            runtime().block_on(async move {
                while let Some(event) = events.recv().await {
                    if let TransportEvent::Received { bytes, .. } = event {
                        // One that is dropped is missed by who counts.
                        let _ = back.send_priority(NodeId(1), bytes);
                    }
                }
            });
        });
        Self {
            near,
            _far: transport,
            runtime: runtime(),
        }
    }

    fn exchange(&mut self, at_once: usize, messages: usize) {
        let message = bytes::Bytes::from_static(&[7; MESSAGE_BYTES]);
        let Self { near, runtime, .. } = self;
        let send = |near: &Node| {
            let sent = near.transport.send_priority(NodeId(2), message.clone());
            sent.expect("there is room");
        };
        (0..at_once).for_each(|_| send(near));
        let (mut sent, mut back) = (at_once, 0);
        runtime.block_on(async {
            while back < messages {
                let event = tokio::time::timeout(PATIENCE, near.events.recv()).await;
                let event = event.expect("nothing is lost on loopback");
                if !matches!(event, Some(TransportEvent::Received { .. })) {
                    continue;
                }
                back += 1;
                if sent < messages {
                    send(near);
                    sent += 1;
                }
            }
        });
    }
}

#[test]
#[ignore = "figures"]
fn a_message_of_48_bytes_costs() {
    let cluster = Cluster::new(2, LOOPBACK);
    let (mut bare, mut ours) = (Bare::new(&cluster), Ours::new(&cluster));
    println!("CPU per message and side, us; messages a second. Medians of {ROUNDS}.");
    println!("at once   bare quinn, a stream      Vivace's priority class");
    for (at_once, messages) in LOADS {
        let (mut of_bare, mut of_ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            of_bare.push(figure(messages, || bare.exchange(at_once, messages)));
            of_ours.push(figure(messages, || ours.exchange(at_once, messages)));
        }
        let median = |mut figures: Vec<(f64, f64)>| {
            figures.sort_by(|a, b| a.0.total_cmp(&b.0));
            figures[ROUNDS / 2]
        };
        let ((bare_us, bare_rate), (our_us, our_rate)) = (median(of_bare), median(of_ours));
        println!(
            "{at_once:<7}  {bare_us:>6.2} {bare_rate:>12.0}        {our_us:>6.2} {our_rate:>12.0}"
        );
    }
}

//! The in-process driver: virtual sockets, and quinn endpoints over them.
//!
//! Times are bounded tightly from below, where only the model decides, and loosely or
//! by the best of several from above, where a busy machine also has a say.
#![cfg(feature = "quinn")]

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netem::{
    FlowCounters, LinkConfig, RECEIVE_BUFFER_BYTES, Site, SocketError, Topology, Wan, WanSocket,
};
use quinn::AsyncUdpSocket;
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use tokio::time::{sleep, timeout};

const HERE: Site = Site(0);
const THERE: Site = Site(1);
const PRIORITY: u8 = 46;
/// Long enough for anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// Two sites with `delay` one way.
fn wan(delay: Duration) -> Wan {
    let link = LinkConfig {
        delay,
        ..LinkConfig::default()
    };
    Wan::start(&Topology::mesh(2, &link), 1).expect("a valid topology")
}

/// A socket here at port 1 and one there at port 2, both marking `dscp`.
fn pair(wan: &Wan, dscp: u8) -> (Arc<WanSocket>, Arc<WanSocket>) {
    let here = wan.socket(HERE, address(1), dscp).expect("a free address");
    let there = wan.socket(THERE, address(2), dscp).expect("a free address");
    (here, there)
}

fn transmit(to: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit {
        destination: to,
        ecn: None,
        contents,
        segment_size: None,
        src_ip: None,
    }
}

fn send(socket: &WanSocket, to: SocketAddr, contents: &[u8]) {
    socket
        .try_send(&transmit(to, contents))
        .expect("a send never fails");
}

async fn receive(socket: &WanSocket) -> (Vec<u8>, RecvMeta) {
    receive_into(socket, 2_048).await
}

async fn receive_into(socket: &WanSocket, size: usize) -> (Vec<u8>, RecvMeta) {
    let mut buffer = vec![0; size];
    let mut meta = [RecvMeta::default()];
    let received = poll_fn(|cx| {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        socket.poll_recv(cx, &mut slices, &mut meta)
    });
    let count = timeout(PATIENCE, received).await.expect("in time");
    assert_eq!(count.expect("a receive never fails"), 1);
    buffer.truncate(meta[0].len);
    (buffer, meta[0])
}

async fn receives_nothing_for(socket: &WanSocket, time: Duration) -> bool {
    timeout(time, receive(socket)).await.is_err()
}

/// Waits until `reached`, which a busy machine may delay.
async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            sleep(ms(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("in time");
}

fn bulk(wan: &Wan, from: Site, to: Site) -> FlowCounters {
    let links = wan.stats().links;
    let link = links.iter().find(|l| (l.from, l.to) == (from, to));
    link.expect("the link is there").counters.bulk
}

#[tokio::test]
async fn a_datagram_arrives_after_the_delay_with_its_marks() {
    let wan = wan(ms(30));
    let (here, there) = pair(&wan, PRIORITY);
    assert_eq!(there.observed_dscp(address(1)), None);
    let sent = Instant::now();
    let marked = Transmit {
        ecn: Some(EcnCodepoint::Ect1),
        ..transmit(address(2), b"hello")
    };
    here.try_send(&marked).expect("a send never fails");
    let (contents, meta) = receive(&there).await;
    assert!(sent.elapsed() >= ms(30));
    assert_eq!(contents, b"hello");
    assert_eq!((meta.addr, meta.stride), (address(1), 5));
    assert_eq!(meta.dst_ip, Some(address(2).ip()));
    assert_eq!(meta.ecn, Some(EcnCodepoint::Ect1));
    assert_eq!(there.observed_dscp(address(1)), Some(PRIORITY));
    assert_eq!(there.observed_dscp(address(2)), None);
    let links = wan.stats().links;
    let sent_bytes: Vec<_> = links
        .iter()
        .map(|l| l.counters.priority.sent_bytes)
        .collect();
    assert_eq!(sent_bytes, [0, 33, 0, 0], "contents, UDP and IPv4 headers");
}

#[tokio::test]
async fn a_burst_arrives_at_the_rate_and_never_early() {
    let wan = wan(ms(10));
    let (here, there) = pair(&wan, 0);
    let sent = Instant::now();
    for _ in 0..20 {
        send(&here, address(2), &[0; 1_472]);
    }
    for number in 1..=20 {
        receive(&there).await;
        // 1,500 bytes at 20 Mbit/s.
        assert!(sent.elapsed() >= ms(10) + Duration::from_micros(600) * number);
    }
}

#[tokio::test]
async fn a_segmented_transmit_becomes_its_packets() {
    let wan = wan(ms(0));
    let (here, there) = pair(&wan, 0);
    let segmented = Transmit {
        segment_size: Some(4),
        ..transmit(address(2), b"onlytwo...x")
    };
    here.try_send(&segmented).expect("a send never fails");
    for part in [b"only".as_slice(), b"two.", b"..x"] {
        assert_eq!(receive(&there).await.0, part);
    }
    send(&here, address(2), b"");
    assert_eq!(receive(&there).await.0, b"");
    send(&here, address(2), b"too long");
    assert_eq!(receive_into(&there, 3).await.0, b"too");
}

#[tokio::test]
async fn what_has_no_receiver_or_no_packet_is_dropped_and_counted() {
    let wan = wan(ms(0));
    let (here, there) = pair(&wan, 0);
    send(&here, address(3), b"nobody");
    send(&here, address(2), &[0; 1_473]);
    send(&here, address(2), &[0; 1_472]);
    assert_eq!(receive(&there).await.0.len(), 1_472);
    let stats = wan.stats();
    assert_eq!((stats.unknown_address, stats.oversized), (1, 1));
    let mut alone = Topology::new(2, LinkConfig::local());
    alone.set_link(HERE, THERE, LinkConfig::default());
    let one_way = Wan::start(&alone, 1).expect("a valid topology");
    let (_here, there) = pair(&one_way, 0);
    send(&there, address(1), b"no way back");
    assert_eq!(one_way.stats().no_route, 1);
}

#[tokio::test]
async fn a_receiver_that_does_not_read_loses_what_exceeds_its_buffer() {
    let wan = Wan::start(&Topology::mesh(1, &LinkConfig::default()), 1).expect("valid");
    let here = wan.socket(HERE, address(1), 0).expect("a free address");
    let there = wan.socket(HERE, address(2), 0).expect("a free address");
    let most = RECEIVE_BUFFER_BYTES / 1_000;
    for _ in 0..10 {
        for _ in 0..most / 5 {
            send(&here, address(2), &[0; 1_000]);
        }
        // The link inside a site has a finite buffer too.
        sleep(ms(10)).await;
    }
    let sent = 10 * (most as u64 / 5);
    let lost = || wan.stats().receive_overflow;
    until(|| wan.stats().lateness.count + lost() == sent).await;
    assert!(lost() > 0);
    let held = sent - lost();
    assert!(held <= most as u64);
    for _ in 0..held {
        receive(&there).await;
    }
    assert!(receives_nothing_for(&there, ms(20)).await);
    send(&here, address(2), &[1; 1_000]);
    assert_eq!(receive(&there).await.0, [1; 1_000]);
}

#[tokio::test]
async fn an_address_is_free_again_after_its_socket_is_dropped() {
    let wan = wan(ms(20));
    let (here, there) = pair(&wan, 0);
    let taken = wan.socket(HERE, address(2), 0).err();
    assert_eq!(taken, Some(SocketError::InUse(address(2))));
    send(&here, address(2), b"on its way");
    drop(there);
    until(|| wan.stats().unknown_address == 1).await;
    let again = wan.socket(THERE, address(2), 0).expect("free again");
    send(&here, address(2), b"hello");
    assert_eq!(receive(&again).await.0, b"hello");
}

#[tokio::test]
async fn a_crashed_socket_is_silent_and_its_address_free() {
    let wan = wan(ms(0));
    let (here, there) = pair(&wan, 0);
    assert!(wan.crash(address(2)));
    assert!(!wan.crash(address(2)));
    let reborn = wan.socket(THERE, address(2), 0).expect("free again");
    send(&there, address(1), b"from the dead");
    send(&here, address(2), b"to the living");
    assert_eq!(receive(&reborn).await.0, b"to the living");
    assert!(receives_nothing_for(&there, ms(20)).await);
    assert!(receives_nothing_for(&here, ms(20)).await);
    drop(there);
    send(&here, address(2), b"still bound");
    assert_eq!(receive(&reborn).await.0, b"still bound");
}

#[tokio::test]
async fn a_bad_address_site_or_mark_is_refused_and_port_zero_picks_one() {
    let wan = wan(ms(0));
    let refused = |site, address: SocketAddr, dscp| wan.socket(site, address, dscp).err();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 1));
    assert_eq!(
        refused(HERE, nowhere, 0),
        Some(SocketError::Unspecified(nowhere))
    );
    assert_eq!(refused(HERE, address(1), 64), Some(SocketError::Dscp(64)));
    assert_eq!(
        refused(Site(2), address(1), 0),
        Some(SocketError::NoSite(Site(2)))
    );
    let one = wan.socket(HERE, address(0), 0).expect("a free port");
    let two = wan.socket(THERE, address(0), 0).expect("a free port");
    let to = two.local_addr().expect("it is bound");
    send(&one, to, b"hello");
    assert_eq!(
        receive(&two).await.1.addr,
        one.local_addr().expect("it is bound")
    );
}

#[tokio::test]
async fn a_link_that_is_down_carries_nothing_that_way() {
    let wan = wan(ms(0));
    let (here, there) = pair(&wan, 0);
    wan.set_up(HERE, THERE, false).expect("a link");
    send(&here, address(2), b"lost");
    send(&there, address(1), b"passes");
    assert_eq!(receive(&here).await.0, b"passes");
    assert!(receives_nothing_for(&there, ms(30)).await);
    assert_eq!(bulk(&wan, HERE, THERE).dropped_down, 1);
    wan.set_up(HERE, THERE, true).expect("a link");
    send(&here, address(2), b"back");
    assert_eq!(receive(&there).await.0, b"back");
    wan.set_loss(HERE, THERE, 1.0).expect("a probability");
    send(&here, address(2), b"lost");
    wan.set_rate(THERE, HERE, 1_000_000).expect("in range");
    let sent = Instant::now();
    send(&there, address(1), &[0; 1_222]);
    receive(&here).await;
    assert!(sent.elapsed() >= ms(10), "1,250 bytes at 1 Mbit/s");
    assert_eq!(bulk(&wan, HERE, THERE).dropped_loss, 1);
}

#[tokio::test]
async fn no_wake_up_is_lost_in_a_thousand_round_trips() {
    let wan = wan(Duration::from_micros(100));
    let (here, there) = pair(&wan, 0);
    for round in 0..1_000_u32 {
        send(&here, address(2), &round.to_be_bytes());
        let (contents, _) = receive(&there).await;
        send(&there, address(1), &contents);
        assert_eq!(receive(&here).await.0, round.to_be_bytes());
    }
    let lateness = wan.take_lateness();
    println!("{lateness:?}");
    assert_eq!(lateness.count, 2_000);
    assert!(lateness.p50_us <= lateness.p99_us && lateness.p99_us <= lateness.max_us);
    assert_eq!(wan.stats().lateness.count, 0);
}

#[tokio::test]
async fn a_sooner_packet_interrupts_the_wait_for_a_later_one() {
    let mut topology = Topology::mesh(2, &LinkConfig::default());
    let slow = LinkConfig {
        delay: Duration::from_secs(3600),
        ..LinkConfig::default()
    };
    topology.set_link(HERE, THERE, slow);
    let wan = Wan::start(&topology, 1).expect("a valid topology");
    let (here, there) = pair(&wan, 0);
    send(&here, address(2), b"in an hour");
    sleep(ms(20)).await;
    send(&there, address(1), b"in 50 ms");
    assert_eq!(receive(&here).await.0, b"in 50 ms");
}

#[tokio::test]
async fn the_wan_ends_with_its_last_handle_or_when_told() {
    let wan = wan(ms(20));
    let (here, there) = pair(&wan, 0);
    let clone = wan.clone();
    drop(wan);
    send(&here, address(2), b"a clone is left");
    assert_eq!(receive(&there).await.0, b"a clone is left");
    send(&here, address(2), b"on its way");
    drop(clone);
    send(&here, address(2), b"too late");
    assert!(receives_nothing_for(&there, ms(60)).await);

    let wan = self::wan(ms(20));
    let (here, there) = pair(&wan, 0);
    send(&here, address(2), b"on its way");
    wan.shutdown();
    wan.shutdown();
    send(&here, address(2), b"too late");
    assert!(receives_nothing_for(&there, ms(60)).await);
    assert_eq!(bulk(&wan, HERE, THERE).offered_packets, 1);
}

#[tokio::test]
async fn the_last_handle_may_die_on_the_delivery_thread() {
    use std::sync::mpsc;
    use std::task::{Context, Wake, Waker};

    /// Drops its handle when woken, as a task does whose runtime is gone.
    struct Last(std::sync::Mutex<Option<Wan>>, mpsc::Sender<()>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            let handle = self.0.lock().expect("nobody panics").take();
            drop(handle);
            self.1.send(()).expect("the test waits");
        }
    }

    let wan = wan(ms(5));
    let (here, there) = pair(&wan, 0);
    let (died, dead) = mpsc::channel();
    let waker = Waker::from(Arc::new(Last(Some(wan).into(), died)));
    let pending = there.poll_recv(
        &mut Context::from_waker(&waker),
        &mut [IoSliceMut::new(&mut [0; 10])],
        &mut [RecvMeta::default()],
    );
    assert!(pending.is_pending());
    send(&here, address(2), b"the end");
    dead.recv_timeout(PATIENCE)
        .expect("no thread waits for itself");
}

/// A connection from here to there over sockets that mark `dscp`, where the far side
/// returns whatever it gets, datagrams and streams.
async fn echo_connection(wan: &Wan, ports: (u16, u16), dscp: u8) -> quinn::Connection {
    let made = rcgen::generate_simple_self_signed(["there".into()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = quinn::ServerConfig::with_single_cert(vec![certificate.clone()], key.into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = quinn::ClientConfig::with_root_certificates(Arc::new(roots));

    let endpoint = |site, port, server| {
        let socket = wan.socket(site, address(port), dscp).expect("free");
        let runtime = Arc::new(quinn::TokioRuntime);
        let config = quinn::EndpointConfig::default();
        quinn::Endpoint::new_with_abstract_socket(config, server, socket, runtime)
            .expect("an endpoint")
    };
    let far = endpoint(THERE, ports.1, Some(server.expect("a server")));
    tokio::spawn(async move {
        let incoming = far.accept().await.expect("open");
        let connection = incoming.await.expect("a handshake");
        loop {
            tokio::select! {
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => connection.send_datagram(datagram).expect("room"),
                    Err(_) => return,
                },
                stream = connection.accept_bi() => match stream {
                    Ok((mut send, mut receive)) => drop(tokio::spawn(async move {
                        // A client that has given up waiting ends its stream alone.
                        let Ok(contents) = receive.read_to_end(1_000).await else {
                            return;
                        };
                        if send.write_all(&contents).await.is_ok() {
                            let _ = send.finish();
                        }
                    })),
                    Err(_) => return,
                },
            }
        }
    });
    let near = endpoint(HERE, ports.0, None);
    let connecting = near.connect_with(client.expect("a client"), address(ports.1), "there");
    let connected = timeout(PATIENCE, connecting.expect("a valid name")).await;
    connected.expect("in time").expect("a handshake")
}

async fn stream_round_trip(connection: &quinn::Connection) -> Duration {
    let begun = Instant::now();
    let (mut send, mut receive) = connection.open_bi().await.expect("open");
    send.write_all(b"hello").await.expect("open");
    send.finish().expect("open");
    let answer = timeout(PATIENCE, receive.read_to_end(1_000)).await;
    assert_eq!(answer.expect("in time").expect("an answer"), b"hello");
    begun.elapsed()
}

async fn datagram_round_trip(connection: &quinn::Connection) -> Duration {
    let begun = Instant::now();
    connection.send_datagram("hello".into()).expect("room");
    let answer = timeout(PATIENCE, connection.read_datagram()).await;
    assert_eq!(answer.expect("in time").expect("an answer"), "hello");
    begun.elapsed()
}

#[tokio::test]
async fn quinn_round_trips_take_the_round_trip_time() {
    let wan = wan(ms(50));
    let connection = echo_connection(&wan, (1, 2), 0).await;
    let mut best = [Duration::MAX; 2];
    for _ in 0..5 {
        let datagram = datagram_round_trip(&connection).await;
        let stream = stream_round_trip(&connection).await;
        assert!(datagram >= ms(100) && stream >= ms(100));
        best = [best[0].min(datagram), best[1].min(stream)];
    }
    println!("best of datagrams, streams: {best:?}");
    assert!(best.iter().all(|&best| best < ms(110)), "{best:?}");
}

#[tokio::test]
async fn congestion_delays_bulk_by_the_queue_and_priority_hardly() {
    let wan = wan(ms(50));
    let priority = echo_connection(&wan, (1, 2), PRIORITY).await;
    let bulk = echo_connection(&wan, (3, 4), 0).await;
    // Twice the rate fills a queue of 100 ms in 100 ms; then 1.2 keeps it full.
    for fraction in [2.0, 1.2] {
        wan.congest(HERE, THERE, fraction).expect("a link");
        wan.congest(THERE, HERE, fraction).expect("a link");
        sleep(ms(200)).await;
    }
    let mut times = [vec![], vec![]];
    // A third of bulk round trips loses a packet; a second is enough to know that.
    let limit = ms(1_000);
    for _ in 0..5 {
        times[0].push(stream_round_trip(&priority).await);
        let bulk = timeout(limit, stream_round_trip(&bulk)).await;
        times[1].push(bulk.unwrap_or(limit));
    }
    println!("priority, bulk: {times:?}; {:?}", wan.stats().lateness);
    times.iter_mut().for_each(|times| times.sort());
    assert!(times[0][0] >= ms(100));
    assert!(times[0][2] < ms(130), "{times:?}");
    // Two queues of 100 ms on top; loss only adds to it.
    assert!(times[1][0] >= ms(270), "{times:?}");
}

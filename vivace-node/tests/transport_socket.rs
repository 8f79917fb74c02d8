//! The marking socket by itself: DSCP and ECN both ways, segmentation, fallback.

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::AsyncUdpSocket;
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit};
use vivace_node::transport::{DscpSocket, ObservesDscp};

const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

fn socket(ip: IpAddr, dscp: u8) -> (Arc<DscpSocket>, SocketAddr) {
    let socket = DscpSocket::bind((ip, 0).into(), dscp).expect("a free port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
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

async fn send(socket: &DscpSocket, transmit: &Transmit<'_>) {
    // A fresh socket is writable once the reactor has looked at it.
    for _ in 0..1_000 {
        match socket.try_send(transmit) {
            Ok(()) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    panic!("never writable");
}

/// Receives `bytes` bytes; every batch's description.
async fn receive(socket: &DscpSocket, bytes: usize) -> Vec<RecvMeta> {
    let mut metas = Vec::new();
    while metas.iter().map(|m: &RecvMeta| m.len).sum::<usize>() < bytes {
        let mut buffers = vec![vec![0; 65_536]; 8];
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let mut meta = [RecvMeta::default(); 8];
        let arriving = poll_fn(|cx| socket.poll_recv(cx, &mut slices, &mut meta));
        let count = tokio::time::timeout(Duration::from_secs(5), arriving).await;
        let count = count.expect("packets arrive").expect("no error");
        metas.extend_from_slice(&meta[..count]);
    }
    metas
}

#[tokio::test]
async fn ecn_and_dscp_arrive_as_sent() {
    let ecns = [
        None,
        Some(EcnCodepoint::Ect0),
        Some(EcnCodepoint::Ect1),
        Some(EcnCodepoint::Ce),
    ];
    for ip in LOOPBACKS {
        for dscp in [0, 1, 46, 63] {
            let (sender, from) = socket(ip, dscp);
            let (receiver, to) = socket(ip, 46);
            assert_eq!(receiver.observed_dscp(from), None);
            for ecn in ecns {
                send(
                    &sender,
                    &Transmit {
                        ecn,
                        ..transmit(to, b"packet")
                    },
                )
                .await;
                let metas = receive(&receiver, 6).await;
                assert_eq!((metas[0].ecn, metas[0].addr), (ecn, from), "{ip} {dscp}");
                assert_eq!(metas[0].dst_ip, Some(ip));
                assert_eq!(receiver.observed_dscp(from), Some(dscp));
            }
            let seen = receiver.observation(from).expect("heard");
            let expected = if dscp == 46 { (4, 0) } else { (0, 4) };
            assert_eq!((seen.packets_as_expected, seen.packets_otherwise), expected);
        }
    }
}

#[tokio::test]
async fn one_send_carries_many_segments_each_marked() {
    for ip in LOOPBACKS {
        let (sender, from) = socket(ip, 46);
        let (receiver, to) = socket(ip, 46);
        assert!(sender.max_transmit_segments() > 1 && receiver.max_receive_segments() > 1);
        assert!(!sender.may_fragment());
        let contents = vec![7; 10_500];
        let ecn = Some(EcnCodepoint::Ect0);
        let batch = Transmit {
            ecn,
            segment_size: Some(1_000),
            ..transmit(to, &contents)
        };
        send(
            &sender,
            &Transmit {
                src_ip: Some(ip),
                ..batch
            },
        )
        .await;
        let metas = receive(&receiver, 10_500).await;
        assert!(
            metas.iter().all(|m| m.ecn == ecn && m.stride <= 1_000),
            "{metas:?}"
        );
        assert!(metas.len() < 11, "received segment by segment: {metas:?}");
        let seen = receiver.observation(from).expect("heard");
        assert_eq!((seen.packets_as_expected, seen.packets_otherwise), (11, 0));
    }
}

/// The kernel refuses a batch of too many segments with EINVAL, as drivers
/// without segmentation do with any.
#[tokio::test]
async fn a_batch_that_the_system_refuses_goes_out_packet_by_packet() {
    for ip in LOOPBACKS {
        let (sender, from) = socket(ip, 46);
        let (receiver, to) = socket(ip, 46);
        let contents = vec![7; 2_000];
        let batch = Transmit {
            segment_size: Some(10),
            ..transmit(to, &contents)
        };
        send(&sender, &batch).await;
        receive(&receiver, 2_000).await;
        let seen = receiver.observation(from).expect("heard");
        assert_eq!(seen.packets_as_expected, 200);
        assert_eq!(
            sender.max_transmit_segments(),
            1,
            "quinn must make no more batches"
        );
        assert_eq!(sender.failures(), 0);
    }
}

#[tokio::test]
async fn a_packet_that_can_not_be_sent_is_a_lost_packet() {
    let (sender, _) = socket(LOOPBACKS[0], 46);
    let too_large = vec![0; 65_000];
    let (receiver, to) = socket(LOOPBACKS[0], 46);
    send(&sender, &transmit(to, &too_large)).await;
    receive(&receiver, 65_000).await;
    let way_too_large = vec![0; 70_000];
    assert!(sender.try_send(&transmit(to, &way_too_large)).is_ok());
    assert_eq!(sender.failures(), 0, "too large is expected of MTU probes");
    let of_other_family = (Ipv6Addr::LOCALHOST, to.port()).into();
    assert!(sender.try_send(&transmit(of_other_family, b"x")).is_ok());
    assert_eq!(sender.failures(), 1);
}

#[tokio::test]
async fn an_ipv6_socket_leaves_the_ipv4_port_free() {
    let (_v6, address) = (DscpSocket::bind("[::]:0".parse().expect("valid"), 0)).map_or_else(
        |e| panic!("{e}"),
        |s| (s.clone(), s.local_addr().expect("bound")),
    );
    DscpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port()).into(), 0).expect("free for IPv4");
}

#[test]
fn a_dscp_of_seven_bits_or_a_thread_without_a_runtime_is_refused() {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let error = DscpSocket::bind(any, 0).expect_err("no runtime");
    assert!(error.to_string().contains("tokio runtime"), "{error}");
    let error = DscpSocket::bind(any, 64).expect_err("too large");
    assert!(
        error.to_string().contains("64 is not between 0 and 63"),
        "{error}"
    );
}

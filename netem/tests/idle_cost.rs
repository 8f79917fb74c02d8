//! What waiting costs. Alone in its process, so that the delivery thread it finds is
//! its own.
#![cfg(all(feature = "quinn", target_os = "linux"))]

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use netem::{LinkConfig, Site, Topology, Wan};
use quinn::AsyncUdpSocket;
use quinn::udp::Transmit;

/// CPU time of the delivery thread so far.
fn delivery_cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs");
    let thread = tasks
        .map(|task| task.expect("procfs").path())
        .find(|task| {
            let name = fs::read_to_string(task.join("comm")).expect("procfs");
            name.trim() == "wan-delivery"
        })
        .expect("the thread runs");
    let times = fs::read_to_string(thread.join("schedstat")).expect("procfs");
    let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds come first"))
}

#[test]
fn waiting_for_packets_and_cross_traffic_burns_no_core() {
    let link = LinkConfig {
        delay: Duration::from_millis(20),
        ..LinkConfig::default()
    };
    let wan = Wan::start(&Topology::mesh(2, &link), 1).expect("a valid topology");
    let addresses = [1, 2].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
    let [here, _there] = [0, 1].map(|site| {
        let address = addresses[usize::from(site)];
        wan.socket(Site(site), address, 46).expect("a free address")
    });
    wan.congest(Site(0), Site(1), 1.2).expect("a link");
    sleep(Duration::from_millis(50));
    let before = delivery_cpu();
    for _ in 0..50 {
        let transmit = Transmit {
            destination: addresses[1],
            ecn: None,
            contents: b"hello",
            segment_size: None,
            src_ip: None,
        };
        here.try_send(&transmit).expect("a send never fails");
        sleep(Duration::from_millis(10));
    }
    let spent = delivery_cpu() - before;
    println!("{spent:?} of half a second");
    assert!(spent < Duration::from_millis(30), "{spent:?}");
}

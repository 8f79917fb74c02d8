//! What two nodes make of what each has met the other with. One side is a bare QUIC endpoint
//! that says what it likes.

mod fixture;

use std::time::Duration;

use fixture::rogue::{DIRECTORY_BYTES, Rogue, acceptor_and_rogue, hello_bytes, wait_refused};
use fixture::{Cluster, LOOPBACK};
use vivace_node::storage::identity::{DirectoryId, StartId, StateHistory};
use vivace_node::transport::TrafficClass::Priority;
use vivace_node::transport::{RefusalCause, TransportEvent};

const PRIORITY: u8 = 0;

/// What node 1 says of its data directory, number and starts, and what it has met node 2 with;
/// no directory of zeros.
fn hello_of_state(directory: u8, life: u16, starts: &[u64], met: &[u8]) -> Vec<u8> {
    let mut hello = hello_bytes(1, PRIORITY, |body| {
        body[11..13].copy_from_slice(&life.to_le_bytes());
    });
    hello.truncate(hello.len() - DIRECTORY_BYTES - 4);
    hello.extend([directory; DIRECTORY_BYTES]);
    hello.push(starts.len() as u8);
    hello.extend(starts.iter().flat_map(|start| start.to_le_bytes()));
    hello.push(u8::from(!met.is_empty()));
    hello.extend(met);
    // No containers.
    hello.extend([0, 0]);
    hello
}

/// A state as a hello says that it was met.
fn met_bytes(directory: u8, life: u16, start: u64) -> Vec<u8> {
    let numbers = [&life.to_le_bytes()[..], &start.to_le_bytes()].concat();
    [&[directory; DIRECTORY_BYTES][..], &numbers].concat()
}

/// It would vote without what it promised since.
#[test]
fn a_node_that_comes_back_with_less_than_it_had_is_refused() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
    let port = cluster.address(2).priority;
    let hello = |directory, life, starts: &[u64]| hello_of_state(directory, life, starts, &[]);
    let met = |life, hello: &[u8]| {
        let (_connection, answer) = rogue.dial_and_hear(port, hello);
        // The answer comes before the agreement.
        node.wait_status("met", |_| node.link(1, Priority).incarnation == Some(life));
        answer
    };
    // One that keeps nothing has nothing to lose.
    for (directory, life, starts) in [
        (0, 9, &[][..]),
        (0, 3, &[]),
        (0xd1, 5, &[50, 51]),
        (0xd1, 5, &[50, 51]),
        (0xd1, 6, &[50, 51, 52]),
    ] {
        met(life, &hello(directory, life, starts));
    }
    let wrong = [
        (0xd1, 5, &[50, 51][..]),
        (0xd2, 7, &[51, 52, 53]),
        // Put back from the start before, or before that: the numbers are given out again.
        (0xd1, 6, &[50, 51, 99]),
        (0xd1, 7, &[50, 99, 98, 97]),
    ];
    for (directory, life, starts) in wrong {
        let connection = rogue.dial_and_say(port, &hello(directory, life, starts));
        let (cause, text) = rogue.refusal(&connection);
        assert_eq!(cause, RefusalCause::EarlierState);
        for part in [
            format!("comes with start {life} ("),
            format!("of data directory {directory:x}{directory:x}"),
        ] {
            assert!(text.contains(&part), "{text}");
        }
    }
    let connection = rogue.dial_and_say(port, &hello(0, 1, &[]));
    let (cause, text) = rogue.refusal(&connection);
    assert_eq!(cause, RefusalCause::EarlierState);
    assert!(text.contains("start 1 in memory"), "{text}");
    wait_refused(&node, RefusalCause::EarlierState, wrong.len() as u64 + 1);
    met(6, &hello(0xd1, 6, &[51, 52]));
    met(9, &hello(0xd1, 9, &[52, 53, 54, 55]));
    // A hello tells too little: the node itself, told of what was met, knows all its starts.
    let answer = met(500, &hello(0xd1, 500, &[55, 56, 57]));
    let told = met_bytes(0xd1, 9, 55);
    let is_told = answer.windows(told.len()).any(|part| part == told);
    assert!(is_told, "{answer:?}");
}

/// What a peer has met of it tells a node that its disk was emptied or put back.
#[test]
fn a_node_that_peers_met_with_more_refuses_itself() {
    let cluster = Cluster::new(2, LOOPBACK);
    let starts = (0..100).map(StartId).collect();
    let mut config = cluster.config(2, 100);
    config.state = Some(StateHistory {
        directory: DirectoryId([0xd2; DIRECTORY_BYTES]),
        starts,
    });
    let port = cluster.address(2).priority;
    let mut node = cluster.start_with(config);
    let rogue = Rogue::new(&cluster.identity(&cluster.node_role(1)), &cluster.name);
    // The first start has the number 1 and is 0 here: far more than a hello tells of.
    for (life, start) in [(1, 0), (50, 49), (100, 99)] {
        let hello = hello_of_state(0, 1, &[], &met_bytes(0xd2, life, start));
        rogue.dial_and_greet_with(port, &hello);
    }
    for (count, (directory, life, start)) in
        (1..).zip([(0xd2, 1, 7), (0xd2, 101, 100), (0xd3, 100, 99)])
    {
        let hello = hello_of_state(0, 1, &[], &met_bytes(directory, life, start));
        let connection = rogue.dial_and_say(port, &hello);
        let (cause, text) = rogue.refusal(&connection);
        assert_eq!(cause, RefusalCause::OwnState, "{text}");
        assert!(text.contains(&format!("with start {life} (")), "{text}");
        wait_refused(&node, RefusalCause::OwnState, count);
        let why = loop {
            match node.events.try_recv() {
                Ok(TransportEvent::StateRefused { why }) => break why,
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        assert_eq!(why, text);
    }
}

/// One of them was put back, or both: if whoever hears it first stopped, it might be the right one.
#[test]
fn of_two_nodes_that_contradict_each_other_nobody_stops() {
    let cluster = Cluster::new(2, LOOPBACK);
    let mut config = cluster.config(2, 3);
    config.state = Some(StateHistory {
        directory: DirectoryId([0xd2; DIRECTORY_BYTES]),
        starts: [20, 21, 22].map(StartId).to_vec(),
    });
    let port = cluster.address(2).priority;
    let mut node = cluster.start_with(config);
    let rogue = Rogue::new(&cluster.identity(&cluster.node_role(1)), &cluster.name);
    let first = hello_of_state(0xd1, 2, &[10, 11], &met_bytes(0xd2, 2, 21));
    let connection = rogue.dial_and_greet_with(port, &first);
    node.wait_status("met", |_| node.link(1, Priority).incarnation == Some(2));
    drop(connection);
    let other = hello_of_state(0xd1, 3, &[10, 99, 98], &met_bytes(0xd2, 2, 77));
    let connection = rogue.dial_and_say(port, &other);
    let (cause, text) = rogue.refusal(&connection);
    assert_eq!(cause, RefusalCause::Contradiction, "{text}");
    for part in ["was met with start 2 (", "has met this node with start 2 ("] {
        assert!(text.contains(part), "{text}");
    }
    wait_refused(&node, RefusalCause::Contradiction, 1);
    while let Ok(event) = node.events.try_recv() {
        let is_stop = matches!(event, TransportEvent::StateRefused { .. });
        assert!(!is_stop, "{event:?}");
    }
}

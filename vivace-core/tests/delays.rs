//! How many message delays each operation takes, exactly: the table at the end of
//! the protocol's description (ARCHITECTURE.md), and what travels meanwhile.
//!
//! δ, d and D are distinct primes, so that a sum tells which delays it is made of.
//! The paper's Fig. 3 is at the end, counted by what `vivace-sim delays` prints.

#![allow(clippy::unwrap_used)]

mod cluster;

use std::time::Duration;

use cluster::requests::{self, Nth};
use cluster::{Delays, Simulation, Spread, Wire, layout};
use vivace_core::client_protocol::{ClientReply, Request, Success};
use vivace_core::cluster::{Container, Kind, TimestampSource};
use vivace_core::machine::builtin::Counter;
use vivace_core::message::BulkBody;
use vivace_core::sim::delays::{Count, Sum, copies, counts};
use vivace_core::{Class, NodeId};

/// δ: in a site.
const LOCAL_MS: u64 = 3;
/// d: priority, between sites.
const PRIORITY_MS: u64 = 41;
/// D: bulk, between sites.
const BULK_MS: u64 = 211;

/// A node of site 0 without a role of its own, so that δ counts.
const COORDINATOR: NodeId = NodeId(0);

/// `locals` δ + `priorities` d + `bulks` D.
fn delays(locals: u64, priorities: u64, bulks: u64) -> Duration {
    Duration::from_millis(locals * LOCAL_MS + priorities * PRIORITY_MS + bulks * BULK_MS)
}

/// Three sites of a coordinator and a replica each, which is also the local set.
fn three_sites(kind: Kind, change: impl FnOnce(&mut Container)) -> Simulation {
    let mut container = layout::container(kind, &[1, 3, 5], &[&[1], &[3], &[5]]);
    change(&mut container);
    simulate(&[2, 2, 2], container)
}

fn simulate(nodes_per_site: &[u16], container: Container) -> Simulation {
    let mut spec = layout::sites(nodes_per_site);
    spec.containers = vec![container];
    let exactly = |ms| Spread::exactly(Duration::from_millis(ms));
    let delays = Delays {
        local: exactly(LOCAL_MS),
        priority: exactly(PRIORITY_MS),
        bulk: exactly(BULK_MS),
        disk: Spread::ZERO,
    };
    Simulation::new(0, spec, delays)
}

fn by_query(container: &mut Container) {
    container.timestamps = TimestampSource::Query;
}

fn settle(simulation: &mut Simulation) {
    simulation.run_for(Duration::from_secs(120));
    assert!(simulation.is_settled());
}

fn write(value: &str) -> Request {
    requests::write("k", value)
}

fn read() -> Request {
    requests::read("k")
}

fn add(sequence: u64) -> Request {
    let nth = Nth {
        session: 1,
        sequence,
        repeated: false,
    };
    requests::add("k", nth, 1)
}

fn read_state() -> Request {
    requests::read_state::<Counter>("k")
}

/// The time that `request` takes when all before it has settled; it must succeed.
fn time_of(simulation: &mut Simulation, request: Request) -> Duration {
    let (reply, took) = simulation.ask(COORDINATOR, request);
    assert!(is_result(&reply), "{reply:?}");
    settle(simulation);
    took
}

fn is_result(reply: &ClientReply) -> bool {
    matches!(
        reply,
        Ok(Success::Value { .. }
            | Success::Written { .. }
            | Success::Executed { .. }
            | Success::State { state: Some(_) })
    )
}

#[test]
fn an_rw_write_by_clock_takes_two_local_and_two_priority_delays() {
    let mut simulation = three_sites(Kind::Rw, |_| {});
    assert_eq!(time_of(&mut simulation, write("a")), delays(2, 2, 0));
    assert_eq!(time_of(&mut simulation, write("b")), delays(2, 2, 0));
}

#[test]
fn an_rw_write_by_query_takes_two_local_and_four_priority_delays() {
    let mut simulation = three_sites(Kind::Rw, by_query);
    assert_eq!(time_of(&mut simulation, write("a")), delays(2, 4, 0));
}

fn timestamp_first(container: &mut Container) {
    container.early_data = false;
}

/// The replica in the reader's site sends its value with its timestamp: both are there
/// before another site's timestamp is.
#[test]
fn an_rw_read_timestamp_and_data_together_takes_two_priority_delays() {
    let mut simulation = three_sites(Kind::Rw, |_| {});
    time_of(&mut simulation, write("a"));
    assert_eq!(time_of(&mut simulation, read()), delays(0, 2, 0));
}

#[test]
fn an_rw_read_timestamp_first_takes_two_local_and_two_priority_delays() {
    let mut simulation = three_sites(Kind::Rw, timestamp_first);
    time_of(&mut simulation, write("a"));
    assert_eq!(time_of(&mut simulation, read()), delays(2, 2, 0));
}

/// The replica in the reader's site knows the timestamp and has not got the value, which
/// another node there holds.
#[test]
fn an_rw_read_of_what_its_sites_replica_lacks_takes_two_local_and_two_priority_delays() {
    let container = layout::container(Kind::Rw, &[1, 4, 6], &[&[2], &[4], &[6]]);
    let mut simulation = simulate(&[3, 2, 2], container);
    simulation.cut(NodeId(2), NodeId(1), Class::Bulk);
    let (written, _) = simulation.ask(COORDINATOR, write("a"));
    assert!(is_result(&written));
    simulation.run_for(Duration::from_secs(1));
    let (reply, took) = simulation.ask(COORDINATOR, read());
    assert!(is_result(&reply), "{reply:?}");
    assert_eq!(took, delays(2, 2, 0));
}

/// The replica in the reader's site has heard nothing of the newest write: the value that
/// it sends along is of no use, and costs no time.
#[test]
fn an_rw_read_of_what_its_sites_replica_missed_takes_three_priority_delays_and_a_bulk_delay() {
    for early_data in [true, false] {
        let mut simulation = three_sites(Kind::Rw, |container| container.early_data = early_data);
        time_of(&mut simulation, write("a"));
        for node in [2, 3, 4, 5] {
            for class in [Class::Priority, Class::Bulk] {
                simulation.cut(NodeId(1), NodeId(node), class);
            }
        }
        let (written, _) = simulation.ask(NodeId(2), write("b"));
        assert!(is_result(&written));
        simulation.run_for(Duration::from_secs(1));
        let (reply, took) = simulation.ask(COORDINATOR, read());
        assert!(is_result(&reply), "{reply:?}");
        assert_eq!(took, delays(0, 3, 1), "early data: {early_data}");
    }
}

/// Nobody is asked in vain on the way to the nearest holder.
#[test]
fn a_read_far_from_all_replicas_takes_three_priority_delays_and_one_bulk_delay() {
    for kind in [Kind::Rw, Kind::Rmw] {
        // Site 0 has a local set of 3 and no replica.
        let container = layout::container(kind, &[3, 4, 5], &[&[0, 1, 2], &[3], &[5]]);
        let mut simulation = simulate(&[3, 2, 2], container);
        let (wrote, reads) = match kind {
            Kind::Rw => (write("a"), read()),
            _ => (add(1), read_state()),
        };
        let (reply, _) = simulation.ask(NodeId(3), wrote);
        assert!(is_result(&reply), "{reply:?}");
        settle(&mut simulation);
        assert_eq!(time_of(&mut simulation, reads), delays(0, 3, 1), "{kind:?}");
    }
}

/// Nor while the value is still in the site where it was written.
#[test]
fn a_read_of_a_value_that_has_not_left_its_site_asks_there_first() {
    let container = layout::container(Kind::Rw, &[2, 4, 6], &[&[0], &[3], &[5]]);
    let mut simulation = simulate(&[3, 2, 2], container);
    simulation.crash(NodeId(2));
    simulation.cut(NodeId(0), NodeId(4), Class::Bulk);
    simulation.cut(NodeId(0), NodeId(6), Class::Bulk);
    let (reply, _) = simulation.ask(NodeId(1), write("a"));
    assert!(is_result(&reply), "{reply:?}");
    let (reply, took) = simulation.ask(NodeId(3), read());
    assert!(is_result(&reply), "{reply:?}");
    assert_eq!(took, delays(0, 3, 1));
}

#[test]
fn an_rw_read_right_after_the_write_ended_need_not_wait_for_bulk() {
    let mut simulation = three_sites(Kind::Rw, |_| {});
    let (written, _) = simulation.ask(COORDINATOR, write("a"));
    assert!(is_result(&written));
    assert_eq!(time_of(&mut simulation, read()), delays(0, 2, 0));
}

#[test]
fn an_rw_read_without_the_shortcut_of_section_3_4_1_takes_a_round_more() {
    for (early_data, locals) in [(true, 0), (false, 2)] {
        let mut simulation = three_sites(Kind::Rw, |container| {
            container.write_back_skip = false;
            container.early_data = early_data;
        });
        time_of(&mut simulation, write("a"));
        assert_eq!(time_of(&mut simulation, read()), delays(locals, 4, 0));
    }
}

#[test]
fn an_rmw_command_takes_four_local_and_four_priority_delays() {
    let mut simulation = three_sites(Kind::Rmw, |container| container.promise_skip = false);
    // The first finds no version to fetch.
    assert_eq!(time_of(&mut simulation, add(1)), delays(2, 4, 0));
    assert_eq!(time_of(&mut simulation, add(2)), delays(4, 4, 0));
}

#[test]
fn an_rmw_command_after_one_of_this_site_takes_two_of_each() {
    let mut simulation = three_sites(Kind::Rmw, |_| {});
    assert_eq!(time_of(&mut simulation, add(1)), delays(2, 4, 0));
    for amount in 2..5 {
        assert_eq!(time_of(&mut simulation, add(amount)), delays(2, 2, 0));
    }
    // A read between them changes nothing.
    assert_eq!(time_of(&mut simulation, read_state()), delays(0, 2, 0));
    assert_eq!(time_of(&mut simulation, add(5)), delays(2, 2, 0));
}

#[test]
fn an_rmw_read_takes_two_priority_delays_and_two_local_ones_timestamp_first() {
    let mut simulation = three_sites(Kind::Rmw, |_| {});
    time_of(&mut simulation, add(1));
    assert_eq!(time_of(&mut simulation, read_state()), delays(0, 2, 0));
    let mut simulation = three_sites(Kind::Rmw, timestamp_first);
    time_of(&mut simulation, add(1));
    assert_eq!(time_of(&mut simulation, read_state()), delays(2, 2, 0));
}

#[test]
fn an_abd_write_takes_two_bulk_delays() {
    let mut simulation = three_sites(Kind::Abd, |_| {});
    assert_eq!(time_of(&mut simulation, write("a")), delays(0, 0, 2));
    let mut simulation = three_sites(Kind::Abd, by_query);
    assert_eq!(time_of(&mut simulation, write("a")), delays(0, 0, 4));
}

#[test]
fn an_abd_read_takes_two_bulk_delays_or_four_without_the_shortcut() {
    let mut simulation = three_sites(Kind::Abd, |_| {});
    time_of(&mut simulation, write("a"));
    assert_eq!(time_of(&mut simulation, read()), delays(0, 0, 2));
    let mut simulation = three_sites(Kind::Abd, |container| container.write_back_skip = false);
    time_of(&mut simulation, write("a"));
    assert_eq!(time_of(&mut simulation, read()), delays(0, 0, 4));
}

#[test]
fn a_command_of_algorithm_2_takes_four_bulk_delays() {
    let mut simulation = three_sites(Kind::LanRmw, |_| {});
    assert_eq!(time_of(&mut simulation, add(1)), delays(0, 0, 4));
    assert_eq!(time_of(&mut simulation, add(2)), delays(0, 0, 4));
    // A read alone changes nothing: its promises confirm what it read.
    assert_eq!(time_of(&mut simulation, read_state()), delays(0, 0, 2));
}

#[test]
fn congested_bulk_slows_no_vivace_operation() {
    for (kind, requests) in [
        (Kind::Rw, vec![write("a"), read()]),
        (Kind::Rmw, vec![add(1), read_state(), add(2)]),
    ] {
        let mut simulation = three_sites(kind, |_| {});
        simulation.delays.bulk = Spread::exactly(Duration::from_secs(20));
        for request in requests {
            let (reply, took) = simulation.ask(COORDINATOR, request);
            assert!(is_result(&reply), "{reply:?}");
            assert!(took <= delays(4, 4, 0), "{kind:?} took {took:?}");
        }
    }
}

/// Messages that cross a border between sites, by class, while `request` runs and
/// settles.
fn crossings(simulation: &mut Simulation, request: Request) -> (usize, usize) {
    simulation.sent = Some(Vec::new());
    time_of(simulation, request);
    let sent = simulation.sent.take().unwrap();
    let mut counts = (0, 0);
    for (from, to, wire) in sent {
        if simulation.site_of(from) != simulation.site_of(to) {
            match wire {
                Wire::Priority(_) => counts.0 += 1,
                Wire::Bulk(_) => counts.1 += 1,
            }
        }
    }
    counts
}

#[test]
fn an_operation_sends_no_more_than_it_must_between_sites() {
    let mut simulation = three_sites(Kind::Rw, |_| {});
    // W-TS and its answers, and in the background a value and its acknowledgment,
    // to and from two other sites.
    assert_eq!(crossings(&mut simulation, write("a")), (6, 2));
    // R-TS and its answers; the value is here.
    assert_eq!(crossings(&mut simulation, read()), (4, 0));

    let mut simulation = three_sites(Kind::Rmw, |_| {});
    // OR-TS, OW-TS and their answers, COMMIT; a value and its acknowledgment.
    assert_eq!(crossings(&mut simulation, add(1)), (12, 2));
    // The second leaves OR-TS out.
    assert_eq!(crossings(&mut simulation, add(2)), (8, 2));
    assert_eq!(crossings(&mut simulation, read_state()), (4, 0));

    let mut simulation = three_sites(Kind::Abd, |_| {});
    assert_eq!(crossings(&mut simulation, write("a")), (0, 4));
    assert_eq!(crossings(&mut simulation, read()), (0, 4));
}

#[test]
fn each_remote_site_gets_one_copy_of_a_value() {
    for kind in [Kind::Rw, Kind::Rmw] {
        // Two replicas in each of the sites 1 and 2, and a local set of 3 in site 0.
        let replicas = [1, 5, 6, 8, 9];
        let container = layout::container(kind, &replicas, &[&[1, 2, 3], &[5], &[8]]);
        let mut simulation = simulate(&[4, 3, 3], container);
        simulation.sent = Some(Vec::new());
        let request = if kind == Kind::Rw { write("a") } else { add(1) };
        time_of(&mut simulation, request);
        let mut copies = [0; 3];
        for (from, to, wire) in simulation.sent.take().unwrap() {
            let (here, there) = (simulation.site_of(from), simulation.site_of(to));
            if let Wire::Bulk(message) = wire
                && here != there
            {
                assert!(matches!(message.body, BulkBody::WriteRemote { .. }));
                assert_eq!(here.0, 0, "values go out from the site of the write");
                copies[usize::from(there.0)] += 1;
            }
        }
        assert_eq!(copies, [0, 1, 1], "{kind:?}");
        for node in replicas {
            let stored = simulation.status(NodeId(node)).containers[0].objects;
            assert_eq!(stored, 1, "{kind:?}: node {node}");
        }
    }
}

fn counted(rows: &[Count], algorithm: &str, operation: &str) -> Sum {
    let mut found = rows
        .iter()
        .filter(|row| (row.algorithm, row.operation) == (algorithm, operation));
    match (found.next(), found.next()) {
        (Some(row), None) => row.counted,
        _ => panic!("one row is expected for {algorithm}, {operation}"),
    }
}

/// Fig. 3, with §3.4.1 for the shorter read: written out here, so that neither the
/// table nor the code can drift.
#[test]
fn the_published_algorithms_take_the_delays_of_the_papers_figure_3() {
    let rows = counts();
    let figure_3 = [
        ("ABD", "write", Sum::of(0, 0, 2)),
        ("ABD", "read", Sum::of(0, 0, 4)),
        ("Alg. 1 as printed", "write", Sum::of(2, 2, 0)),
        ("Alg. 1 as printed", "read", Sum::of(2, 4, 0)),
        ("Alg. 1 as printed", "read, with §3.4.1", Sum::of(2, 2, 0)),
        ("Alg. 1 as printed", "read, worst case", Sum::of(0, 5, 2)),
        ("Alg. 2", "execute", Sum::of(0, 0, 4)),
        ("Alg. 3 as printed", "execute", Sum::of(4, 4, 0)),
        ("Alg. 3 as printed", "execute, worst case", Sum::of(2, 5, 2)),
    ];
    for (algorithm, operation, paper) in figure_3 {
        let found = counted(&rows, algorithm, operation);
        assert_eq!(found, paper, "{algorithm}, {operation}: {found}");
    }
}

#[test]
fn no_operation_here_takes_more_delays_than_the_paper_says() {
    let rows = counts();
    let here = [
        ("RW here", "write", Sum::of(2, 2, 0)),
        ("RW here", "write without a trusted clock", Sum::of(2, 4, 0)),
        ("RW here", "read", Sum::of(0, 2, 0)),
        ("RW here", "read, timestamp first", Sum::of(2, 2, 0)),
        ("RW here", "read, without §3.4.1", Sum::of(0, 4, 0)),
        ("RW here", "read, worst case", Sum::of(0, 3, 1)),
        (
            "RW here",
            "read, worst case, writer's site silent",
            Sum::of(0, 3, 2),
        ),
        ("RMW here", "execute", Sum::of(2, 2, 0)),
        (
            "RMW here",
            "execute, another site's was the last",
            Sum::of(4, 4, 0),
        ),
        ("RMW here", "execute, the object's first", Sum::of(2, 4, 0)),
        ("RMW here", "execute, worst case", Sum::of(2, 5, 1)),
        ("RMW here", "read-only command", Sum::of(0, 2, 0)),
        (
            "RMW here",
            "read-only command, timestamp first",
            Sum::of(2, 2, 0),
        ),
    ];
    for (algorithm, operation, delays) in here {
        let found = counted(&rows, algorithm, operation);
        assert_eq!(found, delays, "{algorithm}, {operation}: {found}");
    }
    for row in &rows {
        let Some(paper) = row.paper else { continue };
        let most = |of: fn(&Sum) -> u32| of(&row.counted) <= of(&paper);
        assert!(most(|s| s.locals) && most(|s| s.priorities) && most(|s| s.bulks));
        assert_eq!(row.counted != paper, !row.why.is_empty(), "{row:?}");
    }
}

#[test]
fn a_link_between_sites_carries_one_copy_of_a_value_where_the_paper_sends_m_times_n() {
    let counted: Vec<(&str, usize, usize)> = copies()
        .iter()
        .map(|row| (row.algorithm, row.paper, row.counted))
        .collect();
    assert_eq!(
        counted,
        [
            ("Alg. 1 as printed", 6, 6),
            ("Alg. 3 as printed", 6, 6),
            ("RW here, member by replica", 6, 6),
            ("RW here", 6, 1),
            ("RMW here", 6, 1),
        ]
    );
}

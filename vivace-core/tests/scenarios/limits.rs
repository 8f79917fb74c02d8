//! Bounds that a client meets: full backlogs, long values, wrong requests.

use vivace_core::client_protocol::{Failure, Request};
use vivace_core::cluster::Kind;
use vivace_core::machine::builtin::Counter;
use vivace_core::message::PriorityBody;
use vivace_core::{Class, ContainerId, Key, NodeId};

use crate::alone::{Alone, ts};
use crate::cluster::requests::{
    add, counted, failure, first_of, read, read_state, value, write, written,
};
use crate::cluster::{Simulation, layout};
use crate::{A, B, drop_if, is_write_local, ms, settle, simulate, spec, switch, three_sites};

fn cut_bulk_of_site_0(simulation: &mut Simulation) {
    for a in 0..3 {
        for b in 3..9 {
            simulation.cut(NodeId(a), NodeId(b), Class::Bulk);
        }
    }
}

fn join_bulk_of_site_0(simulation: &mut Simulation) {
    for a in 0..3 {
        for b in 3..9 {
            simulation.join(NodeId(a), NodeId(b), Class::Bulk);
        }
    }
}

/// DESIGN §8: bulk that can't drain fills a bounded backlog, and then writes hear Busy.
#[test]
fn a_full_backlog_refuses_writes_and_no_reads_until_it_drains() {
    let mut spec = spec(Kind::Rw, |_| {});
    spec.value_bytes_max = 1000;
    spec.backlog_bytes_max = 10_000;
    let mut simulation = simulate(spec);
    cut_bulk_of_site_0(&mut simulation);
    let mut accepted = 0_u8;
    let busy = loop {
        let key = format!("k{accepted}");
        match simulation.ask(A, write(&key, vec![accepted; 1000])).0 {
            Ok(_) => accepted += 1,
            Err(failure) => break failure,
        }
    };
    assert!(matches!(busy, Failure::Busy { .. }), "{busy}");
    assert!(busy.to_string().contains("wait for site site1"), "{busy}");
    let sites = simulation.status(A).backlog.sites;
    let full = sites.iter().find(|site| site.site == "site1").unwrap();
    assert!(
        full.bytes >= 10_000 && full.drain_bytes_per_s == 0,
        "{full:?}"
    );
    assert!(
        (5..=10).contains(&accepted),
        "{accepted} values of 1,000 bytes fit"
    );
    assert_eq!(
        value(simulation.ask(A, read("k0")).0).unwrap(),
        vec![0; 1000]
    );
    // A coordinator elsewhere is not affected.
    written(simulation.ask(B, write("other", "v")).0);
    join_bulk_of_site_0(&mut simulation);
    settle(&mut simulation);
    let sites = simulation.status(A).backlog.sites;
    let drained = sites.iter().find(|site| site.site == "site1").unwrap();
    assert!(
        drained.bytes == 0 && drained.drain_bytes_per_s > 0,
        "{drained:?}"
    );
    written(simulation.ask(A, write("k", "v")).0);
    assert_eq!(
        value(simulation.ask(B, read("k0")).0).unwrap(),
        vec![0; 1000]
    );
}

/// A newer value of a key takes the place of one that could not leave yet.
#[test]
fn a_hot_key_needs_no_backlog_for_each_of_its_values() {
    let mut simulation = three_sites(Kind::Rw);
    cut_bulk_of_site_0(&mut simulation);
    for round in 0..50 {
        written(simulation.ask(A, write("k", vec![round; 1000])).0);
    }
    assert_eq!(simulation.status(A).backlog.values, 1);
    join_bulk_of_site_0(&mut simulation);
    settle(&mut simulation);
    assert_eq!(
        value(simulation.ask(B, read("k")).0).unwrap(),
        vec![49; 1000]
    );
}

/// Each member holds copies that it alone has, and has no room for the others'.
#[test]
fn members_with_full_backlogs_do_not_wait_for_each_other() {
    let mut spec = spec(Kind::Rw, |_| {});
    spec.value_bytes_max = 1000;
    spec.backlog_bytes_max = 1500;
    let mut simulation = simulate(spec);
    let dropping = switch(true);
    let on = dropping.clone();
    drop_if(&mut simulation, move |_, _, wire| {
        on.get() && is_write_local(wire)
    });
    for node in [0, 1, 2] {
        for copy in [0, 1] {
            let request = write(&format!("k{node}{copy}"), vec![7; 1000]);
            simulation.request(NodeId(node), request, ms(500));
        }
    }
    simulation.run_for(ms(1000));
    dropping.set(false);
    settle(&mut simulation);
    assert!(simulation.count("taken over: a value that nobody carried") >= 6);
    assert_eq!(
        value(simulation.ask(B, read("k21")).0).unwrap(),
        vec![7; 1000]
    );
}

#[track_caller]
fn invalid(simulation: &mut Simulation, request: Request, field: &str) {
    match failure(simulation.ask(A, request).0) {
        Failure::Invalid { field: named, .. } => assert_eq!(named, field),
        other => panic!("{field} is wrong, but the client hears {other}"),
    }
}

#[test]
fn a_value_over_the_limit_is_invalid_and_one_at_the_limit_is_not() {
    for kind in [Kind::Rw, Kind::Abd] {
        let mut spec = spec(kind, |_| {});
        spec.value_bytes_max = 100;
        let mut simulation = simulate(spec);
        written(simulation.ask(A, write("k", vec![1; 100])).0);
        invalid(&mut simulation, write("k", vec![1; 101]), "value");
        assert_eq!(value(simulation.ask(A, read("k")).0).unwrap(), vec![1; 100]);
    }
}

#[test]
fn a_command_that_would_grow_its_object_over_the_limit_is_invalid() {
    use vivace_core::Blob;
    use vivace_core::machine::builtin::{List, list};

    use crate::cluster::requests::{Nth, execute, state};
    let mut spec = spec(Kind::Rmw, |_| {});
    spec.value_bytes_max = 200;
    let mut simulation = simulate(spec);
    let mut pushed = 0;
    for sequence in 1..10 {
        let nth = Nth {
            session: 1,
            sequence,
            repeated: false,
        };
        let item = list::Command::Push(Blob::from(vec![0; 40]));
        match simulation.ask(A, execute::<List>("k", nth, &item)).0 {
            Ok(_) => pushed += 1,
            Err(Failure::Invalid { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        (2..=4).contains(&pushed),
        "{pushed} items of 40 bytes and a session fit 200 bytes"
    );
    let list: List = state(simulation.ask(B, read_state::<List>("k")).0).unwrap();
    assert_eq!(list.len(), pushed);
}

#[test]
fn a_request_that_nobody_can_carry_out_is_invalid_by_its_field() {
    let mut simulation = three_sites(Kind::Rw);
    let elsewhere = Request::Read {
        container: "elsewhere".into(),
        key: layout::key("k"),
    };
    invalid(&mut simulation, elsewhere, "container");
    invalid(&mut simulation, add("k", first_of(1), 1), "container");
    invalid(&mut simulation, read_state::<Counter>("k"), "container");

    let mut simulation = three_sites(Kind::Rmw);
    invalid(&mut simulation, read("k"), "container");
    invalid(&mut simulation, write("k", "v"), "container");
    let change = |change: &dyn Fn(&mut Request)| {
        let mut request = add("k", first_of(1), 1);
        change(&mut request);
        request
    };
    let unknown = change(&|request| {
        if let Request::Execute { machine, .. } = request {
            *machine = "abacus".into();
        }
    });
    invalid(&mut simulation, unknown, "machine");
    let zeroth = change(&|request| {
        if let Request::Execute { sequence, .. } = request {
            *sequence = 0;
        }
    });
    invalid(&mut simulation, zeroth, "sequence");
    let garbage = change(&|request| {
        if let Request::Execute { command, .. } = request {
            *command = vec![0xff; 3].into();
        }
    });
    invalid(&mut simulation, garbage, "command");
    // None of them left a trace, and another machine's object is not misread.
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    let other = change(&|request| {
        if let Request::Execute { machine, .. } = request {
            *machine = "list".into();
        }
    });
    invalid(&mut simulation, other, "machine");
}

/// DESIGN §8: surely not applied, for nothing was sent.
#[test]
fn without_a_majority_an_operation_is_unavailable_by_its_deadline() {
    for (kind, request) in [
        (Kind::Rw, write("k", "v")),
        (Kind::Rw, read("k")),
        (Kind::Abd, write("k", "v")),
        (Kind::Rmw, add("k", first_of(1), 1)),
        (Kind::Rmw, read_state::<Counter>("k")),
        (Kind::LanRmw, add("k", first_of(1), 1)),
    ] {
        let mut simulation = three_sites(kind);
        for node in 3..9 {
            simulation.crash(NodeId(node));
        }
        let asked = simulation.request(A, request.clone(), ms(700));
        let began = simulation.now;
        let heard = failure(simulation.await_reply(asked));
        assert!(
            matches!(heard, Failure::Unavailable { .. }),
            "{kind:?} {request:?}: {heard}"
        );
        assert_eq!(simulation.now - began, ms(700));
    }
}

/// And what was sent may have been applied, even so.
#[test]
fn a_write_that_loses_its_majority_on_the_way_is_unknown() {
    for (kind, request) in [
        (Kind::Rw, write("k", "v")),
        (Kind::Abd, write("k", "v")),
        (Kind::Rmw, add("k", first_of(1), 1)),
        (Kind::LanRmw, add("k", first_of(1), 1)),
    ] {
        let mut simulation = three_sites(kind);
        let mut acks = 0;
        // Everything that B and C say after their first answers is lost.
        simulation.script = Some(Box::new(move |from, to, _| {
            let answer = to == A && (from == B || from == NodeId(6));
            acks += u32::from(answer);
            let lost = answer && (acks > 2 || matches!(kind, Kind::Rw | Kind::Abd));
            if lost {
                crate::cluster::Fate::Drop
            } else {
                crate::cluster::Fate::Deliver
            }
        }));
        let asked = simulation.request(A, request, ms(700));
        let heard = failure(simulation.await_reply(asked));
        assert!(
            matches!(heard, Failure::Unknown { .. }),
            "{kind:?}: {heard}"
        );
    }
}

/// Another site's window holds 4 MiB: what does not fit waits, and leaves as it empties.
#[test]
fn values_on_their_way_to_a_site_are_bounded() {
    let mut simulation = simulate(spec(Kind::Rw, |_| {}));
    cut_bulk_of_site_0(&mut simulation);
    let value_of = |number: u8| vec![number; 1 << 20];
    for number in 0..6 {
        let key = format!("k{number}");
        written(simulation.ask(A, write(&key, value_of(number))).0);
    }
    join_bulk_of_site_0(&mut simulation);
    settle(&mut simulation);
    assert!(simulation.count("waits: a value for room on the way") > 0);
    for number in 0..6 {
        let key = format!("k{number}");
        let read = simulation.ask(B, read(&key)).0;
        assert_eq!(value(read).unwrap(), value_of(number), "{key}");
    }
}

/// Questions for a value that does not come are kept, the newest of them.
#[test]
fn questions_that_wait_for_a_value_are_bounded() {
    let mut alone = Alone::replica(Kind::Rw);
    for number in 0..=65_536 {
        let key = Key {
            container: ContainerId(1),
            name: layout::key(&format!("k{number}")),
        };
        let at_least = ts(5);
        alone.priority(B, PriorityBody::ReadData { key, at_least });
    }
    assert_eq!(
        alone.counted("dropped: a question for a value, for room"),
        1
    );
    assert_eq!(alone.node.status().held, 65_536);
}

/// A disk that does not answer holds up so many answers, and no more.
#[test]
fn answers_that_wait_for_the_disk_are_bounded() {
    let mut alone = Alone::replica(Kind::Rw);
    for number in 0..=65_536 {
        let key = Key {
            container: ContainerId(1),
            name: layout::key(&format!("k{number}")),
        };
        alone.priority(B, PriorityBody::WriteTs { key, ts: ts(5) });
    }
    let cause = "dropped: an answer, because the disk is behind";
    assert_eq!(alone.counted(cause), 1);
    assert_eq!(alone.flush().len(), 65_536);
}

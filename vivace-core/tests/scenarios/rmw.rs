//! RMW objects. The numbers are those of the table of mends of RMW objects.

use vivace_core::cluster::{Kind, TimestampSource};
use vivace_core::machine::builtin::{Counter, Register, register};
use vivace_core::message::{BulkBody, PriorityBody, PriorityMessage, RpcId};
use vivace_core::record::Record;
use vivace_core::{
    Blob, ContainerId, Epoch, Event, Incarnation, Key, NodeId, SiteId, Timestamp, WriterId,
};

use crate::cluster::requests::{add, counted, execute, failure, first_of, read_state, set, state};
use crate::cluster::{Fate, HostClock, Occurrence, Simulation, Spread, layout};
use crate::{
    A, B, C, bulk, drop_if, is_accept, is_promise, is_read_ts, is_write_remote, ms, priority,
    settle, simulate, spec, switch, three_sites,
};

const LOST: &str = "lost: an RMW round to another coordinator";

fn read_counter(simulation: &mut Simulation, reader: NodeId) -> Option<i64> {
    let reply = simulation.ask(reader, read_state::<Counter>("k")).0;
    state::<Counter>(reply).map(Counter::value)
}

/// As if a coordinator that nobody hears of again had asked for a promise `ahead` of now.
fn promise_ahead(simulation: &mut Simulation, replica: NodeId, ahead_ms: u64) -> Timestamp {
    let now = 1_800_000_000_000_000_000 + simulation.now.as_nanos() as u64;
    let writer = WriterId::new(NodeId(8), Incarnation(9));
    let ots = Timestamp {
        time: now + ahead_ms * 1_000_000,
        writer,
    };
    let key = Key {
        container: ContainerId(1),
        name: layout::key("k"),
    };
    let body = PriorityBody::OrderedReadTs { key, ots };
    let message = PriorityMessage {
        rpc: RpcId::NONE,
        epoch: Epoch(1),
        body,
    };
    simulation.inject(
        replica,
        Event::Priority {
            from: NodeId(8),
            message,
        },
    );
    ots
}

/// A coordinator whose version only `accepts` hears of; then it dies.
fn half_done(simulation: &mut Simulation, coordinator: NodeId, accepts: NodeId, amount: i64) {
    drop_if(simulation, move |from, to, wire| {
        from == coordinator && to != accepts && is_accept(wire)
    });
    simulation.request(coordinator, add("k", first_of(100), amount), ms(60_000));
    simulation.run_for(ms(100));
    simulation.crash(coordinator);
    simulation.script = None;
}

/// 1: OW-TS reached A alone, the coordinator died. The next coordinator's quorum
/// includes A, which then dies: B and C hold the version as not accepted, if at all.
#[test]
fn a_version_accepted_by_one_replica_that_dies_blocks_nobody() {
    let mut simulation = three_sites(Kind::Rmw);
    half_done(&mut simulation, NodeId(1), A, 5);
    simulation.script = Some(Box::new(|from, to, wire| {
        // C's promise comes too late to count, so the quorum is A and B.
        if (from, to) == (C, B)
            && matches!(priority(wire), Some(PriorityBody::OrderedReadTsAck { .. }))
        {
            Fate::Late(ms(50))
        } else {
            Fate::Deliver
        }
    }));
    let asked = simulation.request(B, add("k", first_of(1), 1), ms(60_000));
    simulation.run_for(ms(21));
    simulation.crash(A);
    let began = simulation.now;
    assert_eq!(counted(simulation.await_reply(asked)), 6);
    assert!(simulation.now - began < ms(2000));
    assert_eq!(read_counter(&mut simulation, C), Some(6));
}

/// 2: a slow replica has promised a later round and says false: a majority says true.
#[test]
fn a_minority_of_false_aborts_nothing() {
    let mut simulation = three_sites(Kind::Rmw);
    promise_ahead(&mut simulation, C, 50);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    assert_eq!(simulation.count(LOST), 0);
}

/// 3: one replica is down, of the others one says true and one false: without an end
/// to the wait for the third, the operation hangs.
#[test]
fn a_round_with_one_replica_down_and_one_refusing_is_given_up_after_a_grace() {
    for kind in [Kind::Rmw, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        for node in 6..9 {
            simulation.crash(NodeId(node));
        }
        match kind {
            Kind::Rmw => promise_ahead(&mut simulation, B, 50),
            _ => {
                // Alg. 2's replica promises to another coordinator's round.
                let request = add("k", first_of(2), 0);
                simulation.request(NodeId(4), request, ms(1));
                simulation.run_for(ms(30));
                Timestamp::ZERO
            }
        };
        let (reply, took) = simulation.ask(A, add("k", first_of(1), 5));
        assert_eq!(counted(reply), 5);
        assert!(took < ms(1000), "{kind:?}: {took:?}");
        if kind == Kind::Rmw {
            assert!(simulation.count(LOST) > 0);
        }
    }
}

/// C is silent, B refuses, and C's path was long when the vote began: the wait for C is
/// no longer than its path is now. (Found by a seed.)
#[test]
fn a_grace_ends_with_the_path_that_it_was_for() {
    for kind in [Kind::Rmw, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        match kind {
            Kind::Rmw => drop(promise_ahead(&mut simulation, B, 50)),
            _ => {
                // B alone promises to another coordinator, and A's clock is behind.
                drop_if(&mut simulation, |_, to, _| to == A || to == C);
                simulation.request(NodeId(4), add("k", first_of(2), 0), ms(1000));
                simulation.run_for(ms(1000));
                let (skew_ns, error_ns) = (-10_000_000_000, Some(0));
                simulation.set_clock(A, HostClock { skew_ns, error_ns });
            }
        }
        drop_if(&mut simulation, |from, to, _| from == C || to == C);
        simulation.delays.priority = Spread::exactly(ms(20_000));
        simulation.reset_connections();
        let asked = simulation.request(A, add("k", first_of(1), 5), ms(600_000));
        simulation.run_for(ms(45_000));
        assert_eq!(simulation.outstanding(), 1, "{kind:?}");
        simulation.delays.priority = Spread::exactly(ms(10));
        simulation.reset_connections();
        let changed = simulation.now;
        assert_eq!(counted(simulation.await_reply(asked)), 5);
        let took = simulation.now - changed;
        assert!(took < ms(2000), "{kind:?}: {took:?}");
    }
}

/// The coordinator's neighbour refuses every round at once; B, far away, promises. Were
/// the grace half a round trip, B would always be late. (Found by a seed.)
#[test]
fn a_near_replica_that_refuses_every_round_does_not_outvote_a_far_one() {
    let near = NodeId(1);
    let mut simulation = simulate(spec(Kind::Rmw, |container| {
        container.replicas = vec![A, near, B];
    }));
    let error_ns = Some(0);
    let skew_ns = -10_000_000_000;
    simulation.set_clock(near, HostClock { skew_ns, error_ns });
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    assert_eq!(simulation.count(LOST), 0);
}

/// An older version that was never chosen is on its way, and the new one waits for it.
/// COMMIT makes it history: the new one must set out then. (Found by a seed: it never did.)
#[test]
fn a_version_does_not_wait_for_one_that_became_history() {
    let mut simulation = simulate(spec(Kind::Rmw, |container| {
        for (site, node) in [(0, A), (1, B), (2, C)] {
            container.local_sets.insert(SiteId(site), vec![node]);
        }
    }));
    let (one, two) = (NodeId(1), NodeId(2));
    drop_if(&mut simulation, move |from, _, wire| {
        from == two && is_accept(wire) || is_write_remote(wire)
    });
    simulation.request(two, add("k", first_of(1), 1), ms(60_000));
    simulation.run_for(ms(100));
    simulation.crash(two);
    // A looks after the version that it was left with.
    simulation.run_for(ms(5000));
    // GO overtakes COMMIT.
    simulation.script = Some(Box::new(|_, to, wire| {
        match matches!(priority(wire), Some(PriorityBody::Commit { .. })) && to == A {
            true => Fate::Late(ms(5)),
            false => Fate::Deliver,
        }
    }));
    assert_eq!(counted(simulation.ask(one, add("k", first_of(2), 5)).0), 5);
    settle(&mut simulation);
}

/// 4: C alone has accepted a newer version than the quorum's. In the published rule
/// C's refusal to hand out an older one aborts again and again.
#[test]
fn one_replica_ahead_of_the_others_aborts_nobody_for_ever() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 1)).0), 1);
    half_done(&mut simulation, NodeId(7), C, 10);
    let (reply, took) = simulation.ask(A, add("k", first_of(2), 1));
    // With C in the quorum, the half-done command takes effect; without, it is gone.
    let sum = counted(reply);
    assert!(sum == 2 || sum == 12);
    assert!(took < ms(1000), "{took:?}");
    assert_eq!(read_counter(&mut simulation, C), Some(sum));
}

/// 6: the largest timestamp of a majority may be held by one replica. A read that
/// returns it without completing it shows what the next read does not find.
#[test]
fn a_read_returns_no_version_that_may_be_lost() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(B, add("k", first_of(1), 1)).0), 1);
    half_done(&mut simulation, NodeId(1), A, 10);
    // C is late: the quorum is A and B, and A alone knows of the version.
    drop_if(&mut simulation, |from, to, wire| {
        (from, to) == (B, C) && (is_read_ts(wire) || is_promise(wire))
    });
    let first = read_counter(&mut simulation, B);
    assert_eq!(first, Some(11));
    assert!(simulation.count("read-only command completed by a round") > 0);
    simulation.script = None;
    for node in 0..3 {
        simulation.crash(NodeId(node));
    }
    assert_eq!(read_counter(&mut simulation, C), first);
}

/// 6, of a command: what a compare-and-swap found must not be lost either.
#[test]
fn a_conflict_tells_of_no_version_that_may_be_lost() {
    let mut simulation = three_sites(Kind::Rmw);
    let one = NodeId(1);
    drop_if(&mut simulation, move |from, to, wire| {
        from == one && to != A && is_accept(wire)
    });
    simulation.request(one, set("k", first_of(1), b"half done"), ms(60_000));
    simulation.run_for(ms(100));
    simulation.crash(one);
    drop_if(&mut simulation, |from, to, wire| {
        (from, to) == (B, C) && is_promise(wire)
    });
    let swap = register::Command::CompareAndSwap {
        expected: None,
        new: None,
    };
    let heard = failure(
        simulation
            .ask(B, execute::<Register>("k", first_of(2), &swap))
            .0,
    );
    assert!(heard.to_string().contains("half done"), "{heard}");
    simulation.script = None;
    for node in 0..3 {
        simulation.crash(NodeId(node));
    }
    let reply = simulation.ask(C, read_state::<Register>("k")).0;
    let register = state::<Register>(reply).unwrap();
    assert_eq!(register.value(), Some(&Blob::from(b"half done".to_vec())));
}

/// 8: versions reach all replicas, but none of them accepted this one.
#[test]
fn a_version_that_was_never_accepted_is_never_read() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 1)).0), 1);
    let one = NodeId(1);
    drop_if(&mut simulation, move |from, _, wire| {
        from == one && is_accept(wire)
    });
    simulation.request(one, add("k", first_of(2), 10), ms(60_000));
    simulation.run_for(ms(100));
    simulation.crash(one);
    simulation.script = None;
    simulation.sent = Some(Vec::new());
    // Its local copy is looked after, and goes to all.
    simulation.run_for(ms(30_000));
    let sent = simulation.sent.take().unwrap();
    assert!(
        sent.iter()
            .any(|(_, to, wire)| *to == B && is_write_remote(wire))
    );
    for reader in [A, B, C] {
        assert_eq!(read_counter(&mut simulation, reader), Some(1));
    }
    assert_eq!(counted(simulation.ask(C, add("k", first_of(3), 1)).0), 2);
}

/// The version is chosen, but its values are still on their way everywhere.
#[test]
fn a_chosen_version_is_read_from_the_writers_site_while_bulk_is_slow() {
    let mut simulation = three_sites(Kind::Rmw);
    drop_if(&mut simulation, |_, _, wire| is_write_remote(wire));
    assert_eq!(
        counted(simulation.ask(NodeId(1), add("k", first_of(1), 5)).0),
        5
    );
    assert_eq!(read_counter(&mut simulation, NodeId(7)), Some(5));
    assert_eq!(
        counted(simulation.ask(NodeId(4), add("k", first_of(2), 1)).0),
        6
    );
    let hedged = simulation.count("hedged: a value asked of one more node");
    assert!(
        hedged <= 4,
        "the writers' sites are asked soon, not after {hedged} others"
    );
}

/// A command that joins a round whose promises are older than the command. Another
/// coordinator changed the object in between. (Found by a seed: a stale answer.)
#[test]
fn a_command_that_joins_a_round_is_not_answered_from_older_promises() {
    for kind in [Kind::Rmw, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        assert_eq!(counted(simulation.ask(B, add("k", first_of(1), 5)).0), 5);
        settle(&mut simulation);
        // A's first round learns slowly what B and C have promised it, and A hears of
        // no other round.
        let cut = switch(false);
        let is_cut = cut.clone();
        simulation.script = Some(Box::new(move |from, to, wire| {
            let promised = matches!(priority(wire), Some(PriorityBody::OrderedReadTsAck { .. }))
                || matches!(bulk(wire), Some(BulkBody::LanReadAck { .. }));
            let commit = matches!(priority(wire), Some(PriorityBody::Commit { .. }));
            let round = is_promise(wire) || is_accept(wire) || commit || is_write_remote(wire);
            let lan_round = matches!(
                bulk(wire),
                Some(BulkBody::LanRead { .. } | BulkBody::LanWrite { .. })
            );
            if to == A && promised {
                Fate::Late(ms(2000))
            } else if is_cut.get() && (from == A || to == A) && (round || lan_round) {
                Fate::Drop
            } else {
                Fate::Deliver
            }
        }));
        let early = simulation.request(A, add("k", first_of(2), 0), ms(60_000));
        simulation.run_for(ms(if kind == Kind::Rmw { 15 } else { 55 }));
        cut.set(true);
        assert_eq!(counted(simulation.ask(B, add("k", first_of(3), 1)).0), 6);
        let late = simulation.request(A, add("k", first_of(4), 0), ms(60_000));
        let mut heard = [None, None];
        while heard.contains(&None) {
            match simulation.next(simulation.now + ms(60_000)) {
                Some(Occurrence::Reply { request, reply }) => {
                    heard[usize::from(request == late)] = Some(counted(reply));
                    simulation.script = None;
                }
                other => panic!("both commands end: {other:?}"),
            }
        }
        assert_eq!(
            heard[1],
            Some(6),
            "{kind:?}: {early:?} may hear 5 or 6, {late:?} only 6"
        );
    }
}

/// A swap is built upon a version that is lost, and so is the swap's own; the next
/// round finds a conflict. C, which accepted both, is in the quorum after that.
/// (Found by a seed: the swap took effect after its client had heard of a conflict.)
#[test]
fn a_command_of_a_lost_round_leaves_its_result() {
    let mut simulation = three_sites(Kind::Rmw);
    simulation.ask(A, set("k", first_of(1), b"x")).0.unwrap();
    simulation.run_for(ms(1000));
    // A deletion that C alone accepts.
    let seven = NodeId(7);
    drop_if(&mut simulation, move |from, to, wire| {
        from == seven && to != C && is_accept(wire)
    });
    let delete = execute::<Register>("k", first_of(2), &register::Command::Delete);
    simulation.request(seven, delete, ms(60_000));
    simulation.run_for(ms(100));
    simulation.crash(seven);

    // The swap's first quorum is A and C, and C alone hears that it shall accept.
    let one = NodeId(1);
    let lost = switch(false);
    let is_lost = lost.clone();
    drop_if(&mut simulation, move |from, to, wire| {
        from == one
            && match is_lost.get() {
                false => to == B && is_promise(wire) || to != C && is_accept(wire),
                true => to == C && (is_promise(wire) || is_accept(wire)),
            }
    });
    let swap = register::Command::CompareAndSwap {
        expected: None,
        new: Some(Blob::from(b"y".to_vec())),
    };
    let swap = execute::<Register>("k", first_of(3), &swap);
    let asked = simulation.request(one, swap, ms(60_000));
    let accepted_by_c = |simulation: &Simulation| {
        let writer = |record: &Record| match record {
            Record::Accepted { ts, .. } => Some(ts.writer.node()),
            _ => None,
        };
        simulation.log(C).iter().filter_map(writer).next_back() == Some(one)
    };
    let began = simulation.now;
    while !accepted_by_c(&simulation) {
        assert!(
            simulation.now - began < ms(5000),
            "C never accepts the swap"
        );
        simulation.run_for(ms(1));
    }
    // A and B promise themselves to a later round, so this one is lost.
    promise_ahead(&mut simulation, A, 60);
    promise_ahead(&mut simulation, B, 60);
    lost.set(true);
    let heard = simulation.await_reply(asked);
    assert!(simulation.count(LOST) > 0, "the first round is lost");
    assert!(heard.is_err(), "the second finds x");

    drop_if(&mut simulation, |from, to, wire| {
        (from, to) == (C, B) && (is_read_ts(wire) || is_promise(wire))
    });
    let reply = simulation.ask(C, read_state::<Register>("k")).0;
    let found = state::<Register>(reply)
        .unwrap()
        .value()
        .map(|value| value.0.to_vec());
    assert_eq!(
        found.as_deref(),
        Some(&b"x"[..]),
        "the client heard {heard:?}"
    );
}

/// B's promises name version 1 as the newest, but its question for it is late; a newer
/// round has left version 1 behind everywhere by then, and nobody outside its site has
/// heard COMMIT. (Found by a seed: B asked for version 1 until its deadline.)
#[test]
fn a_base_that_became_history_is_not_waited_for() {
    for reads in [false, true] {
        // Local sets of one: what 1 drops is nowhere else in its site.
        let mut simulation = simulate(spec(Kind::Rmw, |container| {
            for set in container.local_sets.values_mut() {
                *set = vec![NodeId(set[0].0 + 1)];
            }
        }));
        let late = switch(true);
        let on = late.clone();
        drop_if(&mut simulation, move |from, _, wire| {
            let asks = matches!(priority(wire), Some(PriorityBody::OrderedReadData { .. }));
            let commits = matches!(priority(wire), Some(PriorityBody::Commit { .. }));
            on.get() && from == B && asks || commits || on.get() && is_write_remote(wire)
        });
        assert_eq!(
            counted(simulation.ask(NodeId(1), add("k", first_of(1), 1)).0),
            1
        );
        let request = match reads {
            true => read_state::<Counter>("k"),
            false => add("k", first_of(3), 10),
        };
        let asked = simulation.request(B, request, ms(60_000));
        simulation.run_for(ms(50));
        assert_eq!(
            counted(simulation.ask(NodeId(1), add("k", first_of(2), 1)).0),
            2
        );
        simulation.run_for(ms(2000));
        late.set(false);
        let began = simulation.now;
        let heard = simulation.await_reply(asked);
        assert!(
            simulation.now - began < ms(8000),
            "{:?}",
            simulation.now - began
        );
        match reads {
            true => assert_eq!(state::<Counter>(heard).map(Counter::value), Some(2)),
            false => assert_eq!(counted(heard), 12),
        }
    }
}

/// C alone has accepted its version, tells so with its promise, and is lost with its site.
/// A and B, a majority, have accepted nothing: what they promise is enough to go on.
/// (Found by a seed: A asked for C's version until its deadline.)
#[test]
fn a_base_that_only_a_lost_site_had_is_not_waited_for() {
    for reads in [false, true] {
        let mut simulation = simulate(spec(Kind::Rmw, |_| {}));
        let is_silent = switch(true);
        let on = is_silent.clone();
        drop_if(&mut simulation, move |from, to, wire| {
            let asks = matches!(priority(wire), Some(PriorityBody::OrderedReadData { .. }));
            from == C && is_accept(wire) || on.get() && (asks || from == B || to == B)
        });
        simulation.request(C, add("k", first_of(100), 1), ms(60_000));
        simulation.run_for(ms(100));
        let request = match reads {
            true => read_state::<Counter>("k"),
            false => add("k", first_of(3), 10),
        };
        let asked = simulation.request(A, request, ms(60_000));
        simulation.run_for(ms(100));
        for lost in [6, 7, 8] {
            simulation.crash(NodeId(lost));
        }
        is_silent.set(false);
        let began = simulation.now;
        let heard = simulation.await_reply(asked);
        let took = simulation.now - began;
        assert!(took < ms(2000), "{took:?}");
        match reads {
            true => assert_eq!(state::<Counter>(heard).map(Counter::value), None),
            false => assert_eq!(counted(heard), 10),
        }
        // Whether its answer was needed or not: nobody builds on C's version any more.
        assert_eq!(
            counted(simulation.ask(B, add("k", first_of(4), 5)).0),
            if reads { 5 } else { 15 }
        );
    }
}

/// A coordinator that backs off for long meets an idle object with a timestamp that
/// was new when it began to wait. (Found by seeds: it lost every round for 10 s.)
#[test]
fn a_coordinator_that_backed_off_for_long_is_not_starved() {
    for clock in [true, false] {
        let mut simulation = simulate(spec(Kind::Rmw, |container| {
            if !clock {
                container.timestamps = TimestampSource::Query;
            }
        }));
        if clock {
            // The others' clocks run ahead of its timestamps while it waits.
            let untrusted = HostClock {
                skew_ns: 0,
                error_ns: None,
            };
            simulation.set_clock(NodeId(4), untrusted);
        }
        // Another coordinator is busy at first, so that this one backs off for long, and
        // hardly ever after that, but always once while this one backs off.
        let mut session = 2;
        let asked = simulation.request(NodeId(4), add("k", first_of(1), 1), ms(60_000));
        let mut waited = None;
        while simulation.now < ms(14_000) && waited.is_none() {
            let pause = if simulation.now < ms(4000) { 50 } else { 400 };
            let until = simulation.now + ms(pause);
            simulation.request(NodeId(1), add("k", first_of(session), 1), ms(60_000));
            session += 1;
            while let Some(occurrence) = simulation.next(until) {
                if matches!(occurrence, Occurrence::Reply { request, .. } if request == asked) {
                    waited = Some(simulation.now);
                }
            }
        }
        let waited = waited.expect("it is starved");
        assert!(waited < ms(8000), "{waited:?}");
    }
}

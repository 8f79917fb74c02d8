//! RMW 9: commands that go to other sites in their value's stead.

use std::cell::RefCell;
use std::rc::Rc;

use vivace_core::cluster::{Container, Kind};
use vivace_core::machine::builtin::{Counter, counter};
use vivace_core::machine::object::{Command, Object};
use vivace_core::machine::{Machines, StateMachine};
use vivace_core::message::{BulkBody, BulkMessage, PriorityBody};
use vivace_core::{
    Action, ContainerId, Derivation, Epoch, Event, Key, NodeId, Timestamp, Value, codec,
};

use crate::alone::{Alone, RPC, Sent, key, ts};
use crate::cluster::requests::{add, counted, first_of, read_state, session, state};
use crate::cluster::{Fate, Simulation, layout};
use crate::{
    A, B, C, bulk, drop_if, is_apply_remote, is_write_remote, ms, settle, simulate, spec,
    three_sites,
};

const SENT: &str = "sent: commands in their value's stead";
const DERIVED: &str = "derived: a version that came as commands";
const EARLY: &str = "asked: a value whose commands come before what they change";

/// As many sessions as make the object far larger than commands on their way.
const SESSIONS: u64 = 80;

fn large(simulation: &mut Simulation) {
    for n in 1..=SESSIONS {
        assert_eq!(
            counted(simulation.ask(A, add("k", first_of(n), 1)).0),
            n as i64
        );
    }
    settle(simulation);
}

fn count(simulation: &mut Simulation, reader: NodeId) -> Option<i64> {
    let reply = simulation.ask(reader, read_state::<Counter>("k")).0;
    state::<Counter>(reply).map(Counter::value)
}

/// The newest versions that replicas hold.
fn newest(simulation: &Simulation, replicas: &[NodeId]) -> Vec<Option<Timestamp>> {
    let key = Key {
        container: ContainerId(1),
        name: layout::key("k"),
    };
    let holding = |node: &NodeId| simulation.holding(*node, &key).unwrap();
    let newest = replicas
        .iter()
        .map(|node| holding(node).versions.last().copied());
    newest.collect()
}

/// From now on, how W-REMOTE crosses from one site to another.
fn watch(simulation: &mut Simulation) -> Rc<RefCell<Vec<BulkBody>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = seen.clone();
    simulation.script = Some(Box::new(move |from, to, wire| {
        let crosses = from.0 / 3 != to.0 / 3;
        if let Some(body) = bulk(wire).filter(|_| crosses)
            && (is_write_remote(wire) || is_apply_remote(wire))
        {
            sink.borrow_mut().push(body.clone());
        }
        Fate::Deliver
    }));
    seen
}

#[test]
fn a_small_change_of_a_large_object_leaves_its_site_as_commands() {
    let mut simulation = three_sites(Kind::Rmw);
    large(&mut simulation);
    let crossed = watch(&mut simulation);
    assert_eq!(
        counted(simulation.ask(A, add("k", first_of(SESSIONS + 1), 100)).0),
        180
    );
    settle(&mut simulation);
    let crossed = crossed.take();
    assert_eq!(crossed.len(), 2, "one copy for each site: {crossed:?}");
    for body in &crossed {
        let BulkBody::ApplyRemote { derivation, .. } = body else {
            panic!("commands are expected, not {body:?}");
        };
        assert_eq!(derivation.steps.len(), 1);
    }
    assert!(
        newest(&simulation, &[A, B, C])
            .iter()
            .all(|version| version.is_some())
    );
    assert_eq!(newest(&simulation, &[A]), newest(&simulation, &[B]));
    assert_eq!(newest(&simulation, &[A]), newest(&simulation, &[C]));
    for node in 0..3 {
        simulation.crash(NodeId(node));
    }
    assert_eq!(count(&mut simulation, C), Some(180));
}

#[test]
fn the_switch_turns_it_off() {
    let spec = spec(Kind::Rmw, |container| {
        container.commands_at_replicas = false
    });
    let mut simulation = simulate(spec);
    large(&mut simulation);
    assert_eq!(simulation.count(SENT), 0);
    assert_eq!(simulation.count(DERIVED), 0);
}

/// Versions that were superseded before they set out are steps of the next one's way.
#[test]
fn changes_that_outrun_the_link_arrive_as_one_chain() {
    let mut simulation = three_sites(Kind::Rmw);
    large(&mut simulation);
    let early = simulation.count(EARLY);
    let crossed = watch(&mut simulation);
    for n in 1..=20 {
        counted(simulation.ask(A, add("k", first_of(SESSIONS + n), 1)).0);
    }
    settle(&mut simulation);
    let chains: Vec<usize> = crossed
        .take()
        .iter()
        .map(|body| match body {
            BulkBody::ApplyRemote { derivation, .. } => derivation.steps.len(),
            other => panic!("commands are expected, not {other:?}"),
        })
        .collect();
    assert!(chains.len() < 40 && chains.contains(&1), "{chains:?}");
    assert_eq!(
        chains.iter().sum::<usize>(),
        40,
        "each step once for each site"
    );
    assert_eq!(simulation.count(EARLY), early);
    assert_eq!(count(&mut simulation, C), Some(100));
}

/// C never hears of +100; the next command, from site B, says that it follows from that.
#[test]
fn a_replica_without_the_base_is_sent_the_value() {
    let mut simulation = three_sites(Kind::Rmw);
    large(&mut simulation);
    let early = simulation.count(EARLY);
    drop_if(&mut simulation, |from, to, wire| {
        from.0 < 3 && to == C && (is_write_remote(wire) || is_apply_remote(wire))
    });
    counted(simulation.ask(A, add("k", first_of(SESSIONS + 1), 100)).0);
    simulation.run_for(ms(200));
    counted(simulation.ask(B, add("k", first_of(SESSIONS + 2), 1000)).0);
    let asked = simulation.now;
    while newest(&simulation, &[C]) != newest(&simulation, &[B]) {
        assert!(simulation.now - asked < ms(200), "the value does not come");
        simulation.run_for(ms(5));
    }
    assert_eq!(simulation.count(EARLY) - early, 1);
    simulation.script = None;
    assert_eq!(count(&mut simulation, C), Some(1180));
    settle(&mut simulation);
}

/// Two replicas in one site: the commands cross once, and each applies them.
#[test]
fn a_relay_hands_commands_on() {
    let sets: [&[u16]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
    let replicas = [0, 3, 4, 6, 7];
    let container: Container = layout::container(Kind::Rmw, &replicas, &sets);
    let mut spec = layout::sites(&[3, 3, 3]);
    spec.containers = vec![container];
    let mut simulation = simulate(spec);
    large(&mut simulation);
    let derived = simulation.count(DERIVED);
    let crossed = watch(&mut simulation);
    counted(simulation.ask(A, add("k", first_of(SESSIONS + 1), 1)).0);
    settle(&mut simulation);
    assert_eq!(crossed.take().len(), 2);
    assert_eq!(simulation.count(DERIVED) - derived, 4);
    let replicas = replicas.map(NodeId);
    let newest = newest(&simulation, &replicas);
    assert!(
        newest.iter().all(|version| *version == newest[0]),
        "{newest:?}"
    );
}

fn command(session_number: u64, amount: i64) -> Command {
    Command {
        machine: Counter::NAME.into(),
        session: session(session_number),
        sequence: 1,
        repeated: false,
        command: codec::encode(&counter::Command::Add(amount)).into(),
    }
}

fn apply(object: Option<&Object>, command: &Command) -> Object {
    let (object, _) = Object::apply(object, &Machines::builtin(), command);
    object.unwrap()
}

/// A replica whose machines make another value of it asks for the value; and nothing is
/// acknowledged before the disk has it.
#[test]
fn a_replica_checks_what_it_made_and_acknowledges_it_when_it_is_durable() {
    let base = apply(None, &command(1, 1));
    let value = Value::Bytes(base.encode());
    let promised = apply(Some(&base), &command(2, 5)).encode();
    let mut replica = Alone::replica(Kind::Rmw);
    replica.bulk(
        B,
        BulkBody::WriteRemote {
            key: key(),
            ts: ts(1),
            propagator: B,
            relay: Vec::new(),
            value,
        },
    );
    replica.flush();
    let by = |amount| BulkBody::ApplyRemote {
        key: key(),
        propagator: B,
        relay: Vec::new(),
        derivation: Derivation::new(ts(1), ts(2), vec![command(2, amount)], &promised.0),
    };
    let need = PriorityBody::NeedValue {
        key: key(),
        ts: ts(2),
    };
    assert_eq!(replica.bulk(B, by(6)), [Sent::Priority(B, need)]);
    assert_eq!(
        replica.counted("asked: a value that its commands do not make here"),
        1
    );
    assert_eq!(
        replica.bulk(B, by(5)),
        [],
        "an answer left before the disk had it"
    );
    let ack = || PriorityBody::WriteRemoteAck {
        key: key(),
        ts: ts(2),
    };
    assert_eq!(replica.flush(), [Sent::Priority(B, ack())]);
    assert_eq!(
        replica.bulk(B, by(5)),
        [Sent::Priority(B, ack())],
        "once more"
    );
}

/// The disk answers nothing: of so many versions, the replica asks for the value.
#[test]
fn a_replica_makes_no_more_versions_at_once_than_it_may() {
    const TOO_MANY: &str = "asked: a value, for too many are being made";
    let base = apply(None, &command(1, 1));
    let promised = apply(Some(&base), &command(2, 5)).encode();
    let mut replica = Alone::replica(Kind::Rmw);
    replica.bulk(
        B,
        BulkBody::WriteRemote {
            key: key(),
            ts: ts(1),
            propagator: B,
            relay: Vec::new(),
            value: Value::Bytes(base.encode()),
        },
    );
    replica.flush();
    let mut asked = Vec::new();
    for number in 0..1025 {
        let derivation = Derivation::new(ts(1), ts(2 + number), vec![command(2, 5)], &promised.0);
        let body = BulkBody::ApplyRemote {
            key: key(),
            propagator: B,
            relay: Vec::new(),
            derivation,
        };
        let message = BulkMessage {
            rpc: RPC,
            epoch: Epoch(1),
            body,
        };
        let event = Event::Bulk { from: B, message };
        let actions = replica.node.handle(replica.now, event);
        asked.extend(actions.into_iter().filter_map(|action| match action {
            Action::SendPriority { to: B, message } => Some((number, message.body)),
            _ => None,
        }));
    }
    let need = PriorityBody::NeedValue {
        key: key(),
        ts: ts(2 + 1024),
    };
    assert_eq!(asked, [(1024, need)]);
    assert_eq!(replica.counted(TOO_MANY), 1);
}

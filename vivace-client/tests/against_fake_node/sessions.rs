//! Sessions: numbered from 1, reused, renewed when forgotten, dropped when in doubt.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use vivace_client::client_protocol::{Failure, Request};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, OperationError};

use crate::authority::Authority;
use crate::fake_node::{Action, FakeNode};
use crate::store::Store;

fn commands(node: &FakeNode) -> Vec<(String, u64, bool)> {
    let seen = node.seen().into_iter();
    seen.filter_map(|request| match request.request {
        Request::Execute {
            session,
            sequence,
            repeated,
            ..
        } => Some((format!("{session:?}"), sequence, repeated)),
        _ => None,
    })
    .collect()
}

async fn connect(authority: &Authority, node: &FakeNode) -> Client {
    let config = authority.config(&[node.address]);
    let config = config.timeout(Duration::from_millis(800));
    Client::connect(config).await.expect("the node serves us")
}

#[tokio::test]
async fn commands_one_after_another_share_a_session_and_count_up() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let client = connect(&authority, &node).await;
    for key in ["a", "b", "a"] {
        let counter = client.container("c").rmw::<Counter>(key);
        let added = counter.execute(counter::Command::Add(1)).await;
        added.expect("the node serves us");
    }
    let commands = commands(&node);
    let numbers: Vec<_> = commands.iter().map(|&(_, n, again)| (n, again)).collect();
    assert_eq!(numbers, [(1, false), (2, false), (3, false)]);
    let sessions: BTreeSet<_> = commands.iter().map(|(session, ..)| session).collect();
    assert_eq!(sessions.len(), 1);
}

#[tokio::test]
async fn commands_at_the_same_time_never_share_a_session() {
    let authority = Authority::new();
    let store = Store::default();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Execute { .. } => {
            Action::ReplyAfter(Duration::from_millis(100), store.answer(request))
        }
        request => Action::Reply(store.answer(request)),
    });
    let client = connect(&authority, &node).await;
    let counter = client.container("c").rmw::<Counter>("k");
    let (one, two) = tokio::join!(
        counter.execute(counter::Command::Add(1)),
        counter.execute(counter::Command::Add(1)),
    );
    assert_eq!(one.expect("served") + two.expect("served"), 3);
    let commands = commands(&node);
    assert_ne!(commands[0].0, commands[1].0);
}

#[tokio::test]
async fn a_forgotten_session_is_renewed_on_a_first_attempt() {
    let authority = Authority::new();
    let store = Store::default();
    let known = store.clone();
    let forget = Arc::new(AtomicBool::new(false));
    let forgets = forget.clone();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Execute { .. } if forgets.swap(false, Ordering::SeqCst) => {
            Action::Reply(Err(Failure::SessionForgotten))
        }
        request => Action::Reply(known.answer(request)),
    });
    let client = connect(&authority, &node).await;
    let counter = client.container("c").rmw::<Counter>("k");
    assert_eq!(counter.execute(counter::Command::Add(1)).await, Ok(1));
    forget.store(true, Ordering::SeqCst);
    assert_eq!(counter.execute(counter::Command::Add(1)).await, Ok(2));
    let commands = commands(&node);
    assert_eq!(commands.len(), 3);
    assert_eq!(commands[1].0, commands[0].0, "the idle session was tried");
    assert_ne!(commands[2].0, commands[0].0, "a new one went on");
    assert_eq!((commands[2].1, commands[2].2), (1, false));
    assert_eq!(store.executions(), 2);
}

#[tokio::test]
async fn sessions_forgotten_again_and_again_end_in_busy() {
    let authority = Authority::new();
    let store = Store::default();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Execute { .. } => Action::Reply(Err(Failure::SessionForgotten)),
        request => Action::Reply(store.answer(request)),
    });
    let client = connect(&authority, &node).await;
    let counter = client.container("c").rmw::<Counter>("k");
    let execute = counter.execute(counter::Command::Add(1)).await;
    assert!(matches!(execute, Err(OperationError::Busy { .. })));
    assert!(commands(&node).len() <= 5, "renewals are bounded");
}

#[tokio::test]
async fn a_forgotten_session_on_a_repeated_attempt_is_unknown() {
    let authority = Authority::new();
    let store = Store::default();
    let attempts = AtomicU32::new(0);
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Execute { .. } if attempts.fetch_add(1, Ordering::SeqCst) == 0 => Action::HangUp,
        Request::Execute { .. } => Action::Reply(Err(Failure::SessionForgotten)),
        request => Action::Reply(store.answer(request)),
    });
    let client = connect(&authority, &node).await;
    let counter = client.container("c").rmw::<Counter>("k");
    let execute = counter.execute(counter::Command::Add(1)).await;
    assert!(
        matches!(execute, Err(OperationError::Unknown { .. })),
        "{execute:?}"
    );
    let commands = commands(&node);
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0].0, commands[1].0);
}

#[tokio::test]
async fn after_unknown_a_command_can_be_asked_for_again_and_takes_effect_once() {
    let authority = Authority::new();
    let store = Store::default();
    let known = store.clone();
    let hush = Arc::new(AtomicBool::new(true));
    let hushed = hush.clone();
    let node = FakeNode::start(&authority, move |request| match request {
        // It takes effect, but no answer comes back.
        Request::Execute { .. } if hushed.load(Ordering::SeqCst) => {
            let _ = known.answer(request);
            Action::Silence
        }
        request => Action::Reply(known.answer(request)),
    });
    let client = connect(&authority, &node).await;
    let counter = client.container("c").rmw::<Counter>("k");
    let mut add = counter.prepare(counter::Command::Add(1));
    assert!(matches!(
        add.run().await,
        Err(OperationError::Unknown { .. })
    ));
    hush.store(false, Ordering::SeqCst);
    assert_eq!(add.run().await, Ok(1));
    assert_eq!(store.executions(), 1);
    let commands = commands(&node);
    assert_eq!(commands[0].0, commands[1].0);
    assert_eq!(
        (commands[0].2, commands[1].2),
        (false, true),
        "the node hears that it is asked again"
    );
}

#[tokio::test]
async fn a_session_in_doubt_is_not_used_again() {
    let authority = Authority::new();
    let store = Store::default();
    let hush = Arc::new(AtomicBool::new(true));
    let hushed = hush.clone();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Execute { .. } if hushed.load(Ordering::SeqCst) => Action::Silence,
        request => Action::Reply(store.answer(request)),
    });
    let client = connect(&authority, &node).await;
    let counter = client.container("c").rmw::<Counter>("k");
    let add = || counter.execute(counter::Command::Add(1));
    assert!(add().await.is_err());
    // A caller that gives up leaves the outcome open as well.
    let given_up = tokio::time::timeout(Duration::from_millis(100), add()).await;
    assert!(given_up.is_err());
    hush.store(false, Ordering::SeqCst);
    add().await.expect("the node answers again");
    let commands = commands(&node);
    let sessions: BTreeSet<_> = commands.iter().map(|(session, ..)| session).collect();
    assert_eq!(sessions.len(), 3, "each was left behind");
}

//! What happens when a node of the site fails, leaves or stays silent.

use std::time::{Duration, Instant};

use vivace_client::client_protocol::framing::SHARED_REQUESTS_MAX;
use vivace_client::client_protocol::{ClientRequest, Failure, Request};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, OperationError};

use crate::authority::Authority;
use crate::fake_node::{Action, FakeNode};
use crate::store::Store;

/// Two nodes of one cluster; the first behaves as told, except that it gives sessions.
async fn pair(
    first: impl Fn(&Store, &Request) -> Action + Send + Sync + 'static,
) -> (FakeNode, FakeNode, Store, Client) {
    let authority = Authority::new();
    let store = Store::default();
    let known = store.clone();
    let first = FakeNode::start(&authority, move |request| match request {
        Request::OpenSession => Action::Reply(known.answer(request)),
        request => first(&known, request),
    });
    let second = FakeNode::serving(&authority, &store);
    let config = authority
        .config(&[first.address, second.address])
        .timeout(Duration::from_secs(3));
    let client = Client::connect(config).await.expect("both serve us");
    (first, second, store, client)
}

fn executes(node: &FakeNode) -> Vec<ClientRequest> {
    let mut seen = node.seen();
    seen.retain(|request| matches!(request.request, Request::Execute { .. }));
    seen
}

fn number(request: &ClientRequest) -> (String, u64, bool) {
    match &request.request {
        Request::Execute {
            session,
            sequence,
            repeated,
            ..
        } => (format!("{session:?}"), *sequence, *repeated),
        other => panic!("{other:?} is no command"),
    }
}

#[tokio::test]
async fn a_read_goes_to_another_node_when_the_first_hangs_up() {
    let (first, second, _, client) = pair(|_, _| Action::HangUp).await;
    assert_eq!(client.container("c").rw("k").read().await, Ok(None));
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_write_whose_node_hangs_up_is_unknown_and_not_tried_again() {
    let (first, second, _, client) = pair(|_, _| Action::HangUp).await;
    let write = client.container("c").rw("k").write("v").await;
    assert!(
        matches!(write, Err(OperationError::Unknown { .. })),
        "{write:?}"
    );
    assert!(!write.expect_err("unknown").surely_not_applied());
    assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_write_that_surely_never_arrived_goes_to_another_node() {
    let authority = Authority::new();
    let first = FakeNode::stopping_requests(&authority);
    let second = FakeNode::serving(&authority, &Store::default());
    let config = authority.config(&[first.address, second.address]);
    let client = Client::connect(config).await.expect("both serve us");
    // More than the first node's window: it stops the request half way.
    let write = client.container("c").rw("k").write(vec![1; 100_000]).await;
    assert!(write.is_ok(), "{write:?}");
    assert_eq!((first.seen().len(), second.seen().len()), (0, 1));
}

#[tokio::test]
async fn half_a_request_is_reset_and_never_finished() {
    let authority = Authority::new();
    let node = FakeNode::reading_late(&authority, Duration::from_millis(500));
    let config = authority
        .config(&[node.address])
        .timeout(Duration::from_millis(300));
    let client = Client::connect(config).await.expect("it takes hellos");
    let write = client.container("c").rw("k").write(vec![1; 100_000]).await;
    let error = write.expect_err("the node does not read it in time");
    assert!(error.surely_not_applied(), "{error}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((node.halves(), node.seen().len()), (0, 0));
}

#[tokio::test]
async fn a_small_request_that_was_not_sent_by_its_deadline_never_sets_out() {
    let authority = Authority::new();
    let node = FakeNode::sharing_late(&authority, Duration::from_millis(600), false);
    let config = authority
        .config(&[node.address])
        .timeout(Duration::from_millis(300));
    let client = Client::connect(config).await.expect("it takes hellos");
    let object = client.container("c").rw("k");
    // More than the node's window, but it was handed to the connection as a whole.
    let first = tokio::spawn({
        let object = object.clone();
        async move { object.write(vec![1; 8_000]).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = object.write("v").await.expect_err("it does not leave");
    assert!(second.surely_not_applied(), "{second}");
    let first = first.await.expect("no panic").expect_err("no answer");
    assert!(matches!(first, OperationError::Unknown { .. }), "{first}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let seen: Vec<_> = node.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn half_a_small_request_goes_to_another_node_where_the_first_hangs_up() {
    let authority = Authority::new();
    let first = FakeNode::sharing_late(&authority, Duration::from_millis(300), true);
    let second = FakeNode::serving(&authority, &Store::default());
    let config = authority.config(&[first.address, second.address]);
    let client = Client::connect(config).await.expect("both serve us");
    // More than the first node's window, and behind it one that was not begun.
    let object = client.container("c").rw("k");
    let (half, queued) = tokio::join!(object.write(vec![1; 8_000]), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        object.write("v").await
    });
    assert!(half.is_ok() && queued.is_ok(), "{half:?}, {queued:?}");
    assert_eq!((first.seen().len(), second.seen().len()), (0, 2));
}

#[tokio::test]
async fn a_connection_whose_shared_stream_is_broken_is_made_anew() {
    let authority = Authority::new();
    let node = FakeNode::breaking_the_shared_stream(&authority, &Store::default());
    let client = Client::connect(authority.config(&[node.address]))
        .await
        .expect("it takes hellos");
    let object = client.container("c").rw("k");
    tokio::time::sleep(Duration::from_millis(100)).await;
    object.write("v").await.expect("on another connection");
    let read = object.read().await.expect("a read").expect("a value");
    assert_eq!(read.value, "v");
}

#[tokio::test]
async fn no_more_small_requests_set_out_than_a_node_reads() {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |_| Action::Silence);
    let config = authority
        .config(&[node.address])
        .timeout(Duration::from_secs(60));
    let client = Client::connect(config).await.expect("hellos are answered");
    let container = client.container("c");
    let mut under_way = tokio::task::JoinSet::new();
    for round in 0..2 {
        for n in 0..SHARED_REQUESTS_MAX {
            let object = container.rw(format!("k{round}-{n}"));
            under_way.spawn(async move { object.write("v").await });
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        // Their callers give up, and the node does not know of that.
        under_way.shutdown().await;
    }
    assert_eq!(node.seen().len(), SHARED_REQUESTS_MAX);
}

#[tokio::test]
async fn what_was_under_way_when_a_node_hangs_up_is_told_apart() {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |request| match request {
        Request::Write { .. } => Action::Silence,
        _ => Action::HangUp,
    });
    let config = authority
        .config(&[node.address])
        .timeout(Duration::from_millis(400));
    let client = Client::connect(config).await.expect("it serves us");
    let object = client.container("c").rw("k");
    let write = tokio::spawn({
        let object = object.clone();
        async move { object.write("v").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let read = object.read().await.expect_err("it hangs up");
    assert!(matches!(read, OperationError::Unavailable { .. }), "{read}");
    let write = write.await.expect("no panic").expect_err("no answer");
    assert!(matches!(write, OperationError::Unknown { .. }), "{write}");
}

#[tokio::test]
async fn writes_go_on_at_another_node_after_the_first_has_stopped() {
    let (first, second, _, client) = pair(|store, r| Action::Reply(store.answer(r))).await;
    let object = client.container("c").rw("k");
    object.write("v").await.expect("the first node serves");
    first.stop().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    object.write("w").await.expect("the second node serves");
    assert_eq!(second.seen().len(), 1);
}

#[tokio::test]
async fn a_command_repeated_elsewhere_keeps_its_session_and_sequence() {
    // The first node executes it, and hangs up before it answers.
    let (first, second, store, client) = pair(|store, request| {
        let _ = store.answer(request);
        Action::HangUp
    })
    .await;
    let visits = client.container("c").rmw::<Counter>("visits");
    assert_eq!(visits.execute(counter::Command::Add(5)).await, Ok(5));
    assert_eq!(store.executions(), 1, "it took effect once");
    let (sent, again) = (executes(&first), executes(&second));
    let (session, sequence, repeated) = number(&sent[0]);
    assert!(!repeated, "the first attempt is none");
    assert_eq!(number(&again[0]), (session, sequence, true));
}

/// A third of the deadline that these tests set.
const HEDGE: Duration = Duration::from_millis(333);

#[tokio::test]
async fn a_silent_node_is_hedged_for_reads_and_tried_last_from_then_on() {
    let (_first, second, _, client) = pair(|_, _| Action::Silence).await;
    let object = client
        .container("c")
        .deadline(Duration::from_secs(1))
        .rw("k");
    let start = Instant::now();
    assert_eq!(object.read().await, Ok(None));
    assert!(start.elapsed() >= HEDGE);
    let start = Instant::now();
    assert_eq!(object.read().await, Ok(None));
    assert!(
        start.elapsed() < HEDGE,
        "the silent node is not asked first again"
    );
    assert_eq!(second.seen().len(), 2);
}

#[tokio::test]
async fn a_silent_node_is_hedged_for_commands() {
    let (_first, second, store, client) = pair(|store, request| match request {
        Request::Execute { .. } => Action::Silence,
        request => Action::Reply(store.answer(request)),
    })
    .await;
    let container = client.container("c").deadline(Duration::from_secs(1));
    let visits = container.rmw::<Counter>("visits");
    assert_eq!(visits.execute(counter::Command::Add(1)).await, Ok(1));
    assert!(number(&executes(&second)[0]).2, "a hedge is a repetition");
    assert_eq!(store.executions(), 1);
}

#[tokio::test]
async fn a_silent_node_is_not_hedged_for_writes() {
    let (_first, second, _, client) = pair(|_, _| Action::Silence).await;
    let container = client.container("c").deadline(Duration::from_secs(1));
    let write = container.rw("k").write("v").await;
    assert!(matches!(write, Err(OperationError::Unknown { .. })));
    assert_eq!(
        second.seen().len(),
        0,
        "a second try would be a second write"
    );
}

#[tokio::test]
async fn a_first_answer_does_not_count_while_a_hedge_may_take_effect() {
    // The first node says "conflict" late and keeps no note of it; the hedge, under
    // way all the time, then takes effect.
    let authority = Authority::new();
    let store = Store::default();
    let (known, shared) = (store.clone(), store.clone());
    let first = FakeNode::start(&authority, move |request| match request {
        Request::Execute {
            repeated: false, ..
        } => {
            let reason = "not kept".to_owned();
            Action::ReplyAfter(
                Duration::from_millis(600),
                Err(Failure::Conflict { reason }),
            )
        }
        request => Action::Reply(known.answer(request)),
    });
    let second = FakeNode::start(&authority, move |request| match request {
        Request::Execute { .. } => {
            Action::ReplyAfter(Duration::from_millis(700), shared.answer(request))
        }
        request => Action::Reply(shared.answer(request)),
    });
    let config = authority
        .config(&[first.address, second.address])
        .timeout(Duration::from_millis(1500));
    let client = Client::connect(config).await.expect("both serve us");
    let visits = client.container("c").rmw::<Counter>("visits");
    assert_eq!(visits.execute(counter::Command::Add(1)).await, Ok(1));
    assert_eq!(store.executions(), 1);
}

#[tokio::test]
async fn a_leaving_node_hands_over_even_writes() {
    let busy = Failure::Busy {
        reason: "this node is stopping".into(),
    };
    let unavailable = Failure::Unavailable {
        reason: "this node is stopping".into(),
    };
    for leaving in [busy, unavailable] {
        let (first, second, _, client) =
            pair(move |_, _| Action::Reply(Err(leaving.clone()))).await;
        let object = client.container("c").rw("k");
        object.write("v").await.expect("the second node serves");
        object.write("w").await.expect("the second node serves");
        assert_eq!(second.seen().len(), 2);
        assert_eq!(first.seen().len(), 1, "it is not asked again at once");
    }
}

#[tokio::test]
async fn an_overloaded_node_is_not_escaped_from() {
    let busy = || Failure::Busy {
        reason: "backlog".into(),
    };
    let (first, second, _, client) = pair(move |_, _| Action::Reply(Err(busy()))).await;
    let write = client.container("c").rw("k").write("v").await;
    assert!(matches!(write, Err(OperationError::Busy { .. })));
    assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_refusal_beside_a_lost_attempt_leaves_a_command_unknown() {
    let authority = Authority::new();
    let busy = || Failure::Busy {
        reason: "backlog".into(),
    };
    // The first attempt is lost before the refusal of the second, or after it.
    for lost_after in [Duration::ZERO, Duration::from_millis(500)] {
        let store = Store::default();
        let first = FakeNode::start(&authority, move |request| match request {
            Request::OpenSession => Action::Reply(store.answer(request)),
            _ => Action::HangUpAfter(lost_after),
        });
        let second = FakeNode::start(&authority, move |_| Action::Reply(Err(busy())));
        let config = authority
            .config(&[first.address, second.address])
            .timeout(Duration::from_millis(900));
        let client = Client::connect(config).await.expect("both serve us");
        let counter = client.container("c").rmw::<Counter>("k");
        let execute = counter.execute(counter::Command::Add(1)).await;
        assert!(
            matches!(execute, Err(OperationError::Unknown { .. })),
            "{execute:?}"
        );
        assert!(!executes(&second).is_empty());
    }
}

#[tokio::test]
async fn a_lost_command_is_asked_for_until_its_fate_is_known() {
    let refusals = std::sync::atomic::AtomicU32::new(2);
    let authority = Authority::new();
    let store = Store::default();
    let (known, shared) = (store.clone(), store.clone());
    let first = FakeNode::start(&authority, move |request| match request {
        Request::OpenSession => Action::Reply(known.answer(request)),
        Request::Execute {
            repeated: false, ..
        } => Action::HangUp,
        _ => Action::Silence,
    });
    let second = FakeNode::start(&authority, move |request| {
        use std::sync::atomic::Ordering::SeqCst;
        let left = refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        Action::Reply(match left {
            Ok(_) => Err(Failure::Busy {
                reason: "backlog".into(),
            }),
            Err(_) => shared.answer(request),
        })
    });
    let config = authority.config(&[first.address, second.address]);
    let client = Client::connect(config).await.expect("both serve us");
    let visits = client.container("c").rmw::<Counter>("visits");
    assert_eq!(visits.execute(counter::Command::Add(1)).await, Ok(1));
    assert_eq!(store.executions(), 1);
}

#[tokio::test]
async fn a_dead_preferred_node_costs_a_head_start_and_no_more() {
    let authority = Authority::new();
    let store = Store::default();
    let first = FakeNode::serving(&authority, &store);
    let second = FakeNode::serving(&authority, &store);
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = nowhere.local_addr().expect("it is bound");
    let config = authority.config(&[dead, first.address, second.address]);
    let start = Instant::now();
    let client = Client::connect(config).await.expect("one serves us");
    assert!(start.elapsed() < Duration::from_secs(2));
    let object = client.container("c").rw("k");
    for _ in 0..20 {
        object.read().await.expect("a live node serves at once");
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!((first.seen().len(), second.seen().len()), (20, 0));
}

#[tokio::test]
async fn the_preferred_node_is_used_again_once_it_is_back() {
    let leaves = std::sync::atomic::AtomicBool::new(true);
    let (first, second, _, client) = pair(move |store, request| {
        if leaves.swap(false, std::sync::atomic::Ordering::SeqCst) {
            let reason = "this node is stopping".into();
            return Action::Reply(Err(Failure::Busy { reason }));
        }
        Action::Reply(store.answer(request))
    })
    .await;
    let object = client.container("c").rw("k");
    object.read().await.expect("the second node serves");
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    let start = Instant::now();
    while first.seen().len() == 1 && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        object.read().await.expect("one of them serves");
    }
    assert!(first.seen().len() > 1);
    assert!(start.elapsed() >= Duration::from_millis(400), "not at once");
}

#[tokio::test]
async fn no_node_at_all_is_unavailable_with_each_ones_cause() {
    let (first, second, _, client) = pair(|store, r| Action::Reply(store.answer(r))).await;
    let address = first.address.to_string();
    first.stop().await;
    second.stop().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let object = client.container("c").rw("k");
    let error = object.write("v").await.expect_err("nobody is there");
    assert!(error.surely_not_applied());
    assert!(error.to_string().contains(&address), "{error}");
}

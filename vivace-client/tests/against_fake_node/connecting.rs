//! Why a client can't connect, in words that name the cause.

use std::sync::Arc;
use std::time::Duration;

use vivace_client::{Client, ClientConfig, ConnectError, NodeError};

use crate::authority::{Authority, CLUSTER};
use crate::fake_node::{Action, FakeNode, Port};
use crate::store::Store;

async fn cause(config: ClientConfig) -> NodeError {
    match Client::connect(config.timeout(Duration::from_secs(4))).await {
        Err(ConnectError::NoNode(mut causes)) => causes.remove(0).1,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it must not connect"),
    }
}

#[tokio::test]
async fn another_authority_is_named() {
    let node = FakeNode::serving(&Authority::new(), &Store::default());
    // Of the same name with another key, and of another name.
    for stranger in [Authority::new(), Authority::named("a stranger")] {
        let cause = cause(stranger.config(&[node.address])).await;
        assert_eq!(cause, NodeError::OtherAuthority);
    }
}

#[tokio::test]
async fn another_cluster_is_named() {
    let authority = Authority::new();
    let identity = authority.node("elsewhere");
    let silence = Arc::new(|_: &_| Action::Silence);
    let node = FakeNode::start_as(&authority, &identity, silence, Port::Open);
    let cause = cause(authority.config(&[node.address])).await;
    assert!(
        matches!(&cause, NodeError::OtherCluster { cluster, .. } if cluster == CLUSTER),
        "{cause:?}"
    );
}

#[tokio::test]
async fn a_certificate_that_the_node_refuses_is_named() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let stranger = Authority::new().client();
    let mut config = authority.config(&[node.address]);
    config.key = Arc::new(stranger.key());
    config.certificates = vec![stranger.certificate];
    let cause = cause(config).await;
    assert!(
        matches!(cause, NodeError::CertificateRefused { .. }),
        "{cause:?}"
    );
}

#[tokio::test]
async fn a_node_that_closes_the_connection_is_heard_on_why() {
    let authority = Authority::new();
    let refusing = FakeNode::closing(&authority, 1);
    let why = cause(authority.config(&[refusing.address])).await;
    assert!(
        matches!(why, NodeError::CertificateRefused { .. }),
        "{why:?}"
    );
    let stopping = FakeNode::closing(&authority, 2);
    let why = cause(authority.config(&[stopping.address])).await;
    assert_eq!(why, NodeError::Leaving);
}

#[tokio::test]
async fn a_port_without_a_node_is_named() {
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = nowhere.local_addr().expect("it is bound");
    let cause = cause(Authority::new().config(&[dead])).await;
    assert!(matches!(cause, NodeError::NoAnswer { .. }), "{cause:?}");
}

#[tokio::test]
async fn key_and_certificate_must_belong_together() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let mut config = authority.config(&[node.address]);
    config.key = Arc::new(authority.client().key());
    match Client::connect(config).await {
        Err(ConnectError::Config(error)) => assert_eq!(error.field, "certificate"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it must not connect"),
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_by_field() {
    type Change = fn(&mut ClientConfig);
    let authority = Authority::new();
    let address = "127.0.0.1:7003".parse().expect("an address");
    let good = || authority.config(&[address]);
    let with = |change: Change| {
        let mut config = good();
        change(&mut config);
        config
    };
    assert_eq!(good().check(), Ok(()));
    let cases: [(Change, &str); 8] = [
        (|config| config.cluster.clear(), "cluster"),
        (|config| config.cluster = "Prod.EU".into(), "cluster"),
        (|config| config.nodes.clear(), "nodes"),
        (|config| config.nodes[0].set_port(0), "nodes"),
        (|config| config.nodes.push(config.nodes[0]), "nodes"),
        (|config| config.timeout = Duration::ZERO, "timeout"),
        (|config| config.value_bytes_max = 0, "value_bytes_max"),
        (
            |config| config.value_bytes_max = usize::MAX,
            "value_bytes_max",
        ),
    ];
    for (change, field) in cases {
        let error = with(change).check().expect_err(field);
        assert_eq!(error.field, field);
    }
}

#[tokio::test]
async fn every_node_shows_in_the_statuses_down_ones_too() {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::default());
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = nowhere.local_addr().expect("it is bound");
    let config = authority.config(&[node.address, dead]);
    let client = Client::connect(config).await.expect("one serves us");
    let statuses = client.statuses().await;
    assert_eq!(statuses[0].0, node.address);
    assert_eq!(statuses[0].1.as_ref().map(|s| s.site.as_str()), Ok("here"));
    assert_eq!(statuses[1].0, dead);
    assert!(statuses[1].1.is_err());
}

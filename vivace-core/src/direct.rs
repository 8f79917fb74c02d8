//! Writes that store timestamp and value at once, where the members of the one local set are
//! the replicas ([`Cluster::is_one_place`](crate::cluster::Cluster::is_one_place)).

use crate::call::Call;
use crate::cluster::Container;
use crate::env::Env;
use crate::key::Key;
use crate::message::{BulkBody, BulkMessage, RpcId};
use crate::outbox::{Lsn, Message};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// Whether this node's writes are direct. One that is no replica could not look after what it
/// sent, and takes the way through the local set.
pub fn is_allowed(env: &Env, container: &Container) -> bool {
    container.direct_writes
        && container.replicas.contains(&env.me)
        && env.cluster.is_one_place(container)
}

/// W-REMOTE to all replicas, as a call of its own, not before `lsn` is durable. A replica of an
/// RMW object takes it for OW-TS, too. Where this node is one of them, it looks after the value
/// until all have it.
pub fn store(
    env: &mut Env,
    container: &Container,
    rpc: RpcId,
    (key, ts): (&Key, Timestamp),
    value: Value,
    lsn: Lsn,
) -> Call {
    let message = Message::Bulk(BulkMessage {
        rpc,
        epoch: container.epoch,
        body: BulkBody::WriteRemote {
            key: key.clone(),
            ts,
            propagator: env.me,
            relay: Vec::new(),
            value,
        },
    });
    Call::start(env, rpc, &container.replicas, message, lsn)
}

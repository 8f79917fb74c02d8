//! What a whole fake cluster knows and answers, and a node's status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use vivace_client::client_protocol::{
    ClientReply, Failure, ListedKey, LostKey, Request, SessionId, Success,
};
use vivace_client::machine::{ApplyError, Machines};
use vivace_client::status::{
    BacklogStatus, ClockStatus, ContainerStatus, LinkStatus, NodeStatus, OperationCounts,
    PeerStatus,
};
use vivace_client::{Blob, KeyName, Timestamp};
use vivace_core::Value;

use crate::authority::CLUSTER;

/// What a whole fake cluster knows.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    time: u64,
    values: BTreeMap<Vec<u8>, (Timestamp, Value)>,
    states: BTreeMap<Vec<u8>, Blob>,
    results: BTreeMap<(Vec<u8>, SessionId), (u64, ClientReply)>,
    executions: u64,
    lost: Vec<KeyName>,
}

impl Contents {
    fn tick(&mut self) -> Timestamp {
        self.time += 1;
        Timestamp {
            time: self.time,
            ..Timestamp::ZERO
        }
    }

    /// One key a page, as a cluster with many of them has it.
    fn lost_after(&self, after: Option<&KeyName>) -> Success {
        let mut left = self
            .lost
            .iter()
            .filter(|name| after.is_none_or(|a| *name > a));
        let page = left.next().map(|key| LostKey {
            key: key.clone(),
            ts: Timestamp {
                time: 7,
                ..Timestamp::ZERO
            },
            site: "there".into(),
            best: None,
        });
        Success::Lost {
            more: left.next().and(page.as_ref()).map(|lost| lost.key.clone()),
            keys: page.into_iter().collect(),
            silent: vec![3],
        }
    }

    /// Two keys a page, as a cluster with many of them has it.
    fn listed_after(&self, container: &str, after: Option<&KeyName>) -> Success {
        let prefix = format!("{container}/");
        let names = self.values.keys().chain(self.states.keys());
        let names = names.filter_map(|name| name.strip_prefix(prefix.as_bytes()));
        let names = names.map(|name| KeyName::new(name).expect("a name"));
        let names: BTreeSet<KeyName> = names.filter(|n| after.is_none_or(|a| n > a)).collect();
        let page: Vec<ListedKey> = names
            .iter()
            .take(2)
            .map(|key| ListedKey {
                key: key.clone(),
                ts: Timestamp::ZERO,
            })
            .collect();
        Success::Objects {
            more: page
                .last()
                .filter(|_| names.len() > 2)
                .map(|last| last.key.clone()),
            keys: page,
        }
    }

    fn execute(&mut self, key: &[u8], machine: &str, command: &Blob) -> ClientReply {
        let applied = Machines::builtin()
            .apply(machine, self.states.get(key), command)
            .ok_or_else(|| Failure::Invalid {
                field: "machine".into(),
                reason: "is not known".into(),
            })?;
        match applied {
            Ok(applied) => {
                self.executions += 1;
                self.states.insert(key.to_vec(), applied.state);
                Ok(Success::Executed {
                    output: applied.output,
                })
            }
            Err(ApplyError::Conflict(conflict)) => Err(Failure::Conflict { reason: conflict.0 }),
            Err(error) => Err(Failure::Invalid {
                field: "command".into(),
                reason: error.to_string(),
            }),
        }
    }
}

impl Store {
    /// A store whose newest values of these keys are lost.
    pub fn losing(keys: &[&'static str]) -> Self {
        let store = Self::default();
        let names = keys.iter().map(|key| KeyName::new(*key).expect("a name"));
        store.0.lock().expect("no test panics in it").lost = names.collect();
        store
    }

    /// How many commands took effect.
    pub fn executions(&self) -> u64 {
        self.0.lock().expect("no test panics in it").executions
    }

    /// Answers as a well-behaved cluster does.
    pub fn answer(&self, request: &Request) -> ClientReply {
        let object = object(request);
        let mut contents = self.0.lock().expect("no test panics in it");
        match request {
            Request::Read { .. } => Ok(match contents.values.get(&object) {
                Some((ts, Value::Bytes(value))) => Success::Value {
                    ts: *ts,
                    value: value.clone(),
                },
                Some((_, Value::Tombstone)) | None => Success::NotFound,
            }),
            Request::Write { value, .. } => {
                let ts = contents.tick();
                let written = (ts, value.clone());
                contents.values.insert(object, written);
                Ok(Success::Written { ts })
            }
            Request::Execute {
                machine,
                session,
                sequence,
                command,
                ..
            } => {
                let place = (object.clone(), *session);
                if let Some((last, result)) = contents.results.get(&place)
                    && last == sequence
                {
                    return result.clone();
                }
                let result = contents.execute(&object, machine, command);
                contents.results.insert(place, (*sequence, result.clone()));
                result
            }
            Request::ReadState { .. } => Ok(Success::State {
                state: contents.states.get(&object).cloned(),
            }),
            Request::OpenSession => Ok(Success::Session(SessionId(contents.tick()))),
            Request::Status => Ok(Success::Status(Box::new(status()))),
            Request::FindLost { after, .. } => Ok(contents.lost_after(after.as_ref())),
            Request::AcceptLoss { key, .. } => {
                contents.lost.retain(|lost| lost != key);
                Ok(Success::LossAccepted)
            }
            Request::ListObjects {
                container, after, ..
            } => Ok(contents.listed_after(container, after.as_ref())),
            Request::CopyObject { .. } => {
                let value = contents.values.get(&object).map(|(_, value)| value.clone());
                let state = || contents.states.get(&object).cloned().map(Value::Bytes);
                let value = value.or_else(state).unwrap_or(Value::Tombstone);
                Ok(Success::Copied { value })
            }
            Request::RestoreObject { object: state, .. } => {
                contents.states.insert(object, state.clone());
                Ok(Success::Restored)
            }
        }
    }
}

/// The object's container and key; nothing where the request is for none.
fn object(request: &Request) -> Vec<u8> {
    match request {
        Request::Read { container, key }
        | Request::Write { container, key, .. }
        | Request::Execute { container, key, .. }
        | Request::ReadState { container, key, .. }
        | Request::AcceptLoss { container, key, .. }
        | Request::CopyObject { container, key, .. }
        | Request::RestoreObject { container, key, .. } => {
            [container.as_bytes(), b"/", key.as_bytes()].concat()
        }
        Request::OpenSession
        | Request::Status
        | Request::FindLost { .. }
        | Request::ListObjects { .. } => Vec::new(),
    }
}

pub fn status() -> NodeStatus {
    NodeStatus {
        cluster: CLUSTER.into(),
        node: 1,
        site: "here".into(),
        incarnation: 3,
        uptime_s: 61,
        storage: "memory".into(),
        value_bytes_max: 16 << 20,
        clock: ClockStatus {
            mode: "query".into(),
            error_us: None,
            error_max_us: 10_000,
            mode_changes: 0,
        },
        peers: vec![PeerStatus {
            node: 2,
            site: "there".into(),
            priority: link(46, Some(0)),
            bulk: link(0, Some(0)),
        }],
        containers: ["rw", "rmw"].map(container).to_vec(),
        operations: OperationCounts::default(),
        backlog: BacklogStatus::default(),
        refusals: Vec::new(),
        warnings: Vec::new(),
    }
}

fn link(dscp_sent: u8, dscp_seen: Option<u8>) -> LinkStatus {
    LinkStatus {
        up: true,
        rtt_us: Some(93_000),
        dscp_sent,
        dscp_seen_by_peer: dscp_seen,
        dscp_seen_here: Some(dscp_sent),
        ..LinkStatus::default()
    }
}

fn container(kind: &str) -> ContainerStatus {
    ContainerStatus {
        name: format!("some-{kind}"),
        kind: kind.into(),
        epoch: 0,
        replicas: vec![1, 2, 3],
        local_set: vec![1],
        objects: 0,
    }
}

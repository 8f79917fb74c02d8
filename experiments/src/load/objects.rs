//! One client's object, whatever the store, and operations on it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::drawn::Drawn;
use super::etcd_gateway::Gateway;
use super::etcd_kv::EtcdKey;
use super::twitter::TwitterUser;
use crate::step::Operation;
use crate::workload::{STALE, Workload};

/// A failure: what it is counted as, and all that was said.
pub type Failure = (String, String);

/// One client's object.
pub enum Object {
    /// Vivace's.
    Vivace(Workload),
    /// etcd's.
    Etcd(EtcdObject),
    /// etcd's, over gRPC.
    EtcdKey(EtcdKey),
    /// Vivace's, another one for each operation.
    Drawn(Drawn),
    /// A user of the Twitter clone.
    Twitter(TwitterUser),
    /// Several, of which each operation takes the next.
    InTurn(VecDeque<Object>),
}

impl Object {
    /// Writes it for the first time.
    pub async fn prepare(&mut self) -> Result<(), Failure> {
        match self {
            Self::Vivace(object) => object
                .prepare()
                .await
                .map_err(|error| (crate::workload::cause(&error).to_owned(), error.to_string())),
            Self::Etcd(object) => object.write().await,
            Self::EtcdKey(object) => object.prepare().await,
            // All were written before.
            Self::Drawn(_) => Ok(()),
            Self::Twitter(user) => user.prepare().await,
            Self::InTurn(objects) => {
                for object in objects {
                    Box::pin(object.prepare()).await?;
                }
                Ok(())
            }
        }
    }

    /// Does one operation.
    pub async fn operate(&mut self, operation: Operation) -> Result<(), Failure> {
        let named = |cause: String| (cause.clone(), cause);
        match (self, operation) {
            (Self::Vivace(object), Operation::Read) => object.read().await.map_err(named),
            (Self::Vivace(object), Operation::Write | Operation::Execute) => {
                object.change().await.map_err(named)
            }
            (Self::Etcd(object), Operation::Read) => object.read().await,
            (Self::Etcd(object), Operation::Write) => object.write().await,
            (Self::EtcdKey(object), Operation::Read) => object.read().await,
            (Self::EtcdKey(object), Operation::Write) => object.write().await,
            (Self::EtcdKey(object), Operation::Execute) => object.execute().await,
            (Self::Drawn(objects), operation) => objects.operate(operation).await,
            (Self::Twitter(user), operation) => user.operate(operation).await,
            (Self::InTurn(objects), operation) => {
                objects.rotate_left(1);
                match objects.front_mut() {
                    Some(object) => Box::pin(object.operate(operation)).await,
                    None => Err(named("no objects".to_owned())),
                }
            }
            (_, other) => Err(named(format!("no {} here", other.id()))),
        }
    }
}

/// A key of etcd that one client writes and reads; each value begins with its turn.
pub struct EtcdObject {
    gateway: Gateway,
    key: String,
    deadline: Duration,
    body: Vec<u8>,
    turn: u64,
    acknowledged: u64,
}

impl EtcdObject {
    /// One of `bytes` bytes, content from `seed`, by way of the member at `url`.
    pub fn new(url: &str, key: &str, deadline: Duration, bytes: usize, seed: u64) -> Self {
        let mut body = vec![0; bytes - size_of::<u64>()];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut body);
        Self {
            gateway: Gateway::new(url),
            key: key.to_owned(),
            deadline,
            body,
            turn: 0,
            acknowledged: 0,
        }
    }

    /// Puts its next value.
    pub async fn write(&mut self) -> Result<(), Failure> {
        self.turn += 1;
        let mut value = BytesMut::with_capacity(size_of::<u64>() + self.body.len());
        value.put_u64(self.turn);
        value.put_slice(&self.body);
        let put = self.gateway.put(&self.key, &value, self.deadline).await;
        put.map_err(|error| (error.cause, error.said))?;
        self.acknowledged = self.turn;
        Ok(())
    }

    /// Reads it, and sees that it is the last one that was acknowledged, or a later one.
    pub async fn read(&mut self) -> Result<(), Failure> {
        let read = self.gateway.get(&self.key, self.deadline).await;
        let value = read.map_err(|error| (error.cause, error.said))?;
        let turn = value
            .as_ref()
            .and_then(|value| value.split_first_chunk())
            .filter(|(_, body)| *body == self.body)
            .map(|(turn, _)| u64::from_be_bytes(*turn));
        match turn {
            Some(turn) if (self.acknowledged..=self.turn).contains(&turn) => Ok(()),
            other => Err((
                STALE.to_owned(),
                format!("read {other:?}, acknowledged {}", self.acknowledged),
            )),
        }
    }
}

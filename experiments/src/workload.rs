//! The operations that a row consists of, each checked for what it must yield.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vivace_client::machine::builtin::{Map, map};
use vivace_client::{Client, OperationError, Rmw, Rw};

/// Object sizes in bytes: room for a turn's number and some content, up to 1 MiB.
pub const OBJECT_BYTES_MIN: usize = 64;
/// See [`OBJECT_BYTES_MIN`].
pub const OBJECT_BYTES_MAX: usize = 1 << 20;

/// The field of an RMW object that every command replaces: 8 bytes.
const TURN_FIELD: &str = "turn";

/// The field that makes an RMW object as long as it shall be.
const BODY_FIELD: &str = "body";

/// Bytes of a map's encoding beside its body: two names, two lengths, the turn.
const MAP_BYTES_BESIDE_BODY: usize = 24;

/// What the RMW rows' commands do, in words, for the settings.
pub const MACHINE_IN_WORDS: &str =
    "map: a command replaces one field of 8 bytes beside one that fills the object";

/// What a failed operation is counted as, beside the client's own outcomes: a read
/// that missed an acknowledged write.
pub const STALE: &str = "stale";

/// One object, and operations on it one at a time.
pub struct Workload {
    object: Object,
    body: Bytes,
    /// The last write that was begun.
    turn: u64,
    /// The last write that was acknowledged.
    acknowledged: u64,
}

enum Object {
    Value(Rw),
    Map(Rmw<Map>),
}

impl Workload {
    /// An RW object of `bytes` bytes, content from `seed`.
    pub fn value(
        client: &Client,
        container: &str,
        key: &str,
        deadline: Duration,
        bytes: usize,
        seed: u64,
    ) -> Self {
        let object = client.container(container).deadline(deadline);
        let object = object.rw(key.to_owned());
        Self::new(Object::Value(object), bytes - size_of::<u64>(), seed)
    }

    /// An RMW object, a [`Map`] of about `bytes` bytes, content from `seed`.
    pub fn map(
        client: &Client,
        container: &str,
        key: &str,
        deadline: Duration,
        bytes: usize,
        seed: u64,
    ) -> Self {
        let object = client.container(container).deadline(deadline);
        let object = object.rmw(key.to_owned());
        Self::new(Object::Map(object), bytes - MAP_BYTES_BESIDE_BODY, seed)
    }

    fn new(object: Object, body_bytes: usize, seed: u64) -> Self {
        let mut body = vec![0; body_bytes];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut body);
        Self {
            object,
            body: body.into(),
            turn: 0,
            acknowledged: 0,
        }
    }

    /// Writes the object in full for the first time.
    ///
    /// # Errors
    /// The first operation without a result.
    pub async fn prepare(&mut self) -> Result<(), OperationError> {
        if let Object::Map(object) = &self.object {
            let value = self.body.to_vec().into();
            object
                .execute(map::Command::Put {
                    field: BODY_FIELD.to_owned(),
                    value,
                })
                .await?;
        }
        self.try_change().await
    }

    /// Writes, or executes a command.
    ///
    /// # Errors
    /// The failure's cause, in a word.
    pub async fn change(&mut self) -> Result<(), String> {
        self.try_change()
            .await
            .map_err(|error| cause(&error).to_owned())
    }

    async fn try_change(&mut self) -> Result<(), OperationError> {
        self.turn += 1;
        match &self.object {
            Object::Value(object) => {
                let mut value = BytesMut::with_capacity(size_of::<u64>() + self.body.len());
                value.put_u64(self.turn);
                value.put_slice(&self.body);
                object.write(value).await?;
            }
            Object::Map(object) => {
                let value = self.turn.to_be_bytes().to_vec().into();
                object
                    .execute(map::Command::Put {
                        field: TURN_FIELD.to_owned(),
                        value,
                    })
                    .await?;
            }
        }
        self.acknowledged = self.turn;
        Ok(())
    }

    /// Reads.
    ///
    /// # Errors
    /// The failure's cause, in a word; [`STALE`] where the object is not what the
    /// last acknowledged change left, or a later one that may have taken effect.
    pub async fn read(&mut self) -> Result<(), String> {
        let seen = self
            .seen()
            .await
            .map_err(|error| cause(&error).to_owned())?;
        match seen {
            Some(turn) if (self.acknowledged..=self.turn).contains(&turn) => Ok(()),
            Some(_) | None => Err(STALE.to_owned()),
        }
    }

    /// The turn that the object holds now; none where it holds anything else.
    async fn seen(&self) -> Result<Option<u64>, OperationError> {
        match &self.object {
            Object::Value(object) => {
                let Some(read) = object.read().await? else {
                    return Ok(None);
                };
                let turn = read
                    .value
                    .first_chunk()
                    .map(|turn| u64::from_be_bytes(*turn));
                Ok(turn.filter(|_| read.value[size_of::<u64>()..] == self.body))
            }
            Object::Map(object) => {
                let Some(read) = object.read().await? else {
                    return Ok(None);
                };
                let same = read.get(BODY_FIELD).is_some_and(|body| body.0 == self.body);
                let turn = read
                    .get(TURN_FIELD)
                    .and_then(|turn| turn.0[..].try_into().ok());
                Ok(turn.map(u64::from_be_bytes).filter(|_| same))
            }
        }
    }
}

/// What a failure is counted as.
pub(crate) fn cause(error: &OperationError) -> &'static str {
    match error {
        OperationError::Conflict { .. } => "conflict",
        OperationError::Busy { .. } => "busy",
        OperationError::Unavailable { .. } => "unavailable",
        OperationError::Unknown { .. } => "unknown",
        OperationError::Invalid { .. } => "invalid",
        // The enum may grow; an outcome that we can't name is not known to us.
        _ => "unknown",
    }
}

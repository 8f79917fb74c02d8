//! What a backup asks of nodes.

use vivace_core::client_protocol::{ListedKey, Request, Success};
use vivace_core::{Blob, Durability, KeyName, Timestamp, Value};

use crate::client::{Container, unfitting};
use crate::dispatch::{Effect, Ended};
use crate::error::OperationError;

/// Objects named in one answer.
const PAGE_KEYS: u16 = 256;

impl Container {
    /// Objects after `after`, and after which the next page begins.
    pub(super) async fn list(
        &self,
        after: Option<KeyName>,
    ) -> Result<(Vec<ListedKey>, Option<KeyName>), OperationError> {
        let deadline = self.client().deadline(self.patience())?;
        let request = Request::ListObjects {
            container: self.name().to_owned(),
            after,
            limit: PAGE_KEYS,
        };
        match self.client().read(request, deadline).await? {
            Success::Objects { keys, more } => Ok((keys, more)),
            other => Err(unfitting(Effect::Read, &other)),
        }
    }

    /// An object as a whole.
    pub(super) async fn copy(
        &self,
        key: KeyName,
        at_least: Timestamp,
    ) -> Result<Value, OperationError> {
        let deadline = self.client().deadline(self.patience())?;
        let request = Request::CopyObject {
            container: self.name().to_owned(),
            key,
            at_least,
        };
        match self.client().read(request, deadline).await? {
            Success::Copied { value } => Ok(value),
            other => Err(unfitting(Effect::Read, &other)),
        }
    }

    /// Makes an RMW object what a copy of it was.
    pub(super) async fn put_object(
        &self,
        key: KeyName,
        object: Blob,
        durability: Option<Durability>,
    ) -> Result<(), OperationError> {
        self.put(Request::RestoreObject {
            container: self.name().to_owned(),
            key,
            object,
            durability,
        })
        .await
    }

    /// Writes an RW object.
    pub(super) async fn put_value(
        &self,
        key: KeyName,
        value: Blob,
        durability: Option<Durability>,
    ) -> Result<(), OperationError> {
        self.put(Request::Write {
            container: self.name().to_owned(),
            key,
            value: Value::Bytes(value),
            durability,
        })
        .await
    }

    async fn put(&self, request: Request) -> Result<(), OperationError> {
        let deadline = self.client().deadline(self.patience())?;
        let performed = self.client().perform(request, deadline, Effect::Write);
        match performed.await {
            Ok(Success::Written { .. } | Success::Restored) => Ok(()),
            Ok(other) => Err(unfitting(Effect::Write, &other)),
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::SessionForgotten) => Err(OperationError::unknown("an answer out of place")),
        }
    }
}

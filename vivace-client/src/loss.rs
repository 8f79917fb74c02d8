//! Objects whose newest value went with a site that is gone.

use vivace_core::client_protocol::{LostKey, Request, Success};

use crate::client::{Container, unfitting};
use crate::dispatch::{Effect, Ended};
use crate::error::OperationError;

/// Keys asked for at once.
const PAGE_KEYS: u16 = 256;

/// What a listing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The objects, in order of their names.
    pub keys: Vec<LostKey>,
    /// Nodes that did not say what they hold: with them, values may come back.
    pub silent: Vec<u16>,
}

impl Container {
    /// The objects whose newest value is known, and nowhere to be had: the site where it
    /// was written is gone, and it had not left it. Costs a walk through the container at
    /// every replica; each page of 256 keys takes up to the deadline.
    ///
    /// # Errors
    /// [`OperationError`], never `Conflict` or `Unknown`.
    pub async fn losses(&self) -> Result<Losses, OperationError> {
        let (mut losses, mut after) = (Losses::default(), None);
        loop {
            let deadline = self.client().deadline(self.patience())?;
            let request = Request::FindLost {
                container: self.name().to_owned(),
                after,
                limit: PAGE_KEYS,
            };
            match self.client().read(request, deadline).await? {
                Success::Lost { keys, silent, more } => {
                    losses.keys.extend(keys);
                    for node in silent {
                        if !losses.silent.contains(&node) {
                            losses.silent.push(node);
                        }
                    }
                    if more.is_none() {
                        return Ok(losses);
                    }
                    after = more;
                }
                other => return Err(unfitting(Effect::Read, &other)),
            }
        }
    }

    /// Gives up the newest value of an object, where nobody holds it: the best version
    /// that is left becomes the newest, or none where there is none. Nothing brings the
    /// lost value back after that, not even the return of its site. The node's log keeps
    /// what was given up, and the address that asked.
    ///
    /// # Errors
    /// [`OperationError`]; `Conflict` where the value can be had after all, or where a
    /// newer one than that is known by now.
    pub async fn accept_loss(&self, lost: &LostKey) -> Result<(), OperationError> {
        let deadline = self.client().deadline(self.patience())?;
        let request = Request::AcceptLoss {
            container: self.name().to_owned(),
            key: lost.key.clone(),
            ts: lost.ts,
        };
        match self
            .client()
            .perform(request, deadline, Effect::Write)
            .await
        {
            Ok(Success::Written { .. } | Success::LossAccepted) => Ok(()),
            Ok(other) => Err(unfitting(Effect::Write, &other)),
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::SessionForgotten) => Err(OperationError::unknown("an answer out of place")),
        }
    }
}

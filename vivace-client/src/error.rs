//! What an operation hears instead of a result (DESIGN: outcomes).

use vivace_core::client_protocol::Failure;

/// Why an operation has no result, and whether it may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The command's condition does not hold (a compare-and-swap failed). Not
    /// applied; asking again without reading first hears the same.
    #[error("conflict: {reason}")]
    Conflict {
        /// What the command found instead.
        reason: String,
    },
    /// Overload or backlog. Surely not applied; safe to try again, later.
    #[error("busy: {reason}")]
    Busy {
        /// Which bound was met.
        reason: String,
    },
    /// No node, or no majority of them, answered by the deadline. Surely not
    /// applied; safe to try again.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Who did not answer.
        reason: String,
    },
    /// No answer that tells. May have been applied, or may yet be. A command can be
    /// asked for again ([`Prepared::run`](crate::Prepared::run)); a write can't:
    /// read, and decide.
    #[error("unknown outcome: {reason}")]
    Unknown {
        /// What was awaited.
        reason: String,
    },
    /// Nobody can carry out this request. Surely not applied; it has to be changed.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What would be right.
        reason: String,
    },
}

impl OperationError {
    /// Whether the operation had no effect, and never will. False only for
    /// [`OperationError::Unknown`].
    pub fn surely_not_applied(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::Busy { .. }
            | Self::Unavailable { .. }
            | Self::Invalid { .. } => true,
            Self::Unknown { .. } => false,
        }
    }

    /// Whether the same operation may succeed later, and doing it again is safe.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Unavailable { .. } => true,
            Self::Conflict { .. } | Self::Unknown { .. } | Self::Invalid { .. } => false,
        }
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
        }
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    pub(crate) fn invalid(field: &str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<Failure> for OperationError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict { reason } => Self::Conflict { reason },
            Failure::Busy { reason } => Self::Busy { reason },
            Failure::Unavailable { reason } => Self::Unavailable { reason },
            Failure::Unknown { reason } => Self::Unknown { reason },
            Failure::Invalid { field, reason } => Self::Invalid { field, reason },
            // A command's session is renewed, or its outcome unknown, before this.
            Failure::SessionForgotten => Self::unknown(failure.to_string()),
        }
    }
}

//! Sessions: what makes a repeated command take effect once.

use std::sync::{Arc, Mutex, PoisonError};

use vivace_core::client_protocol::SessionId;

use crate::client::OPERATIONS_IN_FLIGHT_MAX;

/// The most idle sessions that a client keeps: as many as it can use at once.
const SESSIONS_IDLE_MAX: usize = OPERATIONS_IN_FLIGHT_MAX;

/// A session, and the number of its next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) sequence: u64,
}

impl Session {
    pub(crate) fn new(id: SessionId) -> Self {
        Self { id, sequence: 1 }
    }
}

/// The sessions that wait for a command, the last used on top: the fewer are in
/// use, the fewer an object has to remember.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Vec<Session>>>);

impl Sessions {
    /// Takes a session out: it has one command in flight at a time.
    pub(crate) fn take(&self) -> Option<Session> {
        self.idle().pop()
    }

    /// Puts a session back whose last command is surely over.
    pub(crate) fn put_back(&self, session: Session) {
        let mut idle = self.idle();
        if idle.len() < SESSIONS_IDLE_MAX {
            idle.push(Session {
                sequence: session.sequence + 1,
                ..session
            });
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

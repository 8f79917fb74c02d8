//! Where the answer to a request goes.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use vivace_core::client_protocol::{ClientReply, Failure, Request, STOPPING_REASON};

/// Takes the answer to one request. Dropped without one, it says that the node stopped.
#[derive(Debug)]
pub struct Answer {
    to: Option<To>,
    /// Whether the request may have changed something.
    changes: bool,
}

#[derive(Debug)]
enum To {
    Once(oneshot::Sender<ClientReply>),
    Shared {
        number: u32,
        place: OwnedSemaphorePermit,
        replies: mpsc::UnboundedSender<SharedReply>,
    },
}

/// A reply that shares a stream with others.
pub(super) struct SharedReply {
    /// Its request's number.
    pub(super) number: u32,
    pub(super) reply: ClientReply,
    /// Its place among those under way on its connection, until it is written.
    pub(super) place: OwnedSemaphorePermit,
}

impl Answer {
    /// An answer to `request` that the receiver hears.
    pub fn once(request: &Request) -> (Self, oneshot::Receiver<ClientReply>) {
        let (to, answer) = oneshot::channel();
        (Self::new(request, To::Once(to)), answer)
    }

    /// An answer to `request` that goes to the writer of its connection's replies.
    pub(super) fn shared(
        request: &Request,
        number: u32,
        place: OwnedSemaphorePermit,
        replies: mpsc::UnboundedSender<SharedReply>,
    ) -> Self {
        let to = To::Shared {
            number,
            place,
            replies,
        };
        Self::new(request, to)
    }

    fn new(request: &Request, to: To) -> Self {
        Self {
            to: Some(to),
            changes: request.makes_a_version(),
        }
    }

    /// Gives the answer.
    pub fn give(mut self, reply: ClientReply) {
        self.send(reply);
    }

    fn send(&mut self, reply: ClientReply) {
        // A client that is gone needs no answer.
        match self.to.take() {
            Some(To::Once(to)) => drop(to.send(reply)),
            Some(To::Shared {
                number,
                place,
                replies,
            }) => drop(replies.send(SharedReply {
                number,
                reply,
                place,
            })),
            None => {}
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.to.is_some() {
            self.send(Err(match self.changes {
                true => Failure::Unknown {
                    reason: "this node stopped before it could answer".into(),
                },
                false => Failure::Unavailable {
                    reason: STOPPING_REASON.into(),
                },
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vivace_core::client_protocol::Success;
    use vivace_core::{KeyName, Value};

    fn write() -> Request {
        Request::Write {
            container: "kv".into(),
            key: KeyName::new("k").expect("a name"),
            value: Value::Tombstone,
            durability: None,
        }
    }

    #[test]
    fn an_answer_is_given_once() {
        let (answer, mut heard) = Answer::once(&Request::OpenSession);
        answer.give(Ok(Success::NotFound));
        assert_eq!(heard.try_recv(), Ok(Ok(Success::NotFound)));
    }

    #[test]
    fn an_answer_that_is_dropped_tells_what_may_have_changed() {
        let (answer, mut heard) = Answer::once(&Request::Status);
        drop(answer);
        assert!(matches!(
            heard.try_recv(),
            Ok(Err(Failure::Unavailable { .. }))
        ));
        let (answer, mut heard) = Answer::once(&write());
        drop(answer);
        assert!(matches!(heard.try_recv(), Ok(Err(Failure::Unknown { .. }))));
    }
}

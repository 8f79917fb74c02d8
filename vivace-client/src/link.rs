//! A connection to one node, and the ways that a request and its reply take over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quinn::{Connection, ConnectionError, SendStream, VarInt};
use tokio::time::{Instant, timeout_at};
use vivace_core::client_protocol::framing::{self, HEADER_BYTES, SHARED_MESSAGE_BYTES_MAX};
use vivace_core::client_protocol::{ClientReply, ClientRequestRef, DEADLINE_MS_MAX, Request};
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};

use crate::shared_stream::SharedStream;

/// A node is told a deadline this much earlier than the client's, or a tenth of
/// the time left where that is less: its own verdict knows more than silence.
const VERDICT_MARGIN: Duration = Duration::from_millis(50);

/// Resets a request that will not be completed.
const ABANDONED: VarInt = VarInt::from_u32(1);

/// The smallest bound on a reply, in bytes: statuses and errors must fit however
/// small values are.
const REPLY_BYTES_MIN: usize = 1 << 20;

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// The node can't have begun it: its last byte was not handed to the connection.
    NotSent(String),
    /// It may have been carried out.
    NoReply(String),
}

/// A connection to a node, closed when it is dropped.
pub(crate) struct Link {
    connection: Connection,
    /// None where the node lets us open no such stream: it is older than that.
    shared: Option<Arc<SharedStream>>,
    requests: AtomicU32,
    reply_bytes_max: usize,
}

impl Link {
    /// Takes replies with values of up to `value_bytes_max` bytes.
    pub(crate) fn new(connection: Connection, value_bytes_max: usize) -> Self {
        let reply_bytes_max = value_bytes_max
            .saturating_add(4096)
            .clamp(REPLY_BYTES_MIN, MESSAGE_BYTES_MAX);
        Self {
            shared: SharedStream::open(&connection, reply_bytes_max),
            connection,
            requests: AtomicU32::new(0),
            reply_bytes_max,
        }
    }

    /// Why it is closed; none while it stands.
    pub(crate) fn close_reason(&self) -> Option<ConnectionError> {
        self.connection.close_reason()
    }

    /// Sends `request` and waits for its reply until `deadline`.
    pub(crate) async fn exchange(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<ClientReply, ExchangeError> {
        let request = ClientRequestRef {
            deadline_ms: node_deadline_ms(deadline.saturating_duration_since(Instant::now())),
            request,
        };
        // Numbers come back after four thousand million others; no request waits so long.
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut frame = Vec::with_capacity(128);
        framing::put(number, &request, &mut frame);
        let reply = match &self.shared {
            Some(shared) if frame.len() <= HEADER_BYTES + SHARED_MESSAGE_BYTES_MAX => {
                shared.exchange(number, frame, deadline).await?
            }
            _ => self
                .exchange_alone(&frame[HEADER_BYTES..], deadline)
                .await?
                .into(),
        };
        codec::decode(&reply, self.reply_bytes_max)
            .map_err(|error| ExchangeError::NoReply(format!("an answer that is none: {error}")))
    }

    /// On a stream of its own.
    async fn exchange_alone(
        &self,
        request: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, ExchangeError> {
        let sending = async {
            let (send, receive) = self
                .connection
                .open_bi()
                .await
                .map_err(|error| error.to_string())?;
            Unfinished(Some(send)).send(request).await?;
            Ok(receive)
        };
        let mut receive = timeout_at(deadline, sending)
            .await
            .unwrap_or_else(|_| Err("it took in no request by the deadline".to_owned()))
            .map_err(ExchangeError::NotSent)?;
        timeout_at(deadline, receive.read_to_end(self.reply_bytes_max))
            .await
            .map_err(|_| ExchangeError::NoReply("no answer by the deadline".to_owned()))?
            .map_err(|error| ExchangeError::NoReply(format!("no whole answer: {error}")))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The shared stream's tasks hold the connection too.
        self.connection.close(VarInt::from_u32(0), b"done");
    }
}

/// A request stream that is reset unless it was finished. Quinn finishes a dropped
/// stream instead, and a node could take half a request for a whole one.
struct Unfinished(Option<SendStream>);

impl Unfinished {
    async fn send(mut self, request: &[u8]) -> Result<(), String> {
        let Some(stream) = self.0.as_mut() else {
            return Ok(());
        };
        stream
            .write_all(request)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(mut stream) = self.0.take() {
            stream.finish().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut stream) = self.0.take() {
            // Fails only where the connection is gone, and the request with it.
            let _ = stream.reset(ABANDONED);
        }
    }
}

fn node_deadline_ms(left: Duration) -> u32 {
    let told = left.saturating_sub(VERDICT_MARGIN.min(left / 10));
    u32::try_from(told.as_millis())
        .unwrap_or(DEADLINE_MS_MAX)
        .clamp(1, DEADLINE_MS_MAX)
}

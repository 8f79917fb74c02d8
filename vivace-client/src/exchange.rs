//! One request and its reply: a QUIC stream of their own.

use std::time::Duration;

use quinn::{Connection, SendStream, VarInt};
use tokio::time::{Instant, timeout_at};
use vivace_core::client_protocol::{ClientReply, ClientRequest, DEADLINE_MS_MAX, Request};
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};

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

/// Sends `request` and waits for its reply until `deadline`.
pub(crate) async fn exchange(
    connection: &Connection,
    request: &Request,
    deadline: Instant,
    value_bytes_max: usize,
) -> Result<ClientReply, ExchangeError> {
    let request = codec::encode(&ClientRequest {
        deadline_ms: node_deadline_ms(deadline.saturating_duration_since(Instant::now())),
        request: request.clone(),
    });
    let sending = async {
        let (send, receive) = connection
            .open_bi()
            .await
            .map_err(|error| error.to_string())?;
        Unfinished(Some(send)).send(&request).await?;
        Ok(receive)
    };
    let mut receive = timeout_at(deadline, sending)
        .await
        .unwrap_or_else(|_| Err("it took in no request by the deadline".to_owned()))
        .map_err(ExchangeError::NotSent)?;
    let bytes_max = value_bytes_max
        .saturating_add(4096)
        .clamp(REPLY_BYTES_MIN, MESSAGE_BYTES_MAX);
    let reply = timeout_at(deadline, receive.read_to_end(bytes_max))
        .await
        .map_err(|_| ExchangeError::NoReply("no answer by the deadline".to_owned()))?
        .map_err(|error| ExchangeError::NoReply(format!("no whole answer: {error}")))?;
    codec::decode(&reply, bytes_max)
        .map_err(|error| ExchangeError::NoReply(format!("an answer that is none: {error}")))
}

fn node_deadline_ms(left: Duration) -> u32 {
    let told = left.saturating_sub(VERDICT_MARGIN.min(left / 10));
    u32::try_from(told.as_millis())
        .unwrap_or(DEADLINE_MS_MAX)
        .clamp(1, DEADLINE_MS_MAX)
}

//! etcd's JSON gateway over one HTTP connection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How long a connection may take; members on the client's host take a millisecond.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// A member's gateway. A request that fails on the way leaves no connection; the next
/// one makes it anew.
pub struct Gateway {
    /// `ADDRESS:PORT`.
    authority: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// Why a request had no result.
#[derive(Clone, Debug)]
pub struct GatewayError {
    /// A word or two for counting.
    pub cause: String,
    /// All that was said.
    pub said: String,
}

impl GatewayError {
    fn new(cause: &str, said: impl ToString) -> Self {
        Self {
            cause: cause.to_owned(),
            said: said.to_string(),
        }
    }
}

impl Gateway {
    /// Of the member at this client URL.
    pub fn new(url: &str) -> Self {
        let authority = url.trim_start_matches("http://").to_owned();
        Self {
            authority,
            connection: None,
        }
    }

    /// Puts a value under a key.
    ///
    /// # Errors
    /// By the deadline at the latest; the value may have been put all the same.
    pub async fn put(
        &mut self,
        key: &str,
        value: &[u8],
        deadline: Duration,
    ) -> Result<(), GatewayError> {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        self.post("/v3/kv/put", &body, deadline).await.map(drop)
    }

    /// Reads a key, linearizably.
    ///
    /// # Errors
    /// By the deadline at the latest.
    pub async fn get(
        &mut self,
        key: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<u8>>, GatewayError> {
        let body = json!({ "key": STANDARD.encode(key) });
        let answer = self.post("/v3/kv/range", &body, deadline).await?;
        let Some(value) = answer["kvs"][0]["value"].as_str() else {
            return Ok(None);
        };
        let value = STANDARD.decode(value);
        value
            .map(Some)
            .map_err(|error| GatewayError::new("malformed", error))
    }

    /// The ids of this member and of its leader; no leader is 0.
    ///
    /// # Errors
    /// By the deadline at the latest.
    pub async fn member_and_leader(
        &mut self,
        deadline: Duration,
    ) -> Result<(u64, u64), GatewayError> {
        let answer = self
            .post("/v3/maintenance/status", &json!({}), deadline)
            .await?;
        // Proto3 JSON has 64-bit numbers as strings, and leaves zeros out.
        let id = |value: &Value| value.as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
        Ok((id(&answer["header"]["member_id"]), id(&answer["leader"])))
    }

    /// Has this member, the leader, hand leadership over.
    ///
    /// # Errors
    /// By the deadline at the latest.
    pub async fn hand_leadership_to(
        &mut self,
        member: u64,
        deadline: Duration,
    ) -> Result<(), GatewayError> {
        let body = json!({ "targetID": member.to_string() });
        self.post("/v3/maintenance/transfer-leadership", &body, deadline)
            .await
            .map(drop)
    }

    async fn post(
        &mut self,
        path: &str,
        body: &Value,
        deadline: Duration,
    ) -> Result<Value, GatewayError> {
        let connection = self.connection.take();
        let request = self.exchange(connection, path, body.to_string());
        let (connection, answer) = tokio::time::timeout(deadline, request)
            .await
            .map_err(|_| GatewayError::new("timeout", format!("no answer in {deadline:?}")))??;
        self.connection = Some(connection);
        answer
    }

    /// Answers that are errors leave the connection in use.
    async fn exchange(
        &self,
        connection: Option<SendRequest<Full<Bytes>>>,
        path: &str,
        body: String,
    ) -> Result<(SendRequest<Full<Bytes>>, Result<Value, GatewayError>), GatewayError> {
        let broken = |error: hyper::Error| GatewayError::new("connection", error);
        let mut connection = match connection {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        connection.ready().await.map_err(broken)?;
        let request = Request::post(path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .body(Full::from(body))
            .map_err(|error| GatewayError::new("invalid", error))?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let succeeded = response.status().is_success();
        let body = response.into_body().collect().await.map_err(broken)?;
        let answer: Value = serde_json::from_slice(&body.to_bytes())
            .map_err(|error| GatewayError::new("malformed", error))?;
        let answer = match succeeded {
            true => Ok(answer),
            false => {
                let said = answer["error"].as_str().unwrap_or("no reason given");
                let cause = said.trim_start_matches("etcdserver: ").replace(',', " ");
                Err(GatewayError::new(&cause, said))
            }
        };
        Ok((connection, answer))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, GatewayError> {
        let connecting = TcpStream::connect(&self.authority);
        let stream = tokio::time::timeout(CONNECT_PATIENCE, connecting)
            .await
            .map_err(|_| GatewayError::new("connection", "not in time"))?
            .map_err(|error| GatewayError::new("connection", error))?;
        // A request is one write; nothing shall wait for more of it.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| GatewayError::new("connection", error))?;
        // Its end shows in the sender.
        tokio::spawn(connection);
        Ok(sender)
    }
}

//! etcd over gRPC, as its own clients speak to it: one HTTP/2 connection.

use std::time::Duration;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use hyper::http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

use super::etcd_messages::{
    Compare, CompareTarget, KeyValue, PutRequest, PutResponse, RangeRequest, RangeResponse,
    Request, RequestOp, TxnRequest, TxnResponse,
};
use super::objects::Failure;
use crate::workload::STALE;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// Requests that wait for the connection's task; more than there are clients.
const QUEUE: usize = 1024;

/// A member, by one HTTP/2 connection that all its clones share.
#[derive(Clone)]
pub struct EtcdKv(Grpc<Channel>);

impl EtcdKv {
    /// Connects to the member at `http://ADDRESS:PORT`, or `https://ADDRESS:PORT` with `tls`; each
    /// request has until `deadline`.
    ///
    /// # Errors
    /// It does not answer, or one does not accept the other's certificate.
    pub async fn connect(
        url: &str,
        tls: Option<ClientTlsConfig>,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let mut endpoint = Endpoint::from_shared(url.to_owned())?
            .connect_timeout(deadline)
            .timeout(deadline)
            .buffer_size(QUEUE)
            .tcp_nodelay(true);
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls)?;
        }
        let channel = endpoint.connect().await.with_context(|| url.to_owned())?;
        Ok(Self(Grpc::new(channel)))
    }

    async fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.0
            .ready()
            .await
            .map_err(|error| ("connection".to_owned(), error.to_string()))?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        match self
            .0
            .unary(tonic::Request::new(request), path, codec)
            .await
        {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err((format!("grpc {:?}", status.code()), status.to_string())),
        }
    }

    /// Puts a value.
    pub async fn put(&mut self, key: &Bytes, value: Bytes) -> Result<(), Failure> {
        let put = put_request(key, value);
        self.call::<_, PutResponse>(PUT, put).await.map(drop)
    }

    /// Reads a value, linearizably.
    pub async fn get(&mut self, key: &Bytes) -> Result<Option<KeyValue>, Failure> {
        let found: RangeResponse = self.call(RANGE, range_request(key)).await?;
        Ok(found.pairs.into_iter().next())
    }

    /// Puts a value where the key's last change is `revision` still, and yields the new
    /// revision; otherwise what is there.
    pub async fn compare_and_swap(
        &mut self,
        key: &Bytes,
        revision: i64,
        value: Bytes,
    ) -> Result<Result<i64, KeyValue>, Failure> {
        let op = |request| {
            vec![RequestOp {
                request: Some(request),
            }]
        };
        let transaction = TxnRequest {
            compare: vec![Compare {
                target: CompareTarget::Mod.into(),
                key: key.clone(),
                mod_revision: Some(revision),
            }],
            success: op(Request::Put(put_request(key, value))),
            failure: op(Request::Range(range_request(key))),
        };
        let mut ended: TxnResponse = self.call(TXN, transaction).await?;
        if ended.succeeded {
            let header = ended.header.ok_or_else(|| malformed("no header"))?;
            return Ok(Ok(header.revision));
        }
        let range = ended.responses.pop().and_then(|response| response.range);
        let pair = range.and_then(|mut range| range.pairs.pop());
        Ok(Err(pair.ok_or_else(|| malformed("no pair"))?))
    }
}

fn malformed(what: &str) -> Failure {
    ("malformed".to_owned(), what.to_owned())
}

fn put_request(key: &Bytes, value: Bytes) -> PutRequest {
    PutRequest {
        key: key.clone(),
        value,
    }
}

fn range_request(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone() }
}

/// A key of etcd, as one client works on it: each value is a counter of 8 bytes and a body.
pub struct EtcdKey {
    etcd: EtcdKv,
    key: Bytes,
    body: Bytes,
    count: u64,
    /// Of the last change that this client knows.
    revision: i64,
}

impl EtcdKey {
    /// One with a value of `bytes` bytes.
    pub fn new(etcd: EtcdKv, key: &str, bytes: usize) -> Self {
        Self {
            etcd,
            key: Bytes::copy_from_slice(key.as_bytes()),
            body: vec![7; bytes.saturating_sub(size_of::<u64>())].into(),
            count: 0,
            revision: 0,
        }
    }

    fn value(&self, count: u64) -> Bytes {
        let mut value = BytesMut::with_capacity(size_of::<u64>() + self.body.len());
        value.put_u64(count);
        value.put_slice(&self.body);
        value.freeze()
    }

    /// Writes it for the first time.
    pub async fn prepare(&mut self) -> Result<(), Failure> {
        self.write().await?;
        let found = self.etcd.get(&self.key).await?;
        self.revision = found.map_or(0, |pair| pair.mod_revision);
        Ok(())
    }

    /// Puts the next value.
    pub async fn write(&mut self) -> Result<(), Failure> {
        self.count += 1;
        let value = self.value(self.count);
        self.etcd.put(&self.key, value).await
    }

    /// Reads it, and sees that it is no older than what this client has put.
    pub async fn read(&mut self) -> Result<(), Failure> {
        let found = self.etcd.get(&self.key).await?;
        let count = found.and_then(|pair| count_of(&pair.value));
        match count.is_some_and(|count| count >= self.count) {
            true => Ok(()),
            false => Err((STALE.to_owned(), format!("{count:?} < {}", self.count))),
        }
    }

    /// Adds one to the counter by compare-and-swap, again and again until it takes.
    pub async fn execute(&mut self) -> Result<(), Failure> {
        loop {
            let value = self.value(self.count + 1);
            let swapped = self
                .etcd
                .compare_and_swap(&self.key, self.revision, value)
                .await?;
            match swapped {
                Ok(revision) => {
                    self.revision = revision;
                    self.count += 1;
                    return Ok(());
                }
                Err(pair) => {
                    self.revision = pair.mod_revision;
                    self.count = count_of(&pair.value).unwrap_or(0);
                }
            }
        }
    }
}

fn count_of(value: &[u8]) -> Option<u64> {
    value.first_chunk().map(|count| u64::from_be_bytes(*count))
}

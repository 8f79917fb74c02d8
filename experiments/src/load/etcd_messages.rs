//! The few messages of etcd's gRPC that a bench needs, with the fields that it looks at; so
//! that nobody needs a compiler of protocol files. A reader skips the fields that are left out.
//! (etcd v3, `rpc.proto` and `kv.proto`: <https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/>)

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

/// Asks for one key, linearizably: `serializable` is left out.
#[derive(Clone, PartialEq, Message)]
pub struct RangeRequest {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

/// What was found.
#[derive(Clone, PartialEq, Message)]
pub struct RangeResponse {
    /// One pair, or none where the key is not there.
    #[prost(message, repeated, tag = "2")]
    pub pairs: Vec<KeyValue>,
}

/// A key's value.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The revision of its last change.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// What it is.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
}

/// Puts one key.
#[derive(Clone, PartialEq, Message)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Its value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// It was put.
#[derive(Clone, PartialEq, Message)]
pub struct PutResponse {}

/// Does `success` where all of `compare` hold, else `failure`.
#[derive(Clone, PartialEq, Message)]
pub struct TxnRequest {
    /// What must hold.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// Then.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
    /// Else.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<RequestOp>,
}

/// A comparison for equality: its `result` EQUAL is 0, and left out.
#[derive(Clone, PartialEq, Message)]
pub struct Compare {
    /// What is compared.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// Of which key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// With what; a member of a `oneof` upstream, on the wire as an optional field is.
    #[prost(int64, optional, tag = "6")]
    pub mod_revision: Option<i64>,
}

/// What a comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    /// How often the key was changed.
    Version = 0,
    /// The revision of its last change.
    Mod = 2,
}

/// One part of a transaction.
#[derive(Clone, PartialEq, Message)]
pub struct RequestOp {
    /// What to do.
    #[prost(oneof = "Request", tags = "1, 2")]
    pub request: Option<Request>,
}

/// What a part of a transaction does.
#[derive(Clone, PartialEq, Oneof)]
pub enum Request {
    /// Reads.
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    /// Puts.
    #[prost(message, tag = "2")]
    Put(PutRequest),
}

/// How a transaction ended.
#[derive(Clone, PartialEq, Message)]
pub struct TxnResponse {
    /// Of the store, when it ended.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Whether the comparison held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// The answers of what was done.
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<ResponseOp>,
}

/// The store's state.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseHeader {
    /// Counts its changes.
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

/// The answer of one part of a transaction.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseOp {
    /// Of one that read.
    #[prost(message, optional, tag = "1")]
    pub range: Option<RangeResponse>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the numbers of `rpc.proto`: a wrong one here would be a request that etcd takes
    /// for another.
    #[test]
    fn a_transaction_has_the_bytes_that_etcd_reads() {
        let transaction = TxnRequest {
            compare: vec![Compare {
                target: CompareTarget::Mod.into(),
                key: "k".into(),
                mod_revision: Some(300),
            }],
            success: vec![RequestOp {
                request: Some(Request::Put(PutRequest {
                    key: "k".into(),
                    value: "v".into(),
                })),
            }],
            failure: vec![RequestOp {
                request: Some(Request::Range(RangeRequest { key: "k".into() })),
            }],
        };
        let compare = b"\x0a\x08\x10\x02\x1a\x01k\x30\xac\x02";
        let success = b"\x12\x08\x12\x06\x0a\x01k\x12\x01v";
        let failure = b"\x1a\x05\x0a\x03\x0a\x01k";
        let whole = [&compare[..], success, failure].concat();
        assert_eq!(transaction.encode_to_vec(), whole);
    }

    #[test]
    fn an_answer_is_read_past_the_fields_that_are_not_ours() {
        // A header of cluster 1 and revision 9; not succeeded; a range whose pair has key,
        // create_revision, mod_revision 7, version and value.
        let pair = b"\x0a\x01k\x10\x05\x18\x07\x20\x02\x2a\x01v";
        let range = [&b"\x0a\x02\x18\x09\x12\x0c"[..], pair, b"\x20\x01"].concat();
        let mut bytes = b"\x0a\x04\x08\x01\x18\x09\x1a".to_vec();
        bytes.push(range.len() as u8 + 2);
        bytes.push(0x0a);
        bytes.push(range.len() as u8);
        bytes.extend(range);
        let ended = TxnResponse::decode(&bytes[..]).expect("etcd would send it");
        assert!(!ended.succeeded);
        assert_eq!(ended.header.map(|header| header.revision), Some(9));
        let range = ended.responses[0]
            .range
            .as_ref()
            .expect("a range was asked for");
        let pair = &range.pairs[0];
        assert_eq!((pair.mod_revision, &pair.value[..]), (7, &b"v"[..]));
        assert!(TxnResponse::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}

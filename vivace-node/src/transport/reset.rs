//! Telling the other side of a connection that a crash ended it: QUIC's stateless
//! reset, under keys that survive the crash.

use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

use super::identity::Identity;

/// An endpoint whose next life answers packets to this one with a reset, so that peers
/// and clients notice a restart at their next packet rather than by silence. The keys
/// come from the private key and `port`: no two ports may share them, or one would give
/// away the other's reset tokens (RFC 9000, 21.11).
pub(crate) fn endpoint_config(identity: &Identity, port: &str) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, identity.private_key());
    let derived =
        |purpose: &str| hmac::sign(&secret, format!("vivace {purpose} {port}").as_bytes());
    let resets = hmac::Key::new(hmac::HMAC_SHA256, derived("stateless reset").as_ref());
    let ids = derived("connection ids");
    let ids = ids.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    let ids = u64::from_le_bytes(*ids);
    let mut config = EndpointConfig::new(Arc::new(resets));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

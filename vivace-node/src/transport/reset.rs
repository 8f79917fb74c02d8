//! Telling the other side of a connection that a crash ended it: QUIC's stateless
//! reset, under keys that survive the crash.

use std::sync::Arc;

use quinn::EndpointConfig;
use ring::hmac;

use super::connection_ids::ShortIds;
use super::identity::Identity;

/// An endpoint whose next life answers packets to this one with a reset, so that peers
/// and clients notice a restart at their next packet rather than by silence. The keys
/// come from the private key and `port`: no two ports may share them, or one would give
/// away the other's reset tokens (RFC 9000, 21.11).
pub(crate) fn endpoint_config(identity: &Identity, port: &str) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, identity.private_key());
    let derived =
        |purpose: &str| hmac::sign(&secret, format!("vivace {purpose} {port}").as_bytes());
    let key = |purpose: &str| hmac::Key::new(hmac::HMAC_SHA256, derived(purpose).as_ref());
    let mut config = EndpointConfig::new(Arc::new(key("stateless reset")));
    let ids = key("connection ids");
    config.cid_generator(move || Box::new(ShortIds::new(ids.clone())));
    config
}

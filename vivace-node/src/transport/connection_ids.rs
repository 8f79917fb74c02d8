//! QUIC's connection ids, short: one is in every packet, and a packet of the priority class
//! carries a few dozen bytes besides.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;
use ring::hmac;

/// Bytes of chance.
const NONCE_BYTES: usize = 3;

/// Bytes of the HMAC-SHA-256 of those, by which this port's next life tells its own ids from
/// others'. Of packets that are no answer to anything, one in 65,536 passes, and is answered by
/// a reset at most.
const PROOF_BYTES: usize = 2;

/// Bytes of an id.
pub(super) const CONNECTION_ID_BYTES: usize = NONCE_BYTES + PROOF_BYTES;

/// Makes ids of five bytes: `nonce 3 | proof 2`.
pub(super) struct ShortIds(hmac::Key);

impl ShortIds {
    /// Ids under `key`, which outlives the process.
    pub fn new(key: hmac::Key) -> Self {
        Self(key)
    }

    fn proof(&self, nonce: &[u8]) -> [u8; PROOF_BYTES] {
        let tag = hmac::sign(&self.0, nonce);
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }
}

impl ConnectionIdGenerator for ShortIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        ConnectionId::new(&[&nonce[..], &self.proof(&nonce)].concat())
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let is_ours = id
            .split_at_checked(NONCE_BYTES)
            .is_some_and(|(nonce, proof)| proof == self.proof(nonce));
        is_ours.then_some(()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(key: &[u8]) -> ShortIds {
        ShortIds::new(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    #[test]
    fn the_next_life_knows_its_own_ids_and_no_others() {
        let (mut before, after, other) = (ids(b"one"), ids(b"one"), ids(b"another"));
        let made: Vec<ConnectionId> = (0..100).map(|_| before.generate_cid()).collect();
        assert!(made.iter().all(|id| id.len() == before.cid_len()));
        assert!(made.iter().all(|id| after.validate(id).is_ok()));
        let passing = made.iter().filter(|id| other.validate(id).is_ok()).count();
        assert!(passing <= 1, "{passing} of 100 pass under another key");
        let longer = [&made[0][..], &[0]].concat();
        for other in [&[][..], &made[0][..NONCE_BYTES], &longer] {
            assert!(after.validate(&ConnectionId::new(other)).is_err());
        }
    }
}

//! What the core's codec promises, whatever bytes it is given.

use std::fmt::Debug;

use bincode::{Decode, Encode};
use vivace_core::codec;

/// Decodes `bytes`, and where they are an `M`, holds the codec to its promises: what was
/// decoded encodes to no more than `limit` bytes, which decode to the same; and it took
/// every byte, no fewer and no more.
///
/// # Panics
/// Where a promise is broken: the fuzzer keeps the input.
pub fn round_trip<M>(bytes: &[u8], limit: usize) -> Option<M>
where
    M: Encode + Decode<()> + PartialEq + Debug,
{
    let message: M = codec::decode(bytes, limit).ok()?;
    assert!(bytes.len() <= limit, "{} bytes were taken", bytes.len());
    let encoded = codec::encode(&message);
    assert!(
        encoded.len() <= limit,
        "{} bytes encode {message:?}",
        encoded.len()
    );
    let again: M = codec::decode(&encoded, limit).expect("what was encoded decodes");
    assert_eq!(again, message, "from {encoded:?}");
    assert_eq!(codec::encode(&again), encoded, "of {message:?}");
    let longer = [&encoded, &[0][..]].concat();
    assert!(
        codec::decode::<M>(&longer, longer.len()).is_err(),
        "one byte is left over"
    );
    let shorter = &encoded[..encoded.len().saturating_sub(1)];
    let needs_a_byte = !encoded.is_empty();
    assert!(
        !needs_a_byte || codec::decode::<M>(shorter, limit).is_err(),
        "one is not read"
    );
    Some(message)
}

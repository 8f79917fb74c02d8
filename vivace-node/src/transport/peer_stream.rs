//! Reading a peer's stream to the byte, and the ways in which it can fall short. Over any
//! stream, so that a fuzzer reads bytes in memory by the very same lines.

use quinn::ReadError;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::refusal::Ending;

/// Why a stream gave fewer bytes than were due.
#[derive(Debug)]
pub(super) enum CutShort {
    /// The peer finished it.
    Finished,
    /// The peer reset it.
    Reset,
    /// The connection ended, or we can't read.
    Ended(Ending),
}

/// Fills `bytes`.
pub(super) async fn read_exact(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut [u8],
) -> Result<(), CutShort> {
    match stream.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(CutShort::Finished),
        Err(error) => Err(match error.downcast::<ReadError>() {
            Ok(ReadError::Reset(_)) => CutShort::Reset,
            Ok(ReadError::ConnectionLost(error)) => CutShort::Ended(error.into()),
            Ok(other) => CutShort::Ended(Ending::Lost(other.to_string())),
            Err(error) => CutShort::Ended(Ending::Lost(error.to_string())),
        }),
    }
}

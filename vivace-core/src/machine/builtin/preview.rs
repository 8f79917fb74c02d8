//! How a conflict names the bytes that it found.

/// The bytes of a value that a conflict shows; the reason travels to the client.
const PREVIEW_BYTES_MAX: usize = 48;

/// `"text"`, `"the beginning..." (1000 bytes)` or `nothing`.
pub(super) fn preview(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "nothing".to_owned(),
        Some(bytes) if bytes.len() <= PREVIEW_BYTES_MAX => {
            format!("\"{}\"", bytes.escape_ascii())
        }
        Some(bytes) => format!(
            "\"{}...\" ({} bytes)",
            bytes[..PREVIEW_BYTES_MAX].escape_ascii(),
            bytes.len()
        ),
    }
}

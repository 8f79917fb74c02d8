//! Standard output: bytes as they are, JSON, and a reader who leaves early; and remarks beside
//! it.

use std::io::{self, ErrorKind, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A line on standard error. Where nobody reads it, the exit status still tells.
macro_rules! remark {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("{}\n", format_args!($($text)*)),
        );
    }};
}
pub(crate) use remark;

/// Who reads the standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody may.
    There,
    /// Nobody any more (`| head`): what goes on printing should end.
    Gone,
}

/// Writes bytes. A reader who has left has what it wanted: no error.
pub fn print_bytes(bytes: &[u8]) -> io::Result<Reader> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        written => written.map(|()| Reader::There),
    }
}

/// Writes text and ends its line.
pub fn print_line(text: &str) -> io::Result<Reader> {
    print_bytes(format!("{text}\n").as_bytes())
}

/// Writes one line of JSON.
pub fn print_json(value: &Value) -> io::Result<Reader> {
    print_line(&value.to_string())
}

/// Bytes as JSON: text where they are text.
pub fn json_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "utf8": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// Bytes within a line of text: escaped where they would break it.
pub fn line_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.escape_ascii().to_string(),
    }
}

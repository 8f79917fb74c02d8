//! Standard output, which may end before what is done does: `netem down | head` must
//! still take everything down.

use std::fmt::Display;
use std::io::Write;

/// Writes a line; false if nobody reads any more.
pub fn say(line: impl Display) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

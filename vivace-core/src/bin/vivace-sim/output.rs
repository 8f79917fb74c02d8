//! Standard output. A reader that has seen enough closes it; the exit code tells what was
//! found all the same.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes to standard output, until its reader has gone.
pub fn write(text: fmt::Arguments<'_>) {
    if IS_CLOSED.load(Ordering::Relaxed) {
        return;
    }
    match std::io::stdout().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            IS_CLOSED.store(true, Ordering::Relaxed);
        }
        // What nobody can read must not look like a pass.
        Err(error) => {
            eprintln!("vivace-sim: standard output: {error}");
            std::process::exit(2);
        }
    }
}

/// As `println!`, but for a reader that has gone.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::write(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(crate) use say;

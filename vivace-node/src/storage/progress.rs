//! What whoever waits for a start sees: nothing for two seconds, then a bar on a
//! terminal, and lines in a log.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shorter waits need no word.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two lines in a log.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// The progress of one part of a start.
pub struct Progress {
    what: &'static str,
    started: Instant,
    shown: RefCell<Shown>,
}

#[derive(Default)]
struct Shown {
    last_line: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of reading `what`, from now on.
    pub fn of(what: &'static str) -> Self {
        Self {
            what,
            started: Instant::now(),
            shown: RefCell::default(),
        }
    }

    /// `done` bytes of `total` are read.
    pub fn show(&self, done: u64, total: u64) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let mut shown = self.shown.borrow_mut();
        if std::io::stderr().is_terminal() {
            let bar = shown.bar.get_or_insert_with(|| new_bar(self.what, total));
            bar.set_position(done);
        } else if shown.last_line.is_none_or(|at| at.elapsed() >= LINES_EVERY) {
            shown.last_line = Some(Instant::now());
            let percent = done * 100 / total.max(1);
            tracing::info!("reading {}: {percent} % of {} MiB", self.what, total >> 20);
        }
    }

    /// How long it has taken.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.borrow_mut().bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(what: &str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("reading {msg} [{bar:40}] {bytes} of {total_bytes}");
    let bar = ProgressBar::new(total);
    bar.set_style(style.expect("the template is one"));
    bar.set_message(what.to_owned());
    bar
}

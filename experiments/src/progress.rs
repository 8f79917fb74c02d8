//! What a run is doing, on stderr: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// A run's progress, in planned time.
pub struct Progress {
    bar: ProgressBar,
    /// Whether stderr is no terminal, so that each step is a line.
    lines: bool,
    planned: Duration,
    /// The planned time of the steps behind.
    behind: Duration,
    step: Duration,
    words: String,
}

impl Progress {
    /// Shows progress through a run that is planned to take `planned`.
    pub fn new(planned: Duration) -> Self {
        Self::with(
            planned,
            ProgressBar::new(planned.as_millis() as u64),
            !std::io::stderr().is_terminal(),
        )
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::with(
            Duration::ZERO,
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            false,
        )
    }

    fn with(planned: Duration, bar: ProgressBar, lines: bool) -> Self {
        let style = ProgressStyle::with_template("{spinner} [{bar:16}] {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        bar.set_style(style);
        bar.enable_steady_tick(TICK);
        Self {
            bar,
            lines,
            planned,
            behind: Duration::ZERO,
            step: Duration::ZERO,
            words: String::new(),
        }
    }

    /// Begins a step that is planned to take `step`.
    pub fn begin(&mut self, words: impl Into<String>, step: Duration) {
        self.behind += self.step;
        self.step = step;
        self.words = words.into();
        if self.lines {
            eprintln!("{}", self.sentence(Duration::ZERO));
        }
        self.at(Duration::ZERO);
    }

    /// Says how far the step is.
    pub fn at(&self, in_step: Duration) {
        let done = self.behind + in_step.min(self.step);
        self.bar.set_position(done.as_millis() as u64);
        self.bar.set_message(self.sentence(in_step));
    }

    fn sentence(&self, in_step: Duration) -> String {
        let done = self.behind + in_step.min(self.step);
        let left = self.planned.saturating_sub(done).as_secs_f64().ceil();
        format!("about {left:.0} s left: {}", self.words)
    }

    /// Prints lines above the bar.
    pub fn print(&self, lines: &str) {
        self.bar.suspend(|| println!("{lines}"));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

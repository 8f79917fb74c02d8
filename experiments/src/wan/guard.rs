//! A process that takes a WAN down when the one that built it ends, in whatever way:
//! it waits for the end of its standard input, which the kernel brings about.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context;

/// The name of the subcommand, which no user needs.
pub const GUARD: &str = "wan-guard";

/// What the guard takes.
#[derive(Clone, Debug, clap::Args)]
pub struct GuardArguments {
    /// The program `netem`.
    pub netem: PathBuf,
    /// The WAN.
    pub wan: String,
}

/// Waits for the parent's end, then takes the WAN down with all that runs in it.
pub fn run_guard(arguments: &GuardArguments) -> ExitCode {
    // Whether it ends or breaks, the parent is gone or done.
    let _ = std::io::stdin().read(&mut [0]);
    // Says that nothing is left where the WAN never came up.
    let ended = Command::new(&arguments.netem)
        .arg("down")
        .arg(&arguments.wan)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ended {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A guard that stands by. Dropping it takes the WAN down, and waits until it is.
pub struct Guard(Child);

impl Guard {
    /// Posts one for the WAN of this name, before it is built.
    ///
    /// # Errors
    /// This program can't be started a second time.
    pub fn post(netem: &Path, wan: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file")?;
        let child = Command::new(&program)
            .arg(GUARD)
            .arg(netem)
            .arg(wan)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for this process alone.
            .process_group(0)
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self(child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Its input ends, and it does its work.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

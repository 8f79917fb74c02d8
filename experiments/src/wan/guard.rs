//! A process that takes a WAN down when the one that built it ends, in whatever way:
//! it waits for the end of its standard input, which the kernel brings about. Where that
//! came without a word, it also removes what the stores had on disk.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context;

use super::program::WORK_PREFIX;

/// The name of the subcommand, which no user needs.
pub const GUARD: &str = "wan-guard";

/// What the guard takes.
#[derive(Clone, Debug, clap::Args)]
pub struct GuardArguments {
    /// The program `netem`.
    pub netem: PathBuf,
    /// The WAN.
    pub wan: String,
    /// Where its stores keep their data.
    pub data: PathBuf,
}

/// What a guard hears from one that ends its WAN itself, and its stores' data too.
const FAREWELL: u8 = 1;

/// Waits for the parent's end, then takes the WAN down with all that runs in it.
pub fn run_guard(arguments: &GuardArguments) -> ExitCode {
    let mut heard = [0];
    // Whether it ends or breaks, the parent is gone or done.
    let _ = std::io::stdin().read(&mut heard);
    // Says that nothing is left where the WAN never came up.
    let ended = Command::new(&arguments.netem)
        .arg("down")
        .arg(&arguments.wan)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if heard != [FAREWELL] && is_work(&arguments.data) {
        let _ = std::fs::remove_dir_all(&arguments.data);
    }
    match ended {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether a run made this directory, and for its own work alone.
fn is_work(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(WORK_PREFIX))
}

/// A guard that stands by. Dropping it takes the WAN down, and waits until it is.
pub struct Guard(Child);

impl Guard {
    /// Posts one for the WAN of this name, before it is built, whose stores have their data in
    /// `data`.
    ///
    /// # Errors
    /// This program can't be started a second time.
    pub fn post(netem: &Path, wan: &str, data: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file")?;
        let child = Command::new(&program)
            .arg(GUARD)
            .arg(netem)
            .arg(wan)
            .arg(data)
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
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(&[FAREWELL]);
        }
        let _ = self.0.wait();
    }
}

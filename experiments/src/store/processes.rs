//! The processes of a store.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// Processes that end with this. Each one's standard input is a pipe from here, and
/// its output goes into a file of its own.
#[derive(Default)]
pub struct Processes(Vec<(String, PathBuf, Child)>);

impl Processes {
    /// Starts one more.
    ///
    /// # Errors
    /// The program can't be run, or its log not be made.
    pub fn start(
        &mut self,
        name: &str,
        command: &mut Command,
        directory: &Path,
    ) -> anyhow::Result<()> {
        let log = directory.join(format!("{name}.log"));
        let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("can't start {name}"))?;
        self.0.push((name.to_owned(), log, child));
        Ok(())
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<u32> {
        self.0.iter().map(|(_, _, child)| child.id()).collect()
    }

    /// Whether all still run.
    ///
    /// # Errors
    /// The first that does not, and the last line that it said.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for (name, log, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                let said = fs::read_to_string(&*log).unwrap_or_default();
                let said = said.lines().last().unwrap_or("it said nothing").to_owned();
                let how = match status.signal() {
                    Some(signal) => format!("signal {signal}"),
                    None => status.to_string(),
                };
                bail!("{name} ended by itself ({how}): {said}");
            }
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, _, child) in &mut self.0 {
            // Fails only where it ended already.
            let _ = child.kill();
        }
        for (_, _, child) in &mut self.0 {
            let _ = child.wait();
        }
    }
}

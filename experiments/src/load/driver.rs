//! The load as the run sees it.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::process::LOAD;
use super::protocol::{Answer, LoadConfig, Request};
use crate::wan::Wan;

/// A load's process; dropping it kills it.
pub struct LoadProcess {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl LoadProcess {
    /// Starts one on a host (`SITE.HOST`); its file and its log go into `directory`, under the
    /// host's name.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(
        wan: &Wan,
        host: &str,
        config: &LoadConfig,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let file = directory.join(format!("load-{host}.json"));
        fs::write(&file, serde_json::to_vec_pretty(config)?)?;
        let program = std::env::current_exe().context("this program's own file")?;
        let mut command = wan.realtime_command(host, &program);
        command
            .arg(LOAD)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(
                directory.join(format!("load-{host}.log")),
            )?);
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("can't start the load")?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        Ok(Self {
            _child: child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// It failed, or ended.
    pub async fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    /// Asks without waiting.
    ///
    /// # Errors
    /// It ended.
    pub async fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let sent = self.input.write_all(&line).await;
        sent.context("the load has ended")
    }

    /// The next answer.
    ///
    /// # Errors
    /// It failed, or ended.
    pub async fn answer(&mut self) -> anyhow::Result<Answer> {
        let line = self.output.next_line().await?;
        let line = line.context("the load has ended")?;
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => bail!(why),
            answer => Ok(answer),
        }
    }
}

//! The load's process: reads requests, does them, answers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use super::closed_loop;
use super::objects::Object;
use super::own_writes::Writers;
use super::protocol::{Answer, LoadConfig, Measure, Measured, Request, Sample};
use super::target::Target;
use crate::step::Operation;

/// The name of the subcommand, which no user needs.
pub const LOAD: &str = "load";

/// How often a first write is tried.
const PREPARE_TRIES: u32 = 3;

/// What the load takes.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArguments {
    /// Its file (JSON).
    pub config: PathBuf,
}

/// Does what it is asked on standard input until that ends.
pub fn run_load(arguments: &LoadArguments) -> ExitCode {
    let ended = (|| -> anyhow::Result<()> {
        let text = std::fs::read_to_string(&arguments.config)?;
        let config: LoadConfig = serde_json::from_str(&text)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(serve(config))
    })();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: LoadConfig) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut load = Load {
        config,
        target: None,
        objects: BTreeMap::new(),
        writers: None,
    };
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => load.answer(request).await,
            Err(error) => Err(error.into()),
        };
        say(&answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}"))))?;
    }
    Ok(())
}

fn say(answer: &Answer) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}

struct Load {
    config: LoadConfig,
    target: Option<Target>,
    /// By algorithm, and whether they are the Twitter clone's.
    objects: BTreeMap<String, Vec<Object>>,
    writers: Option<Writers>,
}

impl Load {
    async fn answer(&mut self, request: Request) -> anyhow::Result<Answer> {
        match request {
            Request::Ready { patience_ms } => {
                let patience = Duration::from_millis(patience_ms);
                self.target = Some(Target::connect(&self.config, patience).await?);
                Ok(Answer::Done)
            }
            Request::Prepare {
                system,
                operation,
                at_once,
            } => {
                self.prepare(&system, operation, at_once).await?;
                Ok(Answer::Done)
            }
            Request::Settle { patience_ms } => {
                let patience = Duration::from_millis(patience_ms);
                Ok(Answer::Settled(self.target()?.settle(patience).await))
            }
            Request::Alarm { patience_ms } => {
                let patience = Duration::from_millis(patience_ms);
                Ok(Answer::Alarmed(self.target()?.alarm(patience).await))
            }
            Request::Measure(measure) => self.measure(&measure).await.map(Answer::Measured),
            Request::StartWrites {
                bytes,
                at_once,
                bytes_per_second,
            } => {
                let pause = Duration::from_secs_f64(bytes as f64 / bytes_per_second);
                self.start_writes(bytes, at_once, pause).await?;
                Ok(Answer::Done)
            }
            Request::StopWrites => match self.writers.take() {
                Some(writers) => Ok(Answer::Wrote(writers.stop().await)),
                None => bail!("nobody writes"),
            },
        }
    }

    fn target(&self) -> anyhow::Result<&Target> {
        self.target.as_ref().context("it was not asked to be ready")
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.config.deadline_ms)
    }

    async fn prepare(
        &mut self,
        system: &str,
        operation: Operation,
        at_once: usize,
    ) -> anyhow::Result<()> {
        let group = group(system, operation);
        let have = self.objects.get(&group).map_or(0, Vec::len);
        // All at once: one after the other, many objects would take long.
        let mut writing = JoinSet::new();
        for number in have..at_once {
            let mut object = self.object_of(system, operation, number)?;
            writing.spawn(async move {
                let written = first_write(&mut object).await;
                (number, written.map(|()| object))
            });
        }
        let mut written = writing.join_all().await;
        written.sort_by_key(|(number, _)| *number);
        for (_, object) in written {
            self.objects.entry(group.clone()).or_default().push(object?);
        }
        Ok(())
    }

    /// A client's object, or all that it takes in turn.
    fn object_of(
        &self,
        system: &str,
        operation: Operation,
        number: usize,
    ) -> anyhow::Result<Object> {
        let object = |key: &str| {
            self.target()?.object(
                system,
                operation,
                key,
                self.config.value_bytes,
                self.deadline(),
                self.config.seed.wrapping_add(number as u64),
            )
        };
        match self.config.objects_per_client {
            0 | 1 => object(&format!("object-{number}")),
            several => {
                let each = (0..several).map(|turn| object(&format!("object-{number}-{turn}")));
                Ok(Object::InTurn(each.collect::<anyhow::Result<_>>()?))
            }
        }
    }

    async fn measure(&mut self, measure: &Measure) -> anyhow::Result<Measured> {
        let window = &measure.window;
        self.prepare(&window.system, window.operation, window.at_once)
            .await?;
        let group = group(&window.system, window.operation);
        let mut objects = self.objects.remove(&group).context("prepared above")?;
        // Those beyond the window's number rest.
        let resting = objects.split_off(window.at_once);
        let mut notes = Vec::new();
        if !self.target()?.lead_from_here().await {
            notes.push("the member beside the client did not lead when it began".to_owned());
        }
        let warm_up = closed_loop::warm_up(&mut objects, measure).await;
        say(&Answer::Began)?;
        let begun = std::time::Instant::now();
        let (mut objects, outcome) = closed_loop::run(objects, measure).await;
        let seconds = begun.elapsed().as_secs_f64();
        objects.extend(resting);
        self.objects.insert(group, objects);
        write_samples(measure, &outcome.samples)?;
        if !self.target()?.leads_here().await {
            notes.push("another member led when it ended".to_owned());
        }
        Ok(Measured {
            warm_up,
            seconds,
            failures_said: outcome.said,
            notes,
        })
    }

    async fn start_writes(
        &mut self,
        bytes: usize,
        at_once: usize,
        pause: Duration,
    ) -> anyhow::Result<()> {
        let system = match self.target()? {
            Target::Vivace { .. } => "rw",
            Target::Etcd(_) => "etcd",
        };
        let mut objects = Vec::new();
        for number in 0..at_once {
            objects.push(self.target()?.object(
                system,
                Operation::Write,
                &format!("{}-{number}", self.config.large_prefix),
                bytes,
                self.deadline(),
                self.config.seed.wrapping_add(1000 + number as u64),
            )?);
        }
        self.writers = Some(Writers::start(objects, pause));
        Ok(())
    }
}

/// Objects of the same group serve the same operations.
fn group(system: &str, operation: Operation) -> String {
    match operation {
        Operation::Read | Operation::Write | Operation::Execute => system.to_owned(),
        Operation::Post | Operation::Timeline | Operation::Friends => format!("{system}-twitter"),
    }
}

async fn first_write(object: &mut Object) -> anyhow::Result<()> {
    let mut said = String::new();
    for _ in 0..PREPARE_TRIES {
        match object.prepare().await {
            Ok(()) => return Ok(()),
            Err((_, why)) => said = why,
        }
    }
    bail!("the first write of an object failed {PREPARE_TRIES} times: {said}")
}

fn write_samples(measure: &Measure, samples: &[Sample]) -> anyhow::Result<()> {
    let mut text = format!("{}\n", Sample::HEADING);
    for sample in samples {
        text += &sample.line();
        text.push('\n');
    }
    let path = &measure.samples;
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

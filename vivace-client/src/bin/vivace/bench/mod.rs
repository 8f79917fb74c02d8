//! `bench`: a closed loop, in which each client asks, waits for the answer, and asks again;
//! or an open one, in which operations begin at a given rate.

mod arguments;
mod arrivals;
mod history;
mod keys;
mod load;
mod measured;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep_until};
use vivace_client::Client;

pub use self::arguments::BenchArguments;
use self::arguments::Operation;
use self::history::History;
use self::load::{Load, run_client};
use self::measured::Measured;
use crate::exit::{Exit, Fault};
use crate::output::{print_bytes, print_json, remark};

/// How often the progress bar moves.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the load, and prints what was measured, however it ended. An operation may take as
/// long as `patience` says.
pub async fn bench(
    client: &Client,
    asked: &BenchArguments,
    patience: Duration,
    json: bool,
) -> Result<Exit, Fault> {
    let containers = containers(client, asked).await?;
    if let Some(directory) = &asked.hdr {
        // Better now than when all is measured.
        std::fs::create_dir_all(directory).map_err(|error| hdr_fault(directory, &error))?;
    }
    let history = match &asked.history {
        Some(path) => Some(History::create(path)?),
        None => None,
    };
    let load = Load::new(client, asked, containers, patience, history)
        .map_err(|error| Fault::local(format!("can't start: {error}")))?;
    let load = Arc::new(load);
    let mut clients = JoinSet::new();
    for number in 0..asked.clients() {
        clients.spawn(run_client(load.clone(), number));
    }
    let measured = watch(&load, clients, asked.warm_up + asked.duration).await;
    load.put_away();
    if let Some(history) = load.history() {
        history.finish()?;
    }
    if let Some(refusal) = load.refusal() {
        return Err(Fault::usage(refusal));
    }
    if let Some(directory) = &asked.hdr {
        measured
            .write_hdr(directory)
            .map_err(|error| hdr_fault(directory, &error))?;
    }
    match json {
        true => print_json(&measured.json(asked))?,
        false => print_bytes(measured.table().as_bytes())?,
    };
    Ok(match measured.any_succeeded() {
        true => Exit::Done,
        false => Exit::Unavailable,
    })
}

fn hdr_fault(directory: &Path, error: &std::io::Error) -> Fault {
    Fault::local(format!("--hdr {}: {error}", directory.display()))
}

/// Waits for the clients, shows how far they are, and cuts them off on Ctrl-C.
async fn watch(load: &Load, mut clients: JoinSet<()>, duration: Duration) -> Measured {
    let bar = ProgressBar::new(duration.as_millis() as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
        bar.set_style(style);
    }
    let start = load.start();
    let mut ticks = interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => remark!("vivace: a client broke down: {error}"),
                None => break,
            },
            _ = ticks.tick() => {
                let passed = start.elapsed().min(duration);
                bar.set_position(passed.as_millis() as u64);
                bar.set_message(format!("{:.0} s, {} done", passed.as_secs_f64(), load.done()));
            }
            _ = tokio::signal::ctrl_c() => load.cut_off(),
            // Operations under way may still take until their deadline.
            () = sleep_until(start + duration), if !load.is_over() => load.end(),
        }
    }
    bar.finish_and_clear();
    let mut measured = std::mem::take(&mut *load.measured());
    measured.took(load.measured_for());
    measured
}

/// The containers to use: those named, or the first of the right kind.
async fn containers(client: &Client, asked: &BenchArguments) -> Result<(String, String), Fault> {
    let needs = |operation| asked.share(operation) > 0;
    let needs_rw = needs(Operation::Read) || needs(Operation::Write);
    let lacks_rw = needs_rw && asked.container.is_none();
    let lacks_rmw = needs(Operation::Execute) && asked.rmw_container.is_none();
    let mut rw = asked.container.clone().unwrap_or_default();
    let mut rmw = asked.rmw_container.clone().unwrap_or_default();
    if lacks_rw || lacks_rmw {
        let status = client.status().await?;
        let first = |kinds: [&str; 2], flag: &str| {
            status
                .containers
                .iter()
                .find(|container| kinds.contains(&container.kind.as_str()))
                .map(|container| container.name.clone())
                .ok_or_else(|| {
                    Fault::usage(format!(
                        "{flag}: the node serves no container of kind {}; name another one",
                        kinds.join(" or ")
                    ))
                })
        };
        if lacks_rw {
            rw = first(["rw", "abd"], "--container")?;
        }
        if lacks_rmw {
            rmw = first(["rmw", "lan-rmw"], "--rmw-container")?;
        }
    }
    Ok((rw, rmw))
}

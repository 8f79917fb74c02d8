//! `admin backup`, `admin verify` and `admin restore`: with a bar on a terminal, and an end
//! on Ctrl-C or SIGTERM that leaves nothing half done unsaid.

use std::path::Path;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use vivace_client::Client;
use vivace_client::backup::{self, Manifest, Pace, Progress, RestoreOptions, Whole};

use crate::arguments::{BackupArguments, PaceArguments, RestoreArguments, VerifyArguments};
use crate::exit::{Exit, Fault};
use crate::output::{print_json, print_line, remark};

/// A bar on standard error, where that is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(word: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        let template = "{msg} {wide_bar} {pos} of about {len} objects, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(word);
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        self.0
            .set_length(progress.objects_expected.max(progress.objects));
        self.0.set_position(progress.objects);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn pace(asked: &PaceArguments) -> Pace {
    Pace {
        bytes_per_s: asked.rate.map(|megabytes| megabytes * 1_000_000),
        patience: asked.patience,
    }
}

/// Ctrl-C, or the SIGTERM of a supervisor: what is half done is not left behind unsaid.
async fn interrupted() {
    let mut terminated = match signal(SignalKind::terminate()) {
        Ok(terminated) => terminated,
        // Then it ends the process as it always does.
        Err(_) => return drop(ctrl_c().await),
    };
    tokio::select! {
        _ = ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// Makes a backup.
pub async fn take(client: &Client, asked: &BackupArguments, json: bool) -> Result<Exit, Fault> {
    let bar = Bar::new("backing up");
    let (pace, leave_out) = (pace(&asked.pace), asked.leave_out_lost);
    let show = |progress| bar.show(progress);
    let manifest = tokio::select! {
        taken = backup::take(client, &asked.directory, &pace, leave_out, show) => taken?,
        () = interrupted() => {
            return Err(Fault::interrupted("broken off; nothing is left of the backup"));
        }
    };
    drop(bar);
    let unreadable = manifest.containers.iter().map(|c| c.unreadable);
    let unreadable = unreadable.fold(0, u64::saturating_add);
    if unreadable > 0 {
        remark!("vivace: {unreadable} objects whose newest value is lost were left out");
    }
    if !manifest.containers_left_out.is_empty() {
        remark!(
            "vivace: containers {} are of kinds that are not backed up",
            manifest.containers_left_out.join(", ")
        );
    }
    tell("backed up", &manifest, &asked.directory, json)
}

fn tell(what: &str, manifest: &Manifest, directory: &Path, json: bool) -> Result<Exit, Fault> {
    if json {
        print_json(&json!(manifest))?;
        return Ok(Exit::Done);
    }
    print_line(&format!(
        "{what}: {} objects, {}, of cluster {}, begun {}, in {}",
        manifest.objects(),
        HumanBytes(manifest.bytes()),
        manifest.cluster,
        manifest.began,
        directory.display()
    ))?;
    Ok(Exit::Done)
}

/// Reads all of a backup.
pub fn be_sure_it_is_whole(directory: &Path) -> Result<Whole, Fault> {
    let bar = Bar::new("verifying");
    let show = |progress| {
        bar.show(progress);
        true
    };
    Ok(backup::check(directory, show)?)
}

/// Verifies a backup.
pub fn verify(asked: &VerifyArguments, json: bool) -> Result<Exit, Fault> {
    let whole = be_sure_it_is_whole(&asked.directory)?;
    tell("whole", &whole.manifest, &asked.directory, json)
}

/// Restores a backup that is whole.
pub async fn restore(
    client: &Client,
    whole: &Whole,
    asked: &RestoreArguments,
    json: bool,
) -> Result<Exit, Fault> {
    let options = RestoreOptions {
        pace: pace(&asked.pace),
        durability: Some(asked.durability),
        again: asked.again,
    };
    let bar = Bar::new("restoring");
    let show = |progress| bar.show(progress);
    let restored = tokio::select! {
        ended = backup::restore(client, &asked.directory, whole, &options, show) => ended?,
        () = interrupted() => {
            let done = bar.0.position();
            return Err(Fault::interrupted(format!(
                "broken off; {done} objects were restored: --again goes on"
            )));
        }
    };
    drop(bar);
    if json {
        print_json(&json!({ "objects": restored.objects, "bytes": restored.bytes }))?;
        return Ok(Exit::Done);
    }
    print_line(&format!(
        "restored: {} objects, {}",
        restored.objects,
        HumanBytes(restored.bytes)
    ))?;
    Ok(Exit::Done)
}

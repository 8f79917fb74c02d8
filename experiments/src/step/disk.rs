//! Records on disk: `DIR/EXPERIMENT/STEP/`, all of it or nothing.
//!
//! ```text
//! DIR/EXPERIMENT/STEP/step.json            settings, revision, and every window's figures
//! DIR/EXPERIMENT/STEP/WINDOW.hdr           every latency that was kept, in µs (HdrHistogram V2)
//! DIR/EXPERIMENT/STEP/WINDOW.csv           its percentiles in ms
//! DIR/EXPERIMENT/STEP/WINDOW.samples.csv   every operation: begin, latency, outcome, spoilt
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::record::StepRecord;
use super::spec::Step;
use crate::results::Latencies;

/// The record's file.
pub const STEP_FILE: &str = "step.json";

/// Begins the names of directories that are being written.
const PARTIAL: &str = ".partial-";

/// The directory that steps are kept in.
#[derive(Clone, Debug)]
pub struct StepStore {
    root: PathBuf,
}

/// What is on disk of a step.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A record of the same step.
    Same(Box<StepRecord>),
    /// A record of a step of that name with other settings.
    Other,
    /// Something that can't be read, and why.
    Damaged(String),
}

impl StepStore {
    /// Takes `root`, which is made where it is missing.
    ///
    /// # Errors
    /// It can't be made or written; it is named.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let wrong = || {
            format!(
                "--out {}: name a directory that can be written",
                root.display()
            )
        };
        fs::create_dir_all(root).with_context(wrong)?;
        let probe = root.join(".writable");
        fs::write(&probe, b"")
            .and_then(|()| fs::remove_file(&probe))
            .with_context(wrong)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// One that is only read.
    pub fn reading(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a step's files are, or would be.
    pub fn directory(&self, step: &Step) -> PathBuf {
        self.root.join(&step.experiment).join(&step.name)
    }

    /// What there is of a step.
    pub fn find(&self, step: &Step) -> Found {
        let path = self.directory(step).join(STEP_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return Found::Damaged(format!("{}: {error}", path.display())),
        };
        match serde_json::from_str::<StepRecord>(&text) {
            Ok(record) if record.step == *step => Found::Same(Box::new(record)),
            Ok(_) => Found::Other,
            Err(error) => Found::Damaged(format!("{}: {error}", path.display())),
        }
    }

    /// All records of an experiment, by the steps' names; and what could not be read.
    pub fn records(&self, experiment: &str) -> (Vec<StepRecord>, Vec<String>) {
        let directory = self.root.join(experiment);
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    damaged.push(format!("{}: {error}", directory.display()));
                }
                return (records, damaged);
            }
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        for name in names {
            let path = directory.join(name).join(STEP_FILE);
            let read = fs::read_to_string(&path).map_err(anyhow::Error::from);
            match read.and_then(|text| Ok(serde_json::from_str(&text)?)) {
                Ok(record) => records.push(record),
                Err(error) => damaged.push(format!("{}: {error}", path.display())),
            }
        }
        (records, damaged)
    }

    /// A step's kept latencies of one window.
    ///
    /// # Errors
    /// The file is missing or no histogram; it is named.
    pub fn latencies(&self, step: &Step, file_stem: &str) -> anyhow::Result<Latencies> {
        let path = self.directory(step).join(format!("{file_stem}.hdr"));
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Latencies::from_hdr(&bytes).with_context(|| path.display().to_string())
    }

    /// A file of a step, as text.
    ///
    /// # Errors
    /// It can't be read; it is named.
    pub fn text(&self, step: &Step, name: &str) -> anyhow::Result<String> {
        let path = self.directory(step).join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Begins to write a step: nothing is seen of it until [`Draft::publish`].
    ///
    /// # Errors
    /// The operating system's, with the directory's name.
    pub fn draft(&self, step: &Step) -> anyhow::Result<Draft> {
        let place = self.directory(step);
        let partial = self
            .root
            .join(&step.experiment)
            .join(format!("{PARTIAL}{}", step.name));
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| partial.display().to_string())?;
        }
        fs::create_dir_all(&partial).with_context(|| partial.display().to_string())?;
        Ok(Draft { partial, place })
    }
}

/// A step's directory while it is written; dropped unpublished, it goes.
#[derive(Debug)]
pub struct Draft {
    partial: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Where files go.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes a file.
    ///
    /// # Errors
    /// The operating system's, with the file's name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.partial.join(name);
        File::create(&path)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .with_context(|| path.display().to_string())
    }

    /// Writes a window's kept latencies and their percentiles.
    ///
    /// # Errors
    /// As [`Draft::write`].
    pub fn write_latencies(&self, file_stem: &str, latencies: &Latencies) -> anyhow::Result<()> {
        self.write(&format!("{file_stem}.hdr"), &latencies.to_hdr()?)?;
        self.write(&format!("{file_stem}.csv"), latencies.csv().as_bytes())
    }

    /// Writes the record and makes all of it the step's, instead of what was there.
    ///
    /// # Errors
    /// The operating system's; an earlier record stays where the exchange failed.
    pub fn publish(self, record: &StepRecord) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(record)?;
        text.push('\n');
        self.write(STEP_FILE, text.as_bytes())?;
        if self.place.exists() {
            // A crash in between loses the old record, and the step is measured again.
            fs::remove_dir_all(&self.place).with_context(|| self.place.display().to_string())?;
        }
        fs::rename(&self.partial, &self.place).with_context(|| self.place.display().to_string())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already where it was published.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Work;

    fn step(seed: u64) -> Step {
        Step {
            experiment: "fig-2-3".to_owned(),
            name: "delays".to_owned(),
            seed,
            work: Work::Delays,
        }
    }

    fn record(step: &Step) -> StepRecord {
        StepRecord::made_up(step.clone(), Vec::new())
    }

    #[test]
    fn a_step_is_found_again_only_under_the_same_settings() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let store = StepStore::open(&parent.path().join("deep/out")).expect("it can be made");
        assert!(matches!(store.find(&step(1)), Found::Nothing));
        let draft = store.draft(&step(1)).expect("a draft");
        draft.publish(&record(&step(1))).expect("it is written");
        assert!(matches!(store.find(&step(1)), Found::Same(found) if *found == record(&step(1))));
        assert!(matches!(store.find(&step(2)), Found::Other));

        // The same name under other settings takes its place.
        let draft = store.draft(&step(2)).expect("a draft");
        draft.publish(&record(&step(2))).expect("it is written");
        assert!(matches!(store.find(&step(1)), Found::Other));
        let (records, damaged) = store.records("fig-2-3");
        assert_eq!((records.len(), damaged.len()), (1, 0));
    }

    #[test]
    fn a_step_that_was_cut_short_was_never_there() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let store = StepStore::open(parent.path()).expect("it can be made");
        let draft = store.draft(&step(1)).expect("a draft");
        draft.write("half.csv", b"half").expect("it is written");
        // As if the process had been killed here.
        std::mem::forget(draft);
        assert!(matches!(store.find(&step(1)), Found::Nothing));
        assert!(store.records("fig-2-3").0.is_empty());
        let draft = store.draft(&step(1)).expect("a draft beside the remains");
        assert!(!draft.path().join("half.csv").exists());
        draft.publish(&record(&step(1))).expect("it is written");
        assert!(!store.directory(&step(1)).join("half.csv").exists());
        // Dropped unpublished, it leaves what was there.
        drop(store.draft(&step(1)).expect("a draft"));
        assert!(matches!(store.find(&step(1)), Found::Same(_)));
    }

    #[test]
    fn a_damaged_record_is_told_from_none() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let store = StepStore::open(parent.path()).expect("it can be made");
        let draft = store.draft(&step(1)).expect("a draft");
        draft.publish(&record(&step(1))).expect("it is written");
        let file = store.directory(&step(1)).join(STEP_FILE);
        std::fs::write(&file, "{").expect("it can be written");
        assert!(matches!(store.find(&step(1)), Found::Damaged(why) if why.contains("step.json")));
        let is_damaged = || {
            let (records, damaged) = store.records("fig-2-3");
            (records.len(), damaged.len()) == (0, 1)
        };
        assert!(is_damaged());
        std::fs::remove_file(&file).expect("it is there");
        assert!(is_damaged());
        let of_all = parent.path().join("fig-2-3");
        std::fs::remove_dir_all(&of_all).expect("it is there");
        std::fs::write(&of_all, "").expect("it can be written");
        assert!(is_damaged());
    }
}

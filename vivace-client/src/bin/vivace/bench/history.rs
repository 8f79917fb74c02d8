//! A history: every operation with its interval, for a linearizability checker.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use crate::exit::Fault;

/// One line.
#[derive(Serialize)]
pub struct Entry<'a> {
    pub client: u32,
    pub kind: &'static str,
    pub key: &'a str,
    /// The value written, or the amount added.
    pub arg: Value,
    /// The value read (null: none), or the counter's new value.
    pub ret: Value,
    /// Since the run's start.
    pub start_ns: u64,
    /// None where it may take effect at any later time.
    pub end_ns: Option<u64>,
    pub outcome: &'static str,
}

/// The file that the lines go to.
pub struct History {
    path: PathBuf,
    writer: Mutex<Writer>,
}

struct Writer {
    file: BufWriter<File>,
    error: Option<std::io::Error>,
}

impl History {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let file = File::create(path)
            .map_err(|error| Fault::setup(format!("--history {}: {error}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(Writer {
                file: BufWriter::new(file),
                error: None,
            }),
        })
    }

    /// Adds a line. The first failure is kept for [`History::finish`].
    pub fn add(&self, entry: &Entry<'_>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.error.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut writer.file, entry)
            .map_err(std::io::Error::from)
            .and_then(|()| writer.file.write_all(b"\n"));
        writer.error = written.err();
    }

    /// Makes sure that every line is in the file.
    pub fn finish(&self) -> Result<(), Fault> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match writer.error.take() {
            Some(error) => Err(error),
            None => writer.file.flush(),
        };
        written.map_err(|error| {
            Fault::setup(format!(
                "--history {} is incomplete: {error}",
                self.path.display()
            ))
        })
    }
}

//! A history: every operation with its interval, for a linearizability checker.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vivace_core::HistoryLine;

use crate::exit::Fault;

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
            .map_err(|error| Fault::local(format!("--history {}: {error}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(Writer {
                file: BufWriter::new(file),
                error: None,
            }),
        })
    }

    /// Adds a line. The first failure is kept for [`History::finish`].
    pub fn add(&self, line: &HistoryLine<'_>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.error.is_some() {
            return;
        }
        writer.error = line.write(&mut writer.file).err();
    }

    /// Makes sure that every line is in the file.
    pub fn finish(&self) -> Result<(), Fault> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match writer.error.take() {
            Some(error) => Err(error),
            None => writer.file.flush(),
        };
        written.map_err(|error| {
            Fault::local(format!(
                "--history {} is incomplete: {error}",
                self.path.display()
            ))
        })
    }
}

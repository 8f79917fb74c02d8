//! The directory that one run writes into.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run has no directory to write into; nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory holds files, which may be another run's.
    #[error("--out {}: is not empty; name a new or an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// It can't be made, read or written.
    #[error("--out {}: {source}; name a directory that can be written", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// `results/NAME-YYYYMMDDTHHMMSSZ` under the current directory, from when the run
/// began (RFC 3339).
pub fn default_directory(name: &str, started: &str) -> PathBuf {
    let compact: String = started
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    Path::new("results").join(format!("{name}-{compact}"))
}

/// A directory that was empty when this run began, and is its own.
#[derive(Debug)]
pub struct ResultsDirectory {
    path: PathBuf,
    /// The directories that this run made, outermost first.
    made: Vec<PathBuf>,
}

impl ResultsDirectory {
    /// Takes `path`, which is made where it is missing, and makes sure that it can
    /// be written.
    ///
    /// # Errors
    /// [`DirectoryError`]; the file system is as before.
    pub fn claim(path: &Path) -> Result<Self, DirectoryError> {
        let unusable = |source| DirectoryError::Unusable {
            path: path.to_owned(),
            source,
        };
        let mut claimed = Self {
            path: path.to_owned(),
            made: missing(path),
        };
        if let Err(source) = fs::create_dir_all(path) {
            claimed.remove_made();
            return Err(unusable(source));
        }
        if fs::read_dir(path).map_err(unusable)?.next().is_some() {
            return Err(DirectoryError::NotEmpty(path.to_owned()));
        }
        let probe = path.join(".writable");
        match fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
            Ok(()) => Ok(claimed),
            Err(source) => {
                claimed.remove_made();
                Err(unusable(source))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what this run has written, and the directories that it made: for a
    /// run that never began.
    pub fn discard(mut self) {
        // A file that stays is no worse than one that was never asked to go.
        if let Ok(entries) = fs::read_dir(&self.path) {
            for path in entries.flatten().map(|entry| entry.path()) {
                let _ = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
            }
        }
        self.remove_made();
    }

    fn remove_made(&mut self) {
        while let Some(path) = self.made.pop() {
            // Fails where it is not empty, and that is what is wanted.
            let _ = fs::remove_dir(path);
        }
    }
}

/// The directories on the way to `path`, itself too, that don't exist; outermost first.
fn missing(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .take_while(|ancestor| !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

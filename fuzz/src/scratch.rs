//! Files for what is read from a directory. `run` sees to it that they are in memory,
//! and takes them away.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of this process's own.
pub struct Scratch(tempfile::TempDir);

impl Default for Scratch {
    fn default() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Makes an empty directory of that name, whatever was there.
    pub fn empty(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).expect("it is ours");
        }
        fs::create_dir(&path).expect("it is ours");
        path
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, bytes).expect("it is ours");
        path
    }

    /// All files, with their bytes.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut open = vec![self.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).expect("it is ours") {
                let path = entry.expect("it is ours").path();
                match path.is_dir() {
                    true => open.push(path),
                    false => {
                        let bytes = fs::read(&path).expect("it is ours");
                        files.insert(path, bytes);
                    }
                }
            }
        }
        files
    }
}

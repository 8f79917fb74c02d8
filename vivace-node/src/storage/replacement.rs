//! A small file in the place of an earlier one: after a crash, one of the two is there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is written and durable, under another name until [`Replacement::put`]. All
/// that takes space has been done by then; dropped before, it leaves nothing.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    new: PathBuf,
}

impl Replacement {
    /// Writes `text`, durably, beside `path`.
    pub fn prepare(path: &Path, text: &str) -> io::Result<Self> {
        let replacement = Self {
            path: path.to_owned(),
            new: path.with_extension("new"),
        };
        let mut file = File::create(&replacement.new).map_err(|error| match error.kind() {
            // The caller names the file that is to be replaced.
            io::ErrorKind::IsADirectory => {
                let new = replacement.new.display();
                io::Error::new(error.kind(), format!("{new} is a directory: move it away"))
            }
            _ => error,
        })?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(replacement)
    }

    /// Puts it in its place, durably.
    pub fn put(self) -> io::Result<()> {
        fs::rename(&self.new, &self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = fs::remove_file(&self.new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_put_leaves_the_earlier_one_alone() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("name");
        fs::write(&path, "earlier").expect("writes");
        drop(Replacement::prepare(&path, "later").expect("prepares"));
        assert_eq!(fs::read_to_string(&path).expect("reads"), "earlier");
        assert_eq!(fs::read_dir(home.path()).expect("lists").count(), 1);
        let later = Replacement::prepare(&path, "later").expect("prepares");
        later.put().expect("puts");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "later");
        assert_eq!(fs::read_dir(home.path()).expect("lists").count(), 1);
    }
}

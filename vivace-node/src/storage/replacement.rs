//! A small file in the place of an earlier one: after a crash, one of the two is there. And
//! how it is read again.

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
        Self::prepare_with(path, |_| text.to_owned())
    }

    /// The same with a text that `tells` of the file itself, which is empty then.
    pub fn prepare_with(path: &Path, tells: impl FnOnce(&File) -> String) -> io::Result<Self> {
        let replacement = Self {
            path: path.to_owned(),
            new: beside(path),
        };
        let mut file = File::create(&replacement.new).map_err(|error| match error.kind() {
            // The caller names the file that is to be replaced.
            io::ErrorKind::IsADirectory => {
                let new = replacement.new.display();
                io::Error::new(error.kind(), format!("{new} is a directory: move it away"))
            }
            _ => error,
        })?;
        let text = tells(&file);
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

/// Where what is to replace `path` is written: a name that is nobody else's.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = fs::remove_file(&self.new);
    }
}

/// What a small file holds; none where there is nothing of this name. A pipe or a device
/// there would be waited for.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::Other`] for anything else than a file.
pub(super) fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::read(path).map(Some),
        Ok(_) => Err(io::Error::other(
            "is no file: move it away, and put the file back",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            // As of a disk that is not mounted.
            Ok(_) => Err(io::Error::other(
                "is a link to nothing: mount or restore what it points at",
            )),
            Err(_) => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// The same as text, with replacement characters for what is none.
///
/// # Errors
/// As [`read_file`].
pub(super) fn read_text(path: &Path) -> io::Result<Option<String>> {
    let bytes = read_file(path)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_read() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("name");
        assert_eq!(read_text(&path).expect("reads"), None);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("makes it");
        for what in ["a pipe", "a directory"] {
            let error = read_text(&path).expect_err(what);
            assert!(error.to_string().contains("put the file back"), "{error}");
            fs::remove_file(&path).ok();
            fs::create_dir_all(&path).expect("makes it");
        }
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path().join("nothing"), &link).expect("links");
        let error = read_text(&link).expect_err("is a link");
        assert!(error.to_string().contains("link to nothing"), "{error}");
    }

    #[test]
    fn a_file_of_a_similar_name_is_left_alone() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let other = home.path().join("node.new");
        fs::write(&other, "mine").expect("writes");
        let witness = home.path().join("node.witness");
        let written = Replacement::prepare(&witness, "text").expect("prepares");
        written.put().expect("puts");
        assert_eq!(fs::read_to_string(&other).expect("reads"), "mine");
    }

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

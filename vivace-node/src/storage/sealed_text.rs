//! Small text files of a data directory: format and directory in a line each, a body, and the
//! checksum (CRC-32C) of all that in the last line.

use std::io;
use std::path::{Path, PathBuf};

use super::identity::DirectoryId;
use super::replacement::read_file;
use super::space::{is_forbidden, is_no_space};

/// Why such a file is not what this directory's node wrote. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SealedTextError {
    /// It is not what was written.
    #[error("{}: is damaged ({what}): restore the file; {way_out}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
        /// What there is to do where it is lost.
        way_out: &'static str,
    },
    /// Another directory's.
    #[error(
        "{}: belongs to data directory {found}, and this is {expected}: put it back where it \
         came from, and this directory's own here; {way_out}",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: DirectoryId,
        /// Whose it should be.
        expected: DirectoryId,
        /// What there is to do where this directory's own is lost.
        way_out: &'static str,
    },
    /// Written by later code.
    #[error(
        "{}: is of format {found}, and this program reads up to {newest}: run the newer program",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        found: u32,
        /// The newest that is read.
        newest: u32,
    },
    /// The operating system refused.
    #[error("{}: {source}{}", path.display(), what_to_do(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SealedTextError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Foreign { .. } => 12,
            Self::Newer { .. } => 14,
            Self::Io { source, .. } if is_forbidden(source) => 16,
            Self::Io { source, .. } if is_no_space(source) => 20,
            Self::Damaged { .. } | Self::Io { .. } => 21,
        }
    }

    /// What failed at `path`.
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}

fn what_to_do(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::IsADirectory => ": move it away, and put the file back",
        _ if is_forbidden(source) => ": mount it writable, or give this user the rights",
        _ => "",
    }
}

/// One kind of such files.
pub(super) struct SealedText {
    /// What the first line begins with.
    pub title: &'static str,
    /// The format that is written, and the newest that is read.
    pub format: u32,
    /// What there is to do where the file is lost.
    pub way_out: &'static str,
}

impl SealedText {
    /// A whole file.
    pub fn seal(&self, directory: DirectoryId, body: &str) -> String {
        let (title, format) = (self.title, self.format);
        let covered = format!("{title} {format}\ndirectory {directory}\n{body}");
        let checksum = crc32c::crc32c(covered.as_bytes());
        format!("{covered}checksum {checksum:08x}\n")
    }

    /// What `take` makes of the body of the file at `path`, which must be `directory`'s; none
    /// where there is no such file.
    pub fn read<T>(
        &self,
        path: &Path,
        directory: DirectoryId,
        take: impl FnOnce(&str) -> Result<T, SealedTextError>,
    ) -> Result<Option<T>, SealedTextError> {
        let Some(bytes) = read_file(path).map_err(SealedTextError::at(path))? else {
            return Ok(None);
        };
        let (owner, body) = self.open(path, &bytes)?;
        if owner != directory {
            return Err(SealedTextError::Foreign {
                path: path.to_owned(),
                found: owner,
                expected: directory,
                way_out: self.way_out,
            });
        }
        take(body).map(Some)
    }

    /// Whose a file is, and its body.
    pub fn open<'a>(
        &self,
        path: &Path,
        bytes: &'a [u8],
    ) -> Result<(DirectoryId, &'a str), SealedTextError> {
        let damaged = |what: &str| self.damaged(path, what);
        let text = str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let mut head = text.lines();
        let mut value_of = |name: &str| {
            let value = head.next().and_then(|line| line.strip_prefix(name));
            value.and_then(|value| value.strip_prefix(' '))
        };
        let format = value_of(self.title).and_then(|text| text.parse::<u32>().ok());
        let format = format.filter(|&format| format > 0);
        let format = format.ok_or_else(|| damaged("line 1 names no format"))?;
        if format > self.format {
            return Err(SealedTextError::Newer {
                path: path.to_owned(),
                found: format,
                newest: self.format,
            });
        }
        let owner = value_of("directory").and_then(DirectoryId::parse);
        let owner = owner.ok_or_else(|| damaged("line 2 names no directory"))?;
        let (covered, checksum) = text
            .rsplit_once("checksum ")
            .ok_or_else(|| damaged("it ends without a checksum"))?;
        if checksum != format!("{:08x}\n", crc32c::crc32c(covered.as_bytes())) {
            return Err(damaged("its checksum is another"));
        }
        Ok((owner, covered.splitn(3, '\n').nth(2).unwrap_or_default()))
    }

    /// The file is not what was written, as is told.
    pub fn damaged(&self, path: &Path, what: impl Into<String>) -> SealedTextError {
        SealedTextError::Damaged {
            path: path.to_owned(),
            what: what.into(),
            way_out: self.way_out,
        }
    }
}

/// Whether a file is sealed at all, intact or not.
pub(super) fn is_sealed(text: &str) -> bool {
    let last = text.lines().next_back();
    last.is_some_and(|last| last.starts_with("checksum "))
}

//! Which start of its node a journal has heard of: one that was put back from an earlier time
//! is sound in itself and has forgotten promises. The file `life` lies in the journal's own
//! directory, so that it comes and goes with it, and says when it was made itself: one that was
//! copied there, or written over in place, is not the file that it says.

use std::fs::File;
use std::path::{Path, PathBuf};

use vivace_core::journal::{self, MarkTrouble};

use super::error::{LOST_FOR_GOOD, at};
use super::{DataDirectory, IdentityError, birth, born, is_original};
use crate::storage::open::JOURNAL;
use crate::storage::replacement::{Replacement, read_text};

/// The file's name: one line, `life N BORN CHECKSUM`, the file's own birth in nanoseconds since
/// 1970 or `unknown`, and the CRC-32C of what stands before it. Up to format 4 it had no birth.
const LIFE: &str = "life";

/// A life that the journal is to know of, written down and not in its place.
#[derive(Debug)]
pub(super) struct JournalLife {
    path: PathBuf,
    file: Replacement,
}

impl JournalLife {
    /// Writes it down in the journal of `directory`, where there is one.
    pub fn prepare(directory: &Path, life: u16) -> Result<Option<Self>, IdentityError> {
        let path = file(directory);
        if !path.parent().is_some_and(Path::is_dir) {
            return Ok(None);
        }
        let text = |file: &File| encode(life, file.metadata().ok().and_then(|file| born(&file)));
        let file = Replacement::prepare_with(&path, text).map_err(at(&path))?;
        Ok(Some(Self { path, file }))
    }

    /// The journal knows of it from now on, durably.
    pub fn put(self) -> Result<(), IdentityError> {
        self.file.put().map_err(at(&self.path))
    }
}

/// Where the journal of `directory` says of which life it has heard.
fn file(directory: &Path) -> PathBuf {
    directory.join(JOURNAL).join(LIFE)
}

/// When the journal of a directory was made: the birth of its mark, which is written with
/// every commit and made once. Whoever puts older files in the place of newer ones makes
/// this one anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalBirth {
    /// Nanoseconds since 1970.
    At(u128),
    /// The file system does not know.
    Unknown,
    /// The operator says that the journal is the node's newest: the next start takes it for that,
    /// whatever its mark is.
    Adopted,
}

impl JournalBirth {
    /// Of the journal of `directory`.
    pub fn of(directory: &Path) -> Self {
        birth_of_mark(directory).map_or(Self::Unknown, Self::At)
    }
}

/// Whether the journal of `directory` has its mark.
pub(super) fn has_mark(directory: &Path) -> bool {
    mark(directory).exists()
}

fn mark(directory: &Path) -> PathBuf {
    directory.join(JOURNAL).join(journal::MARK)
}

fn birth_of_mark(directory: &Path) -> Option<u128> {
    birth(&mark(directory))
}

impl DataDirectory {
    /// Checks that the journal is of the same time as the rest of the directory: it has heard
    /// of the node's last start, or of the one that would have been next, where a crash came
    /// between the two; and that of the last start it heard itself, and is no copy of what did.
    /// Where `mark_trouble` says that its mark is not what it should be, nobody can tell.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn check_journal(&self, mark_trouble: Option<MarkTrouble>) -> Result<(), IdentityError> {
        let lives = self.identity.life;
        if lives == 0 {
            return Ok(());
        }
        let path = file(&self.path);
        let Some(text) = read_text(&path).map_err(at(&path))? else {
            return Err(IdentityError::Incomplete(path));
        };
        let (life, life_born) = decode(&text).ok_or_else(|| IdentityError::Unreadable {
            path: path.clone(),
            line: 1,
            expected: "life N BORN CHECKSUM".into(),
            way_out: LOST_FOR_GOOD,
        })?;
        let directory = self.path.join(JOURNAL);
        if life != lives && Some(life) != lives.checked_add(1) {
            return Err(IdentityError::OtherTime {
                journal: directory,
                life,
                lives,
            });
        }
        let identity = &self.identity;
        match (identity.journal_born, mark_trouble) {
            (JournalBirth::Adopted, _) => Ok(()),
            // An earlier program wrote it with the first commit, and did not sync it.
            (_, Some(MarkTrouble::Blank)) if identity.is_from_earlier => Ok(()),
            (_, Some(trouble)) => Err(IdentityError::MarkUnsound {
                mark: mark(&self.path),
                trouble,
            }),
            (JournalBirth::At(born), None) if birth_of_mark(&self.path) != Some(born) => {
                Err(IdentityError::CopiedJournal(directory))
            }
            _ if !is_original(life_born, birth(&path)) => {
                Err(IdentityError::CopiedJournal(directory))
            }
            (JournalBirth::At(_) | JournalBirth::Unknown, None) => Ok(()),
        }
    }
}

fn encode(life: u16, born: Option<u128>) -> String {
    let born = born.map_or("unknown".into(), |born| born.to_string());
    seal(format!("life {life} {born} "))
}

fn seal(covered: String) -> String {
    format!("{covered}{:08x}\n", crc32c::crc32c(covered.as_bytes()))
}

/// Number and birth, as far as it says.
fn decode(text: &str) -> Option<(u16, Option<u128>)> {
    let mut words = text.strip_prefix("life ")?.split(' ');
    let life = words.next()?.parse().ok()?;
    // Without a birth the checksum comes next, which may be digits alone.
    if text == seal(format!("life {life} ")) {
        return Some((life, None));
    }
    let born = words.next()?.parse().ok();
    (encode(life, born) == text).then_some((life, born))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_text_is_none() {
        for born in [None, Some(1_795_000_000_000_000_000)] {
            let text = encode(65_535, born);
            assert_eq!(decode(&text), Some((65_535, born)));
        }
        for life in 1..=1_000 {
            let earlier = seal(format!("life {life} "));
            assert_eq!(decode(&earlier), Some((life, None)), "{earlier}");
        }
        let text = encode(65_535, Some(1_795_000_000_000_000_000));
        for cut in 0..text.len() {
            assert_eq!(decode(&text[..cut]), None, "cut at {cut}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let other = String::from_utf8(bytes).expect("is text");
            assert_eq!(decode(&other), None, "changed at {at}");
        }
        for wrong in [text.clone() + "\n", text.replace("life ", "life +")] {
            assert_eq!(decode(&wrong), None);
        }
    }
}

//! Which start of its node a journal has heard of: one that was put back from an earlier time
//! is sound in itself and has forgotten promises. The file `life` lies in the journal's own
//! directory, so that it comes and goes with it.

use std::path::Path;

use super::error::{LOST_FOR_GOOD, at};
use super::{DataDirectory, IdentityError, NextLife};
use crate::storage::replacement::{Replacement, read_text};

/// The file's name: one line, `life N CHECKSUM`, the CRC-32C of what stands before it.
const LIFE: &str = "life";

/// A life that the journal is to know of, written down and not in its place.
#[derive(Debug)]
pub struct JournalLife(Replacement);

impl JournalLife {
    /// The journal knows of it from now on, durably.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn put(self, journal: &Path) -> Result<(), IdentityError> {
        self.0.put().map_err(at(&journal.join(LIFE)))
    }
}

impl NextLife {
    /// Writes it down in `journal`, so that nothing but [`JournalLife::put`] is left to do.
    /// That comes before [`DataDirectory::begin`].
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn prepare_in(&self, journal: &Path) -> Result<JournalLife, IdentityError> {
        let path = journal.join(LIFE);
        let file = Replacement::prepare(&path, &encode(self.identity.life));
        file.map(JournalLife).map_err(at(&path))
    }
}

impl DataDirectory {
    /// Checks that `journal` is of the same time as the rest of the directory: it has heard
    /// of the node's last start, or of the one that would have been next, where a crash came
    /// between the two.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn check_journal(&self, journal: &Path) -> Result<(), IdentityError> {
        let lives = self.identity.life;
        if lives == 0 {
            return Ok(());
        }
        let path = journal.join(LIFE);
        let Some(text) = read_text(&path).map_err(at(&path))? else {
            return Err(IdentityError::Incomplete(path));
        };
        let life = decode(&text).ok_or_else(|| IdentityError::Unreadable {
            path,
            line: 1,
            expected: "life N CHECKSUM".into(),
            way_out: LOST_FOR_GOOD,
        })?;
        if life == lives || Some(life) == lives.checked_add(1) {
            return Ok(());
        }
        Err(IdentityError::OtherTime {
            journal: journal.to_owned(),
            life,
            lives,
        })
    }
}

fn encode(life: u16) -> String {
    let covered = format!("life {life} ");
    format!("{covered}{:08x}\n", crc32c::crc32c(covered.as_bytes()))
}

fn decode(text: &str) -> Option<u16> {
    let life = text
        .strip_prefix("life ")?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    (encode(life) == text).then_some(life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_text_is_none() {
        let text = encode(65_535);
        assert_eq!(decode(&text), Some(65_535));
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

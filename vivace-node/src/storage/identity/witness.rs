//! The witness: a file beside the node's configuration that remembers which data directory the
//! node lives in, and how often it has started there.

use std::path::Path;

use super::error::at;
use super::identity_file::{Fields, Identity, encode_owner};
use super::{DirectoryId, IdentityError, Owner};
use crate::storage::replacement::read_text;
use crate::storage::sealed_text::SealedText;

/// Its first format was the two lines of the body without a head and a checksum.
const TEXT: SealedText = SealedText {
    title: "vivace-witness",
    format: 2,
    // It guards against a mistake, and a node starts without one.
    way_out: "where it is lost and the data directory is surely the newest, remove the file: the \
        next start makes another",
};

/// What it remembers.
pub(super) struct Witness {
    /// None in the format that named nobody.
    owner: Option<Owner>,
    directory: DirectoryId,
    life: u16,
}

impl Witness {
    pub fn of(identity: &Identity) -> Self {
        Self {
            owner: Some(identity.owner.clone()),
            directory: identity.directory,
            life: identity.life,
        }
    }

    pub fn encode(&self) -> String {
        let owner = self.owner.as_ref().map(encode_owner).unwrap_or_default();
        let body = format!("{owner}life {}\n", self.life);
        TEXT.seal(self.directory, &body)
    }

    /// Checks that the directory at `path`, which says `identity` of itself and shall be `owner`'s,
    /// is what the witness remembers, or has gone on since; without one there is nothing to check.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn check(
        witness: &Path,
        identity: &Identity,
        owner: &Owner,
        path: &Path,
    ) -> Result<(), IdentityError> {
        let Some(known) = Self::read(witness)? else {
            return Ok(());
        };
        let (path, witness) = (path.to_owned(), witness.to_owned());
        // In the same directory, what it remembers of the id may be a slip since corrected.
        let is_other = |found: &Owner| {
            !found.is_named_as(owner)
                || (known.directory != identity.directory && !found.may_be(owner))
        };
        if let Some(found) = known.owner.filter(is_other) {
            return Err(IdentityError::ForeignWitness {
                witness,
                found: Box::new(found),
                expected: Box::new(owner.clone()),
            });
        }
        let (lived, lives) = (known.directory, known.life);
        if lived != identity.directory && identity.life > 0 {
            return Err(IdentityError::Another {
                path,
                life: identity.life,
                witness,
                lived,
            });
        }
        if lived != identity.directory {
            return Err(IdentityError::Replaced {
                path,
                witness,
                lived,
            });
        }
        if lives > identity.life {
            return Err(IdentityError::Outdated {
                path,
                witness,
                life: identity.life,
                lives,
            });
        }
        Ok(())
    }

    fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(text) = read_text(path).map_err(at(path))? else {
            return Ok(None);
        };
        if text.starts_with("directory ") {
            let mut fields = Fields::of(path, TEXT.way_out, &text, 0);
            let witness = Self {
                owner: None,
                directory: fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?,
                life: fields.next("life", "1", |text| text.parse().ok())?,
            };
            fields.end()?;
            return Ok(Some(witness));
        }
        let (directory, body) = TEXT.open(path, text.as_bytes())?;
        let mut fields = Fields::of(path, TEXT.way_out, body, 2);
        let witness = Self {
            owner: Some(fields.owner()?),
            directory,
            life: fields.next("life", "1", |text| text.parse().ok())?,
        };
        fields.end()?;
        Ok(Some(witness))
    }
}

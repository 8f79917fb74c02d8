//! The files that say whose a directory is: a few lines of a name and a value.

use std::path::Path;
use std::str::Lines;

use vivace_core::NodeId;

use super::error::{LOST_FOR_GOOD, at};
use super::{ClusterId, DirectoryId, FORMAT, IdentityError, JournalBirth, Owner, StartId, starts};
use crate::storage::replacement::read_text;
use crate::storage::sealed_text::{SealedText, is_sealed};

/// The oldest format that is read: it knows of no starts. Up to [`UNSEALED_FORMAT`] there was no
/// checksum, and no cluster's id.
const OLDEST_FORMAT: u32 = 2;

const UNSEALED_FORMAT: u32 = 3;

const TEXT: SealedText = SealedText {
    title: "vivace-data",
    format: FORMAT,
    way_out: LOST_FOR_GOOD,
};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub owner: Owner,
    pub directory: DirectoryId,
    pub life: u16,
    /// What told its lives from others, the newest last; of a directory that an earlier format
    /// kept, not the first ones.
    pub starts: Vec<StartId>,
    /// The directory's time of birth in nanoseconds since 1970, since the first start
    /// and where the file system knows it.
    pub born: Option<u128>,
    /// The same of the journal.
    pub journal_born: JournalBirth,
    /// The file is of an earlier format.
    pub is_from_earlier: bool,
}

impl Identity {
    pub fn encode(&self) -> String {
        let time = |born: Option<u128>| match born {
            Some(born) => born.to_string(),
            None => "unknown".into(),
        };
        let body = format!(
            "{}life {}\nstarts {}\nborn {}\njournal-born {}\n",
            encode_owner(&self.owner),
            self.life,
            starts::encode(&self.starts),
            time(self.born),
            match self.journal_born {
                JournalBirth::At(born) => time(Some(born)),
                JournalBirth::Unknown => time(None),
                JournalBirth::Adopted => "adopted".into(),
            }
        );
        TEXT.seal(self.directory, &body)
    }

    pub fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(text) = read_text(path).map_err(at(path))? else {
            return Ok(None);
        };
        if text.starts_with("vivace-log-1 ") {
            let directory = path.parent().unwrap_or(path);
            return Err(IdentityError::Development(directory.to_owned()));
        }
        // The checksum covers the format: a damaged one must not send anybody elsewhere.
        if !is_sealed(&text)
            && let Some(identity) = Self::read_unsealed(path, &text)?
        {
            return Ok(Some(identity));
        }
        let (directory, body) = TEXT.open(path, text.as_bytes())?;
        let mut fields = Fields::of(path, LOST_FOR_GOOD, body, 2);
        let identity = Self {
            owner: fields.owner()?,
            directory,
            life: fields.next("life", "1", |text| text.parse().ok())?,
            starts: fields.next("starts", "16 HEX DIGITS EACH", starts::decode)?,
            born: fields.next("born", "NANOSECONDS", time)?,
            journal_born: fields.next("journal-born", "NANOSECONDS", journal_birth)?,
            is_from_earlier: false,
        };
        fields.end()?;
        Ok(Some(identity))
    }

    /// A file of an earlier format; none where it names a later one.
    fn read_unsealed(path: &Path, text: &str) -> Result<Option<Self>, IdentityError> {
        let mut fields = Fields::of(path, LOST_FOR_GOOD, text, 0);
        let format = fields.next(TEXT.title, "4", |text| text.parse::<u32>().ok())?;
        if format < OLDEST_FORMAT {
            let directory = path.parent().unwrap_or(path);
            return Err(IdentityError::Development(directory.to_owned()));
        }
        if format > UNSEALED_FORMAT {
            return Ok(None);
        }
        let cluster = fields.next("cluster", "NAME", |text| Some(text.to_owned()))?;
        let node = fields.next("node", "1", node)?;
        let identity = Self {
            owner: Owner::named(cluster, node),
            directory: fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?,
            life: fields.next("life", "1", |text| text.parse().ok())?,
            starts: match format {
                OLDEST_FORMAT => Vec::new(),
                _ => fields.next("starts", "16 HEX DIGITS EACH", starts::decode)?,
            },
            born: fields.next("born", "NANOSECONDS", time)?,
            journal_born: match format {
                OLDEST_FORMAT => JournalBirth::Unknown,
                _ => fields.next("journal-born", "NANOSECONDS", journal_birth)?,
            },
            is_from_earlier: true,
        };
        fields.end()?;
        Ok(Some(identity))
    }
}

/// Three lines, for [`Fields::owner`].
pub(super) fn encode_owner(owner: &Owner) -> String {
    let id = match owner.cluster_id {
        Some(id) => id.to_string(),
        None => "none".into(),
    };
    format!(
        "cluster {}\ncluster-id {id}\nnode {}\n",
        owner.cluster, owner.node.0
    )
}

fn node(text: &str) -> Option<NodeId> {
    text.parse().ok().map(NodeId)
}

fn time(text: &str) -> Option<Option<u128>> {
    match text {
        "unknown" => Some(None),
        _ => text.parse().ok().map(Some),
    }
}

fn journal_birth(text: &str) -> Option<JournalBirth> {
    match text {
        "adopted" => Some(JournalBirth::Adopted),
        _ => Some(time(text)?.map_or(JournalBirth::Unknown, JournalBirth::At)),
    }
}

fn cluster_id(text: &str) -> Option<Option<ClusterId>> {
    match text {
        "none" => Some(None),
        _ => ClusterId::parse(text).map(Some),
    }
}

/// Lines of a name and a value.
pub(super) struct Fields<'t> {
    path: &'t Path,
    /// What there is to do where the file is lost.
    way_out: &'static str,
    lines: Lines<'t>,
    line: usize,
}

impl<'t> Fields<'t> {
    /// The lines of `text`, which `skipped` others come before in the file.
    pub fn of(path: &'t Path, way_out: &'static str, text: &'t str, skipped: usize) -> Self {
        Self {
            path,
            way_out,
            lines: text.lines(),
            line: skipped,
        }
    }

    /// What [`encode_owner`] wrote.
    pub fn owner(&mut self) -> Result<Owner, IdentityError> {
        Ok(Owner {
            cluster: self.next("cluster", "NAME", |text| Some(text.to_owned()))?,
            cluster_id: self.next("cluster-id", "32 HEX DIGITS", cluster_id)?,
            node: self.next("node", "1", node)?,
        })
    }

    pub fn next<T>(
        &mut self,
        name: &str,
        example: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, IdentityError> {
        self.line += 1;
        let value = self.lines.next().and_then(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.strip_prefix(' '));
        value
            .and_then(parse)
            .ok_or_else(|| IdentityError::Unreadable {
                path: self.path.to_owned(),
                line: self.line,
                expected: format!("{name} {example}"),
                way_out: self.way_out,
            })
    }

    pub fn end(mut self) -> Result<(), IdentityError> {
        match self.lines.next() {
            None => Ok(()),
            Some(_) => Err(IdentityError::Unreadable {
                path: self.path.to_owned(),
                line: self.line + 1,
                expected: "the end".to_owned(),
                way_out: self.way_out,
            }),
        }
    }
}

//! The files that say whose a directory is: a few lines of a name and a value.

use std::path::Path;

use vivace_core::NodeId;

use super::error::{LOST_FOR_GOOD, at};
use super::{DirectoryId, FORMAT, IdentityError, StartId, starts};
use crate::storage::replacement::read_text;

/// The oldest format that is read: it knows of no starts, and the next one writes the newest.
const OLDEST_FORMAT: u32 = 2;

/// A witness guards against a mistake, and a node starts without one.
const WITHOUT_WITNESS: &str = "where it is lost and the data directory is surely the newest, \
    remove the file: the next start makes another";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub cluster: String,
    pub node: NodeId,
    pub directory: DirectoryId,
    pub life: u16,
    /// The latest of its lives, the newest last.
    pub starts: Vec<StartId>,
    /// The directory's time of birth in nanoseconds since 1970, since the first start
    /// and where the file system knows it.
    pub born: Option<u128>,
    /// The same of the journal's mark.
    pub journal_born: Option<u128>,
}

impl Identity {
    pub fn encode(&self) -> String {
        let time = |born: Option<u128>| match born {
            Some(born) => born.to_string(),
            None => "unknown".into(),
        };
        let lines = [
            ("vivace-data", FORMAT.to_string()),
            ("cluster", self.cluster.clone()),
            ("node", self.node.0.to_string()),
            ("directory", self.directory.to_string()),
            ("life", self.life.to_string()),
            ("starts", starts::encode(&self.starts)),
            ("born", time(self.born)),
            ("journal-born", time(self.journal_born)),
        ];
        lines
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect()
    }

    pub fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(text) = read_text(path).map_err(at(path))? else {
            return Ok(None);
        };
        if text.starts_with("vivace-log-1 ") {
            let directory = path.parent().unwrap_or(path);
            return Err(IdentityError::Development(directory.to_owned()));
        }
        let mut fields = Fields {
            path,
            way_out: LOST_FOR_GOOD,
            lines: text.lines(),
            line: 0,
        };
        let format = fields.next("vivace-data", "3", |text| text.parse::<u32>().ok())?;
        if format < OLDEST_FORMAT {
            let directory = path.parent().unwrap_or(path);
            return Err(IdentityError::Development(directory.to_owned()));
        }
        if format > FORMAT {
            let path = path.to_owned();
            return Err(IdentityError::Newer {
                path,
                found: format,
            });
        }
        let time = |text: &str| match text {
            "unknown" => Some(None),
            _ => text.parse().ok().map(Some),
        };
        let identity = Self {
            cluster: fields.next("cluster", "NAME", |text| Some(text.to_owned()))?,
            node: fields.next("node", "1", |text| text.parse().ok().map(NodeId))?,
            directory: fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?,
            life: fields.next("life", "1", |text| text.parse().ok())?,
            starts: match format {
                OLDEST_FORMAT => Vec::new(),
                _ => fields.next("starts", "16 HEX DIGITS EACH", starts::decode)?,
            },
            born: fields.next("born", "NANOSECONDS", time)?,
            journal_born: match format {
                OLDEST_FORMAT => None,
                _ => fields.next("journal-born", "NANOSECONDS", time)?,
            },
        };
        fields.end()?;
        Ok(Some(identity))
    }

    pub fn check_witness(&self, path: &Path, witness: &Path) -> Result<(), IdentityError> {
        let Some(text) = read_text(witness).map_err(at(witness))? else {
            return Ok(());
        };
        let mut fields = Fields {
            path: witness,
            way_out: WITHOUT_WITNESS,
            lines: text.lines(),
            line: 0,
        };
        let lived = fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?;
        let lives: u16 = fields.next("life", "1", |text| text.parse().ok())?;
        fields.end()?;
        let (path, witness) = (path.to_owned(), witness.to_owned());
        if lived != self.directory && self.life > 0 {
            return Err(IdentityError::Another {
                path,
                life: self.life,
                witness,
                lived,
            });
        }
        if lived != self.directory {
            return Err(IdentityError::Replaced {
                path,
                witness,
                lived,
            });
        }
        if lives > self.life {
            return Err(IdentityError::Outdated {
                path,
                witness,
                life: self.life,
                lives,
            });
        }
        Ok(())
    }
}

/// Lines of a name and a value.
struct Fields<'t> {
    path: &'t Path,
    /// What there is to do where the file is lost.
    way_out: &'static str,
    lines: std::str::Lines<'t>,
    line: usize,
}

impl Fields<'_> {
    fn next<T>(
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

    fn end(mut self) -> Result<(), IdentityError> {
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

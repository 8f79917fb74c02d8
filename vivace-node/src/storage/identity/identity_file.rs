//! The files that say whose a directory is: a few lines of a name and a value.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use vivace_core::NodeId;

use super::error::at;
use super::{DirectoryId, FORMAT, IdentityError};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub cluster: String,
    pub node: NodeId,
    pub directory: DirectoryId,
    pub life: u16,
    /// The directory's time of birth in nanoseconds since 1970, since the first start
    /// and where the file system knows it.
    pub born: Option<u128>,
}

impl Identity {
    pub fn encode(&self) -> String {
        let born = match self.born {
            Some(born) => born.to_string(),
            None => "unknown".into(),
        };
        format!(
            "vivace-data {FORMAT}\ncluster {}\nnode {}\ndirectory {}\nlife {}\nborn {born}\n",
            self.cluster, self.node.0, self.directory, self.life
        )
    }

    pub fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(path)(source)),
        };
        if text.starts_with("vivace-log-1 ") {
            let directory = path.parent().unwrap_or(path);
            return Err(IdentityError::Development(directory.to_owned()));
        }
        let mut fields = Fields {
            path,
            lines: text.lines(),
            line: 0,
        };
        let format = fields.next("vivace-data", "2", |text| text.parse::<u32>().ok())?;
        if format < FORMAT {
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
        let identity = Self {
            cluster: fields.next("cluster", "NAME", |text| Some(text.to_owned()))?,
            node: fields.next("node", "1", |text| text.parse().ok().map(NodeId))?,
            directory: fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?,
            life: fields.next("life", "1", |text| text.parse().ok())?,
            born: fields.next("born", "NANOSECONDS", |text| match text {
                "unknown" => Some(None),
                _ => text.parse().ok().map(Some),
            })?,
        };
        fields.end()?;
        Ok(Some(identity))
    }

    pub fn check_witness(&self, path: &Path, witness: &Path) -> Result<(), IdentityError> {
        let text = match fs::read_to_string(witness) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(at(witness)(source)),
        };
        let mut fields = Fields {
            path: witness,
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
            })
    }

    fn end(mut self) -> Result<(), IdentityError> {
        match self.lines.next() {
            None => Ok(()),
            Some(_) => Err(IdentityError::Unreadable {
                path: self.path.to_owned(),
                line: self.line + 1,
                expected: "the end".to_owned(),
            }),
        }
    }
}

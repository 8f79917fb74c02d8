//! The files that describe a cluster and one of its nodes. `vivace-node init`
//! writes both with comments; docs/configuration.md lists every field.

mod cluster_file;
mod node_file;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use vivace_core::cluster::ClusterError;

pub use self::cluster_file::{ClusterConfig, NodeAddresses};
pub use self::node_file::{NodeConfig, StorageConfig};
use crate::transport::identity::IdentityError;

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration can't be used. Nothing was started or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is too long to be a configuration.
    #[error("{}: has {bytes} bytes; a configuration has at most {FILE_BYTES_MAX}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Not TOML, or a field is missing, unknown or of another type.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which field, and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A field's value can't be used.
    #[error("{}: {field}: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The fields contradict each other.
    #[error("{}: {source}", path.display())]
    Cluster {
        /// The file.
        path: PathBuf,
        /// Which field, and what would be right.
        source: ClusterError,
    },
    /// The certificates or the key that a node file names can't be used.
    #[error("{}: ca, certificate, key: {source}", path.display())]
    Identity {
        /// The node file.
        path: PathBuf,
        /// Which of them, and what would be right.
        source: IdentityError,
    },
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong {
            path: path.to_owned(),
            bytes,
        });
    }
    parse(&read_bounded(path).map_err(unreadable)?, path)
}

/// Also of what has no length to look at first, such as a pipe.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match bytes as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other(format!(
            "goes on beyond {FILE_BYTES_MAX} bytes; a configuration has at most as many"
        ))),
        false => Ok(text),
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|source| ConfigError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// A wrong field, before the file's name is added.
enum Wrong {
    Field { field: String, reason: String },
    Cluster(ClusterError),
}

impl Wrong {
    fn in_file(self, path: &Path) -> ConfigError {
        let path = path.to_owned();
        match self {
            Self::Field { field, reason } => ConfigError::Field {
                path,
                field,
                reason,
            },
            Self::Cluster(source) => ConfigError::Cluster { path, source },
        }
    }
}

fn field(field: impl Into<String>, reason: impl ToString) -> Wrong {
    Wrong::Field {
        field: field.into(),
        reason: reason.to_string(),
    }
}

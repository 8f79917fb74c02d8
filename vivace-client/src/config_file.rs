//! The client file: a [`ClientConfig`] as TOML, as `vivace-node init` writes it.
//!
//! ```toml
//! cluster = "demo"
//! nodes = ["127.0.0.1:7003", "127.0.0.1:7013"]  # this site's, preferred first
//! ca = "ca.pem"                                 # paths count from this file
//! certificate = "client.pem"
//! key = "client.key"
//! timeout_ms = 5000                             # may be left out
//! ```

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use vivace_core::VALUE_BYTES_MAX;

use crate::config::{ClientConfig, ConfigError, TIMEOUT_DEFAULT};

/// The longest client file, certificate file or key file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a client file yields no configuration. Nothing was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The client file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The client file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The client file is no TOML, or a field is missing, unknown or of another type.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The client file.
        path: PathBuf,
        /// Which field or line, and what is expected there.
        reason: String,
    },
    /// A field has a value that can't be used.
    #[error("{}: {source}", path.display())]
    Field {
        /// The client file.
        path: PathBuf,
        /// Which one, and what would be right.
        source: ConfigError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    cluster: String,
    nodes: Vec<String>,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    timeout_ms: Option<u64>,
}

impl ClientConfig {
    /// Reads a client file, and the certificates and the key that it names.
    ///
    /// # Errors
    /// [`ConfigFileError`] with the file, the field, and what would be right.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigFileError> {
        let path = path.as_ref();
        let text = read_limited(path).map_err(|source| ConfigFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let file: ClientFile =
            toml::from_str(&text).map_err(|error| ConfigFileError::Malformed {
                path: path.to_owned(),
                reason: error.to_string().trim_end().to_owned(),
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.resolve(folder)
            .and_then(|config| config.check().map(|()| config))
            .map_err(|source| ConfigFileError::Field {
                path: path.to_owned(),
                source,
            })
    }
}

impl ClientFile {
    fn resolve(self, folder: &Path) -> Result<ClientConfig, ConfigError> {
        let nodes = self.nodes.iter().map(|node| address(node));
        if self.timeout_ms == Some(0) {
            return Err(ConfigError::new("timeout_ms", "is 0; give at least 1"));
        }
        Ok(ClientConfig {
            nodes: nodes.collect::<Result<_, _>>()?,
            authorities: certificates("ca", &folder.join(&self.ca))?,
            certificates: certificates("certificate", &folder.join(&self.certificate))?,
            key: Arc::new(private_key(&folder.join(&self.key))?),
            cluster: self.cluster,
            timeout: self
                .timeout_ms
                .map_or(TIMEOUT_DEFAULT, Duration::from_millis),
            value_bytes_max: VALUE_BYTES_MAX,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError::new(
            "nodes",
            format!(
                "{text:?} is no address; write it as \"192.0.2.1:7003\" or \"[2001:db8::1]:7003\""
            ),
        )
    })
}

/// Also of what has no length to look at first, such as a pipe.
fn read_limited(path: &Path) -> std::io::Result<String> {
    let too_long = |what: String| {
        let why = format!("{what}; the limit is {FILE_BYTES_MAX}");
        Err(std::io::Error::other(why))
    };
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return too_long(format!("has {bytes} bytes"));
    }
    let mut text = String::new();
    let file = fs::File::open(path)?;
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match bytes as u64 > FILE_BYTES_MAX {
        true => too_long("goes on and on".to_owned()),
        false => Ok(text),
    }
}

fn certificates(
    field: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = read_limited(path)
        .map_err(|error| ConfigError::new(field, format!("{}: {error}", path.display())))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(field, path, &error))?;
    if certificates.is_empty() {
        return Err(ConfigError::new(
            field,
            format!(
                "{} holds no certificate; it must be PEM (-----BEGIN CERTIFICATE-----)",
                path.display()
            ),
        ));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let text = read_limited(path)
        .map_err(|error| ConfigError::new("key", format!("{}: {error}", path.display())))?;
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => ConfigError::new(
            "key",
            format!(
                "{} holds no private key; it must be PEM (-----BEGIN PRIVATE KEY-----)",
                path.display()
            ),
        ),
        error => not_pem("key", path, &error),
    })
}

fn not_pem(field: &'static str, path: &Path, error: &pem::Error) -> ConfigError {
    ConfigError::new(
        field,
        format!("{} is no well-formed PEM file: {error}", path.display()),
    )
}

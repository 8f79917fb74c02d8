//! `manifest.json`: what a backup is of, and what belongs to it.

use std::collections::BTreeSet;
use std::path::Path;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::error::BackupError;

/// The manifest's name.
pub(super) const MANIFEST: &str = "manifest.json";

/// Behind a backup's name until it is whole.
pub(super) const INCOMPLETE: &str = ".incomplete";

/// The format that is written, and the newest that is read.
pub(super) const FORMAT: u64 = 1;

/// The longest manifest that is read, in bytes: a hundred for each file of 64 MiB.
pub(super) const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// What a backup is of, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's version.
    pub format: u64,
    /// The program that wrote it, with its version.
    pub program: String,
    /// The cluster's name.
    pub cluster: String,
    /// The node that was asked.
    pub node: u16,
    /// Its site.
    pub site: String,
    /// When the backup began, in UTC: what was acknowledged before is in it.
    pub began: String,
    /// When it was complete.
    pub ended: String,
    /// What is in it.
    pub containers: Vec<ContainerManifest>,
    /// Containers of other kinds than `rw` and `rmw`, which are not.
    pub containers_left_out: Vec<String>,
}

/// One container of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerManifest {
    /// Its name.
    pub name: String,
    /// `rw` or `rmw`.
    pub kind: String,
    /// Objects in the backup.
    pub objects: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Deleted objects, which are not in it.
    pub deleted: u64,
    /// Objects whose newest value was nowhere to be had, and which were left out.
    pub unreadable: u64,
    /// Where they are.
    pub files: Vec<FileManifest>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileManifest {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The objects in it.
    pub objects: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Objects in the backup.
    pub fn objects(&self) -> u64 {
        let counts = self.containers.iter().map(|c| c.objects);
        counts.fold(0, u64::saturating_add)
    }

    /// Bytes of their values.
    pub fn bytes(&self) -> u64 {
        let counts = self.containers.iter().map(|c| c.bytes);
        counts.fold(0, u64::saturating_add)
    }

    /// The text of the file: the manifest, and its own checksum.
    pub(super) fn seal(&self) -> String {
        let sealed = Sealed {
            sha256: self.checksum(),
            backup: self.clone(),
        };
        let text = serde_json::to_string_pretty(&sealed);
        text.expect("a manifest has text for keys") + "\n"
    }

    fn checksum(&self) -> String {
        let text = serde_json::to_string(self).expect("a manifest has text for keys");
        let mut sum = Context::new(&SHA256);
        sum.update(text.as_bytes());
        hex(sum)
    }

    /// Reads the text of `path`.
    ///
    /// # Errors
    /// [`BackupError::Newer`], [`BackupError::Altered`].
    pub(super) fn unseal(path: &Path, text: &str) -> Result<Self, BackupError> {
        let altered = |what: String| BackupError::Altered {
            path: path.to_owned(),
            what,
        };
        let any: serde_json::Value =
            serde_json::from_str(text).map_err(|error| altered(error.to_string()))?;
        let format = any["backup"]["format"].as_u64();
        if let Some(format) = format.filter(|&format| format > FORMAT) {
            let program = any["backup"]["program"].as_str();
            return Err(BackupError::Newer {
                path: path.to_owned(),
                format,
                program: program.unwrap_or("a newer program").to_owned(),
                known: FORMAT,
            });
        }
        let sealed: Sealed =
            serde_json::from_value(any).map_err(|error| altered(error.to_string()))?;
        if sealed.backup.checksum() != sealed.sha256 {
            return Err(altered("its checksum is another".into()));
        }
        sealed
            .backup
            .contradiction()
            .map_or(Ok(()), |what| Err(altered(what)))?;
        Ok(sealed.backup)
    }

    /// What no program that makes backups would have written, whatever the checksum says.
    fn contradiction(&self) -> Option<String> {
        if self.format == 0 {
            return Some("it is of format 0, and the first was 1".into());
        }
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let mut names = BTreeSet::new();
        for container in &self.containers {
            let (name, claimed) = (&container.name, container.objects);
            let counts = container.files.iter().map(|file| file.objects);
            let held = counts.fold(0, u64::saturating_add);
            if claimed != held {
                return Some(format!(
                    "container {name:?} has {claimed} objects in it, and its files have {held}"
                ));
            }
            for FileManifest { name, .. } in &container.files {
                if !name.ends_with(".objects") || !name.chars().all(is_plain) {
                    return Some(format!("{name:?} is no name of its files"));
                }
                if !names.insert(name) {
                    return Some(format!("{name:?} is in it twice"));
                }
            }
        }
        None
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// Of `backup`, as JSON without spaces, its fields in order.
    sha256: String,
    backup: Manifest,
}

/// The checksum as text.
pub(super) fn hex(sum: Context) -> String {
    let digest = sum.finish();
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            program: "vivace 0.1.0".into(),
            cluster: "orders".into(),
            node: 1,
            site: "tokyo".into(),
            began: "2026-01-01T00:00:00Z".into(),
            ended: "2026-01-01T00:00:09Z".into(),
            containers: vec![ContainerManifest {
                name: "kv".into(),
                kind: "rw".into(),
                objects: 2,
                bytes: 7,
                deleted: 1,
                unreadable: 0,
                files: vec![FileManifest {
                    name: "container-1-00001.objects".into(),
                    bytes: 44,
                    objects: 2,
                    sha256: "ab".into(),
                }],
            }],
            containers_left_out: Vec::new(),
        }
    }

    fn unseal(text: &str) -> Result<Manifest, BackupError> {
        Manifest::unseal(Path::new("m"), text)
    }

    #[test]
    fn what_was_sealed_is_read() {
        assert_eq!(unseal(&manifest().seal()).unwrap(), manifest());
    }

    #[test]
    fn any_other_content_is_refused() {
        let text = manifest().seal();
        for (from, to) in [
            ("\"objects\": 2", "\"objects\": 3"),
            ("tokyo", "kyoto"),
            ("44", "45"),
        ] {
            let error = unseal(&text.replacen(from, to, 1)).unwrap_err();
            assert!(matches!(error, BackupError::Altered { .. }), "{error}");
        }
        for cut in 0..text.trim_end().len() {
            assert!(unseal(&text[..cut]).is_err(), "cut at {cut}");
        }
    }

    /// The progress of a check counted all objects before it had seen any, and panicked
    /// where a manifest claims more of them than there can be.
    #[test]
    fn counts_beyond_all_numbers_are_no_panic() {
        let mut boasting = manifest();
        let mut other = boasting.containers[0].clone();
        other.files[0].name = "container-2-00001.objects".into();
        boasting.containers.push(other);
        for container in &mut boasting.containers {
            (container.objects, container.bytes) = (u64::MAX, u64::MAX);
            container.files[0].objects = u64::MAX;
        }
        let read = unseal(&boasting.seal()).unwrap();
        assert_eq!((read.objects(), read.bytes()), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_newer_format_is_named_with_its_program() {
        let newer = manifest()
            .seal()
            .replace("\"format\": 1", "\"format\": 2")
            .replace("\"cluster\"", "\"realm\"");
        let error = unseal(&newer).unwrap_err().to_string();
        assert!(
            error.contains("format 2, written by vivace 0.1.0"),
            "{error}"
        );
    }

    /// A checksum over a mistake is a checksum.
    #[test]
    fn a_sealed_contradiction_is_refused() {
        let refused = |change: fn(&mut Manifest), words: &str| {
            let mut wrong = manifest();
            change(&mut wrong);
            let error = unseal(&wrong.seal()).unwrap_err();
            assert!(matches!(error, BackupError::Altered { .. }), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        refused(|wrong| wrong.format = 0, "is of format 0");
        refused(
            |wrong| wrong.containers[0].objects = 3,
            "container \"kv\" has 3 objects in it, and its files have 2",
        );
        refused(
            |wrong| wrong.containers.push(wrong.containers[0].clone()),
            "is in it twice",
        );
    }

    #[test]
    fn a_file_outside_the_directory_is_no_name() {
        let mut evil = manifest();
        evil.containers[0].files[0].name = "../x.objects".into();
        let error = unseal(&evil.seal()).unwrap_err().to_string();
        assert!(error.contains("is no name"), "{error}");
    }
}

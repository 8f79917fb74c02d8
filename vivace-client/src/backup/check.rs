//! Whether a directory holds a whole backup, byte by byte.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use vivace_core::KeyName;

use super::Progress;
use super::error::BackupError;
use super::manifest::{FileManifest, INCOMPLETE, MANIFEST, MANIFEST_BYTES_MAX, Manifest};
use super::object_file::{Reader, Saved};

/// A backup that is all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its largest value; none where it holds no object.
    pub largest: Option<Largest>,
}

/// The largest value of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Largest {
    /// Its container's name.
    pub container: String,
    /// Its object's key.
    pub key: KeyName,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Reads all of a backup and compares it to its manifest. Takes the time of reading it,
/// and memory for one object. `progress` hears how far it is, and says whether to go on;
/// where it does not, it ends early, as if that were all.
///
/// # Errors
/// [`BackupError`].
pub fn check(
    directory: &Path,
    mut progress: impl FnMut(Progress) -> bool,
) -> Result<Whole, BackupError> {
    let manifest = read_manifest(directory)?;
    let mut largest = None;
    let files = || manifest.containers.iter().flat_map(|c| &c.files);
    for file in files() {
        check_length(directory, file)?;
    }
    let named: BTreeSet<&str> = files().map(|file| file.name.as_str()).collect();
    let io = |source| BackupError::Io {
        path: directory.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let is_named = |name: &str| name == MANIFEST || named.contains(name);
        if !name.to_str().is_some_and(is_named) {
            return Err(BackupError::Additional { path: entry.path() });
        }
    }
    let mut done = Progress {
        objects_expected: manifest.objects(),
        ..Progress::default()
    };
    for container in &manifest.containers {
        let before = done.bytes;
        for file in &container.files {
            let note = |object: &Saved| {
                let bytes = object.value.len() as u64;
                if largest
                    .as_ref()
                    .is_none_or(|found: &Largest| bytes > found.bytes)
                {
                    largest = Some(Largest {
                        container: container.name.clone(),
                        key: object.key.clone(),
                        bytes,
                    });
                }
                done.objects += 1;
                done.bytes += bytes;
                progress(done)
            };
            if !check_contents(directory, file, note)? {
                return Ok(Whole { manifest, largest });
            }
        }
        let (name, claimed, held) = (&container.name, container.bytes, done.bytes - before);
        if claimed != held {
            return Err(BackupError::Altered {
                path: directory.join(MANIFEST),
                what: format!(
                    "container {name:?} has values of {claimed} bytes in it, and its files of {held}"
                ),
            });
        }
    }
    Ok(Whole { manifest, largest })
}

fn read_manifest(directory: &Path) -> Result<Manifest, BackupError> {
    let none = |why: &str| BackupError::None {
        path: directory.to_owned(),
        why: why.to_owned(),
    };
    if !directory.is_dir() {
        return Err(none(match directory.exists() {
            true => "it is a file; name the directory that `vivace admin backup` made",
            false => "there is no such directory",
        }));
    }
    let path = directory.join(MANIFEST);
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound if directory.to_string_lossy().ends_with(INCOMPLETE) => {
            none("it is still being made, or was broken off; a whole backup has a manifest.json")
        }
        ErrorKind::NotFound => none("there is no manifest.json in it"),
        _ => BackupError::Io {
            path: path.clone(),
            source,
        },
    };
    let altered = |what: &str| BackupError::Altered {
        path: path.clone(),
        what: what.to_owned(),
    };
    if fs::metadata(&path).map_err(io)?.len() > MANIFEST_BYTES_MAX {
        return Err(altered("it is longer than any manifest"));
    }
    let bytes = fs::read(&path).map_err(io)?;
    let text = String::from_utf8(bytes).map_err(|_| altered("it is no text"))?;
    Manifest::unseal(&path, &text)
}

fn check_length(directory: &Path, file: &FileManifest) -> Result<(), BackupError> {
    let (path, bytes) = (directory.join(&file.name), file.bytes);
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => {
            let what = "it is no file".to_owned();
            Err(BackupError::Altered { path, what })
        }
        Ok(found) if found.len() < bytes => {
            let has = found.len();
            Err(BackupError::CutShort { path, has, bytes })
        }
        Ok(found) if found.len() > bytes => {
            let what = format!("{} bytes instead of {bytes}", found.len());
            Err(BackupError::Altered { path, what })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(BackupError::Missing { path, bytes })
        }
        Err(source) => Err(BackupError::Io { path, source }),
    }
}

/// `note` hears of each object, and says whether to go on; false where it was not to.
fn check_contents(
    directory: &Path,
    file: &FileManifest,
    mut note: impl FnMut(&Saved) -> bool,
) -> Result<bool, BackupError> {
    let path = directory.join(&file.name);
    let altered = |what: &str| BackupError::Altered {
        path: path.clone(),
        what: what.to_owned(),
    };
    let mut reader = Reader::open(path.clone())?;
    let mut objects = 0;
    while let Some(object) = reader.next()? {
        objects += 1;
        if !note(&object) {
            return Ok(false);
        }
    }
    if reader.sha256() != file.sha256 {
        return Err(altered("its checksum is another"));
    }
    if objects != file.objects {
        return Err(altered("it holds another number of objects"));
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::manifest::{ContainerManifest, FORMAT};
    use super::super::object_file::Writer;
    use super::*;

    /// A backup of one value of five bytes, whose manifest claims `bytes`.
    fn claiming(bytes: u64) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let mut file = Writer::create(home.path(), "container-1-00001.objects".into()).unwrap();
        let (key, value) = (KeyName::new("key").unwrap(), b"value".to_vec().into());
        file.add(&Saved { key, value }).unwrap();
        let manifest = Manifest {
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
                objects: 1,
                bytes,
                deleted: 0,
                unreadable: 0,
                files: vec![file.finish().unwrap()],
            }],
            containers_left_out: Vec::new(),
        };
        fs::write(home.path().join(MANIFEST), manifest.seal()).unwrap();
        home
    }

    #[test]
    fn a_sealed_count_of_bytes_that_the_files_do_not_have_is_refused() {
        let whole = claiming(5);
        let found = check(whole.path(), |_| true).unwrap();
        assert_eq!(found.manifest.bytes(), 5);
        let largest = found.largest.unwrap();
        assert_eq!((largest.container.as_str(), largest.bytes), ("kv", 5));
        let error = check(claiming(6).path(), |_| true).unwrap_err();
        assert!(matches!(error, BackupError::Altered { .. }), "{error}");
        let words = "has values of 6 bytes in it, and its files of 5";
        assert!(error.to_string().contains(words), "{error}");
    }
}

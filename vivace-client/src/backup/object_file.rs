//! A file of objects: a header, then one record per object (docs/formats.md).

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use vivace_core::{KeyName, VALUE_BYTES_MAX};

use super::error::BackupError;
use super::manifest::{FileManifest, hex};

/// Magic and format.
const HEADER: &[u8; 12] = b"VIVACEBK\x01\0\0\0";

/// Bytes of a record ahead of name and value: checksum, length of each.
const RECORD_HEADER_BYTES: usize = 4 + 1 + 4;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub key: KeyName,
    /// An RW object's value, or an RMW object as its replicas store it.
    pub value: Bytes,
}

/// A file being written.
pub(super) struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    name: String,
    sum: Context,
    bytes: u64,
    objects: u64,
}

impl Writer {
    /// Makes a file that did not exist, for its owner alone.
    pub fn create(directory: &Path, name: String) -> io::Result<Self> {
        let path = directory.join(&name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let mut writer = Self {
            file: BufWriter::with_capacity(1 << 20, file),
            path,
            name,
            sum: Context::new(&SHA256),
            bytes: 0,
            objects: 0,
        };
        writer.put(HEADER)?;
        Ok(writer)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    pub fn add(&mut self, object: &Saved) -> io::Result<()> {
        let name = object.key.as_bytes();
        let value_bytes = u32::try_from(object.value.len()).expect("values are at most 8 MiB");
        let mut head = [0; RECORD_HEADER_BYTES];
        head[4] = u8::try_from(name.len()).expect("names are at most 255 bytes");
        head[5..].copy_from_slice(&value_bytes.to_le_bytes());
        let sum = checksum(&head[4..], name, &object.value);
        head[..4].copy_from_slice(&sum.to_le_bytes());
        self.put(&head)?;
        self.put(name)?;
        self.put(&object.value)?;
        self.objects += 1;
        Ok(())
    }

    /// Makes it durable.
    pub fn finish(mut self) -> io::Result<FileManifest> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(FileManifest {
            name: self.name,
            bytes: self.bytes,
            objects: self.objects,
            sha256: hex(self.sum),
        })
    }
}

fn checksum(lengths: &[u8], name: &[u8], value: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(lengths), name);
    crc32c::crc32c_append(sum, value)
}

/// A file being read; each record is checked.
pub(super) struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    sum: Context,
    at: u64,
    /// Where the record that is being read begins.
    record_at: u64,
}

impl Reader {
    pub fn open(path: PathBuf) -> Result<Self, BackupError> {
        let file = File::open(&path).map_err(|source| BackupError::Io {
            path: path.clone(),
            source,
        })?;
        let mut reader = Self {
            file: BufReader::with_capacity(1 << 20, file),
            path,
            sum: Context::new(&SHA256),
            at: 0,
            record_at: 0,
        };
        let mut header = [0; HEADER.len()];
        reader.fill(&mut header)?;
        match &header == HEADER {
            true => Ok(reader),
            false => Err(reader.altered("its header is none")),
        }
    }

    fn altered(&self, what: &str) -> BackupError {
        BackupError::Altered {
            path: self.path.clone(),
            what: format!("{what}, from byte {} on", self.record_at),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.sum.update(bytes);
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.altered("it ends within a record"))
            }
            Err(source) => Err(BackupError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// The next object; none at the end.
    pub fn next(&mut self) -> Result<Option<Saved>, BackupError> {
        self.record_at = self.at;
        let mut head = [0; RECORD_HEADER_BYTES];
        let at_end = io::BufRead::fill_buf(&mut self.file).map(<[u8]>::is_empty);
        match at_end {
            Ok(true) => return Ok(None),
            Ok(false) => self.fill(&mut head)?,
            Err(source) => {
                return Err(BackupError::Io {
                    path: self.path.clone(),
                    source,
                });
            }
        }
        let [s0, s1, s2, s3, name_bytes, v0, v1, v2, v3] = head;
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        if value_bytes > VALUE_BYTES_MAX {
            return Err(self.altered("a value is longer than any"));
        }
        let mut name = vec![0; usize::from(name_bytes)];
        self.fill(&mut name)?;
        let mut value = vec![0; value_bytes];
        self.fill(&mut value)?;
        if checksum(&head[4..], &name, &value) != u32::from_le_bytes([s0, s1, s2, s3]) {
            return Err(self.altered("a record's checksum is another"));
        }
        let key = KeyName::new(name).map_err(|_| self.altered("a name is empty"))?;
        let value = Bytes::from(value);
        Ok(Some(Saved { key, value }))
    }

    /// The checksum of all that was read.
    pub fn sha256(self) -> String {
        hex(self.sum)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn saved(key: &str, value: &[u8]) -> Saved {
        Saved {
            key: KeyName::new(key.as_bytes()).unwrap(),
            value: Bytes::copy_from_slice(value),
        }
    }

    /// The layout that docs/formats.md tells.
    #[test]
    fn golden_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path(), "x.objects".into()).unwrap();
        writer.add(&saved("k", b"abc")).unwrap();
        let file = writer.finish().unwrap();
        assert_eq!((file.bytes, file.objects), (25, 1));
        let bytes = std::fs::read(folder.path().join("x.objects")).unwrap();
        let sum = crc32c::crc32c(b"\x01\x03\0\0\0kabc").to_le_bytes();
        let record = [&sum[..], b"\x01\x03\0\0\0kabc"].concat();
        assert_eq!(bytes, [&b"VIVACEBK\x01\0\0\0"[..], &record].concat());
    }

    /// Every byte counts.
    #[test]
    fn no_other_byte_is_read_as_an_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.objects");
        let mut writer = Writer::create(folder.path(), "x.objects".into()).unwrap();
        writer.add(&saved("key", b"value")).unwrap();
        writer.add(&saved("other", b"")).unwrap();
        writer.finish().unwrap();
        let right = std::fs::read(&path).unwrap();
        let read = || -> Result<Vec<Saved>, BackupError> {
            let mut reader = Reader::open(path.clone())?;
            let mut all = Vec::new();
            while let Some(object) = reader.next()? {
                all.push(object);
            }
            Ok(all)
        };
        assert_eq!(
            read().unwrap(),
            [saved("key", b"value"), saved("other", b"")]
        );
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 0x10;
            std::fs::write(&path, &wrong).unwrap();
            assert!(read().is_err(), "byte {at}");
        }
    }
}

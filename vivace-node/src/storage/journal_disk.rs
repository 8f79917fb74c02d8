//! The journal's disk: one directory of the file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{self, FallocateFlags, PosixFadviseAdvice};
use nix::unistd::{AccessFlags, access};
use vivace_core::journal::{Cause, Disk, DiskError, DiskFile, Operation};

use super::space::is_forbidden;

/// Zeros are written in pieces of this.
const ZEROS_BYTES: u64 = 1 << 20;

/// A directory that holds a journal and nothing else.
#[derive(Clone, Debug)]
pub struct JournalDisk {
    path: Arc<Path>,
}

impl JournalDisk {
    /// Of a directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let path = path.into();
        let fail = |error: io::Error| failed(&path, Operation::Create, &error);
        fs::create_dir_all(&path).map_err(fail)?;
        // Told now, rather than when other things were changed already.
        access(&path, AccessFlags::W_OK).map_err(|errno| fail(errno.into()))?;
        Ok(Self { path: path.into() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn file(&self, name: &str, file: File) -> JournalFile {
        JournalFile {
            file: Arc::new(file),
            path: self.at(name).into(),
        }
    }
}

/// One of its files.
#[derive(Clone, Debug)]
pub struct JournalFile {
    file: Arc<File>,
    path: Arc<Path>,
}

fn failed(path: &Path, operation: Operation, error: &io::Error) -> DiskError {
    let cause = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::NoSpace,
        io::ErrorKind::NotFound => Cause::NotFound,
        _ if is_forbidden(error) => Cause::Forbidden(error.to_string()),
        _ => Cause::Io(error.to_string()),
    };
    DiskError {
        file: path.display().to_string(),
        operation,
        cause,
    }
}

impl JournalFile {
    /// Takes the room, so that it is there or nothing is, and writes the zeros, so that a
    /// later sync has no extents to mark as written.
    fn fill(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        match fcntl::fallocate(&*self.file, FallocateFlags::empty(), 0, length) {
            // Some file systems can't; there the zeros alone must do.
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = vec![0; ZEROS_BYTES.min(bytes) as usize];
        let mut offset = 0;
        while offset < bytes {
            let piece = ZEROS_BYTES.min(bytes - offset);
            self.file.write_all_at(&zeros[..piece as usize], offset)?;
            offset += piece;
        }
        Ok(())
    }
}

impl Disk for JournalDisk {
    type File = JournalFile;

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                // A name that is no text is none of the journal's.
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        };
        list().map_err(|error| failed(&self.path, Operation::List, &error))
    }

    fn create(&self, name: &str, bytes: u64) -> Result<JournalFile, DiskError> {
        let path = self.at(name);
        let fail = |error: io::Error| failed(&path, Operation::Create, &error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(fail)?;
        let file = self.file(name, file);
        if let Err(error) = file.fill(bytes) {
            // The reason counts, not what became of the remains.
            let _ = fs::remove_file(&path);
            return Err(fail(error));
        }
        Ok(file)
    }

    fn open(&self, name: &str) -> Result<JournalFile, DiskError> {
        let path = self.at(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed(&path, Operation::Open, &error))?;
        // After a failed sync the page cache may hold what the disk does not: read from
        // the disk. Advice only, so its failure is none.
        let _ = fcntl::posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        Ok(self.file(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.at(from), self.at(to))
            .map_err(|error| failed(&self.at(from), Operation::Rename, &error))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        fs::remove_file(self.at(name))
            .map_err(|error| failed(&self.at(name), Operation::Remove, &error))
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed(&self.path, Operation::Sync, &error))
    }
}

impl DiskFile for JournalFile {
    fn bytes(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| failed(&self.path, Operation::Open, &error))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.file
            .read_exact_at(into, offset)
            .map_err(|error| failed(&self.path, Operation::Read, &error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| failed(&self.path, Operation::Write, &error))
    }

    fn sync(&self) -> Result<(), DiskError> {
        // Like fdatasync: a changed length counts as data, times do not.
        self.file
            .sync_data()
            .map_err(|error| failed(&self.path, Operation::Sync, &error))
    }
}

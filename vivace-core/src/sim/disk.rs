//! A disk in memory that fails as disks do: torn and lost writes, flipped bits, writes
//! that land elsewhere, errors, and no space.
//!
//! What was written and not synced survives a crash sector by sector, each as it was or
//! as it was written last; names survive in the order in which they were changed.

mod files;

use std::cell::RefCell;
use std::rc::Rc;

use rand::Rng;

use self::files::{FileId, Files};
use super::host::LogTail;
use crate::journal::{Cause, Disk, DiskError, DiskFile, Operation};

/// What a disk does to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The next write reports an error; any of its sectors may be written.
    FailWrite,
    /// The next sync reports an error; a crash may lose any of what it was to sync.
    FailSync,
    /// The next write is forgotten, and reported as done.
    LoseWrite,
    /// The next write lands this many sectors further in its file (from the end back to
    /// its beginning), and is reported as done.
    MisdirectWrite {
        /// How much further.
        sectors: u32,
    },
}

/// A directory of files that outlives its host's crashes.
#[derive(Clone, Default)]
pub struct SimDisk(Rc<RefCell<State>>);

/// A file of it.
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    id: FileId,
    name: Rc<str>,
}

#[derive(Default)]
struct State {
    files: Files,
    /// How much all files together may hold.
    capacity: Option<u64>,
    fault: Option<DiskFault>,
    has_lied: bool,
    /// Operations that change something, so far.
    operations: u64,
    /// The operation at which the host crashes.
    crash_at: Option<u64>,
    is_down: bool,
}

impl SimDisk {
    /// How many operations that change something were carried out.
    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// The host crashes at the operation that follows `operations` more: it fails, and so
    /// do all others until [`SimDisk::crash`].
    pub fn crash_after(&self, operations: u64) {
        let mut state = self.0.borrow_mut();
        state.crash_at = Some(state.operations + operations);
    }

    /// The host does not crash after all.
    pub fn stay_up(&self) {
        self.0.borrow_mut().crash_at = None;
    }

    /// Whether the host has crashed at an operation.
    pub fn is_down(&self) -> bool {
        self.0.borrow().is_down
    }

    /// The host crashes, and `tail` says what is left of what was not synced. The disk
    /// then works again.
    pub fn crash(&self, tail: LogTail, rng: &mut impl Rng) {
        let mut state = self.0.borrow_mut();
        state.files.crash(tail, rng);
        state.is_down = false;
        state.crash_at = None;
        state.fault = None;
    }

    /// Has `fault` happen to the next operation that it concerns.
    pub fn arm(&self, fault: Option<DiskFault>) {
        self.0.borrow_mut().fault = fault;
    }

    /// Whether a write was ever lost or misdirected.
    pub fn has_lied(&self) -> bool {
        self.0.borrow().has_lied
    }

    /// Bounds what all files together may hold.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.borrow_mut().capacity = bytes;
    }

    /// What all files together hold.
    pub fn used(&self) -> u64 {
        self.0.borrow().files.used()
    }

    /// Flips one bit at rest.
    ///
    /// # Panics
    /// Where there is no such file, or it ends before.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        self.0.borrow_mut().files.flip(name, offset, bit);
    }

    /// Puts `bytes` in a file's place, as if they had always been there.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.0.borrow_mut().files.put(name, bytes);
    }

    /// What a file holds, synced or not.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.0.borrow().files.contents(name)
    }

    /// A disk of its own with the same contents, all of it synced.
    pub fn duplicate(&self) -> Self {
        let disk = Self::default();
        for name in self.0.borrow().files.names() {
            let bytes = self.contents(&name).expect("it is listed");
            disk.put(&name, bytes);
        }
        disk
    }

    /// Counts an operation that changes something; whether the host crashes at it.
    fn begin(&self, name: &str, operation: Operation) -> Result<bool, DiskError> {
        let mut state = self.0.borrow_mut();
        if state.is_down {
            return Err(crashed(name, operation));
        }
        state.is_down = state.crash_at.is_some_and(|at| state.operations >= at);
        state.operations += 1;
        Ok(state.is_down)
    }

    fn change(
        &self,
        name: &str,
        operation: Operation,
        change: impl FnOnce(&mut State) -> Result<(), Cause>,
    ) -> Result<(), DiskError> {
        let crashes = self.begin(name, operation)?;
        let done = change(&mut self.0.borrow_mut()).map_err(|cause| error(name, operation, cause));
        match crashes {
            true => Err(crashed(name, operation)),
            false => done,
        }
    }
}

impl State {
    /// Takes the armed fault where it concerns `operation`.
    fn take_fault(&mut self, operation: Operation) -> Option<DiskFault> {
        let concerns = match self.fault? {
            DiskFault::FailSync => operation == Operation::Sync,
            DiskFault::FailWrite | DiskFault::LoseWrite | DiskFault::MisdirectWrite { .. } => {
                operation == Operation::Write
            }
        };
        concerns.then(|| self.fault.take()).flatten()
    }

    fn has_room_for(&self, more: u64) -> Result<(), Cause> {
        match self.capacity {
            Some(capacity) if self.files.used() + more > capacity => Err(Cause::NoSpace),
            _ => Ok(()),
        }
    }
}

fn error(name: &str, operation: Operation, cause: Cause) -> DiskError {
    DiskError {
        file: name.to_owned(),
        operation,
        cause,
    }
}

fn crashed(name: &str, operation: Operation) -> DiskError {
    error(name, operation, Cause::Io("the host crashed".into()))
}

fn device_error() -> Cause {
    Cause::Io("input/output error".into())
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> Result<Vec<String>, DiskError> {
        match self.is_down() {
            true => Err(crashed(".", Operation::List)),
            false => Ok(self.0.borrow().files.names()),
        }
    }

    fn create(&self, name: &str, bytes: u64) -> Result<SimFile, DiskError> {
        self.change(name, Operation::Create, |state| {
            state.has_room_for(bytes)?;
            state.files.create(name, bytes);
            Ok(())
        })?;
        self.open(name)
    }

    fn open(&self, name: &str) -> Result<SimFile, DiskError> {
        if self.is_down() {
            return Err(crashed(name, Operation::Open));
        }
        let id = self.0.borrow().files.id(name);
        let id = id.ok_or_else(|| error(name, Operation::Open, Cause::NotFound))?;
        Ok(SimFile {
            disk: self.clone(),
            id,
            name: name.into(),
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change(from, Operation::Rename, |state| {
            state.files.rename(from, to).ok_or(Cause::NotFound)
        })
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.change(name, Operation::Remove, |state| {
            state.files.remove(name).ok_or(Cause::NotFound)
        })
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let crashes = self.begin(".", Operation::Sync)?;
        if crashes {
            return Err(crashed(".", Operation::Sync));
        }
        let mut state = self.0.borrow_mut();
        if state.take_fault(Operation::Sync).is_some() {
            return Err(error(".", Operation::Sync, device_error()));
        }
        state.files.sync_names();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn bytes(&self) -> Result<u64, DiskError> {
        match self.disk.is_down() {
            true => Err(crashed(&self.name, Operation::Open)),
            false => Ok(self.disk.0.borrow().files.bytes(self.id)),
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        if self.disk.is_down() {
            return Err(crashed(&self.name, Operation::Read));
        }
        let read = self.disk.0.borrow().files.read(self.id, offset, into);
        read.ok_or_else(|| {
            let cause = Cause::Io("the file ends before".into());
            error(&self.name, Operation::Read, cause)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.change(&self.name, Operation::Write, |state| {
            let length = state.files.bytes(self.id);
            let end = offset + bytes.len() as u64;
            state.has_room_for(end.saturating_sub(length))?;
            match state.take_fault(Operation::Write) {
                Some(DiskFault::LoseWrite) => state.has_lied = true,
                Some(DiskFault::MisdirectWrite { sectors }) => {
                    state.has_lied = true;
                    state.files.misdirect(self.id, offset, bytes, sectors);
                }
                Some(DiskFault::FailWrite) => {
                    state.files.write(self.id, offset, bytes);
                    return Err(device_error());
                }
                Some(DiskFault::FailSync) | None => state.files.write(self.id, offset, bytes),
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), DiskError> {
        let crashes = self.disk.begin(&self.name, Operation::Sync)?;
        if crashes {
            return Err(crashed(&self.name, Operation::Sync));
        }
        let mut state = self.disk.0.borrow_mut();
        if state.take_fault(Operation::Sync).is_some() {
            return Err(error(&self.name, Operation::Sync, device_error()));
        }
        state.files.sync(self.id);
        Ok(())
    }
}

//! A disk that fails under a running node, which ends with the reason: nobody knows what
//! reached it. Needs root: an ext4 file system on a loop device whose file finds no more room.

mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use process::{Processes, START_PATIENCE, Unmount, path_text};

/// More than the journal's first segments, less than the file system believes to have.
const ROOM_MIB: u64 = 96;
const DISK_MIB: u64 = 256;

const VALUE_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

fn ran(program: &str, arguments: &[&str]) -> bool {
    let ran = Command::new(program).args(arguments).output();
    ran.is_ok_and(|output| output.status.success())
}

/// A file system that is larger than the room for its blocks; writing to one that has none
/// fails with EIO when it is synced, as on a disk that breaks.
struct FailingDisk {
    // In this order: one lies on the other.
    mount: Unmount,
    room: Unmount,
    _directory: tempfile::TempDir,
}

impl FailingDisk {
    /// None, and said loudly, where this process can't mount one.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (room, mount) = (directory.path().join("room"), directory.path().join("disk"));
        fs::create_dir(&room).expect("makes it");
        fs::create_dir(&mount).expect("makes it");
        let size = format!("size={ROOM_MIB}m");
        let mounted = ran(
            "mount",
            &["-t", "tmpfs", "-o", &size, "tmpfs", path_text(&room)],
        );
        let disk = Self {
            mount: Unmount(mount),
            room: Unmount(room),
            _directory: directory,
        };
        let made = mounted && {
            let file = fs::File::create(disk.image()).expect("makes it");
            file.set_len(DISK_MIB << 20).expect("sets its length");
            ran("mkfs.ext4", &["-q", "-m", "0", path_text(&disk.image())])
        };
        if !made || !disk.mount() {
            eprintln!("SKIPPED: a disk that fails needs root, mkfs.ext4 and a loop device");
            return None;
        }
        Some(disk)
    }

    fn image(&self) -> PathBuf {
        self.room.0.join("image")
    }

    fn mount(&self) -> bool {
        let (image, at) = (self.image(), path_text(&self.mount.0).to_owned());
        ran("mount", &["-o", "loop", path_text(&image), &at])
    }

    /// Whatever has no block yet gets none.
    fn fail(&self) {
        let ballast = format!("of={}", self.room.0.join("ballast").display());
        let filled = ran("dd", &["if=/dev/zero", "bs=4k", &ballast]);
        assert!(!filled, "the room has no end");
    }

    /// The same disk, mended.
    fn mend(&self) {
        let at = path_text(&self.mount.0).to_owned();
        assert!(ran("umount", &[&at]), "it is in use");
        fs::remove_file(self.room.0.join("ballast")).expect("removes");
        assert!(self.mount(), "it can't be mounted again");
    }

    fn path(&self) -> &Path {
        &self.mount.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_process_with_the_reason_and_loses_nothing_acknowledged() {
    let Some(disk) = FailingDisk::new() else {
        return;
    };
    let mut processes = Processes::lay_out(1, 1);
    let data = disk.path().join("data");
    fs::create_dir(&data).expect("makes it");
    let made = processes.cluster().join("node-1/data/identity");
    fs::copy(made, data.join("identity")).expect("copies");
    let file = processes.node_file(1);
    let text = fs::read_to_string(&file).expect("reads");
    let text = text
        .replace("\"data\"", &format!("{:?}", path_text(&data)))
        .replace("reserve_bytes = 536870912", "reserve_bytes = 1048576");
    fs::write(&file, text).expect("writes");
    processes.start_node(1);
    let client = processes.client('a').await;
    let kv = client.container("kv").deadline(START_PATIENCE);
    kv.rw("first").write("x").await.expect("serves");

    disk.fail();
    let kv = client.container("kv").deadline(Duration::from_secs(2));
    let mut acknowledged = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while processes.is_running(1) {
        assert!(
            Instant::now() < deadline,
            "it goes on, on a disk that fails"
        );
        let number = acknowledged.len();
        let written = kv
            .rw(format!("key {number}"))
            .write(vec![7; VALUE_BYTES])
            .await;
        if written.is_ok() {
            acknowledged.push(number);
        }
    }
    assert_eq!(processes.exit_code(1), Some(74));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    let last = log.lines().last().expect("it said why");
    assert!(
        last.contains("stopping, for nothing more can be promised"),
        "{last}"
    );
    assert!(last.contains("sync") && last.contains("error"), "{last}");
    assert!(last.contains(path_text(&data)), "names no file: {last}");

    disk.mend();
    processes.start_node(1);
    let client = processes.client('a').await;
    let kv = client.container("kv").deadline(START_PATIENCE);
    let found = kv.rw("first").read().await.expect("serves");
    assert_eq!(found.expect("was acknowledged").value, "x");
    for number in acknowledged {
        let found = kv.rw(format!("key {number}")).read().await.expect("serves");
        assert!(found.expect("was acknowledged").value == vec![7; VALUE_BYTES]);
    }
    processes.kill(1);
}

//! A node on a small, real file system that fills up: writes hear why, reads go on,
//! nothing acknowledged is lost, and it recovers by itself. Needs root, for a loop device.

mod process;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use process::refusal::contents as contents_of;
use process::{Processes, START_PATIENCE, Unmount, path_text};
use vivace_client::{Client, OperationError};

/// The journal takes 48 MiB of it at once.
const DISK_MIB: u64 = 224;

/// A file that gives its space back.
const BALLAST_MIB: u64 = 64;

const VALUE_BYTES: usize = 256 << 10;

/// Longer than the node takes to notice that there is space.
const PATIENCE: Duration = Duration::from_secs(20);

const PREFIX: &str = "vivace-full-disk-";

/// Of runs that were killed.
fn unmount_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).expect("lists") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let owner = name.and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(Unmount(path.join("mount")));
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// An ext4 file system in a file, mounted; both go when this is dropped.
struct SmallDisk {
    mount: Unmount,
    // After the mount.
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    /// None, and said loudly, where this process can't mount one.
    fn new() -> Option<Self> {
        unmount_leftovers();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir();
        let directory = directory.expect("a temporary directory");
        let image = directory.path().join("image");
        let mount = directory.path().join("mount");
        fs::create_dir(&mount).expect("makes it");
        let file = fs::File::create(&image).expect("makes it");
        file.set_len(DISK_MIB << 20).expect("sets its length");
        let ran = |program: &str, arguments: &[&str]| {
            let ran = Command::new(program).args(arguments).output();
            ran.is_ok_and(|output| output.status.success())
        };
        let (image, at) = (path_text(&image), path_text(&mount));
        let is_mounted =
            ran("mkfs.ext4", &["-q", "-m", "0", image]) && ran("mount", &["-o", "loop", image, at]);
        if !is_mounted {
            eprintln!("SKIPPED: a disk that fills up needs root, mkfs.ext4 and a loop device");
            return None;
        }
        Some(Self {
            mount: Unmount(mount),
            _directory: directory,
        })
    }

    fn path(&self) -> &Path {
        &self.mount.0
    }

    /// Takes `mib` of space, or all.
    fn fill(&self, name: &str, mib: u64) -> PathBuf {
        let path = self.path().join(name);
        let output = Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", &format!("count={mib}")])
            .arg(format!("of={}", path.display()))
            .arg("conv=fsync")
            .output();
        output.expect("dd runs");
        path
    }

    /// Takes what is left beside that, to the last block.
    fn fill_blocks(&self) {
        let mut blocks = 0..8192;
        let is_full = blocks.any(|i| {
            let path = self.path().join(format!("block-{i}"));
            let write = |mut file: fs::File| {
                file.write_all(&[1; 1024])?;
                file.sync_all()
            };
            // Its directory may need a block too.
            fs::File::create(path).and_then(write).is_err()
        });
        assert!(is_full, "it takes ever more");
    }
}

/// A cluster of `sites` nodes; the first one's data are on `disk`.
fn on(disk: &SmallDisk, sites: u16, reserve_mib: u64) -> Processes {
    let processes = Processes::lay_out(sites, 1);
    let data = disk.path().join("data");
    fs::create_dir(&data).expect("makes it");
    let made = processes.cluster().join("node-1/data/identity");
    fs::copy(made, data.join("identity")).expect("copies");
    let path = processes.node_file(1);
    let text = fs::read_to_string(&path).expect("reads");
    let text = text
        .replace("\"data\"", &format!("{:?}", path_text(&data)))
        .replace(
            "reserve_bytes = 536870912",
            &format!("reserve_bytes = {}", reserve_mib << 20),
        )
        .replace("cache_bytes = 67108864", "cache_bytes = 0");
    fs::write(&path, text).expect("writes");
    processes
}

fn contents(i: u64) -> Vec<u8> {
    let mut bytes = vec![i as u8; VALUE_BYTES];
    bytes[..8].copy_from_slice(&i.to_le_bytes());
    bytes
}

async fn write(client: &Client, i: u64, deadline: Duration) -> Result<(), OperationError> {
    let key = client.container("kv").rw(format!("key {i}"));
    key.deadline(deadline).write(contents(i)).await.map(drop)
}

/// Nothing of a write that was refused is there.
async fn is_absent(client: &Client, i: u64) {
    let key = client.container("kv").rw(format!("key {i}"));
    let found = key.deadline(PATIENCE).read().await.expect("reads go on");
    assert!(found.is_none(), "key {i} was refused, and is there");
}

async fn reads_all(client: &Client, acknowledged: &[u64]) {
    for &i in acknowledged {
        let key = client.container("kv").rw(format!("key {i}"));
        let found = key.deadline(PATIENCE).read().await.expect("reads go on");
        assert!(found.expect("was written").value == contents(i), "key {i}");
    }
}

/// Writes one value after the other until one is refused or does not end.
async fn fill_up(client: &Client, acknowledged: &mut Vec<u64>) -> OperationError {
    for i in acknowledged.len() as u64..(DISK_MIB << 20) / VALUE_BYTES as u64 {
        match write(client, i, Duration::from_secs(3)).await {
            Ok(()) => acknowledged.push(i),
            Err(error) => return error,
        }
    }
    panic!("the disk took more than it holds");
}

async fn writes_again(client: &Client, i: u64) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = write(client, i, Duration::from_secs(3)).await {
        assert!(Instant::now() < deadline, "still: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_with_the_reason_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::new() else { return };
    let ballast = disk.fill("ballast", BALLAST_MIB);
    let mut processes = on(&disk, 1, 32);
    processes.start_node(1);
    let client = processes.client('a').await;
    let first = client.container("kv").rw("first").deadline(START_PATIENCE);
    first.write("x").await.expect("serves");

    let mut acknowledged = Vec::new();
    let refusal = fill_up(&client, &mut acknowledged).await;
    let OperationError::Busy { reason } = &refusal else {
        panic!("{refusal} after {}", acknowledged.len());
    };
    assert!(reason.contains("the disk is full"), "{reason}");
    assert!(reason.contains("storage.reserve_bytes"), "{reason}");
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    reads_all(&client, &acknowledged).await;
    is_absent(&client, acknowledged.len() as u64).await;
    let status = client.status().await.expect("status");
    let warnings = status.warnings.join("; ");
    assert!(warnings.contains("the disk is full"), "{warnings}");
    let mut refusals = status.refusals.iter();
    let counted = refusals.find(|(cause, _)| cause == "busy: the disk is full");
    assert!(counted.is_some_and(|(_, n)| *n >= 1), "{status:?}");
    assert!(status.operations.busy >= 1, "{status:?}");

    // Somebody else takes the reserve too.
    let rest = disk.fill("rest", DISK_MIB);
    reads_all(&client, &acknowledged).await;
    let outcome = write(&client, 1 << 40, Duration::from_secs(3)).await;
    assert!(
        matches!(outcome, Err(OperationError::Busy { .. })),
        "{outcome:?}"
    );
    assert!(processes.is_running(1));
    processes.kill(1);
    processes.start_node(1);
    let client = processes.client('a').await;
    reads_all(&client, &acknowledged).await;

    // Its reserve alone is no reason to go on.
    fs::remove_file(rest).expect("removes");
    reads_all(&client, &acknowledged).await;
    let outcome = write(&client, 1 << 40, Duration::from_secs(3)).await;
    assert!(
        matches!(outcome, Err(OperationError::Busy { .. })),
        "{outcome:?}"
    );
    fs::remove_file(ballast).expect("removes");
    is_absent(&client, 1 << 40).await;
    writes_again(&client, acknowledged.len() as u64).await;
    acknowledged.push(acknowledged.len() as u64);
    reads_all(&client, &acknowledged).await;
}

/// How a start ended that is to be refused.
fn refused_start(processes: &mut Processes) -> Option<i32> {
    processes.start_node(1);
    let deadline = Instant::now() + PATIENCE;
    while processes.is_running(1) {
        assert!(Instant::now() < deadline, "it starts");
        std::thread::sleep(Duration::from_millis(20));
    }
    processes.exit_code(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_space_for_its_number_changes_nothing() {
    let Some(disk) = SmallDisk::new() else { return };
    let mut processes = on(&disk, 1, 0);
    processes.start_node(1);
    let client = processes.client('a').await;
    let first = client.container("kv").rw("first").deadline(START_PATIENCE);
    first.write("x").await.expect("serves");
    processes.kill(1);
    let data = disk.path().join("data");
    // It would give its space back.
    let _ = fs::remove_file(data.join("journal/segment.new"));
    let values = data.join("values/00000001.values");
    let mut whole = fs::read(&values).expect("reads");
    // Zeros behind it are to be written over.
    let end = whole
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not all are");
    whole.truncate(end + 1);
    fs::write(&values, [&whole[..], b"VVAL and no more"].concat()).expect("writes");

    let before = contents_of(&data);
    let rest = disk.fill("rest", DISK_MIB);
    disk.fill_blocks();
    assert_eq!(refused_start(&mut processes), Some(20));
    assert!(contents_of(&data) == before, "something was changed");
    fs::remove_file(rest).expect("removes");
    processes.start_node(1);
    let client = processes.client('a').await;
    let first = client.container("kv").rw("first").deadline(START_PATIENCE);
    first.read().await.expect("serves").expect("was written");
    assert_eq!(fs::read(&values).expect("reads"), whole);
}

/// Bytes that wait at node 1 for site c.
async fn waiting_for_c(client: &Client) -> u64 {
    let status = client.status().await.expect("status");
    let mut sites = status.backlog.sites.iter();
    sites.find(|site| site.site == "c").map_or(0, |c| c.bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_goes_on_sending_to_other_sites_what_waits_for_them() {
    let Some(disk) = SmallDisk::new() else { return };
    let ballast = disk.fill("ballast", BALLAST_MIB);
    let mut processes = on(&disk, 3, 32);
    processes.start_node(1);
    processes.start_node(2);
    let client = processes.client('a').await;
    let first = client.container("kv").rw("first").deadline(START_PATIENCE);
    first.write("x").await.expect("two of three serve");
    let mut acknowledged = Vec::new();
    let refusal = fill_up(&client, &mut acknowledged).await;
    assert!(matches!(refusal, OperationError::Busy { .. }), "{refusal}");
    let all = (acknowledged.len() * VALUE_BYTES) as u64;
    assert!(all > 10 << 20, "{all}");
    let waits = waiting_for_c(&client).await;
    assert!(waits >= all, "{waits} of {all} bytes");

    processes.start_node(3);
    let deadline = Instant::now() + 3 * PATIENCE;
    while waiting_for_c(&client).await > 0 {
        assert!(Instant::now() < deadline, "it does not drain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let next = acknowledged.len() as u64;
    let outcome = write(&client, next, Duration::from_secs(3)).await;
    assert!(
        matches!(outcome, Err(OperationError::Busy { .. })),
        "{outcome:?}"
    );
    // Site c has them itself.
    processes.kill(1);
    let other = processes.client('c').await;
    reads_all(&other, &acknowledged).await;
    processes.start_node(1);
    let client = processes.client('a').await;
    fs::remove_file(ballast).expect("removes");
    writes_again(&client, next).await;
}

/// Without a reserve the disk's own refusal must do: what was begun waits, and with it
/// reads of what changed since; nothing acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_to_the_last_byte_loses_nothing() {
    let Some(disk) = SmallDisk::new() else { return };
    let ballast = disk.fill("ballast", BALLAST_MIB);
    let mut processes = on(&disk, 1, 0);
    processes.start_node(1);
    let client = processes.client('a').await;
    let first = client.container("kv").rw("first").deadline(START_PATIENCE);
    first.write("x").await.expect("serves");

    let mut acknowledged = Vec::new();
    let refusal = fill_up(&client, &mut acknowledged).await;
    assert!(acknowledged.len() > 50, "{refusal}");
    assert!(processes.is_running(1), "{refusal}");
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(log.contains("waiting for space"), "{log}");

    fs::remove_file(ballast).expect("removes");
    let next = acknowledged.len() as u64;
    writes_again(&client, next).await;
    acknowledged.push(next);
    processes.kill(1);
    processes.start_node(1);
    let client = processes.client('a').await;
    reads_all(&client, &acknowledged).await;
}

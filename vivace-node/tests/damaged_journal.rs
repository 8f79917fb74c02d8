//! Journals damaged at each kind of place, and starts of real processes on them: each is
//! refused with its own message and exit code, and changes nothing. A torn tail is no damage.

mod process;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use process::refusal::{copy, data, lived, refused, sealed, serves};
use process::{Processes, START_PATIENCE, path_text, stderr, vivace_node};
use vivace_core::journal::{Directory, Identity, Recovery, Settings, Step};
use vivace_core::record::Record;
use vivace_core::{ContainerId, Key, KeyName, Lsn, NodeId, Timestamp};
use vivace_node::storage::JournalDisk;

const SECTOR: usize = 512;

const SECTOR_HEADER: usize = 8;
const FRAME_HEADER: usize = 2;
const LINK_FLAG: u16 = 1 << 15;

/// Where a segment's stream begins, and its first record, behind a link to the segment before.
const STREAM: usize = SECTOR + SECTOR_HEADER;
const FIRST_RECORD: usize = STREAM + 14;

const FIRST: &str = "segment-000000000001";

struct Damaged {
    processes: Processes,
    journal: PathBuf,
}

impl Damaged {
    /// The journal of a node that has acknowledged many writes, one at a time.
    async fn new() -> Self {
        let mut processes = lived().await;
        processes.start_node(1);
        let client = processes.client('a').await;
        for number in 0..30 {
            let key = client.container("kv").rw(format!("key {number}"));
            let key = key.deadline(START_PATIENCE);
            key.write("value").await.expect("the cluster serves");
        }
        processes.kill(1);
        let journal = data(&processes).join("journal");
        Self { processes, journal }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.journal.join(name)
    }

    /// A start with `name` changed is refused; then the file is as it was.
    fn refused(&self, name: &str, change: impl FnOnce(&mut Vec<u8>), code: i32, expected: &str) {
        let path = self.file(name);
        let right = fs::read(&path).expect("reads");
        let mut bytes = right.clone();
        change(&mut bytes);
        assert!(bytes != right, "{expected}: nothing is changed");
        fs::write(&path, bytes).expect("writes");
        let message = refused(&self.processes, code, expected);
        assert!(message.contains(name), "names no file: {message}");
        let advises = |what: &str| message.contains(what);
        assert!(
            !advises("join as a new"),
            "forgets what was acknowledged: {message}"
        );
        assert!(
            advises("A node whose state is lost") || advises("newer program"),
            "{message}"
        );
        fs::write(&path, right).expect("writes");
    }

    fn directory(&self) -> [u8; 16] {
        let text = fs::read_to_string(data(&self.processes).join("identity")).expect("reads");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("directory "));
        let number = u128::from_str_radix(line.expect("a line"), 16);
        number.expect("32 digits").to_be_bytes()
    }

    /// Gives a changed sector of the first segment the checksum of an intact one.
    fn seal(&self, index: usize, bytes: &mut [u8]) {
        let sector = &mut bytes[index * SECTOR..][..SECTOR];
        let place = [
            &self.directory()[..],
            &1_u64.to_le_bytes(),
            &(index as u32).to_le_bytes(),
            &sector[4..],
        ];
        let checksum = crc32c::crc32c(&place.concat());
        sector[..4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Where the first segment's stream ends. (The mark may name the end of the batch before:
    /// it follows a batch, and the kill may have come between the two.)
    fn end(&self) -> usize {
        let bytes = fs::read(self.file(FIRST)).expect("reads");
        let mut place = STREAM;
        loop {
            if SECTOR - place % SECTOR < FRAME_HEADER {
                place = place.next_multiple_of(SECTOR) + SECTOR_HEADER;
            }
            let length = u16::from_le_bytes([bytes[place], bytes[place + 1]]) & !LINK_FLAG;
            if length == 0 {
                return place;
            }
            for _ in 0..FRAME_HEADER + usize::from(length) {
                place += 1;
                if place.is_multiple_of(SECTOR) {
                    place += SECTOR_HEADER;
                }
            }
        }
    }
}

fn last_sector(bytes: &[u8]) -> usize {
    let sectors = bytes.chunks(SECTOR);
    let mut used = sectors
        .enumerate()
        .filter(|(_, s)| s.iter().any(|&b| b != 0));
    used.next_back().expect("something was written").0
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_refused_by_its_own_name() {
    let mut damaged = Damaged::new().await;
    let second = fs::read(damaged.file("segment-000000000002")).expect("reads");
    let last = last_sector(&fs::read(damaged.file(FIRST)).expect("reads"));
    assert!(last > 2, "one batch follows on the other");

    damaged.refused(
        FIRST,
        |b| b[100] ^= 1,
        23,
        "its header (bytes 0 to 511) is damaged",
    );
    damaged.refused(
        FIRST,
        |b| *b = second,
        23,
        "is another file than its name says",
    );
    damaged.refused(
        FIRST,
        |b| b.truncate(1 << 20),
        23,
        "and its header says 16777216",
    );
    // The first records: acknowledged long ago.
    let before = "damaged at byte 512, before what was written last";
    damaged.refused(FIRST, |b| b[SECTOR + 64] ^= 1, 18, before);
    damaged.refused(FIRST, |b| b[SECTOR..2 * SECTOR].fill(0), 18, before);
    let newest = format!(
        "damaged at byte {}, in what was written last",
        last * SECTOR
    );
    damaged.refused(FIRST, |b| b[last * SECTOR + 9] ^= 1, 24, &newest);
    // As if the disk had never got what it said it had: only the mark knows.
    let forgot = "was acknowledged up to byte";
    damaged.refused(FIRST, |b| b[last * SECTOR..][..SECTOR].fill(0), 25, forgot);
    damaged.refused(FIRST, |b| b[SECTOR..].fill(0), 25, forgot);
    let no_record = |b: &mut Vec<u8>| {
        b[FIRST_RECORD + 2] = 200;
        damaged.seal(1, b);
    };
    let unread = format!("holds at byte {STREAM}, intact, what this program can't read");
    damaged.refused(FIRST, no_record, 27, &unread);
    let newer = |b: &mut Vec<u8>| {
        b[8] = 9;
        let checksum = crc32c::crc32c(&b[..SECTOR - 4]);
        b[SECTOR - 4..SECTOR].copy_from_slice(&checksum.to_le_bytes());
    };
    damaged.refused(FIRST, newer, 14, "is of format 9");
    serves(&mut damaged.processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_not_all_there_or_not_its_own_is_refused() {
    let (mut damaged, other) = (Damaged::new().await, lived().await);
    let away = damaged.processes.directory.path().join("away");
    fs::rename(damaged.file(FIRST), &away).expect("moves");
    refused(&damaged.processes, 11, "segment-000000000001: is missing");
    fs::rename(&away, damaged.file(FIRST)).expect("moves back");
    fs::rename(&damaged.journal, &away).expect("moves");
    fs::create_dir(&damaged.journal).expect("makes it");
    refused(&damaged.processes, 11, "holds no journal");
    fs::remove_dir(&damaged.journal).expect("removes");
    copy(&data(&other).join("journal"), &damaged.journal);
    refused(
        &damaged.processes,
        12,
        "belongs to cluster \"dev\", node 1, data directory",
    );
    fs::remove_dir_all(&damaged.journal).expect("removes");
    fs::rename(&away, &damaged.journal).expect("moves back");

    // An identity of before the first start, and no witness to tell.
    let identity = data(&damaged.processes).join("identity");
    let witness = damaged.processes.cluster().join("node-1/node.witness");
    let (right, told) = (
        fs::read_to_string(&identity).expect("reads"),
        fs::read(&witness).expect("reads"),
    );
    fs::remove_file(&witness).expect("removes");
    let unborn = sealed(&right.replace("life 2\n", "life 0\n"));
    fs::write(&identity, unborn).expect("writes");
    refused(
        &damaged.processes,
        13,
        "says that its node has never started",
    );
    fs::write(&identity, right).expect("writes");
    fs::write(&witness, told).expect("writes");
    serves(&mut damaged.processes).await;
}

/// A crash interrupted a write of two sectors behind what was acknowledged; the second one
/// reached the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_the_start_says_where() {
    let mut damaged = Damaged::new().await;
    let (path, end) = (damaged.file(FIRST), damaged.end());
    let mut bytes = fs::read(&path).expect("reads");
    let torn = end / SECTOR + 1;
    let sector = &mut bytes[torn * SECTOR..][..SECTOR];
    sector.fill(0xee);
    sector[4..8].copy_from_slice(&(end as u32).to_le_bytes());
    damaged.seal(torn, &mut bytes);
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    let written = &bytes[torn * SECTOR..][..SECTOR];
    file.write_all_at(written, (torn * SECTOR) as u64)
        .expect("writes");
    serves(&mut damaged.processes).await;
    let log = fs::read_to_string(damaged.processes.log_of(1)).expect("reads");
    let cut = (torn + 1) * SECTOR - end;
    let said = format!("{}: cut off {cut} bytes from byte {end} on", path.display());
    assert!(log.contains(&said), "{said:?} is not in {log}");
    // Once.
    serves(&mut damaged.processes).await;
    let log = fs::read_to_string(damaged.processes.log_of(1)).expect("reads");
    assert_eq!(log.matches("cut off").count(), 1, "{log}");
}

/// Small ones, so that little work makes a checkpoint.
const SETTINGS: Settings = Settings {
    segment_bytes: 32 << 10,
    segments_ahead: 2,
    checkpoint_after_bytes: 64 << 10,
    fold_bytes_max: 1 << 20,
};

const RECORDS_OF_COMMIT: u64 = 64;

/// Writes on in a node's journal until a checkpoint is its own.
fn write_checkpoint(journal: &Path, directory: [u8; 16]) {
    let identity = Identity {
        cluster: "dev".into(),
        node: NodeId(1),
        directory: Directory(directory),
    };
    let disk = JournalDisk::open(journal).expect("opens");
    let mut recovery = Recovery::open(disk, identity, SETTINGS).expect("is whole");
    while recovery.next_record().expect("is whole").is_some() {}
    let mut journal = recovery.finish().expect("goes on");
    for number in 1.. {
        let name = KeyName::new(format!("{number:0>100}")).expect("is a name");
        let record = Record::Known {
            key: Key {
                container: ContainerId(1),
                name,
            },
            ts: Timestamp::ZERO,
        };
        let appended = journal.appender.append(Lsn(number), &record);
        appended.expect("there is room");
        if number % RECORDS_OF_COMMIT != 0 {
            continue;
        }
        let batch = journal.appender.take_batch().expect("is not empty");
        let done = journal.committer.commit(batch).expect("commits");
        journal.on_committed(done);
        loop {
            match journal.keeper.step().expect("keeps") {
                Step::Prepared(segment) => journal.appender.add_segment(segment),
                Step::Worked => {}
                Step::Checkpointed { .. } => return,
                Step::Idle | Step::Unsettled | Step::NoSpace(_) => break,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_refused_by_its_own_name() {
    let mut damaged = Damaged::new().await;
    write_checkpoint(&damaged.journal, damaged.directory());
    let mut names = fs::read_dir(&damaged.journal).expect("lists");
    let checkpoint = names.find_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string();
        name.ok().filter(|name| name.starts_with("checkpoint-"))
    });
    let checkpoint = checkpoint.expect("a checkpoint");
    let header = "its header (bytes 0 to 511) is damaged";
    damaged.refused(&checkpoint, |b| b[100] ^= 1, 23, header);
    let block = "the checkpoint is damaged at byte 512";
    damaged.refused(&checkpoint, |b| b[SECTOR + 40] ^= 1, 26, block);
    // Its last block says that it is whole.
    let cut_short = |b: &mut Vec<u8>| b.truncate(b.len() - 1);
    damaged.refused(
        &checkpoint,
        cut_short,
        26,
        "the checkpoint is damaged at byte",
    );
    serves(&mut damaged.processes).await;
}

/// Nobody can tell then what was lost, nor whether older files were put in the journal's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_sound_mark_is_for_the_operator_to_allow() {
    let mut damaged = Damaged::new().await;
    let mark = damaged.file("mark");
    let sound = fs::read(&mark).expect("reads");
    let mut changed = sound.clone();
    changed[9] ^= 1;
    for (bytes, trouble) in [
        (Some(changed), "is damaged"),
        (Some(vec![0; sound.len()]), "is blank"),
        (None, "is missing"),
    ] {
        match bytes {
            // In place, as a disk would.
            Some(bytes) => fs::write(&mark, bytes).expect("writes"),
            None => fs::remove_file(&mark).expect("removes"),
        }
        refused(&damaged.processes, 11, &format!("journal/mark: {trouble}"));
        let file = damaged.processes.node_file(1);
        let adopted = vivace_node(&["adopt", path_text(&file), "--original-is-gone"]);
        assert!(adopted.status.success(), "{}", stderr(&adopted));
        serves(&mut damaged.processes).await;
        let log = fs::read_to_string(damaged.processes.log_of(1)).expect("reads");
        let told = format!("journal/mark {trouble}: nothing tells");
        assert!(log.contains(&told), "{log}");
        let identity = data(&damaged.processes).join("identity");
        let identity = fs::read_to_string(identity).expect("reads");
        assert!(!identity.contains("journal-born unknown"), "{identity}");
    }
}

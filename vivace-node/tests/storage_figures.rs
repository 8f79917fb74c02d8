//! A node's storage on this machine's disk, beside the bare disk in the same run:
//!
//! ```text
//! cargo test --release -p vivace-node --test storage_figures -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `VIVACE_FIGURES_KEYS` sets the number of keys of the recovery (default 1,000,000).

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vivace_core::client_protocol::{Request, Success};
use vivace_core::clock::Now;
use vivace_core::machine::Machines;
use vivace_core::record::Record;
use vivace_core::stored::{StoredValue, ValueId};
use vivace_core::{
    Action, ContainerId, Event, Incarnation, Key, KeyName, Lsn, Node, NodeId, RequestId, Timestamp,
    Value, WriterId,
};
use vivace_node::config::ClusterConfig;
use vivace_node::init::Layout;
use vivace_node::storage::identity::{DataDirectory, DirectoryId, Owner};
use vivace_node::storage::values::{Change, Lookup, ValueLog, ValueStore};
use vivace_node::storage::{Claimed, DiskSettings, Engine, Load, News, Opened, Reports, layout};
use vivace_node::{ClockSource, Scheduling};

const ME: NodeId = NodeId(1);

/// 2026, in nanoseconds.
const THEN: u64 = 1_770_000_000_000_000_000;

fn here() -> tempfile::TempDir {
    // Beside the build, not in a temporary file system in memory.
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn id(number: u64) -> ValueId {
    let name = format!(
        "key {:012x}",
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
    );
    let key = Key {
        container: ContainerId(1),
        name: KeyName::new(name.into_bytes()).unwrap(),
    };
    let writer = WriterId::new(ME, Incarnation(1));
    let time = THEN + number;
    ValueId::version(&key, Timestamp { time, writer })
}

/// Bytes that nothing compresses.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn value(seed: u64, length: usize) -> Value {
    bytes::Bytes::from(bytes(seed, length)).into()
}

/// Bytes written to the device that `path` is on, by whomever: the kernel's count for a
/// process takes 4 KB written into a cached run of 1 MB for the whole run.
fn device_bytes(path: &Path) -> u64 {
    let device = fs::metadata(path).unwrap().dev();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff);
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap();
    let sectors: u64 = stat.split_whitespace().nth(6).unwrap().parse().unwrap();
    sectors * 512
}

/// Time that this thread has had a processor.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}

struct Rate {
    mb_s: f64,
    device: f64,
}

fn measured(at: &Path, user_bytes: usize, work: impl FnOnce()) -> Rate {
    let (before, started) = (device_bytes(at), Instant::now());
    work();
    Rate {
        mb_s: user_bytes as f64 / 1e6 / started.elapsed().as_secs_f64(),
        device: (device_bytes(at) - before) as f64 / user_bytes as f64,
    }
}

#[test]
#[ignore = "measures; run it in release and alone"]
fn values_beside_the_bare_device() {
    println!("| value | with one sync | what | MB/s | of bare | device bytes per byte |");
    println!("|---|---|---|---|---|---|");
    for (length, group, total) in [(1 << 10, 64, 64 << 20), (64 << 10, 16, 512 << 20)] {
        let groups = total / length / group;
        let home = here();
        let values: Vec<Value> = (0..64).map(|seed| value(seed, length)).collect();
        let raw: Vec<Vec<u8>> = (0..64).map(|seed| bytes(seed, length)).collect();
        let bare = measured(home.path(), total, || {
            let mut file = File::create(home.path().join("bare")).unwrap();
            for at in 0..groups {
                let group = (0..group).map(|i| raw[(at + i) % 64].as_slice());
                file.write_all(&group.collect::<Vec<_>>().concat()).unwrap();
                file.sync_data().unwrap();
            }
        });
        fs::remove_file(home.path().join("bare")).unwrap();
        let log = measured(home.path(), total, || {
            let path = home.path().join("values");
            let (log, _) = ValueLog::open(&path, DirectoryId([1; 16]), &|_, _| {}).unwrap();
            for at in 0..groups {
                let group = (0..group).map(|i| {
                    let number = (at * group + i) as u64;
                    storing(id(number), values[(at + i) % 64].clone())
                });
                log.apply(&group.collect::<Vec<_>>()).unwrap();
            }
        });
        let engine = measured(home.path(), total, || {
            let (mut engine, mut reports) = open(&home.path().join("data"), &mut |_| {});
            let mut lsn = 0;
            for at in 0..groups {
                for i in 0..group {
                    let number = (at * group + i) as u64;
                    lsn += 2;
                    let stored = values[(at + i) % 64].clone();
                    store(&mut engine, Lsn(lsn), number, stored);
                }
                wait(&mut engine, &mut reports, Lsn(lsn));
            }
        });
        for (what, rate) in [
            ("bare append, fdatasync", &bare),
            ("value log", &log),
            ("engine: journal and values, durable", &engine),
        ] {
            println!(
                "| {length} | {group} | {what} | {:.1} | {:.2} | {:.2} |",
                rate.mb_s,
                rate.mb_s / bare.mb_s,
                rate.device
            );
        }
    }
}

/// An engine on a data directory, which is made where it is missing.
fn open(
    directory: &Path,
    recover: &mut dyn FnMut(Record),
) -> (
    Engine<(NodeId, vivace_core::stored::StoredMessage)>,
    Reports,
) {
    let owner = Owner::named("dev", ME);
    if !directory.exists() {
        DataDirectory::make(directory, &owner).unwrap();
    }
    let claimed = Claimed::claim(
        &DiskSettings::at(directory),
        &owner,
        layout::Layout::default(),
    )
    .unwrap();
    let Opened { engine, reports } = claimed.open(Scheduling::Inherited, recover).unwrap();
    (engine, reports)
}

/// The value and the record that a replica keeps of a write.
fn store<T>(engine: &mut Engine<T>, lsn: Lsn, number: u64, value: Value) {
    let id = id(number);
    let stored = StoredValue::from(&value);
    let vivace_core::message::CopyTag::Bound(ts) = id.tag else {
        unreachable!("a version's id is bound")
    };
    let key = id.key.clone();
    engine.store(Lsn(lsn.0 - 1), id, value, false);
    let record = Record::Complete {
        key,
        ts,
        value: stored,
    };
    engine.persist(lsn, record);
}

fn wait<T>(engine: &mut Engine<T>, reports: &mut Reports, through: Lsn) {
    engine.flush();
    let mut durable = Lsn::default();
    while durable < through {
        while let Some(report) = reports.try_next() {
            engine.take_in(report);
        }
        durable = engine.durable().unwrap_or(durable);
        std::thread::yield_now();
    }
}

fn node(incarnation: Incarnation, now: Now) -> Node {
    let layout = Layout {
        cluster: "dev".into(),
        sites: 1,
        nodes_per_site: 1,
        base_port: 7000,
    };
    let config = ClusterConfig::from_text(&layout.cluster_file(), Path::new("cluster.toml"));
    let cluster = config.unwrap().cluster;
    Node::new(ME, incarnation, cluster, Machines::builtin(), now, 1).unwrap()
}

fn now(started: Instant) -> Now {
    let clock = ClockSource::Fixed {
        error: Duration::ZERO,
    };
    Now {
        monotonic: started.elapsed(),
        clock: clock.read(),
    }
}

const KEYS: &str = "VIVACE_FIGURES_KEYS";
const DIRECTORY: &str = "VIVACE_FIGURES_DIRECTORY";

#[test]
#[ignore = "measures; run it in release and alone"]
fn recovery_and_memory() {
    let keys: u64 = std::env::var(KEYS).map_or(1_000_000, |keys| keys.parse().unwrap());
    let home = here();
    let directory = home.path().join("data");
    let started = Instant::now();
    let (mut engine, mut reports) = open(&directory, &mut |_| {});
    for number in 0..keys {
        store(&mut engine, Lsn(2 * number + 2), number, value(number, 100));
        if number % 4096 == 4095 || number + 1 == keys {
            wait(&mut engine, &mut reports, Lsn(2 * number + 2));
        }
    }
    drop((engine, reports));
    println!(
        "{keys} keys of 16 bytes, values of 100 bytes, stored in {:.1?}",
        started.elapsed()
    );
    // Another process, whose memory is its own.
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "recovery_alone", "--nocapture"])
        .env(DIRECTORY, &directory)
        .env(KEYS, keys.to_string())
        .status();
    assert!(again.unwrap().success());
}

#[test]
#[ignore = "a part of recovery_and_memory"]
fn recovery_alone() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let keys: u64 = std::env::var(KEYS).unwrap().parse().unwrap();
    let before = resident_bytes();
    let (started, busy) = (Instant::now(), processor_time());
    let mut core = node(Incarnation(2), now(started));
    let (engine, _reports) = open(Path::new(&directory), &mut |record| core.recover(record));
    let (took, busy) = (started.elapsed(), processor_time() - busy);
    assert_eq!(engine.usage().values, keys);
    let of_all = (resident_bytes() - before) / keys;
    drop(engine);
    println!(
        "recovered in {took:.2?}, {busy:.2?} of a processor; {of_all} bytes of memory per key in all (core, index of values, \
         what the start read)"
    );
    println!(
        "without the storage: {} bytes per key",
        (resident_bytes() - before) / keys
    );
    drop(core);
}

#[test]
#[ignore = "measures; run it in release and alone"]
fn hot_read_inside_the_node() {
    let home = here();
    let (mut engine, mut reports) = open(&home.path().join("data"), &mut |_| {});
    let started = Instant::now();
    let mut core = node(Incarnation(1), now(started));
    let name = KeyName::new("hot").unwrap();
    let write = Request::Write {
        container: "kv".into(),
        key: name.clone(),
        value: value(1, 1024),
        durability: None,
    };
    run(&mut core, &mut engine, &mut reports, started, 0, write);
    std::thread::sleep(Duration::from_millis(50));
    let read = Request::Read {
        container: "kv".into(),
        key: name,
    };
    let mut took: Vec<Duration> = (1..=20_000)
        .map(|number| {
            let at = Instant::now();
            let success = run(
                &mut core,
                &mut engine,
                &mut reports,
                started,
                number,
                read.clone(),
            );
            assert!(matches!(success, Success::Value { .. }), "{success:?}");
            at.elapsed()
        })
        .collect();
    took.sort();
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    println!(
        "hot read of 1 KB, core and storage: p50 {:.1?}, p99 {:.1?}",
        at(0.5),
        at(0.99)
    );
    cold_reads(&home.path().join("cold"));
}

fn storing(id: ValueId, value: Value) -> Change {
    Change::Store {
        id,
        value,
        is_record: false,
    }
}

fn cold_reads(path: &Path) {
    let (log, _) = ValueLog::open(path, DirectoryId([1; 16]), &|_, _| {}).unwrap();
    let log: Arc<dyn ValueStore> = Arc::new(log);
    for group in 0..100 {
        let stores = (0..100).map(|i| storing(id(group * 100 + i), value(i, 1024)));
        log.apply(&stores.collect::<Vec<_>>()).unwrap();
    }
    let mut took: Vec<Duration> = (0..10_000)
        .map(|number| {
            let at = Instant::now();
            assert!(matches!(log.get(&id(number)), Lookup::Found(_)));
            at.elapsed()
        })
        .collect();
    took.sort();
    println!(
        "value log, from the kernel's cache: p50 {:.1?}, p99 {:.1?}",
        took[5000], took[9900]
    );
}

/// Runs a request to its end, as the runtime does.
fn run(
    core: &mut Node,
    engine: &mut Engine<(NodeId, vivace_core::stored::StoredMessage)>,
    reports: &mut Reports,
    started: Instant,
    number: u64,
    request: Request,
) -> Success {
    let mut events = vec![Event::Request {
        id: RequestId(number),
        request,
        deadline: started.elapsed() + Duration::from_secs(10),
    }];
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < limit, "no answer");
        let event = events.pop().unwrap_or(Event::Tick);
        for action in core.handle(now(started), event) {
            match action {
                Action::Persist { lsn, record } => engine.persist(lsn, record),
                Action::PersistLater { record } => engine.persist_later(record),
                Action::StoreValue {
                    lsn,
                    id,
                    value,
                    is_record,
                } => engine.store(lsn, id, value, is_record),
                Action::ForgetValue { id } => engine.forget(id),
                Action::SendStored { to, message } => {
                    let id = message.value.clone();
                    if let Load::Now((from, message), value) = engine.load(&id, (to, message)) {
                        let message = message.with(value);
                        events.push(Event::Bulk { from, message });
                    }
                }
                Action::Reply { request, reply } if request == RequestId(number) => {
                    return reply.unwrap();
                }
                Action::Reply { .. } | Action::SendPriority { .. } | Action::SendBulk { .. } => {}
            }
        }
        engine.flush();
        while let Some(report) = reports.try_next() {
            if let News::Loaded(askers, value) = engine.take_in(report) {
                events.extend(askers.into_iter().map(|(from, message)| Event::Bulk {
                    from,
                    message: message.with(value.clone()),
                }));
            }
        }
        events.extend(engine.durable().map(|through| Event::Durable { through }));
    }
}

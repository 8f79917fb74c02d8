//! A backup of real processes under load, and all of it back in another cluster.
//! What the command refuses: `vivace-client/tests/against_fake_node/backup.rs`.

mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use process::{Processes, START_PATIENCE};
use vivace_client::backup::{self, Pace, RestoreError, RestoreOptions};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, Durability};

/// Objects of each kind; a listing has several pages.
const OBJECTS: u64 = 600;

fn value(number: u64) -> Vec<u8> {
    // Empty ones, small ones, and one of the longest allowed.
    let bytes = match number % 100 {
        0 => 0,
        99 => 1 << 20,
        _ => 10 + number as usize,
    };
    vec![number as u8; bytes]
}

async fn write_all(client: &Client) -> BTreeMap<String, Vec<u8>> {
    let kv = client.container("kv").deadline(START_PATIENCE);
    let mut written = BTreeMap::new();
    for number in 0..OBJECTS {
        let key = format!("key-{number}");
        let object = kv.rw(key.clone());
        object
            .write(value(number))
            .await
            .expect("the cluster serves");
        if number % 7 == 3 {
            object.delete().await.expect("the cluster serves");
        } else {
            written.insert(key, value(number));
        }
    }
    written
}

async fn count_all(client: &Client) {
    let objects = client.container("objects").deadline(START_PATIENCE);
    for number in 0..OBJECTS / 2 {
        let count = objects.rmw::<Counter>(format!("counter-{number}"));
        let add = counter::Command::Add(number as i64 + 1);
        count.execute(add).await.expect("the cluster serves");
    }
}

/// Writes on until it is told to stop: to a key of its own, ever larger numbers, and to a
/// counter. The last number that was acknowledged is always known.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    slowest_us: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, written, slowest_us) =
            <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let object = client.container("kv").deadline(START_PATIENCE).rw("load");
        let count = client.container("objects").deadline(START_PATIENCE);
        let count = count.rmw::<Counter>("load");
        let (ended, acknowledged, slowest) = (stop.clone(), written.clone(), slowest_us.clone());
        let task = tokio::spawn(async move {
            for number in 1.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let started = Instant::now();
                let bytes = number_bytes(number);
                object.write(bytes).await.expect("the cluster serves");
                let took = started.elapsed().as_micros() as u64;
                slowest.fetch_max(took, Ordering::Relaxed);
                let added = count.execute(counter::Command::Add(1)).await;
                added.expect("the cluster serves");
                acknowledged.store(number, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            written,
            slowest_us,
            task,
        }
    }

    fn acknowledged(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    async fn end(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load goes through");
        let slowest = Duration::from_micros(self.slowest_us.load(Ordering::Relaxed));
        (self.written.load(Ordering::Relaxed), slowest)
    }
}

fn number_bytes(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn options(again: bool) -> RestoreOptions {
    RestoreOptions {
        pace: Pace::default(),
        durability: Some(Durability::Majority),
        again,
    }
}

async fn restore(client: &Client, saved: &Path, again: bool) -> Result<u64, RestoreError> {
    let whole = backup::check(saved, |_| true)?;
    let done = backup::restore(client, saved, &whole, &options(again), |_| {}).await?;
    Ok(done.objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_destroyed_comes_back_from_its_backup() {
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let saved = elsewhere.path().join("saved");
    let (written, before, after) = {
        let mut processes = Processes::start(3);
        let client = processes.client('a').await;
        let written = write_all(&client).await;
        count_all(&client).await;
        // The node that is asked was away meanwhile and has not caught up with all.
        processes.kill(2);
        let kv = client.container("kv").deadline(START_PATIENCE);
        kv.rw("late")
            .write("late")
            .await
            .expect("two of three serve");
        processes.start_node(2);
        let other = processes.client('b').await;
        let load = Load::start(&client);
        while load.acknowledged() < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = load.acknowledged();
        let taken = backup::take(&other, &saved, &Pace::default(), false, |_| {}).await;
        let manifest = taken.expect("a backup is made");
        let (after, slowest) = load.end().await;
        assert!(after > before, "the load went on");
        assert!(slowest < Duration::from_secs(2), "a write took {slowest:?}");
        let kv = &manifest.containers[0];
        assert_eq!((kv.name.as_str(), kv.kind.as_str()), ("kv", "rw"));
        assert_eq!(kv.objects, written.len() as u64 + 2, "and late and load");
        assert_eq!(kv.deleted, OBJECTS - written.len() as u64);
        (written, before, after)
    };

    let processes = Processes::start(3);
    let client = processes.client('c').await;
    let objects = restore(&client, &saved, false)
        .await
        .expect("it is restored");
    assert_eq!(objects, written.len() as u64 + 2 + OBJECTS / 2 + 1);
    let kv = client.container("kv").deadline(START_PATIENCE);
    for number in 0..OBJECTS {
        let key = format!("key-{number}");
        let found = kv.rw(key.clone()).read().await.expect("it can be read");
        let found = found.map(|found| found.value.to_vec());
        assert_eq!(found.as_ref(), written.get(&key), "{key}");
    }
    let late = kv.rw("late").read().await.expect("it can be read");
    assert_eq!(late.expect("it was written").value, "late");
    let counters = client.container("objects").deadline(START_PATIENCE);
    for number in 0..OBJECTS / 2 {
        let count = counters.rmw::<Counter>(format!("counter-{number}"));
        let state = count.read().await.expect("it can be read");
        assert_eq!(state.map(Counter::value), Some(number as i64 + 1));
    }

    // What was acknowledged before the backup began is in it, and nothing that was not.
    let found = kv.rw("load").read().await.expect("it can be read");
    let found = found.expect("it was written").value;
    let number = u64::from_be_bytes(found[..].try_into().expect("8 bytes"));
    assert!((before..=after).contains(&number), "{number}");
    let count = counters.rmw::<Counter>("load").read().await;
    let count = count.expect("it can be read").map(Counter::value);
    let counted = count.expect("it was counted") as u64;
    assert!((before..=after).contains(&counted), "{counted}");

    // Once more only where that is asked for.
    let refused = restore(&client, &saved, false).await;
    assert!(
        matches!(refused, Err(RestoreError::NotReady { .. })),
        "{refused:?}"
    );
    assert_eq!(
        restore(&client, &saved, true).await.expect("again"),
        objects
    );
    drop(processes);
    does_not_fit_where_values_are_smaller(&saved).await;
}

/// Nor is a part of it written.
async fn does_not_fit_where_values_are_smaller(saved: &Path) {
    let mut processes = Processes::lay_out(1, 1);
    let file = processes.cluster().join("cluster.toml");
    let text = std::fs::read_to_string(&file).expect("reads");
    let small = text.replacen("value_bytes_max = 1048576", "value_bytes_max = 9", 1);
    assert_ne!(small, text);
    std::fs::write(&file, small).expect("writes");
    processes.start_node(1);
    let client = processes.client('a').await;
    let refused = restore(&client, saved, false).await;
    let Err(RestoreError::NotReady { why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("takes values of at most 9"), "{why}");
    let kv = client.container("kv").deadline(START_PATIENCE);
    assert_eq!(kv.rw("late").read().await.expect("it serves"), None);
}

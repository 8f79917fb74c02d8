//! An engine over a store that can be held back, and over a real directory.

use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use vivace_core::NodeId;

use super::*;
use crate::storage::identity::Owner;
use crate::storage::layout::Layout;
use crate::storage::test_values::{id, long_value, value};
use crate::storage::values::{ApplyError, MemoryStore, Part, Saving};
use crate::storage::{Claimed, DiskSettings, Opened};
use crate::threads::Scheduling;

/// Longer than any step takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store whose writes and reads wait for a gate.
#[derive(Default)]
struct Gated {
    inner: MemoryStore,
    is_shut: Mutex<bool>,
    opened: Condvar,
    groups: Mutex<Vec<usize>>,
}

impl Gated {
    fn shut(&self, is_shut: bool) {
        *self.is_shut.lock().expect("no panic") = is_shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.is_shut.lock().expect("no panic");
        drop(
            self.opened
                .wait_while(is_shut, |shut| *shut)
                .expect("no panic"),
        );
    }
}

impl ValueStore for Gated {
    fn apply(&self, changes: &[Change]) -> Result<(), ApplyError> {
        self.pass();
        self.groups.lock().expect("no panic").push(changes.len());
        self.inner.apply(changes)
    }

    fn tidy(&self, _: Saving) -> Result<bool, ApplyError> {
        Ok(false)
    }

    fn get(&self, id: &ValueId) -> Lookup {
        self.pass();
        self.inner.get(id)
    }

    fn contains(&self, id: &ValueId) -> bool {
        self.inner.contains(id)
    }

    fn parts(&self) -> Vec<Part> {
        self.inner.parts()
    }

    fn ids(&self, part: Part) -> Vec<ValueId> {
        self.inner.ids(part)
    }

    fn records(&self, part: Part) -> Vec<(ValueId, u32)> {
        self.inner.records(part)
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

fn record(time: u64) -> Record {
    Record::ClockHighWater { time }
}

struct Life {
    engine: Engine<u32>,
    reports: Reports,
    durable: Lsn,
}

impl Life {
    fn gated(cache_bytes: u64) -> (Self, Arc<Gated>) {
        let store = Arc::new(Gated::default());
        let (engine, reports) = Engine::start(
            None,
            store.clone(),
            None,
            cache_bytes,
            Scheduling::Inherited,
        )
        .expect("starts");
        let durable = Lsn::default();
        (
            Self {
                engine,
                reports,
                durable,
            },
            store,
        )
    }

    fn in_directory(directory: &Path, cache_bytes: u64) -> (Self, Vec<Record>) {
        let settings = DiskSettings {
            cache_bytes,
            reserve_bytes: 0,
            ..DiskSettings::at(directory)
        };
        let claimed = Claimed::claim(&settings, &owner(), Layout::default());
        let claimed = claimed.expect("is the node's");
        let mut records = Vec::new();
        let opened = claimed.open(Scheduling::Inherited, &mut |record| records.push(record));
        let Opened { engine, reports } = opened.expect("opens");
        let durable = Lsn::default();
        (
            Self {
                engine,
                reports,
                durable,
            },
            records,
        )
    }

    fn turn(&mut self) -> Option<News<u32>> {
        self.engine.flush();
        let report = self.reports.try_next();
        let news = report.map(|report| self.engine.take_in(report));
        if let Some(durable) = self.engine.durable() {
            assert!(durable > self.durable, "only rises");
            self.durable = durable;
        }
        news
    }

    fn until(&mut self, mut is_it: impl FnMut(&Self, &News<u32>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let news = self.turn().unwrap_or(News::None);
            if is_it(self, &news) {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        panic!("nothing came of it");
    }

    fn settle(&mut self, through: u64) {
        self.until(|life, _| life.durable == Lsn(through) && life.engine.pending_bytes == 0);
    }
}

fn owner() -> Owner {
    Owner::named("test", NodeId(1))
}

fn new_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    DataDirectory::make(directory.path(), &owner()).expect("makes it");
    directory
}

#[test]
fn records_and_values_survive_a_restart() {
    let directory = new_directory();
    let (mut life, records) = Life::in_directory(directory.path(), 0);
    assert_eq!(records, []);
    for at in 0..100 {
        let stored = long_value(at, 100 * at as usize);
        life.engine
            .store(Lsn(2 * at + 1), id("a", at + 1), stored, false);
        life.engine.persist(Lsn(2 * at + 2), record(at + 1));
        life.turn();
    }
    life.settle(200);
    drop(life);
    let (mut life, records) = Life::in_directory(directory.path(), 0);
    assert_eq!(records, (1..=100).map(record).collect::<Vec<_>>());
    for at in 0..100 {
        let asked = life.engine.load(&id("a", at + 1), at as u32);
        assert_eq!(asked, Load::Later);
        let expected = News::Loaded(vec![at as u32], long_value(at, 100 * at as usize));
        life.until(|_, news| *news == expected);
    }
}

#[test]
fn a_position_is_durable_when_all_before_it_are_on_both_ways() {
    let directory = new_directory();
    let (mut life, _) = Life::in_directory(directory.path(), 0);
    let store = Arc::new(Gated::default());
    store.shut(true);
    let (done, reports) = mpsc::unbounded_channel();
    let lane = ValueLane::start(
        store.clone(),
        None,
        done,
        life.engine.loaded.clone(),
        Scheduling::Inherited,
    );
    life.engine.lane = lane.expect("starts");
    life.engine.persist(Lsn(1), record(1));
    life.engine
        .store(Lsn(2), id("a", 1), value(b"held back"), false);
    life.engine.persist(Lsn(3), record(2));
    life.until(|life, _| life.durable == Lsn(1) && life.engine.journal_batches.is_empty());
    life.reports.done = reports;
    store.shut(false);
    life.settle(3);
}

#[test]
fn what_is_on_its_way_to_the_disk_is_read_from_memory() {
    let (mut life, store) = Life::gated(0);
    store.shut(true);
    life.engine
        .store(Lsn(1), id("a", 1), value(b"on its way"), false);
    life.engine.flush();
    let found = life.engine.load(&id("a", 1), 7);
    assert_eq!(found, Load::Now(7, value(b"on its way")));
    store.shut(false);
    life.until(|life, _| life.engine.pending_bytes == 0);
    // Written, and in no cache: from the disk.
    assert_eq!(life.engine.load(&id("a", 1), 8), Load::Later);
    life.until(|_, news| *news == News::Loaded(vec![8], value(b"on its way")));
}

#[test]
fn a_cached_value_never_touches_the_disk() {
    let (mut life, store) = Life::gated(1 << 20);
    life.engine.store(Lsn(1), id("a", 1), value(b"hot"), false);
    life.until(|life, _| life.engine.pending_bytes == 0);
    store.shut(true);
    assert_eq!(
        life.engine.load(&id("a", 1), 7),
        Load::Now(7, value(b"hot"))
    );
    store.shut(false);
}

#[test]
fn a_direct_writes_value_is_in_memory_where_it_was_read_or_a_peer_is_away() {
    let (mut life, store) = Life::gated(1 << 20);
    let is_here = |life: &mut Life, key| {
        store.shut(true);
        let load = life.engine.load(&id(key, 1), 7);
        store.shut(false);
        life.until(|life, _| life.engine.waiters == 0);
        matches!(load, Load::Now(..))
    };
    let write = |life: &mut Life, at, key| {
        life.engine.store(Lsn(at), id(key, 1), value(b"v"), true);
        life.until(|life, _| life.engine.pending_bytes == 0);
    };
    write(&mut life, 1, "while a peer is away");
    assert!(is_here(&mut life, "while a peer is away"));
    life.engine.expect_sends(false);
    write(&mut life, 2, "when all are here");
    assert!(
        !is_here(&mut life, "when all are here"),
        "it is on the disk"
    );
    assert!(is_here(&mut life, "when all are here"), "it was read");

    let read_early = id("read on its way", 1);
    life.engine
        .store(Lsn(3), read_early.clone(), value(b"v"), true);
    assert!(matches!(life.engine.load(&read_early, 7), Load::Now(..)));
    life.until(|life, _| life.engine.pending_bytes == 0);
    assert!(is_here(&mut life, "read on its way"));
}

#[test]
fn while_one_group_is_written_the_next_gathers() {
    let (mut life, store) = Life::gated(0);
    store.shut(true);
    for at in 1..=50 {
        life.engine.store(Lsn(at), id("a", at), value(b"x"), false);
        life.engine.flush();
    }
    store.shut(false);
    life.until(|life, _| life.engine.pending_bytes == 0);
    let groups = store.groups.lock().expect("no panic").clone();
    assert!(groups.len() <= 3, "{groups:?}");
}

#[test]
fn one_question_answers_all_who_ask_meanwhile() {
    let (mut life, store) = Life::gated(0);
    life.engine.store(Lsn(1), id("a", 1), value(b"cold"), false);
    life.until(|life, _| life.engine.pending_bytes == 0);
    store.shut(true);
    for asker in 1..=3 {
        assert_eq!(life.engine.load(&id("a", 1), asker), Load::Later);
    }
    store.shut(false);
    life.until(|_, news| *news == News::Loaded(vec![1, 2, 3], value(b"cold")));
    assert_eq!(life.engine.waiters, 0);
}

#[test]
fn what_is_not_there_is_an_answer() {
    let (mut life, _) = Life::gated(0);
    assert_eq!(life.engine.load(&id("a", 1), 7), Load::Later);
    let expected = News::NotLoaded(id("a", 1), "is not stored".into(), vec![7]);
    life.until(|_, news| *news == expected);
}

#[test]
fn a_value_is_forgotten_when_all_before_is_durable_and_not_when_it_was_stored_again() {
    let (mut life, store) = Life::gated(0);
    life.engine.store(Lsn(1), id("a", 1), value(b"one"), false);
    life.engine.store(Lsn(2), id("b", 1), value(b"two"), false);
    life.until(|life, _| life.engine.pending_bytes == 0);
    life.engine.forget(id("a", 1));
    life.engine.forget(id("b", 1));
    life.engine.store(Lsn(3), id("b", 1), value(b"two"), false);
    life.until(|_, _| !store.contains(&id("a", 1)));
    life.until(|life, _| life.engine.pending_bytes == 0);
    assert!(store.contains(&id("b", 1)));
    assert!(life.engine.forgets.is_empty() && life.engine.forgotten.is_empty());
}

#[test]
fn a_forget_waits_for_what_came_before_it() {
    let directory = new_directory();
    let (mut life, _) = Life::in_directory(directory.path(), 0);
    life.engine.store(Lsn(1), id("a", 1), value(b"old"), false);
    life.settle(1);
    // The record that makes the value needless is not durable yet.
    life.engine.persist(Lsn(2), record(1));
    life.engine.forget(id("a", 1));
    life.engine.take_due_forgets();
    assert!(life.engine.gathered.is_empty(), "too early");
    life.settle(2);
    life.until(|life, _| !life.engine.contains(&id("a", 1)));
}

#[test]
fn too_many_questions_at_once_are_refused_and_counted() {
    let (mut life, store) = Life::gated(0);
    store.shut(true);
    let mut refused = 0;
    for at in 1..=2 * LOADS_MAX as u64 {
        if let Load::Refused(_) = life.engine.load(&id("a", at), 0) {
            refused += 1;
        }
    }
    assert!(refused >= LOADS_MAX - 2, "{refused}");
    assert_eq!(life.engine.counts().loads_refused, refused as u64);
    store.shut(false);
}

#[test]
fn all_that_is_stored_is_named() {
    let directory = new_directory();
    let (mut life, _) = Life::in_directory(directory.path(), 0);
    for at in 1..=3000 {
        life.engine.store(Lsn(at), id("a", at), value(b"x"), false);
    }
    life.settle(3000);
    life.engine.list().expect("a thread");
    let mut named = Vec::new();
    life.until(|_, news| {
        if let News::Stored(ids) = news {
            named.extend(ids.clone());
        }
        *news == News::AllStored
    });
    named.sort();
    assert_eq!(named, (1..=3000).map(|at| id("a", at)).collect::<Vec<_>>());
}

#[test]
fn a_disk_without_its_reserve_is_full_and_one_with_it_is_not() {
    let (mut life, _) = Life::gated(0);
    let here = std::env::temp_dir();
    life.engine.space = Some(Arc::new(Space::watch(&here, u64::MAX / 4)));
    let why = life.engine.why_full().expect("the reserve is not there");
    assert!(why.contains("storage.reserve_bytes"), "{why}");
    assert!(life.engine.takes_no_values());
    life.engine.space = Some(Arc::new(Space::watch(&here, 0)));
    assert_eq!(life.engine.why_full(), None);
    assert!(!life.engine.takes_no_values());
}

#[test]
fn a_record_that_nobody_waits_for_goes_with_the_next_or_soon_by_itself() {
    let directory = new_directory();
    let (mut life, _) = Life::in_directory(directory.path(), 0);
    life.engine.persist_later(record(1));
    life.engine.flush();
    assert!(life.engine.journal_batches.is_empty(), "it waits");
    life.engine.persist(Lsn(1), record(2));
    life.engine.flush();
    assert_eq!(life.engine.journal_batches.len(), 1, "both left");
    assert_eq!(life.engine.flush_by(), None);
    life.settle(1);
    life.engine.persist_later(record(3));
    let by = life.engine.flush_by().expect("it waits");
    life.until(|life, _| life.engine.recorded == 3);
    assert!(Instant::now() >= by);
    life.engine.persist_later(record(4));
    drop(life);
    let (_, records) = Life::in_directory(directory.path(), 0);
    assert_eq!(records, (1..=4).map(record).collect::<Vec<_>>(), "in order");
}

#[test]
fn a_value_is_forgotten_behind_the_record_that_lets_it_go() {
    let directory = new_directory();
    let (mut life, _) = Life::in_directory(directory.path(), 0);
    life.engine.store(Lsn(1), id("a", 1), value(b"old"), false);
    life.settle(1);
    life.engine.persist_later(record(1));
    life.engine.forget(id("a", 1));
    life.until(|life, _| !life.engine.contains(&id("a", 1)));
    assert_eq!(life.engine.recorded, 1);
}

#[test]
fn a_value_that_comes_once_more_on_its_way_stays_a_record() {
    let directory = new_directory();
    let (mut life, _) = Life::in_directory(directory.path(), 0);
    life.engine.store(Lsn(1), id("a", 1), value(b"told"), true);
    life.engine.store(Lsn(2), id("a", 1), value(b"told"), false);
    life.engine.store(Lsn(3), id("b", 1), value(b"not"), false);
    life.settle(3);
    drop(life);
    let (life, _) = Life::in_directory(directory.path(), 0);
    let mut records: Vec<_> = life.engine.records().collect();
    records.dedup();
    assert_eq!(records, [(id("a", 1), 4)]);
}

//! A step that loads stores of this machine, without a WAN.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use vivace_client::{Client, ClientConfig};

use super::cpu::{self, Spent};
use super::open_loop;
use super::tools::Tools;
use crate::load::closed_loop::{self, Outcome};
use crate::load::objects::{Failure, Object};
use crate::load::{Drawn, EtcdKey, EtcdKv, Gateway, Measure, Sample};
use crate::progress::Progress;
use crate::results::Latencies;
use crate::step::record::Percentiles;
use crate::step::{
    BenchData, BenchLoad, BenchRow, BenchStore, BenchWork, Objects, Operation, Traffic, WindowSpec,
};
use crate::store::{
    EtcdCertificates, EtcdMember, LoopbackEtcd, LoopbackVivace, start_loopback_etcd,
    start_loopback_vivace,
};
use crate::wan::WORK_PREFIX;
use crate::workload::Workload;

/// How long a store may take until it serves.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// When an operation is given up.
const DEADLINE: Duration = Duration::from_secs(15);

/// Clients that write the first objects, and how long they may take.
const FILLERS: usize = 256;
const FILL_PATIENCE: Duration = Duration::from_secs(900);

/// How long starting takes, and how many first objects a second are written; for the
/// estimate alone.
const START_TYPICAL: Duration = Duration::from_secs(4);
const FILLED_PER_SECOND: f64 = 6000.0;

/// The containers of a fresh cluster.
const RW: &str = "kv";
const RMW: &str = "objects";

/// How long a step will probably take.
pub fn planned(work: &BenchWork) -> Duration {
    let each = work.seconds + work.warm_up_seconds + 0.5;
    let loads = work.loads.len() * work.stores.len() * work.rounds as usize;
    let filling = f64::from(work.keys.unwrap_or(0)) / FILLED_PER_SECOND;
    START_TYPICAL + Duration::from_secs_f64(each * loads as f64 + filling)
}

/// Starts the stores, loads one after the other, and yields what came of it and what a
/// reader must know. Whatever happens, nothing is left running.
///
/// # Errors
/// What could not be started or measured, and why.
pub async fn measure(
    work: &BenchWork,
    tools: &Tools,
    data: &Path,
    progress: &Progress,
) -> anyhow::Result<(Value, Vec<String>)> {
    let directory = tempfile::Builder::new()
        .prefix(&format!("{WORK_PREFIX}{}-", std::process::id()))
        .tempdir_in(data)
        .with_context(|| data.display().to_string())?;
    let begun = Instant::now();
    let mut found = BenchData::default();
    found.load_average[0] = cpu::load_average()?;
    let mut notes = Vec::new();
    let mut stores = Vec::new();
    for &kind in &work.stores {
        match Store::start(kind, tools, directory.path()).await? {
            Ok(store) => stores.push(store),
            Err(why) => {
                let note = format!("SKIPPED {}: {why}", kind.id());
                progress.print(&note);
                notes.push(note);
            }
        }
    }
    if let Some(keys) = work.keys {
        found.memory_bytes_per_key = Some(fill(&stores, keys, work).await?);
    }
    for round in 1..=work.rounds {
        for load in &work.loads {
            for store in &mut stores {
                let row = store
                    .load(work, load, round, tools, directory.path())
                    .await?;
                found.rows.push(row);
                progress.at(begun.elapsed());
            }
        }
    }
    found.load_average[1] = cpu::load_average()?;
    for store in &stores {
        notes.extend(store.lost_its_leader().await);
    }
    Ok((serde_json::to_value(found)?, notes))
}

/// A store that serves.
struct Store {
    kind: BenchStore,
    target: Target,
}

#[expect(
    clippy::large_enum_variant,
    reason = "one per store: a box would save nothing"
)]
enum Target {
    Vivace {
        store: LoopbackVivace,
        client: Client,
    },
    Etcd {
        store: LoopbackEtcd,
        /// The one that leads: to ask another costs a hop more.
        leader: EtcdKv,
        /// Where it says who leads.
        status: String,
    },
}

impl Store {
    /// The inner error says how to get what is missing here.
    async fn start(
        kind: BenchStore,
        tools: &Tools,
        directory: &Path,
    ) -> anyhow::Result<Result<Self, String>> {
        let deadline = Instant::now() + READY_PATIENCE;
        let target = match kind {
            BenchStore::Vivace {
                sites,
                nodes_per_site,
            } => {
                let mut store =
                    start_loopback_vivace(sites, nodes_per_site, &tools.node, directory)?;
                let client = connected(&mut store, deadline).await?;
                Target::Vivace { store, client }
            }
            BenchStore::Etcd | BenchStore::EtcdTls => {
                let program = match &tools.etcd {
                    Ok(program) => program,
                    Err(why) => return Ok(Err(why.clone())),
                };
                let is_tls = kind == BenchStore::EtcdTls;
                let mut store = start_loopback_etcd(program, is_tls, directory)?;
                let leads = leader_of(&mut store, deadline).await?;
                let EtcdMember { client, status } = &store.members[leads];
                let certificates = store.certificates.as_ref();
                let tls = certificates.map(EtcdCertificates::client).transpose()?;
                let leader = EtcdKv::connect(client, tls, DEADLINE).await?;
                let status = status.clone();
                Target::Etcd {
                    store,
                    leader,
                    status,
                }
            }
        };
        Ok(Ok(Self { kind, target }))
    }

    /// What a reader must know of an etcd that elected another leader under load.
    async fn lost_its_leader(&self) -> Option<String> {
        let Target::Etcd { status, .. } = &self.target else {
            return None;
        };
        let asked = Gateway::new(status).member_and_leader(DEADLINE).await;
        let leads = asked.is_ok_and(|(own, leader)| own == leader);
        (!leads).then(|| "etcd's leader changed meanwhile: requests went a hop further".to_owned())
    }

    fn processes(&self) -> Vec<u32> {
        match &self.target {
            Target::Vivace { store, .. } => store.processes.ids(),
            Target::Etcd { store, .. } => store.processes.ids(),
        }
    }

    fn check(&mut self) -> anyhow::Result<()> {
        match &mut self.target {
            Target::Vivace { store, .. } => store.processes.check(),
            Target::Etcd { store, .. } => store.processes.check(),
        }
    }

    async fn load(
        &mut self,
        work: &BenchWork,
        load: &BenchLoad,
        round: u32,
        tools: &Tools,
        directory: &Path,
    ) -> anyhow::Result<BenchRow> {
        let row = match load {
            BenchLoad::Closed {
                operation, clients, ..
            } => {
                let mut objects = self.objects(work, load)?;
                prepare(&mut objects, load).await?;
                let window = measure_for(*operation, *clients, work.warm_up_seconds);
                let (objects, _) = closed_loop::run(objects, &window).await;
                let before = Spent::now(&self.processes())?;
                let begun = Instant::now();
                let window = measure_for(*operation, *clients, work.seconds);
                let (_, outcome) = closed_loop::run(objects, &window).await;
                let seconds = begun.elapsed().as_secs_f64();
                let spent = Spent::now(&self.processes())?.since(before);
                row(self.kind, load, round, &outcome, seconds, spent)
            }
            BenchLoad::Open { .. } => {
                let Target::Vivace { store, .. } = &self.target else {
                    bail!("an open loop is of `vivace bench`: Vivace alone");
                };
                let command = tools
                    .command
                    .as_ref()
                    .map_err(|why| anyhow::anyhow!("{why}"))?;
                let bench = open_loop::Bench {
                    command,
                    client: &store.client,
                    directory,
                    processes: &store.processes.ids(),
                };
                bench.measure(work, load, self.kind, round).await?
            }
        };
        self.check()?;
        Ok(row)
    }

    fn objects(&self, work: &BenchWork, load: &BenchLoad) -> anyhow::Result<Vec<Object>> {
        let BenchLoad::Closed {
            operation,
            clients,
            objects,
            value_bytes: bytes,
        } = load
        else {
            bail!("an open loop's objects are its own");
        };
        let key = |number: usize| match objects {
            Objects::One => "hot".to_owned(),
            Objects::OwnOfEach | Objects::Drawn => format!("own-{number}"),
        };
        (0..*clients)
            .map(|number| {
                Ok(match (&self.target, objects) {
                    (Target::Vivace { client, .. }, Objects::Drawn) => {
                        let container = |name| client.container(name).deadline(DEADLINE);
                        let keys = work.keys.context("objects to draw were written first")?;
                        let (rw, rmw) = (container(RW), container(RMW));
                        Object::Drawn(Drawn::new(rw, rmw, keys, *bytes, number as u64))
                    }
                    (Target::Vivace { client, .. }, Objects::OwnOfEach | Objects::One) => {
                        let key = key(number);
                        Object::Vivace(match operation {
                            Operation::Execute => {
                                Workload::map(client, RMW, &key, DEADLINE, *bytes, 1)
                            }
                            _ => Workload::value(client, RW, &key, DEADLINE, *bytes, 1),
                        })
                    }
                    (Target::Etcd { leader, .. }, _) => {
                        Object::EtcdKey(EtcdKey::new(leader.clone(), &key(number), *bytes))
                    }
                })
            })
            .collect()
    }
}

/// Writes objects for the first time: all, or the one that clients share.
async fn prepare(objects: &mut [Object], load: &BenchLoad) -> anyhow::Result<()> {
    for object in objects {
        let prepared = object.prepare().await;
        if let Err((_, why)) = prepared {
            bail!(
                "{}: the first write of an object failed: {why}",
                load.words()
            );
        }
    }
    Ok(())
}

fn measure_for(operation: Operation, at_once: usize, seconds: f64) -> Measure {
    Measure {
        window: WindowSpec {
            system: String::new(),
            operation,
            at_once,
            traffic: Traffic::Idle,
            seconds,
            operations_max: None,
        },
        samples: PathBuf::new(),
        warm_up: 0,
        warm_up_ms: 0,
        spread_ms: Measure::SPREAD.as_millis() as u64,
    }
}

fn row(
    store: BenchStore,
    load: &BenchLoad,
    round: u32,
    outcome: &Outcome,
    seconds: f64,
    spent: Spent,
) -> BenchRow {
    let mut latencies = Latencies::default();
    for sample in &outcome.samples {
        latencies.record(Duration::from_nanos(sample.end_ns - sample.begin_ns));
    }
    let failures = Sample::failures(&outcome.samples);
    let succeeded = outcome.samples.len() as u64 - failures.values().sum::<u64>();
    let per_operation = |time: Duration| time.as_secs_f64() * 1e6 / succeeded.max(1) as f64;
    BenchRow {
        store,
        load: load.clone(),
        round,
        per_second: succeeded as f64 / seconds,
        latency: Percentiles::of(&latencies),
        failures,
        store_cpu_us: per_operation(spent.processes),
        load_cpu_us: per_operation(spent.own),
        rate: None,
    }
}

/// Writes the first objects, and yields what each takes of a node's memory, in bytes.
async fn fill(stores: &[Store], keys: u32, work: &BenchWork) -> anyhow::Result<f64> {
    let bytes = work.loads.iter().find_map(|load| match load {
        BenchLoad::Closed { value_bytes, .. } => Some(*value_bytes),
        BenchLoad::Open { .. } => None,
    });
    let bytes = bytes.context("a load says how long values are")?;
    let vivace = stores.iter().find_map(|store| match &store.target {
        Target::Vivace { client, .. } => Some((store, client)),
        Target::Etcd { .. } => None,
    });
    let (store, client) = vivace.context("only Vivace's objects are counted")?;
    let processes = store.processes();
    let before = cpu::resident_bytes(&processes)?;
    let written = Arc::new(AtomicU32::new(0));
    let filling = write_all(client, keys, bytes, written.clone());
    match tokio::time::timeout(FILL_PATIENCE, filling).await {
        Ok(filled) => filled?,
        Err(_) => bail!(
            "{} of {keys} keys were written in {} s, the most that the filling may take",
            written.load(Ordering::Relaxed),
            FILL_PATIENCE.as_secs()
        ),
    }
    let grown = cpu::resident_bytes(&processes)?.saturating_sub(before);
    Ok(grown as f64 / processes.len() as f64 / f64::from(keys))
}

/// Writes every object once, from many clients at a time.
async fn write_all(
    client: &Client,
    keys: u32,
    bytes: usize,
    written: Arc<AtomicU32>,
) -> anyhow::Result<()> {
    let container = |name| client.container(name).deadline(DEADLINE);
    let objects = Arc::new(Drawn::new(container(RW), container(RMW), keys, bytes, 1));
    let mut fillers = tokio::task::JoinSet::new();
    for first in 0..FILLERS as u32 {
        let (objects, written) = (objects.clone(), written.clone());
        fillers.spawn(async move {
            for number in (first..keys).step_by(FILLERS) {
                objects.fill(number).await?;
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        });
    }
    for filled in fillers.join_all().await {
        filled.map_err(|(_, why)| anyhow::anyhow!("a first write failed: {why}"))?;
    }
    Ok(())
}

async fn connected(store: &mut LoopbackVivace, deadline: Instant) -> anyhow::Result<Client> {
    let config = ClientConfig::from_file(&store.client)?.timeout(Duration::from_secs(2));
    loop {
        store.processes.check()?;
        let said = match Client::connect(config.clone()).await {
            Ok(client) => match client.container(RW).rw("ready").write("?").await {
                Ok(_) => return Ok(client),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            bail!("Vivace does not serve: {said}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Which member leads, as soon as one does.
async fn leader_of(store: &mut LoopbackEtcd, deadline: Instant) -> anyhow::Result<usize> {
    let mut said = "no leader".to_owned();
    while Instant::now() < deadline {
        store.processes.check()?;
        for (place, member) in store.members.iter().enumerate() {
            let mut gateway = Gateway::new(&member.status);
            match gateway.member_and_leader(DEADLINE).await {
                Ok((own, leader)) if own == leader && own != 0 => return Ok(place),
                Ok(_) => {}
                Err(error) => said = error.said,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("etcd does not serve: {said}")
}

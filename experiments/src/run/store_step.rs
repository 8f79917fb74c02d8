//! A step that measures operations on a store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::lateness::{Bounds, Slice};
use super::messages::MessageLogs;
use super::tools::Tools;
use crate::load::{
    Answer, LoadConfig, LoadProcess, Measure, Measured, Request, Sample, TargetConfig, monotonic_ns,
};
use crate::progress::Progress;
use crate::results::Latencies;
use crate::step::disk::Draft;
use crate::step::record::{OwnWrites, Percentiles};
use crate::step::spec::Marks;
use crate::step::{MessageUse, Step, StoreKind, StoreWork, Traffic, WindowRecord, WindowSpec};
use crate::store::{Processes, start_etcd, start_vivace};
use crate::wan::{WORK_PREFIX, Wan, WanStatus, WanWatch};

/// How long a store may take until it serves.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// How long a window waits for the values of those before it to reach their replicas.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// Operations of each client before a window that count nowhere, and for how long.
const WARM_UP_OPERATIONS: u64 = 3;
const WARM_UP_PATIENCE: Duration = Duration::from_secs(3);

/// How long a node may take to warn of marks that are not kept.
const ALARM_PATIENCE: Duration = Duration::from_secs(60);

/// How often lateness is asked for during a window.
const SLICE: Duration = Duration::from_millis(250);

/// How long the store's own writes run before a window.
const OWN_WRITES_LEAD: Duration = Duration::from_secs(3);

/// How long the filling of a buffer is waited for at most.
const FILL_PATIENCE_MAX: Duration = Duration::from_secs(30);
const TCP_FILL_PATIENCE: Duration = Duration::from_secs(10);

/// What tails then are to be read with.
const NOT_REALTIME: &str = "no real-time scheduling here: hosts' programs wait for each other's \
                            turns on the processors that they share";

/// How long starting and preparing usually take; for the estimate alone.
const START_TYPICAL: Duration = Duration::from_secs(4);
const BESIDE_WINDOW_TYPICAL: Duration = Duration::from_millis(2500);
const OPERATION_TYPICAL: Duration = Duration::from_millis(700);

/// How long a step will probably take: a buffer fills at a fifth of the rate.
pub fn planned(work: &StoreWork) -> Duration {
    let windows = work.windows.iter().map(|window| {
        let by_count = window.operations_max.map_or(f64::MAX, |operations| {
            operations as f64 * OPERATION_TYPICAL.as_secs_f64()
        });
        let beside = work.wan.slowed(BESIDE_WINDOW_TYPICAL);
        beside + Duration::from_secs_f64(window.seconds.min(by_count))
    });
    let filling: BTreeSet<String> = work
        .windows
        .iter()
        .filter(|window| window.traffic != Traffic::Idle)
        .map(|window| window.traffic.words())
        .collect();
    let wan = &work.wan;
    let one = Duration::from_secs_f64(5.0 * 8e3 * wan.buffer_kb as f64 / wan.bits_per_second());
    START_TYPICAL + windows.sum::<Duration>() + one * filling.len() as u32
}

/// Builds the WAN, starts the store, measures every window, and writes its latencies
/// and samples into `draft`; yields what a reader must know beside. Whatever happens,
/// nothing is left running.
///
/// # Errors
/// What could not be started or measured, and why.
pub async fn measure(
    step: &Step,
    work: &StoreWork,
    tools: &Tools,
    data: &Path,
    draft: &Draft,
    progress: &Progress,
) -> anyhow::Result<(Vec<WindowRecord>, Vec<String>)> {
    let directory = tempfile::Builder::new()
        .prefix(&format!("{WORK_PREFIX}{}-", std::process::id()))
        .tempdir_in(data)
        .with_context(|| data.display().to_string())?;
    let mut bench = Bench::start(step, work, tools, directory.path()).await?;
    if !bench.wan.is_realtime() {
        bench.notes.push(NOT_REALTIME.into());
    }
    let mut records = Vec::new();
    let begun = tokio::time::Instant::now();
    for window in &work.windows {
        let on_tick = || progress.at(begun.elapsed() + START_TYPICAL);
        records.push(bench.measure(window, draft, on_tick).await?);
    }
    Ok((records, bench.notes))
}

/// Dropped from top to bottom: the loads, the store, the WAN.
struct Bench<'a> {
    load: LoadProcess,
    /// Write large values at the other sites, where a window asks for that.
    elsewhere: Vec<LoadProcess>,
    store: Processes,
    wan: Wan,
    work: &'a StoreWork,
    directory: &'a Path,
    traffic: Traffic,
    own_writes: bool,
    /// Whether the network clears marks that it kept at first.
    bleaches: bool,
    /// What a reader must know.
    notes: Vec<String>,
}

impl<'a> Bench<'a> {
    async fn start(
        step: &Step,
        work: &'a StoreWork,
        tools: &Tools,
        directory: &'a Path,
    ) -> anyhow::Result<Self> {
        let netem = tools
            .netem
            .as_ref()
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        let wan = Wan::up(netem, directory, |name| work.wan.topology(name, step.seed))
            .context("the WAN can't be built")?;
        let status = wan.status(false)?;
        let started = Instant::now();
        let (store, target, elsewhere) = start_store(&wan, &status, work, tools, directory)?;
        let start = |host: &str, target| {
            let config = LoadConfig {
                target,
                value_bytes: work.value_bytes,
                objects_per_client: work.objects_per_client,
                deadline_ms: work.deadline_ms,
                seed: step.seed,
                large_prefix: format!("large-{host}"),
            };
            LoadProcess::start(&wan, host, &config, directory)
        };
        let host = work.wan.sites.host_of(1).context("node 1 has a host")?;
        let load = start(&host, target)?;
        let is_asked = |window: &WindowSpec| window.traffic.is_everywhere();
        let elsewhere = match work.windows.iter().any(is_asked) {
            true => elsewhere
                .into_iter()
                .map(|(host, target)| start(&host, target))
                .collect::<anyhow::Result<_>>()?,
            false => Vec::new(),
        };
        let mut bench = Self {
            load,
            elsewhere,
            store,
            wan,
            work,
            directory,
            traffic: Traffic::Idle,
            own_writes: false,
            bleaches: false,
            notes: Vec::new(),
        };
        bench.wait_until_ready().await?;
        if matches!(work.wan.marks, Marks::Bleached | Marks::Swapped) {
            bench.await_alarm("its nodes were started", started).await?;
        }
        bench.prepare().await?;
        Ok(bench)
    }

    /// Writes every window's objects while the links are idle.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        for window in &self.work.windows {
            let prepare = Request::Prepare {
                system: window.system.clone(),
                operation: window.operation,
                at_once: window.at_once,
            };
            self.load.ask(&prepare).await?;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let patience_ms = READY_PATIENCE.as_millis() as u64;
        let request = Request::Ready { patience_ms };
        let mut ready = std::pin::pin!(self.load.ask(&request));
        let ready = loop {
            tokio::select! {
                answer = &mut ready => break answer,
                () = tokio::time::sleep(SLICE) => self.store.check()?,
            };
        };
        self.store.check()?;
        ready?;
        for load in &mut self.elsewhere {
            load.ask(&request).await?;
        }
        Ok(())
    }

    /// Notes whether Vivace tells of a network that does not keep marks, and how long after
    /// `what`, which was at `since`.
    async fn await_alarm(&mut self, what: &str, since: Instant) -> anyhow::Result<()> {
        if !matches!(self.work.store, StoreKind::Vivace { .. }) {
            return Ok(());
        }
        let patience_ms = ALARM_PATIENCE.as_millis() as u64;
        let note = match self.load.ask(&Request::Alarm { patience_ms }).await? {
            Answer::Alarmed(Some(words)) => {
                let seconds = since.elapsed().as_secs_f64();
                format!("alarm {seconds:.1} s after {what}: {words}")
            }
            Answer::Alarmed(None) => format!("no alarm within {ALARM_PATIENCE:?} after {what}"),
            other => bail!("the load answered {other:?}"),
        };
        self.notes.push(note);
        Ok(())
    }

    /// Has the network clear marks from now on, where it shall: its links are full.
    async fn bleach(&mut self) -> anyhow::Result<()> {
        if self.work.wan.marks != Marks::BleachedLater || self.bleaches {
            return Ok(());
        }
        for pair in self.work.wan.sites.pairs() {
            self.wan.netem(&["set", pair, "bleach=on", "--both"])?;
        }
        self.bleaches = true;
        let what = format!(
            "marks were cleared on links full of {}",
            self.traffic.words()
        );
        self.await_alarm(&what, Instant::now()).await
    }

    async fn measure(
        &mut self,
        window: &WindowSpec,
        draft: &Draft,
        mut on_tick: impl FnMut(),
    ) -> anyhow::Result<WindowRecord> {
        if !self.change_traffic(window.traffic).await? {
            self.notes.push(format!(
                "{}: a buffer between sites was never nine tenths full before it began",
                window.words()
            ));
        }
        if window.traffic != Traffic::Idle {
            self.bleach().await?;
        }
        let settled = self.settle().await?;
        let raw = self.directory.join("samples.csv");
        let request = Request::Measure(Measure {
            window: window.clone(),
            samples: raw.clone(),
            warm_up: WARM_UP_OPERATIONS,
            warm_up_ms: self.work.wan.slowed(WARM_UP_PATIENCE).as_millis() as u64,
            spread_ms: self.work.wan.slowed(Measure::SPREAD).as_millis() as u64,
        });
        self.load.send(&request).await?;
        match self.load.answer().await? {
            Answer::Began => {}
            other => bail!("the load answered {other:?}"),
        }
        let before = self.wan.status(false)?;
        let looks = self.wan.watch(SLICE)?;
        let listed = MessageLogs::mark(self.work, self.directory)?;
        let (measured, slices, mut after) =
            self.watch(looks, before.overruns(), &mut on_tick).await?;
        self.store.check()?;
        if window.traffic == Traffic::Idle {
            // What follows behind is a part of what the operations cost the links.
            self.settle().await?;
            after = self.wan.status(false)?;
        }
        let samples = std::fs::read_to_string(&raw)?;
        let samples = Sample::parse_all(&samples).context("the load wrote no samples")?;
        let own_writes = self.own_writes_since(window.traffic).await?;
        for note in &measured.notes {
            self.notes.push(format!("{}: {note}", window.words()));
        }
        let window_of = Seen {
            window,
            settled,
            own_writes,
            measured,
            messages: listed.since()?,
            bounds: Bounds::of(&self.work.wan),
        };
        window_of.record(&samples, &slices, after.used_since(&before), draft)
    }

    /// Waits for the measurement's end and looks at the router's lateness meanwhile.
    async fn watch(
        &mut self,
        mut looks: WanWatch,
        mut overruns: u64,
        on_tick: &mut impl FnMut(),
    ) -> anyhow::Result<(Measured, Vec<Slice>, WanStatus)> {
        let mut slices = Vec::new();
        let mut begin_ns = monotonic_ns();
        let mut ended = None;
        loop {
            // A look once more after the end: it tells of the last slice.
            let look = match &ended {
                None => tokio::select! {
                    biased;
                    came = self.load.answer() => {
                        ended = Some((came?, self.wan.status(false)?));
                        continue;
                    }
                    look = looks.next() => look?,
                },
                Some(_) => looks.next().await?,
            };
            let end_ns = monotonic_ns();
            let mut late = look.window();
            if look.overruns() > overruns {
                // The WAN was not what its file says.
                late.max_us = u64::MAX;
                overruns = look.overruns();
            }
            slices.push(Slice {
                begin_ns,
                end_ns,
                late,
            });
            begin_ns = end_ns;
            on_tick();
            match ended.take() {
                Some((Answer::Measured(measured), after)) => return Ok((measured, slices, after)),
                Some((other, _)) => bail!("the load answered {other:?}"),
                None => {}
            }
        }
    }

    /// Has `traffic` fill the links; false where it is other people's, and did not.
    async fn change_traffic(&mut self, traffic: Traffic) -> anyhow::Result<bool> {
        if self.traffic != traffic {
            let pairs = self.work.wan.sites.pairs();
            self.wan.fill(pairs, traffic)?;
            self.traffic = traffic;
            let patience = match traffic {
                Traffic::Idle | Traffic::OwnWrites { .. } => None,
                Traffic::Udp { percent } => Some(self.fill_patience(percent)),
                Traffic::Tcp { .. } => Some(self.work.wan.slowed(TCP_FILL_PATIENCE)),
            };
            if let Some(patience) = patience {
                return self.wan.wait_until_full(patience).await;
            }
        }
        self.write_large_values(traffic).await?;
        Ok(true)
    }

    /// Three times what the load's excess over the rate needs to fill the buffer.
    fn fill_patience(&self, percent: f64) -> Duration {
        let wan = &self.work.wan;
        let excess_bits_per_second = (percent / 100.0 - 1.0) * wan.bits_per_second();
        let seconds = wan.buffer_kb as f64 * 8e3 / excess_bits_per_second;
        match excess_bits_per_second > 0.0 {
            true => {
                let at_most = wan.slowed(FILL_PATIENCE_MAX).as_secs_f64();
                Duration::from_secs_f64((3.0 * seconds).clamp(1.0, at_most))
            }
            false => Duration::from_secs(1),
        }
    }

    async fn settle(&mut self) -> anyhow::Result<Option<bool>> {
        if self.own_writes {
            return Ok(None);
        }
        let patience_ms = self.work.wan.slowed(SETTLE_PATIENCE).as_millis() as u64;
        match self.load.ask(&Request::Settle { patience_ms }).await? {
            Answer::Settled(settled) => Ok(settled),
            other => bail!("the load answered {other:?}"),
        }
    }

    /// Has writers begin where `traffic` says so, and waits until they fill the links;
    /// they stop after each window.
    async fn write_large_values(&mut self, traffic: Traffic) -> anyhow::Result<()> {
        let Traffic::OwnWrites {
            bytes,
            at_once,
            percent,
            everywhere,
        } = traffic
        else {
            return Ok(());
        };
        let bytes_per_second = percent / 100.0 * self.work.wan.bits_per_second() / 8.0;
        let start = Request::StartWrites {
            bytes,
            at_once,
            bytes_per_second,
        };
        self.load.ask(&start).await?;
        let elsewhere = self.elsewhere.iter_mut().filter(|_| everywhere);
        for load in elsewhere {
            load.ask(&start).await?;
        }
        self.own_writes = true;
        tokio::time::sleep(self.work.wan.slowed(OWN_WRITES_LEAD)).await;
        Ok(())
    }

    /// What the store's own writers did until now; they stop.
    async fn own_writes_since(&mut self, traffic: Traffic) -> anyhow::Result<Option<OwnWrites>> {
        if !std::mem::take(&mut self.own_writes) {
            return Ok(None);
        }
        let elsewhere = self.elsewhere.iter_mut();
        let elsewhere = elsewhere.filter(|_| traffic.is_everywhere());
        let mut all = OwnWrites::default();
        for load in std::iter::once(&mut self.load).chain(elsewhere) {
            match load.ask(&Request::StopWrites).await? {
                Answer::Wrote(wrote) => all.add(wrote),
                other => bail!("the load answered {other:?}"),
            }
        }
        Ok(Some(all))
    }
}

/// A host, and the store as a load there sees it.
type Elsewhere = Vec<(String, TargetConfig)>;

/// Starts the store; yields it as the clients see it, and as those at other sites would.
fn start_store(
    wan: &Wan,
    status: &WanStatus,
    work: &StoreWork,
    tools: &Tools,
    directory: &Path,
) -> anyhow::Result<(Processes, TargetConfig, Elsewhere)> {
    let sites = work.wan.sites;
    match work.store {
        StoreKind::Vivace(containers) => {
            let log = match work.lists_messages {
                true => "warn,vivace_node::messages=trace",
                false => "warn",
            };
            let program = &tools.node;
            let (store, files) = start_vivace(
                wan,
                status,
                &work.wan,
                containers,
                (program, log),
                directory,
            )?;
            let target = |client| TargetConfig::Vivace {
                client,
                site: files.site.clone(),
                all: files.all.clone(),
            };
            let elsewhere = files.elsewhere.into_iter();
            let elsewhere = elsewhere.map(|(host, client)| (host, target(client)));
            let elsewhere = elsewhere.collect();
            Ok((store, target(files.client), elsewhere))
        }
        StoreKind::Etcd { marked } => {
            let program = tools
                .etcd
                .as_ref()
                .map_err(|why| anyhow::anyhow!("{why}"))?;
            let (store, members) = start_etcd(wan, status, sites, marked, program, directory)?;
            // What its members take anywhere goes through the leader.
            Ok((store, TargetConfig::Etcd { members }, Vec::new()))
        }
    }
}

/// What a window's record is made of.
struct Seen<'a> {
    window: &'a WindowSpec,
    settled: Option<bool>,
    own_writes: Option<OwnWrites>,
    measured: Measured,
    messages: BTreeMap<String, MessageUse>,
    bounds: Bounds,
}

impl Seen<'_> {
    /// Writes samples and latencies, and sums them up.
    fn record(
        self,
        samples: &[Sample],
        slices: &[Slice],
        links: Vec<crate::step::LinkUse>,
        draft: &Draft,
    ) -> anyhow::Result<WindowRecord> {
        let (mut all, mut kept) = (Latencies::default(), Latencies::default());
        let first = samples.first().map_or(0, |sample| sample.begin_ns);
        let mut csv = "begin_ms,latency_ms,outcome,spoilt\n".to_owned();
        for sample in samples {
            let latency = Duration::from_nanos(sample.end_ns - sample.begin_ns);
            let spoilt = self.bounds.is_spoilt(sample, slices);
            all.record(latency);
            if !spoilt {
                kept.record(latency);
            }
            csv += &format!(
                "{:.3},{:.3},{},{spoilt}\n",
                (sample.begin_ns - first) as f64 / 1e6,
                latency.as_secs_f64() * 1e3,
                sample.failure.as_deref().unwrap_or("ok"),
            );
        }
        let stem = self.window.file_stem();
        draft.write(&format!("{stem}.samples.csv"), csv.as_bytes())?;
        draft.write_latencies(&stem, &kept)?;
        Ok(WindowRecord {
            window: self.window.clone(),
            kept: Percentiles::of(&kept),
            all: Percentiles::of(&all),
            failures: Sample::failures(samples),
            failures_said: self.measured.failures_said,
            warm_up: self.measured.warm_up,
            seconds: self.measured.seconds,
            settled: self.settled,
            own_writes: self.own_writes,
            links,
            lateness: self.bounds.sum(slices),
            messages: self.messages,
        })
    }
}

//! What Vivace costs without a WAN, and beside etcd: throughput, scale, mixes.

use plotters::style::RGBColor;

use super::VALUE_BYTES;
use crate::catalog::Scale;
use crate::plot::ranges::{Range, RangeFigure};
use crate::plot::xy::{XyFigure, XySeries};
use crate::report::tail::{self, Tail, cell_of};
use crate::report::{Section, Shown, Table};
use crate::step::record::Percentiles;
use crate::step::{
    BenchData, BenchLoad, BenchRow, BenchStore, BenchWork, Objects, Operation, Step, Work,
};

/// The experiments' names.
pub const THROUGHPUT: &str = "bench-throughput";
/// See [`THROUGHPUT`].
pub const SCALE: &str = "bench-scale";
/// See [`THROUGHPUT`].
pub const MIX: &str = "bench-mix";

const CLIENTS: usize = 64;
const WARM_UP_SECONDS: f64 = 1.0;

/// Values of the experiment that counts memory: small, for what is beside them.
const SCALE_VALUE_BYTES: usize = 100;

const VIVACE_COLOR: RGBColor = RGBColor(0, 114, 178);
const ETCD_COLOR: RGBColor = RGBColor(213, 94, 0);
const ETCD_TLS_COLOR: RGBColor = RGBColor(230, 159, 0);
const GREY: RGBColor = RGBColor(120, 120, 120);

/// Three replicas in one place: a value is on two disks before its writer hears of it, as
/// in etcd.
const THREE_REPLICAS: BenchStore = BenchStore::Vivace {
    sites: 1,
    nodes_per_site: 3,
};

/// The stores' names, in the table's order.
const COMPARED: [&str; 3] = ["vivace", "etcd", "etcd-tls"];

/// Loads of all stores, and how many times etcd's rate is asked for.
const BESIDE_ETCD: [(Operation, Objects, f64); 4] = [
    (Operation::Write, Objects::OwnOfEach, 5.0),
    (Operation::Read, Objects::OwnOfEach, 5.0),
    (Operation::Execute, Objects::OwnOfEach, 5.0),
    (Operation::Execute, Objects::One, 20.0),
];

fn closed(operation: Operation, objects: Objects, value_bytes: usize) -> BenchLoad {
    BenchLoad::Closed {
        operation,
        clients: CLIENTS,
        objects,
        value_bytes,
    }
}

fn step(experiment: &str, name: String, scale: &Scale, work: BenchWork) -> Step {
    Step {
        experiment: experiment.to_owned(),
        name,
        seed: scale.seed,
        work: Work::Bench(work),
    }
}

/// One step: all stores run, and take turns under each load.
pub fn throughput_steps(scale: &Scale) -> Vec<Step> {
    let load = |&(operation, objects, _): &(Operation, Objects, f64)| {
        closed(operation, objects, VALUE_BYTES)
    };
    let work = BenchWork {
        stores: vec![THREE_REPLICAS, BenchStore::Etcd, BenchStore::EtcdTls],
        loads: BESIDE_ETCD.iter().map(load).collect(),
        rounds: scale.pick(1, 3),
        seconds: scale.seconds(),
        warm_up_seconds: WARM_UP_SECONDS,
        keys: None,
    };
    vec![step(THROUGHPUT, "three-replicas".to_owned(), scale, work)]
}

/// A step for each number of keys at three sites, and for each number of sites.
pub fn scale_steps(scale: &Scale) -> Vec<Step> {
    let work = |sites, nodes_per_site, keys| BenchWork {
        stores: vec![BenchStore::Vivace {
            sites,
            nodes_per_site,
        }],
        loads: [Operation::Write, Operation::Read, Operation::Execute]
            .map(|operation| closed(operation, Objects::Drawn, SCALE_VALUE_BYTES))
            .to_vec(),
        rounds: 1,
        seconds: scale.seconds(),
        warm_up_seconds: WARM_UP_SECONDS,
        keys: Some(keys),
    };
    let powers = scale.pick(vec![3, 5], vec![3, 5, 6]);
    let by_keys = powers.into_iter().map(|power| {
        let work = work(1, 3, 10_u32.pow(power));
        step(SCALE, format!("keys-1e{power}"), scale, work)
    });
    let by_sites = [(1, 3), (2, 2), (5, 1)].into_iter().map(|(sites, nodes)| {
        let work = work(sites, nodes, 10_000);
        step(SCALE, format!("sites-{sites}"), scale, work)
    });
    by_keys.chain(by_sites).collect()
}

/// One step: mixes and sizes, at parts of the peak.
pub fn mix_steps(scale: &Scale) -> Vec<Step> {
    let open = |mix: &str, percent_of_peak, value_bytes, skew| BenchLoad::Open {
        mix: mix.to_owned(),
        percent_of_peak,
        value_bytes,
        skew,
    };
    let mut loads = vec![
        open("90:10:0", 50, 1024, None),
        open("50:50:0", 50, 1024, None),
        open("60:30:10", 50, 1024, None),
        open("60:30:10", 50, 1024, Some(0.99)),
        open("50:50:0", 50, 65_536, None),
    ];
    if !scale.quick {
        loads.extend([
            open("60:30:10", 80, 1024, None),
            open("50:50:0", 50, 16, None),
            open("50:50:0", 50, 1 << 20, None),
        ]);
    }
    let work = BenchWork {
        stores: vec![THREE_REPLICAS],
        loads,
        rounds: 1,
        seconds: scale.seconds(),
        warm_up_seconds: WARM_UP_SECONDS,
        keys: None,
    };
    vec![step(MIX, "open-loop".to_owned(), scale, work)]
}

/// The measurements of each step.
fn data(shown: &Shown<'_>) -> anyhow::Result<Vec<(String, BenchData)>> {
    shown
        .records
        .iter()
        .map(|record| {
            let data = serde_json::from_value(record.data.clone())?;
            Ok((record.step.name.clone(), data))
        })
        .collect()
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Throughput's part of the report.
///
/// # Errors
/// A record is not as it was written, or the chart can't be drawn.
pub fn throughput_section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut paragraphs = vec![format!(
        "Three replicas and the load on this machine, every commit durable, {VALUE_BYTES}-byte \
         values, {CLIENTS} clients, no WAN. Vivace's replicas are one site's, so a value is on two \
         disks before its writer hears of it, as in etcd; E is 500 µs. etcd is asked over gRPC, by \
         one HTTP/2 connection to the member that leads, which is its best case; Vivace by one QUIC \
         connection to one node. An execute of etcd is a compare-and-swap of the whole value that \
         knows the last revision, again until it takes; Vivace's replaces a field of 8 bytes of an \
         object of that size. Every connection of Vivace is under TLS 1.3 and both ends show a \
         certificate, which can't be switched off; etcd runs as well in the clear (etcd) as with \
         certificates for peers and clients (etcd, TLS). Medians of the rounds."
    )];
    let (mut tables, mut ranges) = (Vec::new(), Vec::new());
    for (name, data) in data(shown)? {
        paragraphs.push(format!(
            "{name}: load average {:.1} when it began, {:.1} when it ended (1 is one busy core).",
            data.load_average[0], data.load_average[1]
        ));
        tables.push(beside_etcd(&data));
        ranges.extend(data.rows.iter().map(latency_range));
    }
    let chart = RangeFigure {
        title: format!("Latency of {CLIENTS} clients in a closed loop"),
        caption: "Median, 99th percentile, longest; each round".to_owned(),
        rows: ranges,
    };
    Ok(Section {
        paragraphs,
        charts: shown.ranges(THROUGHPUT, &chart)?,
        tables,
    })
}

fn beside_etcd(data: &BenchData) -> Table {
    let mut table = Table::new(
        "Operations a second, and CPU of all nodes per operation; what the rivals' ratio must be",
        &[
            "",
            "Vivace /s",
            "etcd /s",
            "etcd, TLS /s",
            "ratio",
            "ratio, TLS",
            "asked",
            "Vivace µs",
            "etcd µs",
            "etcd, TLS µs",
            "Vivace p99 ms",
            "etcd p99 ms",
            "etcd, TLS p99 ms",
            "load µs",
            "failed",
        ],
    )
    .below(tail::BELOW);
    for (operation, objects, asked) in BESIDE_ETCD {
        let load = closed(operation, objects, VALUE_BYTES);
        let of = |store, what: fn(&BenchRow) -> f64| data.median(store, &load, what);
        let rates = COMPARED.map(|store| of(store, |row| row.per_second));
        let ratio = |theirs: Option<f64>| rates[0].zip(theirs).map(|(ours, theirs)| ours / theirs);
        let cpu = COMPARED.map(|store| of(store, |row| row.store_cpu_us));
        let p99 = COMPARED.map(|store| median_p99(data, store, &load));
        let failed: u64 = data
            .rows
            .iter()
            .filter(|row| row.load == load)
            .flat_map(|row| row.failures.values())
            .sum();
        table.row([
            load.words(),
            figure(rates[0], 0),
            figure(rates[1], 0),
            figure(rates[2], 0),
            figure(ratio(rates[1]), 2),
            figure(ratio(rates[2]), 2),
            format!("≥ {asked}"),
            figure(cpu[0], 0),
            figure(cpu[1], 0),
            figure(cpu[2], 0),
            tail_cell(p99[0], 1),
            tail_cell(p99[1], 1),
            tail_cell(p99[2], 1),
            figure(of("vivace", |row| row.load_cpu_us), 0),
            failed.to_string(),
        ]);
    }
    table
}

/// Latencies of a row of which some operation had a result.
fn latency(row: &BenchRow) -> Option<&Percentiles> {
    (row.latency.n > 0 && row.per_second > 0.0).then_some(&row.latency)
}

/// The median over the rounds; the longest of too few where it is so in one of them, and none
/// where one has no latency.
fn median_p99(data: &BenchData, store: &str, load: &BenchLoad) -> Option<Tail> {
    let is_its = |row: &&BenchRow| row.store.id() == store && row.load == *load;
    let rounds = data.rows.iter().filter(is_its);
    let rounds: Option<Vec<Tail>> = rounds.map(|row| latency(row).map(Tail::p99)).collect();
    Some(Tail {
        ms: data.median(store, load, |row| row.latency.p99_ms)?,
        is_max: rounds?.iter().any(|round| round.is_max),
    })
}

fn tail_cell(tail: Option<Tail>, digits: usize) -> String {
    let words = |tail: Tail| tail.cell(|ms| figure(Some(ms), digits));
    tail.map_or("-".to_owned(), words)
}

fn latency_range(row: &BenchRow) -> Range {
    let color = match row.store {
        BenchStore::Vivace { .. } => VIVACE_COLOR,
        BenchStore::Etcd => ETCD_COLOR,
        BenchStore::EtcdTls => ETCD_TLS_COLOR,
    };
    let failed: u64 = row.failures.values().sum();
    Range {
        name: format!("{} {} ({})", row.store.id(), row.load.words(), row.round),
        color,
        idle_ms: None,
        ms: latency(row).map(|of| [of.p50_ms, of.p99_ms, of.max_ms]),
        note: match failed {
            0 => String::new(),
            failed => format!("{failed} failed"),
        },
    }
}

/// Scale's part of the report.
///
/// # Errors
/// A record is not as it was written, or the chart can't be drawn.
pub fn scale_section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut table = Table::new(
        "Keys drawn at random from those that were written first; memory is what a node's private \
         memory grew by, for each key",
        &[
            "step",
            "operation",
            "per s",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "bytes/key",
            "failed",
        ],
    )
    .below(tail::BELOW);
    let mut series: Vec<XySeries> = [
        ("write", VIVACE_COLOR),
        ("read", ETCD_COLOR),
        ("execute", GREY),
    ]
    .map(|(name, color)| XySeries {
        name: name.to_owned(),
        color,
        joined: true,
        points: Vec::new(),
    })
    .into();
    for (name, data) in data(shown)? {
        let keys = name.strip_prefix("keys-");
        let keys = keys.and_then(|keys| keys.parse::<f64>().ok());
        for row in &data.rows {
            let BenchLoad::Closed { operation, .. } = row.load else {
                continue;
            };
            let its = series
                .iter_mut()
                .find(|series| series.name == operation.id());
            if let (Some(series), Some(keys)) = (its, keys)
                && row.per_second > 0.0
            {
                series.points.push((keys.log10(), row.per_second));
            }
            table.row([
                name.clone(),
                operation.id().to_owned(),
                figure(Some(row.per_second), 0),
                cell_of(latency(row), |of| figure(Some(of.p50_ms), 2)),
                tail_cell(latency(row).map(Tail::p99), 2),
                figure(Some(row.store_cpu_us), 0),
                figure(data.memory_bytes_per_key, 0),
                row.failures.values().sum::<u64>().to_string(),
            ]);
        }
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let chart = XyFigure {
        title: "Operations a second by the number of keys".to_owned(),
        caption: format!("{CLIENTS} clients, {SCALE_VALUE_BYTES}-byte values, three replicas"),
        x: "keys, as a power of ten".to_owned(),
        y: "operations a second".to_owned(),
        series,
    };
    let paragraphs = vec![
        "Steps `keys-N` have three nodes in one site, `sites-N` one replica set over N sites with \
         no delay between them (three replicas, and five at five sites)."
            .to_owned(),
    ];
    let has_points = chart.series.iter().any(|series| !series.points.is_empty());
    Ok(Section {
        paragraphs,
        charts: match has_points {
            true => vec![shown.xy(SCALE, &chart)?],
            false => Vec::new(),
        },
        tables: vec![table],
    })
}

/// The mixes' part of the report.
///
/// # Errors
/// A record is not as it was written, or the chart can't be drawn.
pub fn mix_section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut table = Table::new(
        "Latency from the moment an operation was due, of the mix's most frequent kind",
        &[
            "mix", "asked /s", "got /s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "CPU µs",
            "failed",
        ],
    )
    .below(tail::BELOW);
    let mut ranges = Vec::new();
    for (_, data) in data(shown)? {
        for row in &data.rows {
            let of = latency(row);
            table.row([
                row.load.words(),
                figure(row.rate, 0),
                figure(Some(row.per_second), 0),
                cell_of(of, |of| figure(Some(of.p50_ms), 2)),
                tail_cell(of.map(Tail::p99), 2),
                tail_cell(of.map(Tail::p999), 2),
                cell_of(of, |of| figure(Some(of.max_ms), 1)),
                figure(Some(row.store_cpu_us), 0),
                row.failures.values().sum::<u64>().to_string(),
            ]);
            ranges.push(latency_range(row));
        }
    }
    let chart = RangeFigure {
        title: "Latency at a part of the peak".to_owned(),
        caption: "Median, 99th percentile, longest; reads:writes:executes".to_owned(),
        rows: ranges,
    };
    Ok(Section {
        paragraphs: vec![
            "An open loop by `vivace bench --rate`: Poisson arrivals at a part of what 64 clients \
             of its closed loop reached just before with the same mix."
                .to_owned(),
        ],
        charts: shown.ranges(MIX, &chart)?,
        tables: vec![table],
    })
}

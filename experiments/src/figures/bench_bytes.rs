//! What crosses the links between sites for one write.

use netem::MTU_BYTES;

use super::{VIVACE_OPERATIONS, store_step, store_work, wan, window};
use crate::catalog::Scale;
use crate::plot::xy::{XyFigure, XySeries};
use crate::report::{Section, Shown, Table};
use crate::step::spec::WindowSpec;
use crate::step::{
    Containers, Operation, Sites, Step, StoreKind, Traffic, WanSpec, WindowRecord, Work,
};

/// Its name.
pub const NAME: &str = "bench-bytes";

/// Sites that have a replica and not the writer: one copy of a value goes to each.
const REMOTE_SITES: f64 = 2.0;

/// A value that has not set out when its key's next one comes never does: each client writes
/// so many keys in turn that a value has arrived by then, or copies would be counted as saved.
const OBJECTS_PER_CLIENT: u32 = 16;

/// A size of values in bytes, how many times the values' own bytes may cross for a write, and
/// how many clients write at once: of long values one, which is what the emulated WAN carries
/// on two cores without a queue.
struct Size {
    bytes: usize,
    asked: f64,
    at_once: &'static [usize],
}

const SIZES: [Size; 2] = [
    Size {
        bytes: 1024,
        asked: 1.15,
        at_once: &[1, 16, 64],
    },
    Size {
        bytes: 64 * 1024,
        asked: 1.03,
        at_once: &[1],
    },
];

/// Of packets where links carry jumbo frames, in bytes, headers included.
const JUMBO_BYTES: u32 = 9000;

/// A step for each size: three sites, links that are never full. Executes change 8 bytes of
/// an object of that size; once more, with the object sent each time. The longer values once
/// more where links carry jumbo frames.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let step = |name: String, size: &Size, mtu_bytes, store, operations: &[(&str, Operation)]| {
        let windows: Vec<WindowSpec> = size
            .at_once
            .iter()
            .flat_map(|&at_once| {
                operations.iter().map(move |&(system, operation)| {
                    window(scale, system, operation, at_once, Traffic::Idle)
                })
            })
            .collect();
        let wan = WanSpec {
            mtu_bytes,
            ..wan(Sites::Three, 1000.0, 5000)
        };
        let mut step = store_step(NAME, name, scale, wan, store, windows);
        if let Work::Store(work) = &mut step.work {
            work.value_bytes = size.bytes;
            work.lists_messages = true;
            work.objects_per_client = OBJECTS_PER_CLIENT;
        }
        step
    };
    let executes = VIVACE_OPERATIONS.into_iter();
    let executes: Vec<_> = executes
        .filter(|(_, operation)| *operation == Operation::Execute)
        .collect();
    let values_only = StoreKind::Vivace(Containers {
        commands_at_replicas: false,
        ..Containers::DEFAULT
    });
    let ethernet = SIZES.iter().flat_map(|size| {
        let name = format!("three-sites-{}", size.bytes);
        let by_value = format!("{name}-values-only");
        [
            step(name, size, MTU_BYTES, StoreKind::VIVACE, &VIVACE_OPERATIONS),
            step(by_value, size, MTU_BYTES, values_only, &executes),
        ]
    });
    let long = &SIZES[1];
    let jumbo = step(
        format!("three-sites-{}-jumbo", long.bytes),
        long,
        JUMBO_BYTES,
        StoreKind::VIVACE,
        &VIVACE_OPERATIONS,
    );
    ethernet.chain([jumbo]).collect()
}

fn operation_words(store: StoreKind, operation: Operation) -> String {
    match store {
        StoreKind::Vivace(containers) => format!("{}{}", operation.id(), containers.words()),
        StoreKind::Etcd { .. } => operation.id().to_owned(),
    }
}

/// Bytes of both classes that left the links' transmitters, for each operation.
fn per_operation(window: &WindowRecord) -> (f64, f64) {
    let n = window.succeeded().max(1) as f64;
    let sum = |of: fn(&crate::step::LinkUse) -> u64| window.links.iter().map(of).sum::<u64>();
    (
        sum(|link| link.priority.sent_bytes) as f64 / n,
        sum(|link| link.bulk.sent_bytes) as f64 / n,
    )
}

/// Its part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut bytes = Table::new(
        "Bytes of whole IP packets on all links between three sites, both ways, per operation",
        &[
            "value",
            "operation",
            "at once",
            "n",
            "priority",
            "bulk",
            "all / (value x 2)",
            "asked",
        ],
    );
    let mut messages = Table::new(
        "Priority messages between sites per operation, before they share packets",
        &[
            "value",
            "operation",
            "at once",
            "message",
            "messages",
            "bytes",
        ],
    );
    let mut points = Vec::new();
    for record in &shown.records {
        let Some(work) = store_work(&record.step) else {
            continue;
        };
        for window in &record.windows {
            let (priority, bulk) = per_operation(window);
            let is_write = window.window.operation == Operation::Write;
            let times = (priority + bulk) / (work.value_bytes as f64 * REMOTE_SITES);
            let size = SIZES.iter().find(|size| size.bytes == work.value_bytes);
            let is_ethernet = work.wan.mtu_bytes == MTU_BYTES;
            if is_write && is_ethernet && times > 0.0 && window.window.at_once == 1 {
                points.push((work.value_bytes as f64 / 1024.0, times));
            }
            let is = [
                match is_ethernet {
                    true => format!("{} B", work.value_bytes),
                    false => format!(
                        "{} B in packets of up to {}",
                        work.value_bytes, work.wan.mtu_bytes
                    ),
                },
                operation_words(work.store, window.window.operation),
                window.window.at_once.to_string(),
            ];
            bytes.row(
                is.clone().into_iter().chain([
                    window.succeeded().to_string(),
                    format!("{priority:.0}"),
                    format!("{bulk:.0}"),
                    match window.window.operation {
                        Operation::Read => "-".to_owned(),
                        _ => format!("{times:.3}"),
                    },
                    size.filter(|_| is_write)
                        .map_or("-".to_owned(), |size| format!("≤ {}", size.asked)),
                ]),
            );
            let n = window.succeeded().max(1) as f64;
            for (name, sum) in &window.messages {
                messages.row(is.clone().into_iter().chain([
                    name.clone(),
                    format!("{:.2}", sum.count as f64 / n),
                    format!("{:.1}", sum.bytes as f64 / n),
                ]));
            }
        }
    }
    let chart = XyFigure {
        title: "Bytes between sites for a write, in copies of its value to each remote site".into(),
        caption: "One client; 1 is the physical limit".into(),
        x: "value, KiB".into(),
        y: "times".into(),
        series: vec![XySeries {
            name: "Vivace".into(),
            color: plotters::style::RGBColor(0, 114, 178),
            joined: true,
            points,
        }],
    };
    Ok(Section {
        paragraphs: vec![
            "Links that are never full; what was written is waited for before the links are \
             read. IP and UDP headers, QUIC's acknowledgments, probes and repeats count too. Each \
             client writes 16 keys in turn: a value that has not set out when its key's next one \
             comes is never sent, and a figure below 1 would tell of that."
                .to_owned(),
        ],
        charts: match chart.series[0].points.is_empty() {
            true => Vec::new(),
            false => vec![shown.xy(NAME, &chart)?],
        },
        tables: vec![bytes, messages],
    })
}

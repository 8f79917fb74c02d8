//! What Vivace is compared with: etcd on the same links, and etcd with its peers'
//! packets in the priority class.

use super::congestion::bytes_table;
use super::latency_table::{figure, table, verdict};
use super::{OWN, UDP, VIVACE_OPERATIONS, fullness, store_step, store_work, wan, windows};
use crate::catalog::Scale;
use crate::report::{Section, Shown};
use crate::step::{Operation, Sites, Step, StepRecord, StoreKind, Traffic, WanSpec};

const ETCD: &str = "etcd";
const RIVAL: &str = "rival";

const ETCD_OPERATIONS: [(&str, Operation); 2] =
    [("etcd", Operation::Read), ("etcd", Operation::Write)];

/// What the priority class is held to where it is policed, in percent of the link.
pub const POLICE_PERCENT: f64 = 5.0;

const MARKED: StoreKind = StoreKind::Etcd { marked: true };
const UNMARKED: StoreKind = StoreKind::Etcd { marked: false };

/// A store, the beginning of its steps' names, and its operations.
type Store = (
    StoreKind,
    &'static str,
    &'static [(&'static str, Operation)],
);

fn both(etcd: StoreKind) -> [Store; 2] {
    [
        (etcd, "etcd", &ETCD_OPERATIONS),
        (StoreKind::VIVACE, "vivace", &VIVACE_OPERATIONS),
    ]
}

/// Both stores, one operation at a time, on both buffers and both numbers of sites.
pub fn steps_etcd(scale: &Scale) -> Vec<Step> {
    let all = [
        (Sites::Two, "two", 256),
        (Sites::Two, "two", 5000),
        (Sites::Three, "three", 256),
        (Sites::Three, "three", 5000),
        (Sites::ThreeAlike, "alike", 256),
        (Sites::ThreeAlike, "alike", 5000),
    ];
    let links = scale.pick(&all[..2], &all[..]);
    let mut steps = Vec::new();
    for &(sites, name, buffer_kb) in links {
        for (store, store_name, operations) in both(UNMARKED) {
            let windows = windows(scale, operations, 1, &[Traffic::Idle, UDP]);
            let name = format!("{store_name}-{name}-20-{buffer_kb}");
            let wan = wan(sites, 20.0, buffer_kb);
            steps.push(store_step(ETCD, name, scale, wan, store, windows));
        }
    }
    steps
}

/// Both stores where marking alone may do, and where it doesn't.
pub fn steps_rival(scale: &Scale) -> Vec<Step> {
    let all = [
        (Sites::Three, "three"),
        (Sites::Two, "two"),
        (Sites::ThreeAlike, "alike"),
    ];
    let mut steps = Vec::new();
    for &(sites, sites_name) in scale.pick(&all[..1], &all[..]) {
        let open = wan(sites, 20.0, 256);
        let policed = WanSpec {
            police_percent: Some(POLICE_PERCENT),
            ..open.clone()
        };
        for (store, name, operations) in both(MARKED) {
            let mut add = |what: &str, wan: &WanSpec, at_once, traffics: &[Traffic]| {
                let windows = windows(scale, operations, at_once, traffics);
                let name = format!("{name}-{sites_name}-{what}");
                steps.push(store_step(RIVAL, name, scale, wan.clone(), store, windows));
            };
            add("open", &open, 1, &[Traffic::Idle, UDP, OWN]);
            add("policed", &policed, 64, &[Traffic::Idle, UDP]);
        }
    }
    steps
}

/// etcd's part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section_etcd(shown: &Shown<'_>) -> anyhow::Result<Section> {
    section(
        shown,
        ETCD,
        "etcd has members where Vivace's replicas are; the one beside the client leads when the \
         measurement begins. Heartbeat and election timeout follow its manual for the longest \
         round trip: 109 and 1090 ms. Same client loop, same value size; etcd is asked through its \
         JSON gateway on the member beside the client, Vivace through its own client. An operation \
         is given up after 15 s.",
    )
}

/// The rival's part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section_rival(shown: &Shown<'_>) -> anyhow::Result<Section> {
    section(
        shown,
        RIVAL,
        "All that etcd's members say to each other is marked EF by a rule of nftables in their \
         namespaces. Under foreign traffic alone that holds; measured beside it are the store's \
         own values of 128 KiB, 32 at once, and a priority class held to 5 % of the link with 64 \
         clients at work.",
    )
}

fn section(shown: &Shown<'_>, name: &str, words: &str) -> anyhow::Result<Section> {
    let of = |is_vivace: bool| -> Vec<&StepRecord> {
        shown
            .records
            .iter()
            .filter(|record| {
                let store = store_work(&record.step).map(|work| work.store);
                matches!(store, Some(StoreKind::Vivace { .. })) == is_vivace
            })
            .collect()
    };
    let all: Vec<&StepRecord> = shown.records.iter().collect();
    let chart = figure(
        "Small operations on full links, etcd beside Vivace",
        "A step's name says: store, sites, and the link.",
        &all,
    );
    Ok(Section {
        paragraphs: vec![
            words.to_owned(),
            format!("Vivace: {}", verdict(&of(true))),
            format!("etcd: {}", verdict(&of(false))),
            fullness::verdict(&all),
        ],
        charts: shown.ranges(name, &chart)?,
        tables: vec![
            table("Latency, etcd beside Vivace", &all),
            fullness::table(&all),
            bytes_table(&all, true),
        ],
    })
}

//! Each experiment's steps, and what the report shows of them; a file each.

pub mod ablations;
pub mod bench;
pub mod bench_bytes;
pub mod bench_loss;
pub mod congestion;
pub mod fig_1;
pub mod fig_2_3;
pub mod fig_4;
pub mod fig_6_7;
pub mod fig_8;
mod fullness;
pub mod host_based;
mod latency_table;
#[cfg(test)]
pub(crate) mod made_up;
pub mod rivals;
pub mod slow_motion;

use crate::catalog::Scale;
use crate::step::spec::Marks;
use crate::step::{
    Operation, Sites, Step, StoreKind, StoreWork, Traffic, WanSpec, WindowSpec, Work,
};

/// The paper's size of objects.
const VALUE_BYTES: usize = 1024;

/// When an operation is given up: late enough for etcd's slowest to come back.
const DEADLINE_MS: u64 = 15_000;

/// Other people's traffic, in percent of the rate.
const UDP: Traffic = Traffic::Udp { percent: 120.0 };

/// Other people's TCP.
const TCP: Traffic = Traffic::Tcp { flows: 8 };

/// The store's own values of 128 KiB: more than the link carries.
const OWN: Traffic = Traffic::OwnWrites {
    bytes: 128 * 1024,
    at_once: 32,
    percent: 150.0,
    everywhere: false,
};

/// The same at every site: links are full both ways.
const OWN_EVERYWHERE: Traffic = Traffic::OwnWrites {
    bytes: 128 * 1024,
    at_once: 32,
    percent: 150.0,
    everywhere: true,
};

/// The link of the paper's topology that most figures run on.
fn wan(sites: Sites, rate_mbit: f64, buffer_kb: u64) -> WanSpec {
    WanSpec {
        sites,
        rate_mbit,
        buffer_kb,
        priority: true,
        police_percent: None,
        marks: Marks::Kept,
        loss_percent: 0.0,
        times_slower: 1,
        mtu_bytes: netem::MTU_BYTES,
    }
}

/// A step that measures a store.
fn store_step(
    experiment: &str,
    name: impl Into<String>,
    scale: &Scale,
    wan: WanSpec,
    store: StoreKind,
    windows: Vec<WindowSpec>,
) -> Step {
    Step {
        experiment: experiment.to_owned(),
        name: name.into(),
        seed: scale.seed,
        work: Work::Store(StoreWork {
            wan,
            store,
            value_bytes: VALUE_BYTES,
            deadline_ms: DEADLINE_MS,
            windows,
            lists_messages: false,
            objects_per_client: 1,
        }),
    }
}

fn window(
    scale: &Scale,
    system: &str,
    operation: Operation,
    at_once: usize,
    traffic: Traffic,
) -> WindowSpec {
    WindowSpec {
        system: system.to_owned(),
        operation,
        at_once,
        traffic,
        seconds: scale.seconds(),
        operations_max: None,
    }
}

/// Vivace's three operations.
const VIVACE_OPERATIONS: [(&str, Operation); 3] = [
    ("rw", Operation::Read),
    ("rw", Operation::Write),
    ("rmw", Operation::Execute),
];

/// Windows of several operations under several traffics, traffic by traffic.
fn windows(
    scale: &Scale,
    operations: &[(&str, Operation)],
    at_once: usize,
    traffics: &[Traffic],
) -> Vec<WindowSpec> {
    traffics
        .iter()
        .flat_map(|&traffic| {
            operations
                .iter()
                .map(move |&(system, operation)| window(scale, system, operation, at_once, traffic))
        })
        .collect()
}

/// The store work of a step, for its link's words.
fn store_work(step: &Step) -> Option<&StoreWork> {
    match &step.work {
        Work::Store(work) => Some(work),
        Work::RoundTrips(_) | Work::Delays | Work::Bench(_) => None,
    }
}

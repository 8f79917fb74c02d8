//! Links whose traffic takes more than this machine's processors, in slow motion.
//!
//! Five hosts, the router and the load share a few processors. Where they need more than
//! there are, latencies tell of turns on processors that real hosts would not wait for. Time
//! dilation (D. Gupta et al., *To Infinity and Beyond: Time-Warped Network Emulation*, NSDI
//! 2006) takes that out: where all that the network does takes k times as long, processors
//! seem k times as fast, and ratios of latencies are those of hosts that have so many.

use super::congestion::bytes_table;
use super::latency_table::{figure, table, verdict};
use super::rivals::POLICE_PERCENT;
use super::{OWN, TCP, UDP, VIVACE_OPERATIONS, fullness, store_step, wan, windows};
use crate::catalog::Scale;
use crate::report::{Section, Shown};
use crate::step::{Sites, Step, StepRecord, StoreKind, Traffic, WanSpec, Work};

const NAME: &str = "slow-motion";

/// A link that more is asked of than this machine has processors for.
struct Link {
    sites: Sites,
    sites_name: &'static str,
    rate_mbit: f64,
    buffers_kb: &'static [u64],
    /// Clients at once.
    at_once: &'static [usize],
}

const LINKS: [Link; 3] = [
    Link {
        sites: Sites::Three,
        sites_name: "three",
        rate_mbit: 20.0,
        buffers_kb: &[256, 5000],
        at_once: &[1, 64],
    },
    Link {
        sites: Sites::Two,
        sites_name: "two",
        rate_mbit: 100.0,
        buffers_kb: &[256],
        at_once: &[64],
    },
    Link {
        sites: Sites::Three,
        sites_name: "three",
        rate_mbit: 100.0,
        buffers_kb: &[256],
        at_once: &[64],
    },
];

/// So slow that two processors are idle for more than half of the time at 100 Mbit/s, and for
/// nine tenths at 20. The longest round trip is 872 ms then: a client gives up a connection
/// that took 2 s to make, two round trips.
const TIMES_SLOWER: u32 = 8;

/// Windows are so many times shorter than as much longer as the network is slower: with 64
/// clients they still have more than ten thousand operations.
const WINDOWS_SHORTER: f64 = 4.0;

impl Link {
    fn wan(&self, buffer_kb: u64) -> WanSpec {
        WanSpec {
            times_slower: TIMES_SLOWER,
            ..wan(self.sites, self.rate_mbit, buffer_kb)
        }
    }
}

/// A step for each link, buffer, traffic and number at once, and one with a policed class:
/// its operations idle, then full.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let mut steps = Vec::new();
    for link in &LINKS {
        for &buffer_kb in link.buffers_kb {
            for traffic in [UDP, TCP, OWN] {
                for &at_once in link.at_once {
                    let name = format!(
                        "{}-{}-{buffer_kb}-{}-{at_once}",
                        link.sites_name,
                        link.rate_mbit,
                        traffic.id()
                    );
                    steps.push(step(scale, name, link.wan(buffer_kb), traffic, at_once));
                }
            }
        }
    }
    let policed = WanSpec {
        police_percent: Some(POLICE_PERCENT),
        ..LINKS[0].wan(256)
    };
    let name = "three-20-256-policed-64".to_owned();
    steps.push(step(scale, name, policed, UDP, 64));
    if scale.quick {
        steps.retain(|step| step.name == QUICK);
    }
    steps
}

const QUICK: &str = "three-20-256-udp-64";

/// Deadlines are as much longer as the network is slower.
fn step(scale: &Scale, name: String, wan: WanSpec, traffic: Traffic, at_once: usize) -> Step {
    let times_slower = wan.times_slower;
    let traffics = [Traffic::Idle, traffic];
    let mut windows = windows(scale, &VIVACE_OPERATIONS, at_once, &traffics);
    for window in &mut windows {
        window.seconds *= f64::from(times_slower) / WINDOWS_SHORTER;
    }
    let mut step = store_step(NAME, name, scale, wan, StoreKind::VIVACE, windows);
    if let Work::Store(work) = &mut step.work {
        work.deadline_ms *= u64::from(times_slower);
    }
    step
}

/// Its part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let records: Vec<&StepRecord> = shown.records.iter().collect();
    let chart = figure(
        "Small operations on full links, in slow motion",
        "A step's name says: sites, Mbit/s, KB of buffer, traffic, clients at once. Milliseconds \
         are the slowed network's.",
        &records,
    );
    Ok(Section {
        paragraphs: vec![
            "The network is k times slower than its name says, round trips and rates alike, so \
             processors are k times faster beside it: what hosts would do that don't share this \
             machine's. Milliseconds are those of the slowed network; ratios are what is \
             compared, with the target of p99.9 under congestion within 1.10 times the idle \
             median. What programs do after a time of their own is not slowed: records that nobody \
             waits for are synced after 20 ms, values' congestion control empties the queue every \
             5 s to measure the round trip, TCP has its clocks. So the store's own writes and TCP \
             fill a link less than in life: how full links were stands in a table of its own."
                .to_owned(),
            verdict(&records),
            fullness::verdict(&records),
        ],
        charts: shown.ranges(NAME, &chart)?,
        tables: vec![
            table("Latency of small operations in slow motion", &records),
            fullness::table(&records),
            bytes_table(&records, false),
        ],
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_that_takes_time_takes_as_much_longer() {
        let scale = Scale {
            quick: false,
            seconds: Some(3.0),
            seed: 1,
        };
        for step in steps(&scale) {
            let Work::Store(work) = &step.work else {
                panic!("{step:?}")
            };
            let times = work.wan.times_slower;
            assert!(times > 1, "{step:?}");
            assert_eq!(work.deadline_ms, 15_000 * u64::from(times));
            for window in &work.windows {
                let seconds = 3.0 * f64::from(times) / WINDOWS_SHORTER;
                assert!((window.seconds - seconds).abs() < 1e-9);
            }
            let topology = work.wan.topology("wan", 1);
            let rate = format!("rate = \"{}Mbit\"", work.wan.rate_mbit / f64::from(times));
            let round_trip = format!("ireland = \"{}ms\"", 109 * times);
            assert!(topology.contains(&rate), "{topology}");
            assert!(topology.contains(&round_trip), "{topology}");
            let second = Duration::from_secs(1);
            assert_eq!(work.wan.slowed(second), second * times);
        }
    }
}

//! The experiments there are.

use crate::figures;
use crate::report::{Section, Shown};
use crate::run::Need;
use crate::step::Step;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Few steps and short windows.
    pub quick: bool,
    /// How long each window is measured, where the user says so.
    pub seconds: Option<f64>,
    /// The seed.
    pub seed: u64,
}

/// The paper's time per operation type, and a short one.
const SECONDS: f64 = 20.0;
const QUICK_SECONDS: f64 = 4.0;

impl Scale {
    /// How long each window is measured.
    pub fn seconds(&self) -> f64 {
        let default = if self.quick { QUICK_SECONDS } else { SECONDS };
        self.seconds.unwrap_or(default)
    }

    /// One of two, by whether it shall be quick.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// One experiment.
#[derive(Clone, Copy)]
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// Which of the paper's figures it reproduces.
    pub source: &'static str,
    /// What it needs of the machine.
    pub needs: &'static [Need],
    /// Its steps, for `experiments run`; none for a command of its own.
    pub steps: Option<fn(&Scale) -> Vec<Step>>,
    /// Its part of the report.
    pub section: Option<fn(&Shown<'_>) -> anyhow::Result<Section>>,
}

const fn single(name: &'static str, about: &'static str, source: &'static str) -> Experiment {
    Experiment {
        name,
        about,
        source,
        needs: &[],
        steps: None,
        section: None,
    }
}

/// Every experiment.
pub const EXPERIMENTS: [Experiment; 19] = [
    single(
        "demo",
        "latency of four algorithms on one link, idle and full; 2.5 minutes, no root, no network",
        "Vivace (USENIX ATC 2012), Fig. 5 to 7",
    ),
    single(
        "crash",
        "300 kills of node processes under load, histories judged; about 7 minutes, no root",
        "not in the paper",
    ),
    Experiment {
        name: "fig-1",
        about: "bandwidth, and dollars a month, that each algorithm needs for a latency target",
        source: "Vivace, Fig. 1 (prices)",
        needs: &[Need::Wan],
        steps: Some(figures::fig_1::steps),
        section: Some(figures::fig_1::section),
    },
    Experiment {
        name: "fig-2-3",
        about: "message delays of each operation, counted by the simulator",
        source: "Vivace, Fig. 2 and 3",
        needs: &[Need::Simulator],
        steps: Some(figures::fig_2_3::steps),
        section: Some(figures::fig_2_3::section),
    },
    Experiment {
        name: "fig-4",
        about: "round trips on a marked and an unmarked connection over a DiffServ link",
        source: "Vivace, Fig. 4",
        needs: &[Need::Wan],
        steps: Some(figures::fig_4::steps),
        section: Some(figures::fig_4::section),
    },
    Experiment {
        name: "host-based",
        about: "the same where hosts order packets (HTB) and the router knows no classes",
        source: "Vivace, section 6.2",
        needs: &[Need::Wan, Need::Tc],
        steps: Some(figures::host_based::steps),
        section: Some(figures::host_based::section),
    },
    Experiment {
        name: "fig-6",
        about: "latency of four algorithms without congestion",
        source: "Vivace, Fig. 5 and 6",
        needs: &[Need::Wan],
        steps: Some(figures::fig_6_7::uncongested),
        section: Some(figures::fig_6_7::section_6),
    },
    Experiment {
        name: "fig-7",
        about: "latency of four algorithms under continuous congestion",
        source: "Vivace, Fig. 5 and 7",
        needs: &[Need::Wan],
        steps: Some(figures::fig_6_7::congested),
        section: Some(figures::fig_6_7::section_7),
    },
    Experiment {
        name: "fig-8",
        about: "a Twitter clone under congestion",
        source: "Vivace, Fig. 8",
        needs: &[Need::Wan],
        steps: Some(figures::fig_8::steps),
        section: Some(figures::fig_8::section),
    },
    Experiment {
        name: "congestion",
        about: "latency, idle and full: rates, buffers, two and three sites, UDP, TCP, own writes, 1 and 64 at once",
        source: "not in the paper",
        needs: &[Need::Wan],
        steps: Some(figures::congestion::steps),
        section: Some(figures::congestion::section),
    },
    Experiment {
        name: "slow-motion",
        about: "the same at three sites and at 100 Mbit/s, all of it 8 times slower: as if hosts had processors of their own",
        source: "not in the paper",
        needs: &[Need::Wan],
        steps: Some(figures::slow_motion::steps),
        section: Some(figures::slow_motion::section),
    },
    Experiment {
        name: "etcd",
        about: "etcd beside Vivace on the same links, idle and full",
        source: "not in the paper",
        needs: &[Need::Wan, Need::Etcd],
        steps: Some(figures::rivals::steps_etcd),
        section: Some(figures::rivals::section_etcd),
    },
    Experiment {
        name: "rival",
        about: "etcd with its peers' packets in the priority class, beside Vivace: foreign UDP, own large writes, a policed class",
        source: "not in the paper",
        needs: &[Need::Wan, Need::Etcd, Need::Nft],
        steps: Some(figures::rivals::steps_rival),
        section: Some(figures::rivals::section_rival),
    },
    Experiment {
        name: "ablations",
        about: "Vivace without one of its parts, and on networks that lose or swap marks",
        source: "not in the paper",
        needs: &[Need::Wan],
        steps: Some(figures::ablations::steps),
        section: Some(figures::ablations::section),
    },
    Experiment {
        name: "bench-throughput",
        about: "operations a second and CPU per operation on this machine alone, etcd beside Vivace",
        source: "not in the paper",
        needs: &[],
        steps: Some(figures::bench::throughput_steps),
        section: Some(figures::bench::throughput_section),
    },
    Experiment {
        name: "bench-scale",
        about: "throughput, tail and memory by the number of keys and of sites, without a WAN",
        source: "not in the paper",
        needs: &[],
        steps: Some(figures::bench::scale_steps),
        section: Some(figures::bench::scale_section),
    },
    Experiment {
        name: "bench-mix",
        about: "an open loop at a part of the peak: mixes, sizes, skew",
        source: "not in the paper",
        needs: &[Need::Command],
        steps: Some(figures::bench::mix_steps),
        section: Some(figures::bench::mix_section),
    },
    Experiment {
        name: "bench-bytes",
        about: "bytes between three sites for a write of 1 KiB and of 64 KiB",
        source: "not in the paper",
        needs: &[Need::Wan],
        steps: Some(figures::bench_bytes::steps),
        section: Some(figures::bench_bytes::section),
    },
    Experiment {
        name: "bench-loss",
        about: "latency in round trips on idle links, without loss and where packets are lost at random",
        source: "not in the paper",
        needs: &[Need::Wan],
        steps: Some(figures::bench_loss::steps),
        section: Some(figures::bench_loss::section),
    },
];

/// Those that `experiments run` runs.
pub fn runnable() -> impl Iterator<Item = &'static Experiment> {
    EXPERIMENTS.iter().filter(|e| e.steps.is_some())
}

/// The list for people.
pub fn listing() -> String {
    EXPERIMENTS.iter().map(entry).collect()
}

fn entry(experiment: &Experiment) -> String {
    let mut text = format!("{:<18}{}\n", experiment.name, experiment.about);
    text += &format!("                  {}", experiment.source);
    let Some(steps) = experiment.steps else {
        return text + &format!("; experiments {}\n", experiment.name);
    };
    let minutes = |quick| {
        let scale = Scale {
            quick,
            seconds: None,
            seed: 1,
        };
        let steps = steps(&scale);
        let planned: std::time::Duration = steps.iter().map(crate::run::planned).sum();
        planned.as_secs_f64() / 60.0
    };
    let needs: Vec<&str> = match experiment.needs {
        [] => vec!["nothing"],
        needs => needs.iter().map(|need| need.words()).collect(),
    };
    text += &format!(
        "; about {:.0} minutes, {:.1} with --quick; needs {}\n",
        minutes(false).max(1.0),
        minutes(true).max(0.1),
        needs.join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::step::Work;

    #[test]
    fn every_step_and_every_window_has_files_of_its_own() {
        for quick in [true, false] {
            let scale = Scale {
                quick,
                seconds: None,
                seed: 1,
            };
            let mut names = BTreeSet::new();
            for experiment in runnable() {
                let steps = experiment.steps.expect("it can be run")(&scale);
                assert!(!steps.is_empty(), "{}", experiment.name);
                for step in steps {
                    assert_eq!(step.experiment, experiment.name);
                    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                    assert!(step.name.chars().all(plain), "{}", step.name);
                    assert!(
                        names.insert((experiment.name, step.name.clone())),
                        "{step:?}"
                    );
                    let Work::Store(work) = &step.work else {
                        continue;
                    };
                    let stems: BTreeSet<String> = work
                        .windows
                        .iter()
                        .map(|window| window.file_stem())
                        .collect();
                    assert_eq!(stems.len(), work.windows.len(), "{step:?}");
                    // What is planned comes back from disk as it was.
                    let text = serde_json::to_string(&step).expect("it can be written");
                    let read: Step = serde_json::from_str(&text).expect("it can be read");
                    assert_eq!(read, step);
                }
            }
        }
    }
}

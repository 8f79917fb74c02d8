//! The experiments there are.

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, and how long it takes.
    pub about: &'static str,
    /// Which of the paper's figures it reproduces.
    pub source: &'static str,
}

/// Every experiment.
pub const EXPERIMENTS: [Experiment; 2] = [
    Experiment {
        name: "demo",
        about: "latency of four algorithms on one link, idle and full; 2.5 minutes, no root, no network",
        source: "Vivace (USENIX ATC 2012), Fig. 5 to 7",
    },
    Experiment {
        name: "crash",
        about: "300 kills of node processes under load, histories judged; about 7 minutes, no root",
        source: "not in the paper",
    },
];

/// The list for people.
pub fn listing() -> String {
    EXPERIMENTS
        .iter()
        .map(|experiment| {
            format!(
                "{:<8}{}\n        {}\n",
                experiment.name, experiment.about, experiment.source
            )
        })
        .collect()
}

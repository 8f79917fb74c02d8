//! The flags of `run` and `report`.

use std::path::PathBuf;

use crate::ranges::within;

/// Experiments with commands of their own.
pub const SINGLE: [&str; 2] = ["demo", "crash"];

/// Where results go where nothing else is said.
const OUT: &str = "results";

/// What to run, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    experiments run fig-6 fig-7          two of the paper's figures\n  \
    experiments run all --quick          everything, in short\n  \
    experiments run congestion           goes on where it was interrupted\n  \
    experiments run etcd --only two-20 --fresh\n  \
    experiments report                   results/report.html, from what there is\n\n\
    Each step leaves its results in OUT/EXPERIMENT/STEP as soon as it is done; a step whose \
    results are there, measured with the same settings, --node, --data and etcd, is skipped. Ctrl-C \
    stops: the step under way is lost, namespaces and processes go.")]
pub struct RunArguments {
    /// Experiments, as `experiments list` names them, or `all`.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    pub out: PathBuf,
    /// Seed of contents, loss and cross traffic.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Few steps and short windows: shows that it works and which way figures point.
    #[arg(long)]
    pub quick: bool,
    /// How long each window is measured, 1 to 600 s [default: 20, or 4 with --quick]; the whole
    /// of fig-4 and host-based [40, or 10].
    #[arg(long, value_parser = within(1.0, 600.0, "s"))]
    pub seconds: Option<f64>,
    /// Only steps whose name contains this; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Measure again what is there already.
    #[arg(long)]
    pub fresh: bool,
    /// Where stores keep their data while they run [default: in --out]. /dev/shm takes
    /// the disk out of the figures.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The program netem [default: beside this one, or on the path].
    #[arg(long, value_name = "PATH")]
    pub netem: Option<PathBuf>,
    /// Measure this vivace-node [default: this program as a node].
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
}

/// What to report.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArguments {
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    pub out: PathBuf,
    /// Experiments to report [default: all that have results].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

//! WANs for experiments, by the program `netem`: built, filled, watched, and taken down
//! whatever becomes of this process.

mod guard;
mod program;
mod status;

pub use guard::{GUARD, Guard, GuardArguments, run_guard};
pub use program::{Netem, WORK_PREFIX, Wan, WanWatch, beside_this_program, clear_away_dead_runs};
pub use status::{FlowStatus, LinkStatus, WanStatus, Window};

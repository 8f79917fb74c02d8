//! Every order of events in a very small cluster of real nodes.
//!
//! Where a swarm draws orders, this visits all of them, from every state that can be
//! reached and was not met before: each message on its way may be the next to arrive,
//! each client may begin, a node may crash and come back with what was durable.
//! [`Model`] says how small the cluster is. What it leaves out:
//!
//! - Time. Timers fire when no message is on its way and no disk is busy, the earliest
//!   first; only a wait of at most a microsecond (for a clock to pass a timestamp) may
//!   end at any moment, and `early_timers` of others, which is as if a node's messages
//!   had been slow.
//! - A connection that breaks is told to both ends at once. What was on its way to or
//!   from a node that crashed may arrive all the same, where it is a priority message.
//! - With [`Disk::Prompt`], a disk finishes before its node's next event; with
//!   [`Disk::Slow`], at any later moment.
//! - What nodes do after the last operation has ended: no answer is left to be wrong.
//! - Messages that change nothing at their addressees, now or ever (`outlook` tells why that
//!   hides no violation). [`Weighed::Every`] is for comparison.
//! - Time does not pass while a node is down that coordinates a change, or a read of a
//!   machine, which may have to carry a command on: with m = 1 its disk may hold the only
//!   copy of a version, and who needs it waits for its return.
//!
//! A node's step is taken once, whatever else goes on in the cluster: three nodes with a
//! write, two reads and a crash have less than a thousand different states each, and some
//! ten thousand different steps. A state of the cluster is a few numbers of those.
//!
//! States are told apart by 64-bit digests of all that decides the future. With 10^7
//! states, the chance that any was mistaken for another is about 3 in 10^6.

mod catalogue;
mod choice;
mod dive;
mod history;
mod machine;
mod model;
mod outlook;
mod path;
mod place;
mod reduction;
mod report;
mod search;
mod state;
mod step;
mod visited;

pub use dive::dive;
pub use model::{Disk, Model, Step, Weighed, Wish};
pub use report::{Report, Violation};
pub use search::explore;

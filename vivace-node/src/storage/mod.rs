//! Where a node's state goes: protocol state into a journal, values beside it.
//!
//! A data directory holds `identity` ([`identity`]), `layout` ([`layout`]), `peers`
//! ([`peer_states`]), `journal/` ([`vivace_core::journal`]) and `values/` ([`values`]). The journal is the authority: a
//! node whose journal is damaged must not vote. A value that is lost is fetched again.

mod cache;
mod engine;
pub mod identity;
mod journal_disk;
mod journal_lane;
pub mod layout;
mod open;
pub mod peer_states;
mod progress;
mod replacement;
pub mod sealed_text;
mod space;
#[cfg(test)]
mod test_values;
mod tidying;
mod value_lane;
pub mod values;
mod watermark;

use vivace_core::journal;

pub use engine::{Counts, Engine, Load, News, Report, Reports};
pub use journal_disk::{JournalDisk, JournalFile};
pub use open::{Claimed, DiskSettings, OpenError, Opened, adopt, open_memory};

/// An open journal on the file system.
pub type OpenJournal = journal::Opened<JournalDisk>;

/// The process's exit code after a failed write or sync.
pub const EXIT_STORAGE: i32 = 74;

/// Ends the process: nobody knows what is on the disk, a second sync may lie, and only a
/// restart that reads it can tell.
fn stop_process(why: &dyn std::fmt::Display) -> ! {
    tracing::error!("{why}: stopping, for nothing more can be promised");
    std::process::exit(EXIT_STORAGE);
}

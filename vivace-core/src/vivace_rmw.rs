//! Vivace's algorithm for RMW objects (Vivace §3.3, Alg. 3), mended as
//! ARCHITECTURE.md's table of invariants tells: Paxos on one value, with the value
//! split off.
//!
//! ```text
//! execute(batch)  the last round here wrote (ts, val), and val changes: ots = next(ts), base = val
//!                 else *OR-TS(ots) to a majority of true -> mts = the largest accepted
//!                 base = OR-DATA: a version in [mts, ots), from any holder
//!                 val' = apply(base, batch)
//!                 nothing changed, base is mts and a majority holds it: return the results
//!                 W-LOCAL(ots, val') to a majority of the local set
//!                 *OW-TS(ots) to a majority of true;  COMMIT(ots), GO(ots), not awaited
//!                 accepting ots promises next(ots), so that nobody comes between
//! read            *R-TS to a majority; a timestamp that a majority holds -> its version;
//!                 else execute(identity)
//! ```

mod derivation;
mod deriving;
mod execute;
mod read;
mod recent;
mod replica;
mod turns;
mod versions;

pub use derivation::{Derivation, DerivationStep, Fingerprint, STEPS_MAX};
pub use deriving::{DERIVING_OPERATION, Deriving, Derivings};
pub use execute::Execute;
pub use read::{Extent, Read, ReadStep};
pub use recent::RecentVersions;
pub use replica::Replica;
pub use turns::Turns;
pub use versions::Versions;

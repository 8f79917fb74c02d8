//! Vivace's algorithm for RW objects (Vivace §3.2, Alg. 1), mended as ARCHITECTURE.md's
//! table of invariants tells.
//!
//! ```text
//! write(k, v)  clock mode: ts = own clock;  W-LOCAL(ts, v) to a majority of the local set
//!              query mode: *R-TS to a majority, in parallel with W-LOCAL(write, v);
//!                          ts = one more than the largest;  BIND(write, ts)
//!              GO(ts) to the propagator, not awaited, in parallel with *W-TS(ts) to a majority
//!              commit wait
//! read(k)      *R-TS to a majority;  mts = the largest
//!              R-DATA(mts) from the nearest holder; *W-TS(mts) in parallel unless a majority holds it
//!              a newer version than mts came back: *W-TS of it to a majority, always
//!              commit wait
//! ```

mod read;
mod replica;
mod write;

pub use read::Read;
pub use replica::Replica;
pub use write::Write;

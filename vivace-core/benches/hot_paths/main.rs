//! The core's hot paths: time and allocations of one operation, without sockets and disks.
//!
//! `cargo bench -p vivace-core --features sim --bench hot_paths`; docs/benchmarks.md tells
//! what the columns mean.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod cluster;
mod codec;
mod journal;
mod operations;
mod replica;

/// Counts allocations and their bytes.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

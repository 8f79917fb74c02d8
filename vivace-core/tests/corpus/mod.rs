//! Seeds for the fuzzer from bytes that tests spell out: set `VIVACE_CORPUS` to a directory
//! (docs/testing.md).

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::PathBuf;

/// Gives the fuzz target these bytes to begin from, where anyone asked for seeds.
pub fn seed(target: &str, bytes: &[u8]) {
    let Some(corpus) = std::env::var_os("VIVACE_CORPUS") else {
        return;
    };
    let directory = PathBuf::from(corpus).join(target);
    std::fs::create_dir_all(&directory).expect("VIVACE_CORPUS names a directory");
    let name = format!("{:08x}", crc32c::crc32c(bytes));
    std::fs::write(directory.join(name), bytes).expect("a seed is a small file");
}

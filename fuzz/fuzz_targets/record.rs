//! What a node reads back from its journal, record by record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::journal::RECORD_BYTES_MAX;
use vivace_core::record::Record;
use vivace_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| {
    round_trip::<Record>(bytes, RECORD_BYTES_MAX);
});

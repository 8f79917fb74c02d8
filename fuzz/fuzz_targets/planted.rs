//! A decoder with a bug, planted: it proves that a fuzzer which finds nothing in the
//! others would have found something (`./run prove`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::journal::RECORD_BYTES_MAX;
use vivace_core::record::Record;
use vivace_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| {
    // No seed of the corpus is such a record.
    if let Some(Record::Accepted { ts, .. }) = round_trip::<Record>(bytes, RECORD_BYTES_MAX) {
        assert!(ts.time & 0x0f != 0x05, "the planted bug");
    }
});

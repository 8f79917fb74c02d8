//! A journal's segment, in a form that gets past its checksums: what is in the sectors is
//! the input's, and the seals are as they should be, or not, as the input says
//! (docs/formats.md).

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::codec;
use vivace_core::journal;
use vivace_fuzz::{blank, check_opened, identity, recover};

const SECTOR_BYTES: usize = 512;
const CONTENT_BYTES: usize = SECTOR_BYTES - 8;
const SEGMENT: &str = "segment-000000000001";
const SEGMENT_GENERATION: u64 = 1;

/// A sector of the segment, as docs/formats.md describes it.
fn sector(index: u32, start: u32, content: &[u8]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[4..8].copy_from_slice(&start.to_le_bytes());
    sector[8..8 + content.len()].copy_from_slice(content);
    let seal = crc32c::crc32c(&identity().directory.0);
    let seal = crc32c::crc32c_append(seal, &SEGMENT_GENERATION.to_le_bytes());
    let seal = crc32c::crc32c_append(seal, &index.to_le_bytes());
    let checksum = crc32c::crc32c_append(seal, &sector[4..]);
    sector[..4].copy_from_slice(&checksum.to_le_bytes());
    sector
}

/// Puts sectors behind the segment's header: a byte says where the batch began that wrote
/// it (or that it is damaged), then comes the content.
fn fill(segment: &mut [u8], input: &[u8]) {
    let places = segment.chunks_exact_mut(SECTOR_BYTES).enumerate().skip(1);
    for ((index, place), part) in places.zip(input.chunks(1 + CONTENT_BYTES)) {
        let (&how, content) = part.split_first().expect("chunks are not empty");
        let start_of = |sector: usize| (sector * SECTOR_BYTES + 8) as u32;
        let start = match how {
            0 => start_of(1),
            1 => start_of(index),
            2 => continue,
            3 => {
                place[..content.len()].copy_from_slice(content);
                continue;
            }
            _ => start_of(1) + u32::from(how) * 4,
        };
        place.copy_from_slice(&sector(index as u32, start, content));
    }
}

fuzz_target!(|input: &[u8]| {
    let disk = blank();
    let mut segment = disk.contents(SEGMENT).expect("it was made");
    fill(&mut segment, input);
    disk.put(SEGMENT, segment.clone());
    let (records, opened) = match recover(&disk) {
        Ok(recovered) => recovered,
        Err(error) => {
            assert!(error.to_string().contains(SEGMENT), "{error}");
            assert_eq!(
                disk.contents(SEGMENT),
                Some(segment),
                "a refusal changes nothing"
            );
            return;
        }
    };
    for record in &records {
        assert!(codec::encode(record).len() <= journal::RECORD_BYTES_MAX);
    }
    check_opened(&disk, &records, opened);
});

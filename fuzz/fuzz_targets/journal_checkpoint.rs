//! A journal's checkpoint and mark, in a form that gets past their checksums: what is in
//! the blocks is the input's, and the seals are as they should be, or not, as the input
//! says (docs/formats.md).

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::sim::SimDisk;
use vivace_fuzz::{Input, check_opened, checkpoint_name, checkpointed, identity, recover};

const HEADER_BYTES: usize = 512;
const MARK: &str = "mark";
const LAST: u32 = u32::MAX;

thread_local! {
    static WITH_CHECKPOINT: (SimDisk, u64) = checkpointed();
}

fn seal(generation: u64, number: u32, covered: &[u8]) -> [u8; 4] {
    let seal = crc32c::crc32c(&identity().directory.0);
    let seal = crc32c::crc32c_append(seal, &generation.to_le_bytes());
    let seal = crc32c::crc32c_append(seal, &number.to_le_bytes());
    crc32c::crc32c_append(seal, covered).to_le_bytes()
}

fn mark(generation: u64, offset: u32) -> Vec<u8> {
    let mut mark = vec![0; 8];
    mark.extend_from_slice(&generation.to_le_bytes());
    mark.extend_from_slice(&offset.to_le_bytes());
    mark.resize(512, 0);
    let sum = seal(u64::MAX, 0, &mark[4..]);
    mark[..4].copy_from_slice(&sum);
    mark
}

/// Adds blocks behind the header. A block's frames come one by one, each with its length,
/// or with another one.
fn blocks(file: &mut Vec<u8>, generation: u64, input: &mut Input<'_>) {
    let (mut number, mut records) = (0, 0_u64);
    let mut close = |file: &mut Vec<u8>, length: u32, content: &[u8], is_right: bool| {
        let covered = [&length.to_le_bytes(), content].concat();
        let mut sum = seal(generation, number, &covered);
        sum[0] ^= u8::from(!is_right);
        file.extend_from_slice(&sum);
        file.extend_from_slice(&covered);
        number += 1;
    };
    let mut content = Vec::new();
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=3 => {
                let record = input.string();
                content.extend_from_slice(&(record.len() as u16).to_le_bytes());
                content.extend_from_slice(record);
                records += 1;
            }
            4 => content.extend_from_slice(input.string()),
            how @ 5..=6 => {
                close(file, content.len() as u32, &content, how == 5);
                content.clear();
            }
            _ => break,
        }
    }
    if !content.is_empty() {
        close(file, content.len() as u32, &content, true);
    }
    let records = records.wrapping_add(u64::from(input.byte() % 8 == 1));
    close(file, LAST, &records.to_le_bytes(), true);
    file.extend_from_slice(input.0);
}

fuzz_target!(|bytes: &[u8]| {
    let (disk, generation) = WITH_CHECKPOINT.with(|(disk, generation)| {
        let disk = disk.duplicate();
        (disk, *generation)
    });
    let mut input = Input(bytes);
    match input.byte() % 8 {
        1 => disk.put(
            MARK,
            mark(u64::from(input.byte()), u32::from(input.byte()) * 4),
        ),
        2 => disk.put(MARK, input.string().to_vec()),
        _ => {}
    }
    let name = checkpoint_name(generation);
    let mut file = disk.contents(&name).expect("it was written");
    file.truncate(HEADER_BYTES);
    blocks(&mut file, generation, &mut input);
    disk.put(&name, file.clone());
    let (records, opened) = match recover(&disk) {
        Ok(recovered) => recovered,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&name) || text.contains("segment-"), "{text}");
            assert_eq!(
                disk.contents(&name),
                Some(file),
                "a refusal changes nothing"
            );
            return;
        }
    };
    check_opened(&disk, &records, opened);
});

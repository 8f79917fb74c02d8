//! What the journal's files are called.

/// The file of the mark: made once with the journal, and written with every commit.
pub const MARK: &str = "mark";
/// A checkpoint that is being written; of no worth after a crash.
pub(super) const CHECKPOINT_NEW: &str = "checkpoint.new";
/// A segment that is being made; of no worth after a crash.
pub(super) const SEGMENT_NEW: &str = "segment.new";

const SEGMENT: &str = "segment-";
const CHECKPOINT: &str = "checkpoint-";

/// Generations are padded, so that names sort as they do.
pub(super) fn segment(generation: u64) -> String {
    format!("{SEGMENT}{generation:012}")
}

/// The checkpoint of all segments up to `through`.
pub(super) fn checkpoint(through: u64) -> String {
    format!("{CHECKPOINT}{through:012}")
}

pub(super) fn parse_segment(name: &str) -> Option<u64> {
    parse(name, SEGMENT)
}

pub(super) fn parse_checkpoint(name: &str) -> Option<u64> {
    parse(name, CHECKPOINT)
}

fn parse(name: &str, prefix: &str) -> Option<u64> {
    let number = name.strip_prefix(prefix)?;
    let digits = number.len() >= 12 && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse().ok()).flatten()
}

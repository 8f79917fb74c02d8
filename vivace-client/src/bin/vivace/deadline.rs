//! Durations as people write them: `800ms`, `5s`, `2m`.

use std::time::Duration;

/// Reads a duration: a whole number and `ms`, `s`, `m` or `h`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let ms_per_unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a duration as 800ms, 5s, 2m or 1h".to_owned()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(ms_per_unit))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{digits:?} is no whole number of that unit"))
}

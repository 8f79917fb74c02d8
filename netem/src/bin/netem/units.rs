//! Quantities for people to read.

use std::time::Duration;

/// `20 Mbit/s`.
pub fn bits(bits_per_second: u64) -> String {
    scaled(
        bits_per_second as f64,
        &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"],
    )
}

/// `256 KB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, &["B", "KB", "MB", "GB"])
}

/// `54.5 ms`.
pub fn micros(time: Duration) -> String {
    scaled(time.as_secs_f64() * 1e6, &["us", "ms", "s"])
}

/// `EF, CS6`.
pub fn marks(dscps: &[u8]) -> String {
    let name = |&dscp: &u8| match dscp {
        46 => "EF".to_owned(),
        dscp if dscp % 8 == 0 => format!("CS{}", dscp / 8),
        dscp => dscp.to_string(),
    };
    dscps.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Three digits that count, with the unit that fits.
fn scaled(mut number: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = match number {
        n if n >= 100.0 || n == n.round() => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_the_unit_that_fits() {
        assert_eq!(bits(20_000_000), "20 Mbit/s");
        assert_eq!(bits(1_234_567), "1.23 Mbit/s");
        assert_eq!(bytes(256_000), "256 KB");
        assert_eq!(bytes(999_900), "1.00 MB");
        assert_eq!(micros(Duration::from_micros(54_500)), "54.5 ms");
        assert_eq!(micros(Duration::ZERO), "0 us");
        assert_eq!(marks(&[46, 48, 1]), "EF, CS6, 1");
    }
}

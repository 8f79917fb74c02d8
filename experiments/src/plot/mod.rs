//! Charts, drawn as SVG from results on disk.

pub mod cdf;
pub mod line;
mod log_axis;
pub mod ranges;
pub mod xy;

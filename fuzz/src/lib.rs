//! What the fuzz targets share (docs/testing.md).

mod input;
mod journal;
mod round_trip;
mod scratch;
mod text_file;

pub use input::Input;
pub use journal::{blank, check_opened, checkpoint_name, checkpointed, identity, recover};
pub use round_trip::round_trip;
pub use scratch::Scratch;
pub use text_file::text_file;

//! Text files of a data directory that end with a checksum.

use vivace_node::storage::identity::DirectoryId;

/// A file of `directory`: a first byte `=` stands for the head, whose first line is `title`,
/// and for a checksum behind the rest. Other bytes are the file.
pub fn text_file(bytes: &[u8], title: &str, directory: DirectoryId) -> Vec<u8> {
    let Some((b'=', body)) = bytes.split_first() else {
        return bytes.to_vec();
    };
    let mut file = format!("{title}\ndirectory {directory}\n").into_bytes();
    file.extend_from_slice(body);
    let checksum = crc32c::crc32c(&file);
    file.extend_from_slice(format!("checksum {checksum:08x}\n").as_bytes());
    file
}

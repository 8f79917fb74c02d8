//! How the containers were laid out whose state a data directory holds: its file `layout`. A
//! first byte `=` stands for the head, and for a checksum behind the rest.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use vivace_core::NodeId;
use vivace_fuzz::Scratch;
use vivace_node::storage::identity::{DataDirectory, DirectoryId};
use vivace_node::storage::layout::{FILE, FORMAT, Layout, LayoutError};

thread_local! {
    static HOME: (Scratch, DataDirectory) = {
        let scratch = Scratch::default();
        let home = scratch.empty("data");
        let mut directory = DataDirectory::claim(&home, "fuzz", NodeId(7), &[], None)
            .expect("an empty directory is anybody's");
        directory.begin_life().expect("the first of many");
        (scratch, directory)
    };
}

fn sealed(toml: &[u8], directory: DirectoryId) -> Vec<u8> {
    let mut file = format!("vivace-layout {FORMAT}\ndirectory {directory}\n").into_bytes();
    file.extend_from_slice(toml);
    let checksum = crc32c::crc32c(&file);
    file.extend_from_slice(format!("checksum {checksum:08x}\n").as_bytes());
    file
}

fn check(bytes: &[u8], scratch: &Scratch, directory: &DataDirectory) {
    let path = directory.path().join(FILE);
    let file = match bytes.split_first() {
        Some((b'=', toml)) => sealed(toml, directory.id()),
        _ => bytes.to_vec(),
    };
    fs::write(&path, file).expect("it is ours");
    let before = scratch.contents();
    let remembered = Layout::remembered(directory.path(), directory.id());
    assert_eq!(scratch.contents(), before, "a look changes nothing");
    let layout = match remembered {
        Ok(layout) => layout.expect("the file is there"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*path.to_string_lossy()), "{text}");
            let code = error.exit_code();
            match error {
                LayoutError::Damaged { .. } => assert_eq!(code, 21, "{text}"),
                LayoutError::Foreign {
                    found, expected, ..
                } => {
                    assert!(found != expected && expected == directory.id(), "{text}");
                }
                LayoutError::Newer { found, .. } => assert!(found > FORMAT, "{text}"),
                other => panic!("{other}"),
            }
            return;
        }
    };
    let prepared = layout.prepare(directory).expect("there is space");
    prepared.put().expect("there is space");
    let again = Layout::remembered(directory.path(), directory.id());
    let again = again
        .expect("it was written just now")
        .expect("it is there");
    assert_eq!(again, layout);
    assert!(
        layout.check(directory.path(), &again).is_ok(),
        "nothing has changed"
    );
}

fuzz_target!(|bytes: &[u8]| {
    HOME.with(|(scratch, directory)| check(bytes, scratch, directory));
});
